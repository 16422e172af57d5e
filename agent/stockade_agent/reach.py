# SPDX-License-Identifier: MIT
"""How far a regex agrees with a text that it does not match, for who wants to know why."""

from __future__ import annotations

import re
import sys
import warnings
from itertools import takewhile
from typing import Any, NamedTuple, Optional

from stockade_agent.budget import of_line, searches
from stockade_agent.failregex import ID_GROUPS
from stockade_agent.lint import parsed, sre


if sys.version_info >= (3, 11):
    from re import _compiler as compiler  # type: ignore[attr-defined]
else:
    import sre_compile as compiler

_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT}
_PLACES = {
    sre.AT_BEGINNING: "the begin of the line",
    sre.AT_END: "the end of the line",
    sre.AT_END_STRING: "the end of the line",
}
_CATEGORIES = {
    sre.CATEGORY_DIGIT: "a digit",
    sre.CATEGORY_SPACE: "a blank",
    sre.CATEGORY_NOT_SPACE: "a character that is no blank",
    sre.CATEGORY_WORD: "a letter, digit or _",
}


class Reach(NamedTuple):
    """How far a regex got.

    Attributes:
        share: of the regex that agrees, from 0 to 1; at 1 it matches.
        end: as far as the text agrees with that.
        wanted: how the text would have to go on, or "" where that is not easily said.
    """

    share: float
    end: int
    wanted: str


@of_line
def reach(regex: re.Pattern[str], text: str) -> Reach:
    """Return how far a regex gets in a text.

    Raises:
        OverrunError: it takes too long to tell, where that is watched.
    """
    tree = parsed(regex)
    ids = {number for name, number in regex.groupindex.items() if name in ID_GROUPS}
    return _Walk(regex, text, ids).through(tree[:0], tree)


class _Walk:
    """Tries ever longer parts of a regex's syntax tree: a part that matches was got through."""

    def __init__(self, regex: re.Pattern[str], text: str, ids: set[int]) -> None:
        self._flags, self._text, self._ids = regex.flags, text, ids

    def through(self, before: Any, nodes: Any) -> Reach:
        """Return how far one gets in ``nodes`` behind what agrees already."""
        low, high = 0, len(nodes)
        while low < high:
            middle = (low + high + 1) // 2
            if self._search(_joined(before, nodes[:middle])) is None:
                high = middle - 1
            else:
                low = middle
        agreeing = _joined(before, nodes[:low])
        found = self._search(agreeing)
        end = found.end() if found else 0
        if low == len(nodes):
            return Reach(1.0, end, "")
        inside = self._into(agreeing, nodes.data[low])
        if inside is None:
            return Reach(low / len(nodes), end, self._words(nodes.data[low:]))
        return Reach((low + inside.share) / len(nodes), inside.end, inside.wanted)

    def _into(self, before: Any, node: Any) -> Optional[Reach]:
        """Return how far one gets within a node that does not match, by its best way."""
        best: Optional[Reach] = None
        for body in [] if self._identifies([node]) else _bodies(node):
            got = self.through(before, _joined(before[:0], body))
            # One that is got through whole fails by what stands around it.
            if 0 < got.share < 1 and (best is None or got.share > best.share):
                best = got
        return best

    @searches("")
    def _search(self, tree: Any) -> Optional[re.Match[str]]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                regex: re.Pattern[str] = compiler.compile(tree, self._flags)
        except (re.error, RecursionError, OverflowError):
            return None  # such as a reference to a group that the part leaves out
        return regex.search(self._text)

    def _identifies(self, nodes: Any) -> bool:
        """Return whether nodes begin with an address or another id, whichever way they go."""
        for code, value in nodes:
            if code is sre.SUBPATTERN:
                return value[0] in self._ids or self._identifies(value[3])
            if code is sre.BRANCH:
                return all(map(self._identifies, value[1]))
            if code not in _REPEATS or value[0] > 0:
                return False
        return False

    def _words(self, nodes: Any) -> str:
        """Return in words what a text begins with that goes on with these nodes."""
        literal = "".join(chr(n[1]) for n in takewhile(lambda n: n[0] is sre.LITERAL, nodes))
        if literal or not len(nodes):
            return repr(literal) if literal else ""
        code, value = nodes[0]
        if self._identifies([nodes[0]]):
            return "an address"
        if code is sre.AT:
            return _PLACES.get(value, "")
        if code is sre.IN and len(value) == 1 and value[0][0] is sre.CATEGORY:
            return _CATEGORIES.get(value[0][1], "")
        ways = [self._words(body) for body in _bodies(nodes[0])]
        return " or ".join(dict.fromkeys(ways)) if all(ways) else ""


def _joined(one: Any, other: Any) -> Any:
    both = one[:]
    both.data = [*one, *other]
    return both


def _bodies(node: Any) -> list[Any]:
    """Return what may stand in a node's place."""
    code, value = node
    if code is sre.SUBPATTERN:
        return [value[3]]
    if code is sre.BRANCH:
        return list(value[1])
    if code in _REPEATS and value[0] > 0:
        return [value[2]]
    return []
