# SPDX-License-Identifier: MIT
"""The agent's unit: how it stands, how it is switched, and whether it is healthy then."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from stockade.converge import facts
from stockade.converge.host import PYTHON, UNIT_FOLDERS, Host
from stockade.converge.wire import Wire


UNIT = "stockade-agent.service"
USERS_FOLDER = "/etc/sysusers.d/"
POLL = 0.1
PROPERTIES = ("Id", "ActiveState", "UnitFileState", "MainPID")


class Unhealthy(Exception):
    """The agent does not do what the manifest asks for; the text says what."""


class Units(NamedTuple):
    """How the agent's unit stands, and firewalld's ActiveState."""

    active: bool
    enabled: bool
    masked: bool
    failed: bool
    pid: int
    firewalld: str


def unit_name(paths: Sequence[str]) -> str:
    """Return the name of the unit among the manifest's paths."""
    for path in paths:
        if path.startswith(UNIT_FOLDERS) and path.endswith(".service"):
            return path.rsplit("/", 1)[-1]
    return UNIT


def units(host: Host, unit: str) -> Units:
    """Ask systemd, in one call."""
    properties = [word for name in PROPERTIES for word in ("-p", name)]
    shown = host.run("systemctl", "show", *properties, "--", unit, "firewalld.service")
    blocks = []
    for block in shown.out.split("\n\n"):
        pairs = [line.partition("=") for line in block.splitlines()]
        blocks.append({key: value for key, _, value in pairs})
    ours = next((block for block in blocks if block.get("Id") == unit), {})
    other = next((block for block in blocks if block.get("Id") == "firewalld.service"), {})
    state = ours.get("UnitFileState", "")
    pid = ours.get("MainPID", "0")
    return Units(
        active=ours.get("ActiveState") == "active",
        enabled=state.startswith("enabled"),
        masked=state.startswith("masked"),
        failed=ours.get("ActiveState") == "failed",
        pid=int(pid) if pid.isdigit() else 0,
        firewalld=other.get("ActiveState", ""),
    )


def verify(host: Host, staged: Path, unit: str, bundle: str) -> Optional[str]:
    """Return what systemd finds wrong with a unit file in a temporary folder, or None.

    Its interpreter and the agent may not lie in their places yet: the Python that runs now
    stands in for both.
    """
    if host.which("systemd-analyze") is None:
        return None
    text = staged.read_text(encoding="utf-8")
    text = text.replace(PYTHON, host.python).replace(bundle or PYTHON, host.python)
    staged.write_text(text, encoding="utf-8")
    done = host.run("systemd-analyze", "--man=no", "verify", str(staged), timeout=20.0)
    ours = [line for line in done.err.splitlines() if unit in line]
    if done.rc in (0, -1, 127) or not ours:
        return None
    return " / ".join(line.replace(str(staged), unit) for line in ours[:3])


def make_users(host: Host, paths: Sequence[str]) -> None:
    """Make the system users that written files in sysusers.d ask for: units may run as them.

    Raises:
        Unhealthy: they could not be made.
    """
    asking = [path for path in paths if path.startswith(USERS_FOLDER)]
    if asking:
        done = host.run("systemd-sysusers", *asking)
        if done.rc != 0:
            raise Unhealthy(f"systemd-sysusers: {done.words}")


def switch(
    host: Host, unit: str, actions: Sequence[str], *, new_unit: bool, deadline: float
) -> None:
    """Do what the changes of the plan ask: ``enable``, then ``start``, ``restart`` or ``reload``.

    Raises:
        Unhealthy: systemd could not.
    """
    if new_unit:
        _systemctl(host, deadline, "daemon-reload")
    for action in actions:
        verb = {"start": "restart", "reload": "reload-or-restart"}.get(action, action)
        if verb != "enable":
            host.run("systemctl", "reset-failed", unit)  # an old failure would forbid the start
        _systemctl(host, deadline, verb, unit)


def _systemctl(host: Host, deadline: float, *words: str) -> None:
    done = host.run("systemctl", *words, timeout=max(1.0, deadline - time.monotonic()))
    if done.rc != 0:
        said = last_words(host, words[-1]) if len(words) > 1 and words[0] != "enable" else ""
        raise Unhealthy(f"systemctl {' '.join(words)}: {said or done.words}")


def last_words(host: Host, unit: str) -> str:
    """Return the last line that the unit's own process logged, or ""."""
    shown = host.run(
        "journalctl", "-u", unit, "-n", "20", "-o", "cat", "--no-pager", "-q",
        f"_SYSTEMD_UNIT={unit}", timeout=10.0,
    )  # fmt: skip
    lines = [line.strip() for line in shown.out.splitlines() if line.strip()]
    return lines[-1][:500] if lines and shown.rc == 0 else ""


def wait_healthy(
    host: Host, unit: str, jails: Sequence[str], wire: Wire, deadline: float
) -> dict[str, Any]:
    """Return the agent's status once it is well.

    Raises:
        Unhealthy: it is not by ``deadline`` (monotonic seconds), or has already given up.
    """
    wire.phase("waiting for the agent")
    while True:
        status = facts.agent_status(host)
        trouble = _trouble(status, jails)
        now = units(host, unit)
        if status is not None and not trouble:
            if now.active:
                return status
            trouble = f"{unit} is not active, though an agent answers"
        if now.failed:
            raise Unhealthy(last_words(host, unit) or f"{unit} failed")
        final = status is not None and any(
            jail["state"] == "failed" for jail in status["jails"] if jail["name"] in jails
        )
        if final or time.monotonic() >= deadline:
            raise Unhealthy(trouble)
        time.sleep(POLL)


def _trouble(status: Optional[Mapping[str, Any]], jails: Sequence[str]) -> str:
    """Return what keeps the agent from being well, or ""."""
    if status is None:
        return "the agent does not answer on its control socket"
    states = {jail["name"]: jail for jail in status["jails"]}
    for name in jails:
        jail = states.get(name)
        if jail is None:
            return f"jail {name} is not there"
        if jail["state"] not in ("running", "waiting"):
            return f"jail {name} {jail['state']}: {jail['problem']}"
    firewall = status["firewall"]
    if firewall["proved_at"] is None:
        return f"firewall {firewall['backend']}: {firewall['problem'] or 'not proved yet'}"
    return ""
