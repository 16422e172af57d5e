# SPDX-License-Identifier: MIT
"""The answer to ``status``, put together from what the parts of the daemon know."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Callable

from stockade_agent import __version__
from stockade_agent.brake import Brake
from stockade_agent.control.protocol import (
    ActionStatus,
    AgentStatus,
    BanStatus,
    FirewallStatus,
    JailStatus,
    PauseStatus,
)
from stockade_agent.control.rows import Rows
from stockade_agent.enforcement import Enforcement
from stockade_agent.errors import ConfigError
from stockade_agent.guard import Guard
from stockade_agent.guards import Guards
from stockade_agent.healing import Healing
from stockade_agent.intake import FILE, Intake
from stockade_agent.model import Ban
from stockade_agent.plain import plain
from stockade_agent.protected import Protected
from stockade_agent.specs import Shield


def of_agent(
    jails: Iterable[JailStatus],
    firewall: FirewallStatus,
    faults: Iterable[str],
    never_banned: Iterable[str],
    pauses: Iterable[PauseStatus],
    *,
    now: float,
    started_at: float,
    lines: int,
) -> AgentStatus:
    """Return the whole answer."""
    return AgentStatus(
        version=__version__,
        python=python(),
        pid=os.getpid(),
        started_at=started_at,
        now=now,
        rss_bytes=rss_bytes(),
        lines=lines,
        firewall=firewall,
        jails=tuple(jails),
        faults=tuple(faults),
        never_banned=tuple(never_banned),
        pauses=tuple(pauses),
    )


def of_jail(
    guard: Guard,
    intake: Intake,
    brake: Brake,
    now: float,
    is_enforced: Callable[[Ban], bool],
    totals: tuple[int, int],
    actions: tuple[ActionStatus, ...] = (),
) -> JailStatus:
    """Return how a jail is; ``totals`` are its failures and bans since the ledger began."""
    spec, logs = guard.spec, intake.logs(guard.name)
    state = "failed" if guard.failed else "running" if logs else "waiting"
    braked = brake.problem(guard.name, now)
    problems = (braked, guard.problem, intake.problem(guard.name))
    bans = sorted(guard.jail.banned.values(), key=lambda ban: ban.at)
    return JailStatus(
        name=guard.name,
        state=state,
        problem="; ".join(problem for problem in problems if problem),
        source=intake.chosen.get(guard.name, FILE),
        logs=logs,
        ports=ports(spec.shield) if spec.shield else "",
        maxretry=spec.maxretry,
        findtime=spec.findtime,
        bantime=spec.bantime,
        failed_now=guard.jail.failed_now,
        failed_total=totals[0],
        banned_now=len(bans),
        banned_total=totals[1],
        bans=Rows(
            bans,
            lambda ban: BanStatus(ban.id, ban.at, ban.expires_at, ban.failures, is_enforced(ban)),
        ),
        actions=actions,
        failed_run=guard.jail.failed_total,
        banned_run=guard.jail.banned_total,
        backend=spec.backend,
        paused=brake.is_paused(guard.name, now),
        held=brake.held(guard.name),
        prefix6=spec.prefix6[0] if spec.prefix6 else None,
    )


def of_failed(fault: ConfigError) -> JailStatus:
    """Return how a jail is that the configuration keeps from running."""
    return JailStatus(
        name=fault.jail or "",
        state="failed",
        problem=str(fault),
        source="",
        logs=(),
        ports="",
        maxretry=0,
        findtime=0,
        bantime=0,
        failed_now=0,
        failed_total=0,
        banned_now=0,
        banned_total=0,
        bans=(),
    )


def of_firewall(
    enforcement: Enforcement, healing: Healing, wanted: str, now: float
) -> FirewallStatus:
    """Return how the backend is."""
    war = healing.warning(now)
    return FirewallStatus(
        backend=enforcement.firewall.name if enforcement.firewall else "",
        wanted=wanted,
        proved_at=enforcement.proved_at,
        problem=enforcement.problem,
        warnings=(*enforcement.warnings, war) if war else enforcement.warnings,
        healed=healing.count,
        healed_at=healing.at,
        healed_after=healing.by,
    )


def of_pauses(brake: Brake, now: float) -> tuple[PauseStatus, ...]:
    """Return what ``panic`` began and nothing has ended."""
    pauses = brake.pauses(now).items()
    return tuple(PauseStatus(jail, one.since, one.until, one.by) for jail, one in pauses)


def never_banned(protected: Protected, guards: Iterable[Guard]) -> tuple[str, ...]:
    """Return whom the agent does not ban, in words of the configuration where it has some."""
    guards = tuple(guards)
    spares = any(guard.spec.ignorepeers for guard in guards)
    peers = protected.peers.present() if spares else ()
    addresses = sorted(
        {str(a) for a in (*protected.controllers, *protected.gateways, *protected.own)}
    )
    listed = dict.fromkeys(entry for guard in guards for entry in guard.spec.ignoreip)
    return tuple(dict.fromkeys((*listed, *addresses, *peers)))


def ports(shield: Shield) -> str:
    """Return what a shield closes: ``22,5901:5910``, ``53/udp``, or ``all``."""
    if not shield.ports:
        return "all"
    text = ",".join(str(a) if a == b else f"{a}:{b}" for a, b in shield.ports)
    return text if shield.protocols == ("tcp",) else f"{text}/{','.join(shield.protocols)}"


def python() -> str:
    """Return the version of Python that serves us."""
    return ".".join(str(part) for part in sys.version_info[:3])


def rss_bytes() -> int:
    """Return the memory that the process holds now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def summary(guards: Guards, problem: str) -> str:
    """Return all in one line, for systemd."""
    banned = sum(guard.jail.banned_now for guard in guards.values())
    text = f"{_many(len(guards), 'jail')}, {banned} banned"
    if guards.faults:
        text += f", {_many(len(guards.faults), 'fault')}"
    return f"{text}; firewall: {plain(problem)}" if problem else text


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
