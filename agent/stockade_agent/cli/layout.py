# SPDX-License-Identifier: MIT
"""Text in the layout of ``fail2ban-client``, which scripts read by regular expressions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Union

from stockade_agent.control.protocol import BanStatus, JailStatus
from stockade_agent.plain import plain, printable


Node = tuple[str, Union[str, Sequence["Node"]]]
"""A label, and its value or what hangs from it."""

SHORT, CYMRU = "short", "cymru"
_LATEST = 253402214400.0
"""The last day that can be written, and the end of a ban that never ends."""


def status(jails: Sequence[JailStatus], flavor: str = "", *, whole: bool = False) -> str:
    """Return the list of jails; with ``whole``, each with what is known of it."""
    names = sorted(jail.name for jail in jails)
    nodes: list[Node] = [("Number of jail", str(len(names))), ("Jail list", ", ".join(names))]
    if whole and jails:
        inorder = sorted(jails, key=lambda jail: jail.name)
        each: list[Node] = [(f"Jail: {jail.name}", _of_jail(jail, flavor)) for jail in inorder]
        nodes.append(("Status for the jails:", each))
    return "\n".join(["Status", *_tree(nodes)])


def jail_status(jail: JailStatus, flavor: str = "") -> str:
    """Return what is known of a jail.

    Args:
        jail: as the agent told it.
        flavor: ``short`` leaves the addresses out, ``cymru`` has lines for what only a lookup in
            another network would tell; anything else is ``basic``.
    """
    return "\n".join([f"Status for the jail: {jail.name}", *_tree(_of_jail(jail, flavor))])


def statistics(jails: Iterable[JailStatus]) -> str:
    """Return a table of all jails: who serves them, failures and bans, now and in total."""
    rows = [
        (j.name, backend(j), j.failed_now, j.failed_run, j.banned_now, j.banned_run)
        for j in sorted(jails, key=lambda jail: jail.name)
    ]
    least = (8, 8, 3, 3, 3, 3)
    widths = [max([*(len(str(row[i])) for row in rows), least[i]]) for i in range(len(least))]
    name, served, *numbers = widths
    failures, bans = (numbers[0] + numbers[1] + 3, numbers[2] + numbers[3] + 3)
    spans = (name, served, failures, bans)
    row = f"{{:<{name}}} ║ {{:<{served}}} ║ {{:{{}}{numbers[0]}}} │ {{:{{}}{numbers[1]}}} ║ "
    row += f"{{:{{}}{numbers[2]}}} │ {{:{{}}{numbers[3]}}}"
    lines = [
        f"{'':{name}} ║ {'':{served}} ║ {'Filter':{failures}} ║ {'Actions':{bans}}",
        f"{'Jail':{name}} ║ {'Backend':{served}} ╟─{'─' * failures}─╫─{'─' * bans}─",
        row.format("", "", "cur", "<", "tot", "<", "cur", "<", "tot", "<"),
        "═╬═".join("═" * span for span in spans) + "═",
    ]
    for told in rows:
        counts = [word for count in told[2:] for word in (count, ">")]
        lines.append(row.format(told[0], told[1], *counts))
    lines.append("═╩═".join("═" * span for span in spans) + "═")
    return "\n".join(lines)


def backend(jail: JailStatus) -> str:
    """Return who serves a jail, in fail2ban's words; ``auto`` is what it came to."""
    if jail.source == "journal":
        return "systemd"
    return "pyinotify" if jail.backend in ("auto", "") else jail.backend


def by_end(bans: Iterable[BanStatus]) -> list[BanStatus]:
    """Return bans, those that end first before the others."""
    return sorted(bans, key=_end)


def with_time(ban: BanStatus) -> str:
    """Return when a ban began, for how long, and when it ends, in local time."""
    seconds = -1 if ban.expires_at is None else int(ban.expires_at - ban.at)
    return f"{plain(ban.id)} \t{_moment(ban.at)} + {seconds} = {_moment(_end(ban))}"


def listed(values: Sequence[Any], title: str, none: str, *, numbered: bool = False) -> str:
    """Return a list under its title, or what is said of none."""
    if not values:
        return none
    texts = [f"[{i}]: {value}" if numbered else str(value) for i, value in enumerate(values)]
    return "\n".join([title, *(f"|- {text}" for text in texts[:-1]), f"`- {texts[-1]}"])


def _of_jail(jail: JailStatus, flavor: str) -> list[Node]:
    if jail.source == "journal":
        source = ("Journal matches", " + ".join(printable(log) for log in jail.logs))
    elif jail.source == "bans":
        source = ("File list", "")
    else:
        source = ("File list", " ".join(printable(log) for log in jail.logs))
    actions: list[Node] = [
        ("Currently banned", str(jail.banned_now)),
        ("Total banned", str(jail.banned_run)),
    ]
    if flavor != SHORT:
        actions.append(("Banned IP list", " ".join(plain(ban.id) for ban in jail.bans)))
    if flavor == CYMRU:
        names = ("ASN", "Country", "RIR")
        actions += [(f"Banned {name} list", "error") for name in names]
    failures: list[Node] = [
        ("Currently failed", str(jail.failed_now)),
        ("Total failed", str(jail.failed_run)),
        source,
    ]
    return [("Filter", failures), ("Actions", actions)]


def _tree(nodes: Sequence[Node], indent: str = "") -> Iterator[str]:
    for number, (label, what) in enumerate(nodes):
        mark, under = ("`-", "   ") if number == len(nodes) - 1 else ("|-", "|  ")
        if isinstance(what, str):
            yield f"{indent}{mark} {label}:\t{what}"
        else:
            yield f"{indent}{mark} {label}"
            yield from _tree(what, indent + under)


def _end(ban: BanStatus) -> float:
    return _LATEST if ban.expires_at is None else ban.expires_at


def _moment(at: float) -> str:
    if at >= _LATEST:
        return "9999-12-31 23:59:59"
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006 - local time
