# SPDX-License-Identifier: MIT
"""What agents say of themselves, as tables: one for the fleet, one page for a single host."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stockade.model import HostResult
from stockade.report.terminal import show_notes, show_problems
from stockade.report.text import count, plain, span
from stockade_agent.control.protocol import AgentStatus, BanStatus, JailStatus


STATES = {"running": "green", "waiting": "yellow", "failed": "red"}
NAMED = 3
"""Banned addresses that the fleet's table names for a jail."""


def status_of(result: HostResult) -> AgentStatus | None:
    """Return the agent's status, or None when there is none that can be understood."""
    if result.agent is None:
        return None
    try:
        return AgentStatus.from_json(result.agent)
    except (KeyError, TypeError, ValueError):
        return None


def show_status(console: Console, results: Sequence[HostResult], jail: str | None) -> None:
    """Print a row for each host and jail, then the troubles."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Host", "Jail", "State"):
        table.add_column(heading, overflow="fold")
    for heading in ("Failed", "Banned"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Firewall", overflow="fold")
    table.add_column("Now banned", overflow="fold")
    troubles: list[Text] = []
    for result in results:
        status = status_of(result)
        if status is None:
            if result.agent is not None:
                troubles.append(Text(f"{plain(result.host)}: its agent's answer is not understood"))
            continue
        troubles += _troubles(result.host, status)
        for one in status.jails:
            if jail is None or one.name == jail:
                table.add_row(
                    Text(plain(result.host)),
                    Text(plain(one.name)),
                    _state(one),
                    f"{one.failed_now}/{one.failed_total}",
                    f"{one.banned_now}/{one.banned_total}",
                    Text(plain(status.firewall.backend)),
                    Text(_banned(one.bans)),
                )
    if table.row_count:
        console.print(table)
    for trouble in troubles:
        console.print(trouble, soft_wrap=True)
    show_problems(console, results)
    show_notes(console, results)


def _state(jail: JailStatus) -> Text:
    """Return what a jail does; before all else, that it does not ban."""
    if jail.paused:
        return Text("PAUSED", "bold red")
    if jail.held:
        return Text(f"HELD {jail.held}", "bold yellow")
    return Text(plain(jail.state), STATES.get(jail.state, ""))


def _banned(bans: Sequence[BanStatus]) -> str:
    shown = [plain(ban.id) for ban in bans[:NAMED]]
    more = f" and {len(bans) - NAMED} more" if len(bans) > NAMED else ""
    return ", ".join(shown) + more


def _troubles(host: str, status: AgentStatus) -> list[Text]:
    lines = [f"jail {jail.name}: {jail.problem}" for jail in status.jails if jail.problem]
    lines += [
        f"jail {jail.name}, action {action.name}: {action.problem}"
        for jail in status.jails
        for action in jail.actions
        if action.problem
    ]
    firewall = status.firewall
    if firewall.problem:
        lines.append(f"firewall {firewall.backend}: {firewall.problem}")
    lines += [*firewall.warnings, *status.faults]
    return [Text(f"{plain(host)}: {plain(line)}", "yellow") for line in lines]


def show_host(console: Console, result: HostResult, jail: str | None) -> None:
    """Print everything that one host's agent says."""
    status = status_of(result)
    if status is None:
        show_status(console, [result], jail)
        return
    facts = Table.grid(padding=(0, 2))
    firewall = status.firewall
    proved = "" if firewall.proved_at is None else f", proved {_ago(firewall.proved_at, status)}"
    for key, value in (
        ("host", result.host),
        ("agent", f"{status.version}, Python {status.python}, process {status.pid}"),
        ("running for", span(status.now - status.started_at)),
        ("memory", f"{status.rss_bytes / 2**20:.1f} MiB"),
        ("log lines read", str(status.lines)),
        ("firewall", f"{firewall.backend} (asked for: {firewall.wanted}){proved}"),
        ("never banned", ", ".join(status.never_banned) or "nothing listed"),
    ):
        facts.add_row(Text(key, "bold"), Text(plain(value)))
    console.print(facts)
    for one in status.jails:
        if jail is None or one.name == jail:
            _show_jail(console, one, status)
    for line in _troubles(result.host, status):
        console.print(line, soft_wrap=True)


def _show_jail(console: Console, jail: JailStatus, status: AgentStatus) -> None:
    console.print()
    console.print(
        Text.assemble(
            ("jail " + plain(jail.name), "bold"),
            " ",
            _state(jail),
            f"  ports {plain(jail.ports)}, {jail.maxretry} failures in {span(jail.findtime)} earn "
            + ("a ban for ever" if jail.bantime < 0 else f"{span(jail.bantime)}"),
        ),
        soft_wrap=True,
    )
    logs = ", ".join(plain(log) for log in jail.logs) or "nothing yet"
    console.print(Text(f"  {plain(jail.source)}: {logs}"), soft_wrap=True)
    console.print(
        f"  {jail.failed_now} failing now, {jail.failed_total} since the start; "
        f"{count(jail.banned_now, 'ban')} now, {jail.banned_total} since the start",
        highlight=False,
    )
    if not jail.bans:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("  Banned", "Since", "Until", "Failures", "In force"):
        table.add_column(heading)
    for ban in jail.bans:
        left = "for ever" if ban.expires_at is None else f"in {span(ban.expires_at - status.now)}"
        table.add_row(
            Text("  " + plain(ban.id)),
            _ago(ban.at, status),
            left,
            str(ban.failures),
            Text("yes", "green") if ban.enforced else Text("NO", "red"),
        )
    console.print(table)


def _ago(at: float, status: AgentStatus) -> str:
    return f"{span(status.now - at)} ago"
