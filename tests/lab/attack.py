# SPDX-License-Identifier: MIT
"""Real attackers, bounded in count and time, and the VNC server that they like to attack."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from lab.client import Lab
from lab.command import Result
from lab.errors import LabError
from lab.host import Host
from lab.paths import PACKAGE


VNC_PASSWORD = "lantern"
_VNC_BASE_PORT = 5900


@dataclasses.dataclass(frozen=True)
class Guesses:
    """How an attack went.

    Attributes:
        tried: passwords that the tool says it put to the server
        found: the ``(user, password)`` pairs that were right
        seconds: from first to last
        result: the tool's own exit status and output
    """

    tried: int
    found: tuple[tuple[str, str], ...]
    seconds: float
    result: Result


_TRIED = re.compile(r"^\[ATTEMPT\]", re.MULTILINE)
_FOUND = re.compile(r"^\[\d+\]\[\w+\] host: \S+ +login: (\S+) +password: (\S*)", re.MULTILINE)


def hydra(
    lab: Lab,
    place: str,
    host: Host,
    user: str,
    passwords: Sequence[str],
    *,
    tasks: int = 1,
    timeout: float = 60,
    service: str = "ssh",
    port: int | None = None,
    address: str | None = None,
) -> Guesses:
    """Let hydra guess a user's password from a place of the lab.

    It makes ``tasks`` connections at a time, and is killed after ``timeout`` seconds: rc is then
    124. ``address`` may be ``host.address6``, and ``port`` another than the service's own.
    """
    target = address or host.address
    with tempfile.NamedTemporaryFile("w", prefix="passwords-") as words:
        words.write("".join(f"{password}\n" for password in passwords))
        words.flush()
        argv = hydra_argv(target, user, words.name, tasks=tasks, service=service, port=port)
        begun = time.monotonic()
        result = lab.run(place, argv, check=False, timeout=timeout)
    return Guesses(
        tried=len(_TRIED.findall(result.stdout)),
        found=tuple((match[1], match[2]) for match in _FOUND.finditer(result.stdout)),
        seconds=time.monotonic() - begun,
        result=result,
    )


def hydra_argv(
    address: str,
    user: str,
    wordlist: str,
    *,
    tasks: int = 1,
    service: str = "ssh",
    port: int | None = None,
) -> list[str]:
    """Words that start hydra, for ``lab.popen``: a line ``[ATTEMPT] …`` as each guess begins."""
    argv = ["hydra", "-I", "-V", "-t", str(tasks), "-w", "5", "-l", user, "-P", wordlist]
    argv += ["-6"] if ":" in address else []
    argv += ["-s", str(port)] if port else []
    # It would keep a file to resume from in the folder where it runs.
    moved = ["env", "--chdir=/run/stockade-lab", "stdbuf", "--output=L"]
    return [*moved, *argv, f"{service}://{f'[{address}]' if ':' in address else address}"]


def medusa(
    lab: Lab,
    place: str,
    host: Host,
    user: str,
    passwords: Sequence[str],
    *,
    tasks: int = 1,
    timeout: float = 60,
) -> Guesses:
    """Let medusa guess a user's ssh password from a place of the lab."""
    with tempfile.NamedTemporaryFile("w", prefix="passwords-") as words:
        words.write("".join(f"{password}\n" for password in passwords))
        words.flush()
        argv = ["medusa", "-h", host.address, "-u", user, "-P", words.name, "-M", "ssh"]
        begun = time.monotonic()
        result = lab.run(place, [*argv, "-t", str(tasks), "-b"], check=False, timeout=timeout)
    found = re.findall(r"ACCOUNT FOUND: .* User: (\S+) Password: (\S*) \[SUCCESS", result.stdout)
    return Guesses(
        tried=result.stdout.count("ACCOUNT CHECK:"),
        found=tuple(found),
        seconds=time.monotonic() - begun,
        result=result,
    )


