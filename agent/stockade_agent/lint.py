# SPDX-License-Identifier: MIT
"""All that is wrong with a filter's regexes, and what is dangerous about those that work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any, Optional

from stockade_agent.errors import RegexError
from stockade_agent.failregex import ID_GROUPS, Pattern, compile_pattern
from stockade_agent.filter import Filter
from stockade_agent.specs import FilterSpec


__all__ = ["RegexFault", "compile_check", "parsed", "sre"]

if sys.version_info >= (3, 11):
    from re import _constants as sre  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_constants as sre
    import sre_parse as parser

KNOWN = 256
"""Regexes whose trees are kept: jails have the same filters, and filters share regexes."""

_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT}
_WITHOUT_WIDTH = {sre.AT, sre.ASSERT, sre.ASSERT_NOT, sre.GROUPREF_EXISTS}
_WAYS = 256
"""Through one pass of a loop, that are looked at."""
_ASCII = frozenset(map(chr, range(128)))
_CATEGORIES = {
    sre.CATEGORY_DIGIT: re.compile(r"\d"),
    sre.CATEGORY_NOT_DIGIT: re.compile(r"\D"),
    sre.CATEGORY_SPACE: re.compile(r"\s"),
    sre.CATEGORY_NOT_SPACE: re.compile(r"\S"),
    sre.CATEGORY_WORD: re.compile(r"\w"),
    sre.CATEGORY_NOT_WORD: re.compile(r"\W"),
}


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
        faults += _forged("failregex", index, pattern)
    for index, pattern in good["prefregex"]:
        faults += _forged("prefregex", index, pattern)
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
    together = replace(
        bare,
        datepattern=spec.datepattern,
        logtimezone=spec.logtimezone,
        logencoding=spec.logencoding,
    )
    if together == bare or _refusal(together, now) is None:
        return []
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


def _forged(option: str, index: int, pattern: Pattern) -> list[RegexFault]:
    """Return a fault if a catch-all stands before the address and lets it be forged.

    What a client sends can then contain the rest of the line with an address of its choice,
    unless the regex goes on to the line's end without another catch-all. Behind ``<F-CONTENT>``
    there is always one.
    """
    names = {number: "id" for name, number in pattern.regex.groupindex.items() if name in _FORGED}
    for name, number in pattern.regex.groupindex.items():
        if name.startswith("skiplines"):
            names[number] = ""
        elif name == "content" and option == "prefregex":
            names[number] = name
    caught, seen, caught_after, ended = False, "", False, False
    known = False
    for event in _events(parsed(pattern.regex), names):
        if event == "id" or (event == "content" and not known):
            seen, ended, caught_after = seen or (event if caught else ""), False, event != "id"
            known = True
        elif event == "end":
            ended = True
        elif not seen:
            caught = True
        else:
            caught_after = True
    if not seen or (ended and not caught_after):
        return []
    what = (
        "the address lets clients forge it" if seen == "id" else "<F-CONTENT> lets clients begin it"
    )
    return [
        RegexFault(
            option,
            index,
            f"a catch-all before {what}: {pattern.source}",
            "go on to the line's end, …<HOST>…$, or write \\S+ there"
            if seen == "id"
            else "write \\S+ there, or what really stands there",
            fatal=False,
        )
    ]


_FORGED = ID_GROUPS[1:]


def _events(nodes: Any, names: Mapping[int, str]) -> Iterator[str]:
    """Yield named groups, catch-alls and ends in their order; of a group named "" nothing."""
    for code, value in nodes:
        if code is sre.SUBPATTERN:
            if value[0] not in names:
                yield from _events(value[3], names)
            elif names[value[0]]:
                yield names[value[0]]
        elif code is sre.BRANCH:
            for branch in value[1]:
                yield from _events(branch, names)
        elif code is sre.GROUPREF_EXISTS:
            for branch in value[1:]:
                yield from _events(branch or [], names)
        elif code in _REPEATS:
            _, highest, body = value
            if highest is sre.MAXREPEAT and [item[0] for item in body] == [sre.ANY]:
                yield "catch-all"
            else:
                yield from _events(body, names)
        elif code is sre.AT and value in (sre.AT_END, sre.AT_END_STRING):
            yield "end"


def _nested(option: str, index: int, pattern: Pattern) -> list[RegexFault]:
    """Return a fault if the regex can take a time exponential in the line's length."""
    if not _exponential(pattern.regex):
        return []
    return [
        RegexFault(
            option,
            index,
            f"a repeat within a repeat can take for ever on a line made for it: {pattern.source}",
            "make what the inner and the outer repeat match begin differently",
            fatal=False,
        )
    ]


