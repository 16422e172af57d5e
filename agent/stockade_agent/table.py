# SPDX-License-Identifier: MIT
"""The agent's status for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Optional

from stockade_agent.control.protocol import (
    ActionStatus,
    AgentStatus,
    BanStatus,
    FirewallStatus,
    JailStatus,
    PauseStatus,
)
from stockade_agent.plain import plain


WIDTH = 80
SHOWN = 10
"""Bans of a jail that are listed when all jails are shown."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_HEAD = ("JAIL", "STATE", "SOURCE", "PORTS", "FAILED", "TOTAL", "BANNED", "TOTAL")
_LEFT = 4


def lines(answer: AgentStatus, *, detailed: bool = False) -> Iterator[str]:
    """Yield the lines of a status; ``detailed`` lists logs and every ban."""
    up, memory = duration(answer.now - answer.started_at), answer.rss_bytes / 2**20
    yield from _wrapped(
        f"stockade-agent {answer.version}: ",
        f"pid {answer.pid}, up {up}, {memory:.1f} MiB, {_count(answer.lines)} lines read",
    )
    yield from _firewall(answer.firewall, answer.now)
    for pause in answer.pauses:
        yield from _wrapped("PAUSED: ", _pause(pause, answer.now))
    for fault in answer.faults:
        yield from _wrapped("fault: ", fault)
    yield ""
    if not answer.jails:
        yield "no jail is enabled"
        return
    yield from _rows([_HEAD, *(_row(jail) for jail in answer.jails)])
    for jail in answer.jails:
        told = list(_details(jail, answer.now, detailed=detailed))
        if told:
            yield ""
            yield from _wrapped("", jail.name + ":")
            yield from told


def duration(seconds: Optional[float]) -> str:
    """Return a time span in its two largest units: ``2 h 5 min``."""
    if seconds is None:
        return "ever"
    rest = max(0, round(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
    return " ".join(part for part in parts[:2] if part) or "0 s"


def _firewall(firewall: FirewallStatus, now: float) -> Iterator[str]:
    if firewall.backend:
        text = f"firewall: {firewall.backend}"
        if firewall.wanted != firewall.backend:
            text += f" (configured: {firewall.wanted})"
        if firewall.proved_at is not None:
            text += f", worked {duration(now - firewall.proved_at)} ago"
        yield from _wrapped("", text)
    if firewall.healed_at is not None:
        times = "once" if firewall.healed == 1 else f"{_count(firewall.healed)} times"
        taker = f", by {firewall.healed_after}" if firewall.healed_after else ""
        ago = duration(now - firewall.healed_at)
        yield from _wrapped("firewall: ", f"put back {times} after being taken{taker}, {ago} ago")
    if firewall.problem:
        yield from _wrapped("firewall: ", f"PROBLEM: {firewall.problem}")
    for warning in firewall.warnings:
        yield from _wrapped("firewall: ", warning)


def _pause(pause: PauseStatus, now: float) -> str:
    who = f"jail {pause.jail}" if pause.jail else "all jails"
    end = "" if pause.until is None else f" for {duration(pause.until - now)} more, or"
    since = "" if pause.since is None else f" {duration(now - pause.since)} ago"
    by = f" by {pause.by}" if pause.by else ""
    begun = f"; paused{since}{by}" if since or by else ""
    return f"{who}: nobody is banned but by hand{end} until stockade-agent resume{begun}"


def _row(jail: JailStatus) -> tuple[str, ...]:
    counts = (jail.failed_now, jail.failed_total, jail.banned_now, jail.banned_total)
    words = (_cell(jail.name, 16), jail.state, jail.source or "-", _cell(jail.ports, 12) or "-")
    return (*words, *(_count(count) for count in counts))


def _cell(text: str, width: int) -> str:
    text = plain(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _count(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def _rows(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(_HEAD))]
    for row in rows:
        cells = [
            cell.ljust(width) if n < _LEFT else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths))
        ]
        yield "  ".join(cells).rstrip()


def _details(jail: JailStatus, now: float, *, detailed: bool) -> Iterator[str]:
    if jail.problem:
        yield from _wrapped("  problem: ", jail.problem)
    for action in jail.actions:
        if detailed or action.state == "failed":
            yield from _wrapped("  action ", _action(action))
    if detailed:
        until = duration(None if jail.bantime < 0 else jail.bantime)
        by = "" if jail.prefix6 is None else f", IPv6 by /{jail.prefix6}"
        yield (f"  {jail.maxretry} failures within {duration(jail.findtime)} ban for {until}{by}")
        for log in jail.logs:
            yield from _wrapped("  log: ", log)
    for ban in jail.bans if detailed else jail.bans[-SHOWN:]:
        yield from _wrapped("  ", _ban(ban, now))
    if not detailed and len(jail.bans) > SHOWN:
        rest = f"{len(jail.bans) - SHOWN} more: stockade-agent status {jail.name}"
        yield from _wrapped("  and ", rest)


def _action(action: ActionStatus) -> str:
    counts = ((action.queued, "queued"), (action.failed, "not taken"))
    told = f"{action.name}: " + ", ".join(
        (action.state, *(f"{count} {what}" for count, what in counts if count))
    )
    return f"{told}: {action.problem}" if action.problem else told


def _ban(ban: BanStatus, now: float) -> str:
    left = "for ever" if ban.expires_at is None else f"{duration(ban.expires_at - now)} left"
    why = f"{ban.failures} failures" if ban.failures else "by hand"
    text = f"{ban.id}  {left}, {why}"
    return text if ban.enforced else f"{text}, NOT ENFORCED"


def _wrapped(label: str, text: str) -> Iterator[str]:
    """Yield a text in lines that fit, cut anywhere: it may have no spaces."""
    text = plain(text)
    room = WIDTH - len(label)
    while True:
        cut = len(text) if len(text) <= room else text.rfind(" ", 0, room + 1)
        if cut <= 0:
            cut = room
        yield label + text[:cut]
        text = text[cut:].lstrip(" ")
        if not text:
            return
        label = " " * len(label)
