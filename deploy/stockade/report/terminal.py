# SPDX-License-Identifier: MIT
"""A run on a terminal: live while it goes on, then what became of the hosts.

Progress goes to standard error, results to standard output. Without a terminal there is no
live display and no colour, and lines are not wrapped.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from stockade.model import Change, Host, HostResult
from stockade.report.text import count, names, plain


STYLES = {
    "ok": "green",
    "changed": "yellow",
    "failed": "red",
    "refused": "red",
    "unreachable": "magenta",
}
SIGNS = {"create": "+", "install": "+", "remove": "-"}
SHOWN = 8
"""Hosts under way that the live display names."""
ROWS = 50
"""Hosts that get a row of their own after a push; more are told by what became of them."""


class Progressing:
    """Shows hosts done, hosts under way, and what happens there; its methods fit any thread."""

    def __init__(self, console: Console, verb: str, total: int) -> None:
        self._console, self._lock = console, threading.Lock()
        self._phases: dict[str, str] = {}
        self._bar = Progress(
            TextColumn(verb),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task(verb, total=total)
        self._live = Live(
            console=console, get_renderable=self._shown, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live.is_started:
            self._live.stop()

    def phase(self, host: str, text: str) -> None:
        """Note what happens on a host now."""
        with self._lock:
            self._phases[host] = text

    def done(self, result: HostResult) -> None:
        """Count a host as done; one in trouble is named at once, its story comes in the end."""
        with self._lock:
            self._phases.pop(result.host, None)
        self._bar.advance(self._task)
        if result.error or not self._console.is_terminal:
            self.say(_outcome_line(result))

    def say(self, text: Text | str) -> None:
        """Print a line above the live display."""
        self._console.print(text, soft_wrap=True, highlight=False)

    def _shown(self) -> RenderableType:
        with self._lock:
            under_way = list(self._phases.items())
        lines = Table.grid(padding=(0, 2))
        lines.add_column(no_wrap=True, max_width=30)
        lines.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for host, text in under_way[:SHOWN]:
            lines.add_row("  " + plain(host), plain(text))
        if len(under_way) > SHOWN:
            lines.add_row(f"  and {len(under_way) - SHOWN} more", "")
        return Group(self._bar, lines)


def problem(result: HostResult) -> Text:
    """Return the one line of a host in trouble: cause and remedy."""
    text = Text.assemble(
        (plain(result.host), "bold"),
        " ",
        (result.outcome, STYLES[result.outcome]),
        f": {plain(result.error)}",
    )
    if result.remedy:
        text.append(f" ({plain(result.remedy)})", "italic")
    return text


def _outcome_line(result: HostResult) -> Text:
    what = f" ({count(len(result.changes), 'change')})" if result.changes else ""
    return Text.assemble(plain(result.host), " ", (result.outcome, STYLES[result.outcome]), what)


def show_changes(console: Console, results: Iterable[HostResult], *, diff: bool) -> None:
    """Print what changes, hosts with the same changes together."""
    alike: dict[tuple[Change, ...], list[str]] = defaultdict(list)
    for result in results:
        if result.changes:
            alike[tuple(result.changes)].append(result.host)
    for changes, hosts in sorted(alike.items(), key=lambda group: -len(group[1])):
        title = Text(names(hosts), "bold")
        if len(hosts) > 1:
            title.append(f"  ({len(hosts)} hosts)", "dim")
        console.print(title, soft_wrap=True)
        for change in changes:
            sign = SIGNS.get(change.action, "~")
            style = {"+": "green", "-": "red"}.get(sign, "yellow")
            line = Text.assemble(
                "  ",
                (sign, style),
                f" {plain(change.kind):<10} {plain(change.name)}",
                (f"  {plain(change.action)}", "dim"),
            )
            console.print(line, soft_wrap=True)
            if diff and change.diff:
                for row in change.diff.splitlines():
                    console.print(_diff_line(row), soft_wrap=True)


def _diff_line(row: str) -> Text:
    style = {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "dim")
    return Text("      " + plain(row.replace("\t", "    ")), style)


def show_notes(console: Console, results: Iterable[HostResult]) -> None:
    """Print what else there is to know, the same note of many hosts once."""
    noted: dict[str, list[str]] = defaultdict(list)
    for result in results:
        for note in result.notes:
            noted[note].append(result.host)
    for note, hosts in noted.items():
        for number, line in enumerate(note.splitlines()):
            lead = f"{names(hosts)}: " if number == 0 else "    "
            console.print(Text(lead + plain(line), "dim"), soft_wrap=True)


def show_results(console: Console, results: Sequence[HostResult]) -> None:
    """Print the table of a push: one row a host, or in a large fleet one an outcome."""
    if not results:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    if len(results) > ROWS:
        table.add_column("Outcome", no_wrap=True)
        table.add_column("Hosts", justify="right")
        table.add_column("Which")
        for outcome, style in STYLES.items():
            hosts = [result.host for result in results if result.outcome == outcome]
            if hosts:
                table.add_row(Text(outcome, style), str(len(hosts)), Text(names(hosts)))
    else:
        for heading in ("Host", "Outcome", "Changed"):
            table.add_column(heading, overflow="fold")
        table.add_column("Jails", justify="right")
        table.add_column("Seconds", justify="right", no_wrap=True)
        for result in results:
            table.add_row(
                Text(plain(result.host)),
                Text(result.outcome, STYLES[result.outcome]),
                Text(_tally(result.changes)),
                _jails(result.agent),
                f"{result.seconds:.1f}" if result.seconds else "",
            )
    console.print(table)


def _tally(changes: Sequence[Change]) -> str:
    kinds = Counter(change.kind for change in changes)
    return ", ".join(count(number, plain(kind)) for kind, number in kinds.items())


def _jails(agent: Mapping[str, object] | None) -> str:
    jails = agent.get("jails") if agent else None
    return str(len(jails)) if isinstance(jails, list) else ""


def show_problems(console: Console, results: Iterable[HostResult]) -> None:
    """Print a line for each host in trouble."""
    for result in results:
        if result.error:
            console.print(problem(result), soft_wrap=True)


def show_interrupted(
    console: Console, done: int, under_way: Mapping[str, str], not_begun: Sequence[str]
) -> None:
    """Print which hosts an interrupted run has done, left, and not begun."""
    console.print(Text(f"interrupted: {count(done, 'host')} done", "bold"), soft_wrap=True)
    for host, phase in under_way.items():
        line = f"  {plain(host)}: left while {plain(phase)}; the host ends or undoes that by itself"
        console.print(Text(line), soft_wrap=True)
    if not_begun:
        console.print(Text(f"  not begun: {names(not_begun)}"), soft_wrap=True)


def summary(results: Sequence[HostResult], *, planned: bool) -> str:
    """Return the last line: how many hosts came out how."""
    words = {
        "ok": "as they should be",
        "changed": "would change" if planned else "changed",
        "failed": "failed",
        "refused": "refused",
        "unreachable": "unreachable",
    }
    tally = Counter[str](result.outcome for result in results)
    parts = [f"{tally[outcome]} {word}" for outcome, word in words.items() if tally[outcome]]
    return f"{count(len(results), 'host')}: {', '.join(parts) or 'nothing to do'}"


def show_hosts(console: Console, hosts: Sequence[Host]) -> None:
    """Print the hosts as the inventory resolves them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Host", "Login", "Roles", "Groups"):
        table.add_column(heading, overflow="fold")
    for host in hosts:
        login = f"{host.user}@{host.address}" + (f":{host.port}" if host.port != 22 else "")
        table.add_row(
            Text(plain(host.name)),
            Text(plain(login) + (" (sudo)" if host.become else "")),
            Text(plain(", ".join(host.roles))),
            Text(plain(", ".join(host.groups))),
        )
    console.print(table)