def fail_ssh(lab: Lab, place: str, host: Host, user: str = "root", *, count: int = 1) -> Result:
    """Offer wrong passwords with OpenSSH's own client, ``count`` of them in one connection.

    sshd hangs up after six; each costs the two seconds or so for which PAM waits.
    """
    # echo answers ssh's question with the question, which is nobody's password.
    ask = ["env", "SSH_ASKPASS_REQUIRE=force", "SSH_ASKPASS=/bin/echo", "DISPLAY=:", "ssh"]
    loose = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    only = ["-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no"]
    argv = [*ask, *loose, *only, "-o", f"NumberOfPasswordPrompts={count}", "-o", "ConnectTimeout=5"]
    return lab.run(place, [*argv, f"{user}@{host.address}", "true"], check=False)


def fail_vnc(
    lab: Lab, place: str, host: Host, port: int = 5901, *, count: int = 1, timeout: float = 3
) -> list[str]:
    """Fail to log in by VNC ``count`` times and return each outcome; see rfb.py for the words."""
    argv = [sys.executable, str(PACKAGE / "rfb.py"), host.address, str(port)]
    argv += ["--count", str(count), "--timeout", str(timeout)]
    result = lab.run(place, argv, timeout=count * (timeout + 1) + 10)
    return [json.loads(line)["outcome"] for line in result.stdout.splitlines()]


@dataclasses.dataclass(frozen=True)
class Try:
    """One attempt to connect: when it began (seconds since the epoch) and what came of it."""

    at: float
    took: float
    open: bool
    reason: str


class Probe:
    """A process that tries to connect every 50 ms, from a place of the lab.

    As a context manager it ends with the block.
    """

    def __init__(
        self,
        lab: Lab,
        place: str,
        address: str,
        port: int,
        *,
        until: str = "refused",
        deadline: float = 30,
        patience: float = 0.3,
    ) -> None:
        argv = [sys.executable, str(PACKAGE / "probe.py"), address, str(port), "--until", until]
        argv += ["--deadline", str(deadline), "--patience", str(patience)]
        self._process = lab.popen(place, argv, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tries(self) -> Iterator[Try]:
        """Each try as it comes, until the probe ends."""
        if self._process.stdout is None:
            raise LabError("the probe has no standard output")
        for line in self._process.stdout:
            yield Try(**json.loads(line))

    def last(self) -> Try:
        """The try with which the state asked for came.

        Raises:
            LabError: it did not come before the deadline.
        """
        tries = list(self.tries())
        if self._process.wait() != 0 or not tries:
            raise LabError(f"what was probed for did not come; last: {tries[-1:]}")
        return tries[-1]


def start_vnc(host: Host, user: str, display: int = 1, *, timeout: float = 30) -> str:
    """Start TightVNC as a user does, with the ``tightvncserver`` command; return its log's path.

    It listens on 5900 + display, asks for VNC_PASSWORD and logs to ``~/.vnc/HOST:DISPLAY.log``.
    """
    home = host.run(f"getent passwd {user} | cut -d: -f6").stdout.strip()
    host.write(f"{home}/.vnc/xstartup", "#!/bin/sh\nexec sleep infinity\n", mode=0o755)
    host.run(f"echo {VNC_PASSWORD} | tightvncpasswd -f > {home}/.vnc/passwd")
    host.run(f"chmod 600 {home}/.vnc/passwd && chown -R {user}: {home}/.vnc")
    # A unit of its own: the server must not hang on the pipes of the command that started it.
    unit = ["systemd-run", "--quiet", "--collect", "-p", "Type=forking", "-p", f"User={user}"]
    unit += ["-p", f"WorkingDirectory={home}", f"--setenv=HOME={home}", f"--setenv=USER={user}"]
    unit += [f"--unit=vnc-{user}-{display}", "tightvncserver", f":{display}"]
    host.run([*unit, "-geometry", "640x480", "-depth", "16"], timeout=timeout)
    deadline = time.monotonic() + timeout
    port = _VNC_BASE_PORT + display
    while not host.run(f"ss -Htln 'sport = :{port}'").stdout:
        if time.monotonic() > deadline:
            raise LabError(f"{host.name}: Xtightvnc does not listen on {port}")
        time.sleep(0.05)
    return str(Path(home) / ".vnc" / f"{host.name}:{display}.log")


def stop_vnc(host: Host, user: str, display: int = 1) -> None:
    """End what ``start_vnc`` started; the log stays."""
    host.run(["systemctl", "stop", f"vnc-{user}-{display}.service"])
