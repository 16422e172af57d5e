# SPDX-License-Identifier: MIT
"""The talk with one host, from the connection to its result."""

from __future__ import annotations

import functools
import secrets
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stockade.errors import Refused
from stockade.facts import parse, without_python
from stockade.model import Change, Facts, Host, HostResult, Manifest, Mode
from stockade.push.program import command, program, request
from stockade.remote import Remote, Session
from stockade_agent.control.protocol import Request


Progress = Callable[[str, str], None]
"""Called with a host's name and what happens there now; from any thread."""

READY = 60.0
"""Seconds for sudo and Python to start; PAM may think for a while about a wrong password."""
SILENCE = 180.0
"""Seconds without a word from converge, whose own steps all end earlier."""
OUTCOMES: Mapping[str, Literal["ok", "changed", "failed", "refused"]] = {
    "ok": "ok",
    "changed": "changed",
    "failed": "failed",
    "refused": "refused",
}


@dataclass(frozen=True)
class Settings:
    """How a run goes; the same for all of its hosts.

    Attributes:
        root: where the host's files lie; anything but "/" is for tests.
        health_timeout: seconds from the switch until the agent must be well. Proving itself
            in firewalld takes it a quarter of a minute on a busy host.
        lock_timeout: seconds to wait for another push on the same host to end.
        ask: what the agent is asked in the mode of that name.
        trace: keep the traceback of an unexpected error in ``HostResult.notes``.
    """

    diff: bool = False
    root: str = "/"
    health_timeout: float = 120.0
    lock_timeout: float = 10.0
    ask: Request = field(default_factory=lambda: Request("status"))
    trace: bool = False


@dataclass(frozen=True)
class Lacking:
    """What a package manager has to bring before the host can be converged.

    Attributes:
        python: there is no usable Python; ``facts.missing`` is not known yet then.
        key: the file of the key that logs in, "" for one of the ssh agent.
    """

    host: Host
    manifest: Manifest
    facts: Facts
    python: bool
    key: str


def talk(
    remote: Remote,
    host: Host,
    manifest: Manifest,
    mode: Mode,
    settings: Settings,
    progress: Progress,
    *,
    deploys: bool = False,
) -> HostResult | Lacking:
    """Run converge on one host and return what became of it.

    With ``deploys``, a push stops short of the first change: the deploys of the host's roles
    are to run before.

    Raises:
        Unreachable: no session.
        Refused: a session, but no way to run anything there.
    """
    begun = time.monotonic()
    marker = "STOCKADE-" + secrets.token_hex(8)
    progress(host.name, "connecting")
    with remote.open(host, command(host, marker), marker) as session:
        first = _first_message(session, host)
        if first.get("say") == "bare":
            return Lacking(host, manifest, without_python(first), python=True, key=session.key)
        packed = request(
            mode,
            manifest,
            diff=settings.diff,
            root=settings.root,
            health_timeout=settings.health_timeout,
            lock_timeout=settings.lock_timeout,
            deploys=deploys,
            ask=settings.ask,
        )
        try:
            session.send(f"{marker} {len(program())} {len(packed)}\n".encode())
            session.send(program() + packed)
            result = _listen(session, host, manifest, progress)
        except OSError as error:
            status, said = session.ending()
            result = {
                "outcome": "failed",
                "error": _cut(error, status, said),
                "remedy": "push again: what was begun has been finished or undone on the host",
            }
        key = session.key
    end = _result(result, host, settings, time.monotonic() - begun)
    if isinstance(end, Facts):
        return Lacking(host, manifest, end, python=False, key=key)
    return end


def _first_message(session: Session, host: Host) -> Mapping[str, Any]:
    """Return ``ready`` or ``bare``."""
    deadline, ended = time.monotonic() + READY, True
    try:
        if host.become and host.become_password is not None:
            session.send(host.become_password.encode() + b"\n")
        while time.monotonic() < deadline:
            try:
                message = session.receive(0.5)
            except TimeoutError:
                if b"try again" in session.heard:
                    session.end_input()  # or sudo would take the program for further passwords
                continue
            if message is None:
                break
            if message.get("say") in ("ready", "bare"):
                return message
        else:
            ended = False
    except OSError:
        pass  # the ending tells why
    if not ended:
        raise Refused(
            f"neither a shell nor Python started within {READY:.0f} s{_last_line(session.heard)}",
            host=host.name,
            remedy="is the host overloaded? then push again",
        )
    status, said = session.ending()
    what, remedy = _no_start(host, status, said)
    raise Refused(what, host=host.name, remedy=remedy)


