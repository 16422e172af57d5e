# SPDX-License-Identifier: MIT
"""What the syntax tree of a regex proves about every text that it matches.

Which words the text contains, with which characters it begins, which groups took part. What
cannot be proved is left out: an answer may say too little, never too much.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Optional


if sys.version_info >= (3, 11):
    from re import _constants as sre  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_constants as sre
    import sre_parse as parser

__all__ = ["Clause", "Syntax", "Word", "cost", "either", "parser", "required", "sre", "syntax_of"]


SAME_LETTER = {"i": "\u0131\u0130", "k": "\u212a", "s": "\u017f"}
"""Beyond upper and lower case: what Python's regexes take for the same letter."""

_ASCII = "".join(map(chr, range(128)))
_NO_BREAK = {sre.AT, sre.ASSERT, sre.ASSERT_NOT}
_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", sre.MAX_REPEAT)}
_ATOMIC = getattr(sre, "ATOMIC_GROUP", None)
_ONE = {sre.IN, sre.ANY, sre.NOT_LITERAL}
_MOST_HEADS = 64
# Of what stands before alternatives, so much is added to each of them.
_RUN = 1


class Word(NamedTuple):
    """ASCII text that a matching line contains, in any case if ``ignorecase``.

    Attributes:
        offset: characters of the text that are before it, at least.
    """

    text: str
    ignorecase: bool
    offset: int = 0


Clause = frozenset[Word]
"""Words of which a matching line contains at least one."""


class Syntax:
    """What the tree of one regex says, read once; a tree is too large to be kept.

    Attributes:
        words: a matching text contains one word of each clause.
        begins: it matches at the begin of the text only.
        heads: the characters that a match can begin with; None: any.
    """

    def __init__(self, regex: re.Pattern[str]) -> None:
        ignorecase = bool(regex.flags & re.IGNORECASE)
        try:
            tree: Any = parser.parse(regex.pattern, regex.flags)
        except (re.error, RecursionError):
            tree = ()
        self.words = _Walk(ignorecase=ignorecase).sequence(tree)
        multiline = bool(regex.flags & re.MULTILINE)
        self.begins = not multiline and _begins(tree)
        heads, empty = _heads(tree, ignorecase=ignorecase)
        self.heads = None if empty else heads
        self._captured = {
            (name, least)
            for name, number in regex.groupindex.items()
            for least in (0, 1)
            if _captures(tree, number, least)
        }

    def takes_part(self, group: str, least: int = 1) -> bool:
        """Return whether a group captures in every match, ``least`` (0 or 1) characters or more."""
        return (group, least) in self._captured


@lru_cache(maxsize=1024)
def syntax_of(regex: re.Pattern[str]) -> Syntax:
    """Return what is proved of a regex; read once for all jails that have it."""
    return Syntax(regex)


def required(regex: re.Pattern[str]) -> list[Clause]:
    """Return what every text that the regex matches must contain: one word of each clause."""
    return Syntax(regex).words


class _Walk:
    """Collects clauses along a sequence of syntax nodes.

    Args:
        offset: characters before the sequence, at least.
    """

    def __init__(self, *, ignorecase: bool, offset: int = 0) -> None:
        self._ignorecase, self._offset = ignorecase, offset
        self._clauses: list[Clause] = []
        self._run = ""

    def sequence(self, nodes: Any) -> list[Clause]:
        self._visit(nodes)
        self._break()
        return self._clauses

    def _word(self, text: str, offset: int) -> Clause:
        return frozenset([Word(text, self._ignorecase, offset)])

    def _break(self) -> None:
        if self._run:
            self._clauses.append(self._word(self._run, self._offset - len(self._run)))
        self._run = ""

    def _visit(self, nodes: Any) -> None:
        for code, value in nodes:
            if code is sre.LITERAL:
                self._literal(chr(value))
            elif code is sre.SUBPATTERN:
                self._group(*value)
            elif code is _ATOMIC:
                self._visit(value)
            elif code not in _NO_BREAK:
                run = self._run
                self._break()
                self._clauses += self._alternatives(code, value, run)
                self._offset += _least(code, value)

    def _literal(self, char: str) -> None:
        if char in _ASCII and char not in "\r\n":
            self._run += char
        else:
            self._break()
        self._offset += 1

    def _group(self, _group: object, on: int, off: int, nodes: Any) -> None:
        ignorecase = _case(self._ignorecase, on, off)
        if ignorecase == self._ignorecase:
            self._visit(nodes)
        else:
            self._break()
            self._clauses += self._inner(nodes, ignorecase=ignorecase)
            self._offset += nodes.getwidth()[0]

    def _inner(self, nodes: Any, *, ignorecase: bool) -> list[Clause]:
        return _Walk(ignorecase=ignorecase, offset=self._offset).sequence(nodes)

    def _alternatives(self, code: Any, value: Any, run: str) -> list[Clause]:
        if code is sre.BRANCH:
            return either([self._branch(branch, run) for branch in value[1]])
        if code is sre.GROUPREF_EXISTS:
            branches = [value[1], value[2] or []]
        elif code in _REPEATS and value[0] > 0:
            branches = [value[2]]
        else:
            return []
        return either([self._inner(branch, ignorecase=self._ignorecase) for branch in branches])

    def _branch(self, nodes: Any, run: str) -> list[Clause]:
        """Return what one of several alternatives that follow some text requires."""
        clauses = self._inner(nodes, ignorecase=self._ignorecase)
        lead = ""
        for code, value in nodes:
            if code is not sre.LITERAL or chr(value) not in _ASCII or chr(value) in "\r\n":
                break
            lead += chr(value)
        before = run[-_RUN:]
        if lead and before:
            clauses.append(self._word(before + lead, self._offset - len(before)))
        return clauses


