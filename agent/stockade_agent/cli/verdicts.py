# SPDX-License-Identifier: MIT
"""What each jail makes of a line: its date, the regex that matched or came nearest, who counts."""

from __future__ import annotations

import json as notation
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from typing import Any, Optional

from stockade_agent import config, inspection
from stockade_agent.cli.codes import OK
from stockade_agent.errors import ConfigError, RegexError
from stockade_agent.judgement import (
    CONTEXT,
    FAILURE,
    GIVEN_UP,
    IGNORED,
    MISSED,
    PENDING,
    Count,
    Date,
    Judge,
    Judgement,
    Regex,
)
from stockade_agent.model import FOREVER
from stockade_agent.plain import plain, printable
from stockade_agent.protected import Protected
from stockade_agent.resolver import lookup
from stockade_agent.specs import AgentSpec, JailSpec
from stockade_agent.table import duration


_LABEL = 12


def show(directory: str, lines: Sequence[str], jails: Sequence[str], *, json: bool) -> int:
    """Print what the jails make of lines that follow each other, and return the exit code.

    Args:
        directory: the configuration.
        lines: the lines.
        jails: their names; none for all that are enabled.

    Raises:
        ConfigError: there is no such jail, or what it is told is wrong.
    """
    now = time.time()
    specs, agent = _specs(directory, jails)
    protected = Protected(agent.controllers)
    look_up = lru_cache(maxsize=None)(lookup)
    judges = []
    for spec in specs:
        try:
            judge = Judge(directory, spec, protected=protected, look_up=look_up, now=now)
        except RegexError as error:
            raise inspection.located(error, spec) from error
        judges.append(judge)
    told = [(line, [(j.spec, j.line(line, now)) for j in judges]) for line in lines]
    if json:
        whole = [{"line": line, "jails": [_as_json(one) for _, one in all_]} for line, all_ in told]
        print(notation.dumps(whole, indent=2))
        return OK
    for number, (line, judged) in enumerate(told):
        if number:
            print()
        print(printable(line))
        for spec, one in judged:
            for row in _rows(spec, one):
                print(printable(row))
    return OK


def _specs(directory: str, names: Sequence[str]) -> tuple[list[JailSpec], AgentSpec]:
    found = config.read(directory, jails=names or None)
    if names:
        return [config.jail_spec(directory, name) for name in dict.fromkeys(names)], found.agent
    for fault in found.faults:
        print(f"stockade-agent explain: {printable(str(fault))}", file=sys.stderr)
    if not found.jails:
        raise ConfigError("no jail is enabled", path=directory, remedy="name one")
    return list(found.jails), found.agent


# ---- for a person -----------------------------------------------------------------------------


def _rows(spec: JailSpec, one: Judgement) -> Iterator[str]:
    yield f"[{one.jail}] {_summary(one)}"
    if one.verdict == GIVEN_UP:
        return
    yield from _labelled("date", _date(one.date))
    if one.prefregex is not None and one.agrees is not None:
        verb = "matches" if one.agrees else "does not match"
        yield from _labelled("prefregex", f"{verb}: {_regex(one.prefregex)}")
    total = len(spec.filter.failregex)
    if one.failregex is not None:
        which = f"{one.failregex.number} of {total} matches"
        yield from _labelled("failregex", f"{which}: {_regex(one.failregex)}")
        yield from _captured(one.counts)
    elif one.agrees is not False and not one.ignoreregex:
        yield from _labelled("failregex", f"none of {total} matches")
    if one.nearest is not None:
        yield from _nearest(one)
    for regex in one.ignoreregex:
        yield from _labelled("ignoreregex", f"{regex.number} matches: {_regex(regex)}")
    for count in one.counts:
        if count.ignored:
            place = f" ({count.origin})" if count.origin else ""
            yield from _labelled("never banned", f"{_who(count)}: {count.ignored}{place}")
    if one.verdict in (FAILURE, PENDING):
        yield from _labelled("counts", _threshold(spec))


def _summary(one: Judgement) -> str:
    if one.verdict == FAILURE:
        who = ", ".join(_who(count) for count in one.counts if not count.ignored)
        return f"counts a failure of {who}"
    if one.verdict == GIVEN_UP:
        return f"gives it up: {one.given_up}"
    return {
        IGNORED: "ignores it",
        CONTEXT: "keeps it as context of its session; it is no failure",
        PENDING: "holds a failure until another line of its session tells of whom it is",
        MISSED: "passes it over",
    }[one.verdict]


def _who(count: Count) -> str:
    return f"{plain(count.id)} ({plain(count.host)})" if count.host else plain(count.id)


def _labelled(label: str, text: str) -> Iterator[str]:
    yield f"  {label:<{_LABEL}} {text}"


def _date(date: Optional[Date]) -> str:
    if date is None:
        return "none is found: for a new line, now is taken"
    if date.at is None:
        return f"{plain(date.text)}, which is no time"
    when = datetime.fromtimestamp(date.at).astimezone().isoformat(" ", "seconds")
    late = "; far from now: for a new line, now is taken" if date.late else ""
    return f"{plain(date.text)} is {when} by {date.template}{late}"


def _regex(regex: Regex) -> str:
    return f"{regex.origin}: {regex.text}" if regex.origin else regex.text


def _captured(counts: Sequence[Count]) -> Iterator[str]:
    said = counts[0].data if counts else {}
    if said:
        pairs = ", ".join(f"{name} = {plain(text)}" for name, text in said.items())
        yield from _labelled("", pairs)


def _nearest(one: Judgement) -> Iterator[str]:
    if one.nearest is None:
        return
    regex, got = one.nearest
    if regex.option != "prefregex":
        share = f"{100 * got.share:.0f} % of which agrees"
        yield from _labelled("nearest", f"{regex.number}, {share}: {_regex(regex)}")
    agreed, rest = one.searched[: got.end], one.searched[got.end :]
    yield from _labelled("agrees", repr(agreed) if agreed else "no part of the line")
    has = repr(rest) if rest else "the line ends"
    wanted = f"; {got.wanted} is wanted" if got.wanted else ""
    yield from _labelled("then", f"{has}{wanted}")


def _threshold(spec: JailSpec) -> str:
    bantime = "for ever" if spec.bantime == FOREVER else f"for {duration(spec.bantime)}"
    grows = ", longer each time" if spec.escalation.enabled else ""
    within = f"{spec.maxretry} within {duration(spec.findtime)} earn a ban"
    command = "; ignorecommand is asked first" if spec.ignorecommand else ""
    by = f"; IPv6 counts by /{spec.prefix6[0]}" if spec.prefix6 else ""
    return f"{within} {bantime}{grows}{by}{command}"


# ---- for a program ----------------------------------------------------------------------------


def _as_json(one: Judgement) -> dict[str, Any]:
    told = asdict(one)
    if one.nearest is not None:
        regex, got = one.nearest
        told["nearest"] = {"regex": asdict(regex), **got._asdict()}
    return told
