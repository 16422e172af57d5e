# SPDX-License-Identifier: MIT
"""One exec on the host: ``check`` what a push would change, ``push`` it, or ``ask`` the agent."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from stockade.converge import facts, push, service
from stockade.converge.host import Host, Refusal
from stockade.converge.wire import HangUp, Wire


LOCK = "/run/stockade-push.lock"
NO_JAIL = "no jail"
PATIENCE = 60.0
"""Seconds for the agent to do what it is asked, such as to lift very many bans."""
COMING = 10.0
"""Seconds that an agent is waited for which a push has just started again."""


def main(marker: str, connection: str, reader: BinaryIO, writer: BinaryIO, request: str) -> None:
    """Answer one request, which is JSON; ``stockade.push.program`` says what is in it.

    ``connection`` is ``$SSH_CONNECTION`` as the login shell saw it, or "".
    """
    wire = Wire(marker, reader, writer)
    order = json.loads(request)
    host = Host(order["root"], sys.executable)
    # The controller may go away at any moment: what has begun is ended, or put back.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    try:
        answer = _answer(host, order, connection, wire)
    except Refusal as refusal:
        answer = {
            "outcome": "refused",
            "error": refusal.message,
            "remedy": refusal.remedy,
            "notes": list(refusal.notes),
        }
    except HangUp as error:
        answer = {"outcome": "failed", "error": f"{error}; nothing was changed"}
    except Exception as error:  # noqa: BLE001 - the last resort; the controller shows the trace
        answer = {
            "outcome": "failed",
            "error": f"{type(error).__name__}: {error}",
            "trace": traceback.format_exc(),
        }
    wire.say("result", **answer)


def _stop(_signal: int, _frame: Any) -> None:
    raise SystemExit(143)


def _answer(host: Host, order: Mapping[str, Any], connection: str, wire: Wire) -> dict[str, Any]:
    wire.phase("looking")
    unit = service.unit_name([file["path"] for file in order["files"]])
    now = service.units(host, unit)
    told = facts.gather(host, order, connection, now.firewalld)
    if order["mode"] == "ask":
        return {"facts": told, **_asked(host, order["ask"], unit, now)}
    try:
        facts.refuse_unusable(host, order, told)
        if order["mode"] == "check":
            return {"facts": told, **push.check(host, order, told, unit, now, wire)}
        if told["missing"] or order["deploys"]:
            return {"facts": told, "outcome": "missing"}
        with _lock(host, order["lock_timeout"]):
            return {"facts": told, **push.push(host, order, told, unit, now, wire)}
    except Refusal as refusal:
        return {
            "facts": told,
            "outcome": "refused",
            "error": refusal.message,
            "remedy": refusal.remedy,
            "notes": list(refusal.notes),
        }


def _asked(host: Host, request: Mapping[str, Any], unit: str, now: service.Units) -> dict[str, Any]:
    """Return what the agent replies, or why it does not."""
    if request["command"] == "status":
        status = facts.agent_status(host)
        if status is not None:
            return {"outcome": "ok", "agent": status}
        return _silent(host, unit, now)
    if host.root == "/" and os.geteuid() != 0:
        raise Refusal("not root on this host", "set ansible_become: true, or ansible_user: root")
    deadline = time.monotonic() + COMING
    reply = facts.ask(host, request, PATIENCE)
    while reply is None and now.active and time.monotonic() < deadline:
        time.sleep(0.2)
        now = service.units(host, unit)
        reply = facts.ask(host, request, PATIENCE)
    if reply is None:
        return _silent(host, unit, now)
    if reply["ok"] or reply.get("code") == NO_JAIL:
        return {"outcome": "ok", "answer": reply}
    said = str(reply.get("error", ""))
    if said == f"no command {request['command']!r}":
        raise Refusal(
            f"the agent is too old for {request['command']}", "stockade push brings a newer one"
        )
    return {"outcome": "failed", "error": said, "answer": reply}


def _silent(host: Host, unit: str, now: service.Units) -> dict[str, Any]:
    """Return why no agent answers."""
    if not facts.installed(host):
        return {
            "outcome": "failed",
            "error": "no agent is installed",
            "remedy": "stockade push installs it",
        }
    if host.root == "/" and os.geteuid() != 0:
        raise Refusal("not root on this host", "set ansible_become: true, or ansible_user: root")
    said = service.last_words(host, unit)
    state = "runs" if now.active else "does not run"
    return {
        "outcome": "failed",
        "error": f"the agent {state} and does not answer{': ' + said if said else ''}",
        "remedy": f"systemctl status {unit} on the host, or stockade push",
    }


@contextmanager
def _lock(host: Host, timeout: float) -> Iterator[None]:
    """Keep other pushes out; the kernel gives the lock back however this process ends."""
    deadline = time.monotonic() + timeout
    with host.at(LOCK).open("a+", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    raise Refusal(
                        f"another push is under way on this host (process {file.read().strip()})",
                        "wait for it to end",
                    ) from None
                time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