def _least(code: Any, value: Any) -> int:
    """Return how many characters a node matches at least."""
    if code is sre.BRANCH:
        return int(min(branch.getwidth()[0] for branch in value[1]))
    if code in _REPEATS:
        return int(value[0] * value[2].getwidth()[0])
    return int(code in _ONE)


def either(needs: Sequence[list[Clause]]) -> list[Clause]:
    """Return what is required when one of several is."""
    if len(needs) == 1:
        return needs[0]
    if not needs or not all(needs):
        return []
    return [frozenset().union(*(min(clauses, key=cost) for clauses in needs))]


def cost(clause: Clause) -> float:
    """Return how likely a line meets the clause by chance: a rough guess is enough."""
    return sum(2.0 ** -sum(map(_rarity, word.text)) for word in clause)


def _rarity(char: str) -> float:
    """Return about how many bits a character of a word tells."""
    if char.islower():
        return 1.0
    return 0.5 if char == " " else 2.0


def _case(ignorecase: bool, on: int, off: int) -> bool:  # noqa: FBT001 - two flags and a state
    return (ignorecase or bool(on & re.IGNORECASE)) and not off & re.IGNORECASE


def _begins(nodes: Any) -> bool:
    for code, value in nodes:
        if code is sre.AT:
            return value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING)
        if code is sre.SUBPATTERN:
            return not value[1] & re.MULTILINE and _begins(value[3])
        if code is sre.BRANCH:
            return all(_begins(branch) for branch in value[1])
        return False
    return False


def _heads(nodes: Any, *, ignorecase: bool) -> tuple[Optional[frozenset[str]], bool]:
    """Return the characters that a sequence can begin with, and whether it can be empty."""
    found: frozenset[str] = frozenset()
    for code, value in nodes:
        if code in _NO_BREAK:
            continue
        heads, empty = _head(code, value, ignorecase=ignorecase)
        if heads is None or len(found) > _MOST_HEADS:
            return None, empty
        found |= heads
        if not empty:
            return found, False
    return found, True


def _head(code: Any, value: Any, *, ignorecase: bool) -> tuple[Optional[frozenset[str]], bool]:
    if code is sre.LITERAL:
        return _same(chr(value), ignorecase=ignorecase), False
    if code is sre.IN:
        return _members(value, ignorecase=ignorecase), False
    if code is sre.SUBPATTERN:
        return _heads(value[3], ignorecase=_case(ignorecase, value[1], value[2]))
    if code is _ATOMIC:
        return _heads(value, ignorecase=ignorecase)
    if code is sre.BRANCH:
        parts = [_heads(branch, ignorecase=ignorecase) for branch in value[1]]
    elif code in _REPEATS:
        heads, empty = _heads(value[2], ignorecase=ignorecase)
        return heads, empty or value[0] == 0
    else:
        # A backreference may be empty; of the rest nothing is known but that it is a character.
        return None, True
    if any(heads is None for heads, _ in parts):
        return None, True
    union = frozenset().union(*(heads for heads, _ in parts if heads is not None))
    return union, any(empty for _, empty in parts)


def _members(items: Any, *, ignorecase: bool) -> Optional[frozenset[str]]:
    found: frozenset[str] = frozenset()
    for code, value in items:
        if code is sre.LITERAL:
            chars = chr(value)
        elif code is sre.RANGE and value[1] - value[0] < _MOST_HEADS:
            chars = "".join(map(chr, range(value[0], value[1] + 1)))
        else:
            return None
        for char in chars:
            same = _same(char, ignorecase=ignorecase)
            if same is None:
                return None
            found |= same
    return found


def _same(char: str, *, ignorecase: bool) -> Optional[frozenset[str]]:
    if not ignorecase:
        return frozenset([char])
    if char not in _ASCII:
        return None
    return frozenset([char, char.lower(), char.upper(), *SAME_LETTER.get(char.lower(), "")])


def _captures(nodes: Any, number: int, least: int) -> bool:
    for code, value in nodes:
        if code is sre.SUBPATTERN:
            if value[0] == number:
                return bool(value[3].getwidth()[0] >= least)
            if _captures(value[3], number, least):
                return True
        elif code in _REPEATS and value[0] > 0:
            if _captures(value[2], number, least):
                return True
        elif code is _ATOMIC and _captures(value, number, least):
            return True
    return False
