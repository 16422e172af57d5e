# SPDX-License-Identifier: MIT
"""All that is wrong with a filter's regexes, and what is dangerous about those that work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from stockade_agent.errors import RegexError
from stockade_agent.failregex import ID_GROUPS, Pattern, compile_pattern
from stockade_agent.filter import Filter
from stockade_agent.model import FilterSpec


if sys.version_info >= (3, 11):
    from re import _constants as sre  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_constants as sre
    import sre_parse as parser

_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT}


@dataclass(frozen=True)
class RegexFault:
    """Something about one option of a filter.

    Attributes:
        option: ``failregex``, ``prefregex``, ``ignoreregex``, ``datepattern``, ….
        index: which of its regexes, counted from 0.
        message: what and why, in one line, with the regex.
        remedy: what to do, or "".
        fatal: the filter cannot run; else it runs, but should not stay like this.
    """

    option: str
    index: int
    message: str
    remedy: str = ""
    fatal: bool = True


def compile_check(spec: FilterSpec, now: float) -> list[RegexFault]:
    """Return all faults of a filter, in the order of its options; none when it is well."""
    prefregex = (spec.prefregex,) if spec.prefregex else ()
    given = (
        ("prefregex", prefregex),
        ("failregex", spec.failregex),
        ("ignoreregex", spec.ignoreregex),
    )
    faults: list[RegexFault] = []
    good: dict[str, list[tuple[int, Pattern]]] = {}
    for option, texts in given:
        good[option] = []
        for index, text in enumerate(texts):
            pattern, fault = _compiled(text, option, index, spec)
            faults += [fault] if fault else []
            good[option] += [(index, pattern)] if pattern else []
    identified = any(pattern.identifies for _, pattern in good["prefregex"])
    for index, pattern in good["failregex"]:
        if not identified and not pattern.identifies:
            faults.append(_fault(RegexError(*_ANONYMOUS, option="failregex", index=index), pattern))
        faults += _greedy("failregex", index, pattern)
    for option, patterns in good.items():
        for index, pattern in patterns:
            faults += _nested(option, index, pattern)
    return faults + _rest(spec, now)


_ANONYMOUS = ("nothing in it says who failed",)


def _compiled(
    text: str, option: str, index: int, spec: FilterSpec
) -> tuple[Optional[Pattern], Optional[RegexFault]]:
    try:
        return compile_pattern(text, option=option, index=index, usedns=spec.usedns), None
    except RegexError as error:
        return None, _fault(error)


def _rest(spec: FilterSpec, now: float) -> list[RegexFault]:
    """Return the faults of the options that are not regexes of the filter."""
    bare = FilterSpec(name=spec.name, failregex=())
    alone = (
        replace(bare, datepattern=spec.datepattern),
        replace(bare, logtimezone=spec.logtimezone),
        replace(bare, logencoding=spec.logencoding),
    )
    return [fault for one in alone if (fault := _refusal(one, now)) is not None]


def _refusal(spec: FilterSpec, now: float) -> Optional[RegexFault]:
    try:
        Filter(spec, now=now)
    except RegexError as error:
        return _fault(error)
    return None


def _fault(error: RegexError, pattern: Optional[Pattern] = None) -> RegexFault:
    message = error.message if pattern is None else f"{error.message}: {pattern.source}"
    return RegexFault(error.option, error.index, message, error.remedy)


def _greedy(option: str, index: int, pattern: Pattern) -> list[RegexFault]:
    """Return a fault if a greedy catch-all stands before the address and lets it be forged.

    What a client sends can then contain the rest of the line with an address of its choice,
    unless the regex goes on to the line's end without another catch-all.
    """
    named = pattern.regex.groupindex
    groups = {number for name, number in named.items() if name in ID_GROUPS[1:]}
    caught, seen_id, caught_after, ended = False, False, False, False
    skipped = {number for name, number in named.items() if name.startswith("skiplines")}
    for event in _events(_parsed(pattern.regex), groups, skipped):
        if event == "id":
            seen_id, ended, caught_after = seen_id or caught, False, False
        elif event == "end":
            ended = True
        elif event == "greedy" and not seen_id:
            caught = True
        elif seen_id:
            caught_after = True
    if not seen_id or (ended and not caught_after):
        return []
    return [
        RegexFault(
            option,
            index,
            f"a catch-all before the address lets clients forge it: {pattern.source}",
            "write .*? or \\S+ there, or go on to the line's end: …<HOST>…$",
            fatal=False,
        )
    ]


def _events(nodes: Any, groups: set[int], skipped: set[int]) -> Iterator[str]:
    for code, value in nodes:
        if code is sre.SUBPATTERN:
            if value[0] in groups:
                yield "id"
            elif value[0] not in skipped:
                yield from _events(value[3], groups, skipped)
        elif code is sre.BRANCH:
            for branch in value[1]:
                yield from _events(branch, groups, skipped)
        elif code is sre.GROUPREF_EXISTS:
            for branch in value[1:]:
                yield from _events(branch or [], groups, skipped)
        elif code in _REPEATS:
            _, highest, body = value
            if highest is sre.MAXREPEAT and [item[0] for item in body] == [sre.ANY]:
                yield "greedy" if code is sre.MAX_REPEAT else "lazy"
            else:
                yield from _events(body, groups, skipped)
        elif code is sre.AT and value in (sre.AT_END, sre.AT_END_STRING):
            yield "end"


def _nested(option: str, index: int, pattern: Pattern) -> list[RegexFault]:
    """Return a fault if the regex can take a time exponential in the line's length."""
    if not any(_explodes(body) for body in _loops(_parsed(pattern.regex))):
        return []
    return [
        RegexFault(
            option,
            index,
            f"a repeat of nothing but repeats can take for ever: {pattern.source}",
            "make what the inner and the outer repeat match begin differently",
            fatal=False,
        )
    ]


