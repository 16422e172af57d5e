# SPDX-License-Identifier: MIT
"""What agents did when they were asked to, a line a host; and what pauses and holds bans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from stockade.model import HostResult
from stockade.report.agents import status_of
from stockade.report.terminal import ROWS, show_problems
from stockade.report.text import count, names, plain
from stockade_agent.control.protocol import PauseStatus, Request


ALL = "all"
IDS = 3
"""Ids that are named for a host."""


class Done(NamedTuple):
    """What an agent says that it did.

    Attributes:
        changed: ids, or for ``resume`` jails.
        bans: how many were lifted.
        held: bans that waited.
        until: when a pause ends by itself, or None.
        within: address that is not banned -> jails and their banned networks that hold it.
    """

    changed: tuple[str, ...]
    bans: int
    held: int
    until: float | None
    within: Mapping[str, Sequence[tuple[str, str]]]


def done_of(answer: Mapping[str, Any] | None) -> Done | None:
    """Return what was done, or None where nothing was, or in words that nobody understands."""
    if not answer or not answer.get("ok"):
        return None
    try:
        result = answer["result"]
        until = result.get("until")
        return Done(
            tuple(str(one) for one in result["changed"]),
            int(result.get("count", len(result["changed"]))),
            int(result.get("held", 0)),
            None if until is None else float(until),
            {str(one): [(str(j), str(n)) for j, n in h] for one, h in _within(result).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _within(result: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = result.get("within", {})
    return found


def show_answers(console: Console, request: Request, results: Sequence[HostResult]) -> None:
    """Print a line for each host, in a large fleet one for hosts that answer the same."""
    rows = [(plain(one.host), _words(request, one.answer)) for one in results if not one.error]
    if len(rows) > ROWS:
        alike: dict[tuple[str, str], list[str]] = defaultdict(list)
        for host, answer in rows:
            alike[answer].append(host)
        rows = [(names(hosts), answer) for answer, hosts in alike.items()]
    width = max((len(name) for name, _ in rows), default=0)
    for name, (words, style) in rows:
        line = Text.assemble((name, "bold"), " " * (width - len(name) + 2), (words, style))
        console.print(line, soft_wrap=True)
    show_problems(console, results)


def summary(request: Request, results: Sequence[HostResult]) -> str:
    """Return the last line: on how many hosts it was done, and to how many bans."""
    done = [one for result in results if (one := done_of(result.answer)) is not None]
    hosts = f"{len(done)} of {count(len(results), 'host')}"
    if request.command == "panic":
        return f"{hosts} paused, {count(sum(one.bans for one in done), 'ban')} lifted"
    if request.command == "resume":
        return f"{hosts} asked, {sum(bool(one.changed) for one in done)} resumed"
    bans, verb = sum(len(one.changed) for one in done), "made"
    if request.command == "release" and request.words:
        bans, verb = sum(one.held for one in done), "dropped"
    elif request.command == "unban":
        bans, verb = sum(one.bans for one in done), "lifted"
    return f"{hosts} asked, {count(bans, 'ban')} {verb}"


def has_no_jail(results: Sequence[HostResult]) -> bool:
    """Return whether no agent runs the jail that was named: most likely it is misspelt."""
    replies = [result.answer for result in results if result.answer is not None]
    return bool(replies) and not any(reply.get("ok") for reply in replies)


def show_pauses(console: Console, results: Iterable[HostResult]) -> None:
    """Print where nobody is banned, and where bans wait for an answer; nothing if nowhere."""
    paused: dict[str, list[str]] = defaultdict(list)
    held: list[str] = []
    for result in results:
        status = status_of(result)
        if status is None:
            continue
        for pause in status.pauses:
            paused[_pause(pause)].append(result.host)
        held += [
            f"{plain(result.host)}: HELD: {count(jail.held, 'ban')} of {plain(jail.name)}: "
            "stockade release [--drop]"
            for jail in status.jails
            if jail.held
        ]
    for words, hosts in paused.items():
        where = names(hosts) + (f" ({len(hosts)} hosts)" if len(hosts) > 1 else "")
        console.print(Text(f"{where}: {words}", "bold red"), soft_wrap=True)
    for line in held:
        console.print(Text(line, "bold yellow"), soft_wrap=True)


def _pause(pause: PauseStatus) -> str:
    since = "" if pause.since is None else f" since {_moment(pause.since)}"
    by = f" by {plain(pause.by)}" if pause.by else ""
    end = "" if pause.until is None else f" {_moment(pause.until)} or"
    who = f"{plain(pause.jail)} " if pause.jail else ""
    return f"{who}PAUSED{since}{by}, until{end} stockade resume"


def _moment(at: float) -> str:
    """Return a time as the clock of who sits here shows it; a host may tell any."""
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OSError, OverflowError, TypeError, ValueError):
        return plain(str(at))


def _words(request: Request, answer: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return what one agent answered, and its style."""
    if answer is not None and answer.get("ok") is False:
        return plain(str(answer.get("error", ""))), "dim"
    done = done_of(answer)
    if done is None:
        return "its agent's answer is not understood", "yellow"
    return _SAID[request.command](request, done), "green" if done.changed else ""


def _panic(request: Request, done: Done) -> str:
    jails = f"{'jail' if len(request.ids) == 1 else 'jails'} {', '.join(request.ids)} "
    end = "stockade resume" if done.until is None else _moment(done.until)
    lifted = f"{count(done.bans, 'ban')} lifted" if done.bans else "nobody was banned"
    return f"{plain(jails) if request.ids else ''}paused until {end}, {lifted}"


def _resume(_request: Request, done: Done) -> str:
    jails = ["all jails" if name == ALL else name for name in done.changed]
    return f"resumed: {names(jails)}" if jails else "nothing was paused"


def _release(request: Request, done: Done) -> str:
    if request.words:
        return f"{count(done.held, 'held ban')} dropped"
    return f"banned: {names(done.changed, IDS)}" if done.changed else "none was held back"


def _ban(_request: Request, done: Done) -> str:
    return f"banned: {names(done.changed, IDS)}" if done.changed else "banned already"


def _unban(_request: Request, done: Done) -> str:
    said = f"unbanned: {names(done.changed, IDS)}" if done.changed else "not banned"
    held = [(id_, *one) for id_, holding in done.within.items() for one in holding]
    return said + "".join(
        f"; {plain(id_)} is within {plain(network)}, which {plain(jail)} bans"
        for id_, jail, network in held
    )


_SAID: Mapping[str, Callable[[Request, Done], str]] = {
    "ban": _ban,
    "panic": _panic,
    "release": _release,
    "resume": _resume,
    "unban": _unban,
}