def _no_start(host: Host, status: int, said: str) -> tuple[str, str]:
    """Say why neither Python nor a shell of ours came to run."""
    if host.become:
        for words, what, remedy in _SUDO:
            if any(word in said for word in words):
                return what.format(user=host.user), remedy
    quoted = _last_line(said)
    if status == -1:
        return (
            f"nothing that we understand answers behind ssh{quoted}",
            f"does {host.user} have a POSIX shell there?",
        )
    return (
        f"{host.user}'s login shell runs no commands: exit status {status}{quoted}",
        f"give {host.user} a shell such as /bin/sh, or set ansible_user",
    )


_SUDO: Sequence[tuple[tuple[str, ...], str, str]] = (
    (
        ("try again", "incorrect password", "Authentication failed"),
        "sudo refused the password of {user}",
        "correct ansible_become_password",
    ),
    (
        ("password is required", "interactive authentication is required", "terminal is required"),
        "sudo wants a password of {user}",
        "set ansible_become_password, or allow NOPASSWD in sudoers",
    ),
    (
        ("not in the sudoers file", "may not run sudo", "is not allowed to", "not allowed to run"),
        "sudo does not allow {user} to become root",
        "add the user to sudoers: ALL=(ALL) ALL",
    ),
    (
        ("must have a tty",),
        "sudo wants a terminal (requiretty)",
        "remove requiretty for this user from sudoers",
    ),
    (
        ("sudo: not found", "sudo: command not found"),
        "there is no sudo on this host",
        "install sudo, or set ansible_user: root",
    ),
    (
        ("setuid root", "effective uid is not 0"),
        "sudo is not set up as a root program",
        "restore the mode of /usr/bin/sudo: 4755",
    ),
    (
        ("expired", "account validation"),
        "sudo: the account of {user} has expired or is locked",
        "unlock it on the host",
    ),
)


def _last_line(said: str | bytes) -> str:
    if isinstance(said, bytes):
        said = said.decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f", after saying: {lines[-1][:200]}" if lines else ", without a word"


def _cut(error: OSError, status: int, said: str) -> str:
    if isinstance(error, TimeoutError):
        return f"no word from the host for {SILENCE:.0f} s"
    if status > 0:
        return f"converge ended with status {status}{_last_line(said)}"
    return "the connection was cut"


def _listen(
    session: Session, host: Host, manifest: Manifest, progress: Progress
) -> Mapping[str, Any]:
    """Serve converge until its result."""
    contents = {file.sha256: file.content for file in manifest.files}
    while True:
        message = session.receive(SILENCE)
        if message is None:
            raise ConnectionResetError
        say = message.get("say")
        if say == "phase":
            progress(host.name, str(message.get("text", ""))[:80])
        elif say == "need":
            progress(host.name, "sending")
            for sha256 in message.get("sha256", ()):
                if sha256 not in contents:
                    return {"outcome": "failed", "error": "the host asked for a file of nobody's"}
                packed = _pack(contents[sha256])
                session.send(b"%d\n" % len(packed))
                session.send(packed)
        elif say == "result":
            return message


@functools.lru_cache(maxsize=256)
def _pack(content: bytes) -> bytes:
    return zlib.compress(content)


def _result(
    told: Mapping[str, Any], host: Host, settings: Settings, seconds: float
) -> HostResult | Facts:
    """Turn what a host told into our own type; only facts where packages are missing.

    A host may tell anything.
    """
    try:
        facts = parse(told["facts"]) if told.get("facts") else None
        changes = tuple(_change(change) for change in told.get("changes", ()))
        notes = tuple(str(note) for note in told.get("notes", ()))
        agent, answer = told.get("agent"), told.get("answer")
    except (KeyError, TypeError, AttributeError) as error:
        return HostResult(
            host.name, "failed", error=f"the host answered nonsense: {error!r}", seconds=seconds
        )
    outcome = told.get("outcome")
    if outcome == "missing" and facts is not None:
        return facts
    if settings.trace and told.get("trace"):
        notes = (*notes, str(told["trace"]))
    return HostResult(
        host=host.name,
        outcome=OUTCOMES.get(str(outcome), "failed"),
        changes=changes,
        facts=facts,
        agent=agent if isinstance(agent, dict) else None,
        answer=answer if isinstance(answer, dict) else None,
        error=str(told.get("error", "")),
        remedy=str(told.get("remedy", "")),
        notes=notes,
        seconds=seconds,
    )


def _change(told: Mapping[str, Any]) -> Change:
    return Change(
        kind=str(told["kind"]),
        name=str(told["name"]),
        action=str(told["action"]),
        diff=str(told.get("diff", "")),
    )