@lru_cache(maxsize=KNOWN)
def _exponential(regex: re.Pattern[str]) -> bool:
    return any(_explodes(body) for body in _loops(parsed(regex)))


def _loops(nodes: Any) -> Iterator[Any]:
    """Yield the body of each unbounded repeat, at any depth."""
    for code, value in nodes:
        if code in _REPEATS and value[1] is sre.MAXREPEAT:
            yield value[2]
        for inner in _inner(code, value):
            yield from _loops(inner)


def _explodes(body: Any) -> bool:
    """Whether what a loop passes over once, one of its own unbounded repeats can pass over as well.

    Then a long text has as many ways through the loop as it can be cut into pieces.
    """
    for nodes in islice(_ways(list(body)), _WAYS):
        for place, (code, value) in enumerate(nodes):
            if code in _REPEATS and value[1] is sre.MAXREPEAT:
                taken = _characters(value[2])
                others = nodes[:place] + nodes[place + 1 :]
                if all(_passed(other, taken) for other in others):
                    return True
    return False


def _ways(nodes: list[Any]) -> Iterator[list[Any]]:
    """Yield the sequences without groups and branches of which a sequence is made."""
    for place, (code, value) in enumerate(nodes):
        if code is sre.SUBPATTERN:
            choices = [list(value[3])]
        elif code is sre.BRANCH:
            choices = [list(branch) for branch in value[1]]
        else:
            continue
        for choice in choices:
            yield from _ways([*nodes[:place], *choice, *nodes[place + 1 :]])
        return
    yield nodes


def _passed(node: Any, taken: frozenset[str]) -> bool:
    """Whether a node can match nothing, or a text all of whose characters are among ``taken``."""
    code, value = node
    if code in _REPEATS:
        return value[0] == 0 or all(_passed(inner, taken) for inner in value[2])
    if code is sre.SUBPATTERN:
        return all(_passed(inner, taken) for inner in value[3])
    if code is sre.BRANCH:
        return any(all(_passed(inner, taken) for inner in branch) for branch in value[1])
    if code in _WITHOUT_WIDTH:
        return True
    return not taken.isdisjoint(_characters([node]))


def _characters(nodes: Any) -> frozenset[str]:
    """Return the ASCII characters that a set or character matches; none for anything longer."""
    nodes = list(nodes)
    while len(nodes) == 1 and nodes[0][0] is sre.SUBPATTERN:
        nodes = list(nodes[0][1][3])
    if len(nodes) != 1:
        return frozenset()
    code, value = nodes[0]
    if code is sre.ANY:
        return _ASCII - {"\n"}
    if code is sre.NOT_LITERAL:
        return _ASCII - {chr(value)}
    if code is not sre.IN:
        return frozenset(chr(value)) if code is sre.LITERAL else frozenset()
    found = frozenset(char for char in _ASCII if any(_is_in(char, *item) for item in value))
    return _ASCII - found if value[0][0] is sre.NEGATE else found


def _is_in(char: str, code: Any, value: Any) -> bool:
    if code is sre.LITERAL:
        return bool(ord(char) == value)
    if code is sre.RANGE:
        return bool(value[0] <= ord(char) <= value[1])
    if code is sre.CATEGORY:
        return bool(_CATEGORIES[value].fullmatch(char))
    return False


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


@lru_cache(maxsize=KNOWN)
def parsed(regex: re.Pattern[str]) -> Any:
    """Return the syntax tree of a regex, as Python's own parser makes it; nobody may change it."""
    return parser.parse(regex.pattern, regex.flags)