def _loops(nodes: Any) -> Iterator[Any]:
    """Yield the body of each unbounded repeat, at any depth."""
    for code, value in nodes:
        if code in _REPEATS and value[1] is sre.MAXREPEAT:
            yield value[2]
        for inner in _inner(code, value):
            yield from _loops(inner)


def _explodes(body: Any) -> bool:
    """Whether one pass of a loop may consist of a single unbounded repeat and nothing else."""
    nodes = list(body)
    while len(nodes) == 1 and nodes[0][0] is sre.SUBPATTERN:
        nodes = list(nodes[0][1][3])
    if len(nodes) == 1 and nodes[0][0] is sre.BRANCH:
        return any(_explodes(branch) for branch in nodes[0][1][1])
    for place, node in enumerate(nodes):
        if node[0] in _REPEATS and node[1][1] is sre.MAXREPEAT:
            others = nodes[:place] + nodes[place + 1 :]
            if not any(_width(other) for other in others):
                return True
    return False


def _width(node: Any) -> int:
    code, value = node
    if code in _REPEATS:
        return int(value[0] > 0 and any(_width(inner) for inner in value[2]))
    if code is sre.SUBPATTERN:
        return int(any(_width(inner) for inner in value[3]))
    if code is sre.BRANCH:
        return int(all(any(_width(inner) for inner in branch) for branch in value[1]))
    return int(code not in (sre.AT, sre.ASSERT, sre.ASSERT_NOT, sre.GROUPREF_EXISTS))


def _inner(code: Any, value: Any) -> Sequence[Any]:
    if code in _REPEATS:
        return [value[2]]
    if code is sre.SUBPATTERN:
        return [value[3]]
    if code is sre.BRANCH:
        return list(value[1])
    if code is sre.GROUPREF_EXISTS:
        return [branch for branch in value[1:] if branch]
    if code in (sre.ASSERT, sre.ASSERT_NOT):
        return [value[1]]
    return []


def _parsed(regex: re.Pattern[str]) -> Any:
    return parser.parse(regex.pattern, regex.flags)
