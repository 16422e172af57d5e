# SPDX-License-Identifier: MIT
"""Which characters of a line can make a difference to a regex.

Lines of an attack differ in numbers and addresses. Where a regex takes all digits for the same, it
matches the same places of two lines that differ in digits alone: what was found in one of them
holds for the other. ``Alike`` proves that from the syntax tree. Where some part of a regex tells
some digits from others, it says at which places of a text the engine could ask that part.

It is a walk over the tree with sets of places instead of a place: whatever the engine can do, the
walk does too, and more. So it may name too many places, never too few.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Optional

from stockade_agent.syntax import parser, sre


DIGIT, HEX = "0", "\x01"
"""What stands in a shape for any decimal digit, and for any of ``0-9a-f``."""

MOST_STEPS = 4000
"""Steps of a walk: those of stock filters take a hundred, in lines of any length."""

_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", sre.MAX_REPEAT)}
_ATOMIC = getattr(sre, "ATOMIC_GROUP", None)
_EXACT = 16
_LAST = 127
# Texts are printable ASCII, and end in a newline perhaps: a set of characters is 128 bits.
_ALL = sum(
    1 << ord(char) for char in map(chr, range(_LAST + 1)) if char.isprintable() or char == "\n"
)
_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}


def _bits(chars: str) -> int:
    return sum(1 << ord(char) for char in set(chars)) & _ALL


_DIGITS = _bits("0123456789")
_CLASSES = {DIGIT: _DIGITS, HEX: _bits("0123456789abcdef")}


class Tested(NamedTuple):
    """What a regex can look at in the texts of one shape.

    Attributes:
        places: bit i: it may tell two texts apart by their character number i.
        furthest: the last character that it may look at, 0 at least; the text's length: its end.
    """

    places: int
    furthest: int


class Alike:
    """The tree of a regex, made for the walk.

    Attributes:
        known: nothing in it is beyond the walk.
        blind: it takes all decimal digits for the same wherever they stand.
    """

    def __init__(self, regex: re.Pattern[str]) -> None:
        self.known = self.blind = True
        self._groups: dict[Optional[int], list[_Node]] = {}
        try:
            tree: Any = parser.parse(regex.pattern, regex.flags)
            self._nodes = self._sequence(tree, regex.flags)
        except (re.error, RecursionError, _Beyond):
            self.known = self.blind = False

    def tested(self, shape: str, *, anywhere: bool) -> Optional[Tested]:
        """Return what the regex can look at, or None if that takes too long to tell.

        Args:
            shape: a text, ``DIGIT`` and ``HEX`` for what may be one of several characters.
            anywhere: it is searched for, not matched at the begin.
        """
        walk = _Walk(shape)
        try:
            walk.sequence(self._nodes, (2 << len(shape)) - 1 if anywhere else 1)
        except _Beyond:
            return None
        return Tested(walk.places, max(walk.looked.bit_length() - 1, 0))

    def _sequence(self, nodes: Any, flags: int) -> list[_Node]:
        return [node for code, value in nodes for node in self._node(code, value, flags)]

    def _node(self, code: Any, value: Any, flags: int) -> Sequence[_Node]:
        if code in (sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY):
            chars = _accepted(code, value, flags)
            if chars & _DIGITS not in (0, _DIGITS):
                self.blind = False
            return [_Node(_CHAR, chars)]
        if code is sre.SUBPATTERN:
            inner = self._sequence(value[3], (flags | value[1]) & ~value[2])
            self._groups[value[0]] = inner
            return inner
        if code is sre.GROUPREF:
            return self._again(self._groups.get(value, []))
        if code is _ATOMIC:
            return self._sequence(value, flags)
        if code is sre.BRANCH:
            return [_Node(_EITHER, 0, [self._sequence(each, flags) for each in value[1]])]
        if code is sre.GROUPREF_EXISTS:
            branches = [value[1], value[2] or []]
            return [_Node(_EITHER, 0, [self._sequence(each, flags) for each in branches])]
        if code in _REPEATS:
            most = int(value[1]) if value[1] is not sre.MAXREPEAT else -1
            inner = self._sequence(value[2], flags)
            return [_Node(_REPEAT, 0, [inner], int(value[0]), most)]
        if code in (sre.ASSERT, sre.ASSERT_NOT):
            width = value[1].getwidth()[0] if value[0] < 0 else 0
            return [_Node(_LOOK, 0, [self._sequence(value[1], flags)], int(width))]
        if code is sre.AT:
            return [_Node(_PLACE)]
        if code is sre.FAILURE:
            return [_Node(_CHAR)]
        raise _Beyond

    def _again(self, group: list[_Node]) -> list[_Node]:
        """Return what stands for the text of a group, if that is one separator or the like."""
        # Two of these are the same or not, whatever digits stand elsewhere.
        if len(group) == 1 and group[0].kind == _CHAR and not group[0].chars & _CLASSES[HEX]:
            return group
        raise _Beyond


@lru_cache(maxsize=1024)
def alike(regex: re.Pattern[str]) -> Alike:
    """Return what is known of a regex; read once for all jails that have it."""
    return Alike(regex)


class _Beyond(Exception):
    """A backreference, which compares text, what a later Python brings, or too long a walk."""


_CHAR, _EITHER, _REPEAT, _LOOK, _PLACE = range(5)


class _Node(NamedTuple):
    kind: int
    chars: int = 0
    inner: Sequence[list[_Node]] = ()
    least: int = 0
    most: int = 0


class _Layout:
    """Where the characters of a shape stand; a set of places is a number with a bit for each."""

    def __init__(self, shape: str) -> None:
        self._where: dict[int, int] = {}
        self._accepted: dict[int, tuple[int, int]] = {}
        for number, char in enumerate(shape):
            chars = _CLASSES.get(char) or 1 << ord(char)
            self._where[chars] = self._where.get(chars, 0) | 1 << number

    def accepting(self, chars: int) -> tuple[int, int]:
        """Return where some of the characters may stand, and where others may as well."""
        found = self._accepted.get(chars)
        if found is None:
            some = partly = 0
            for kind, where in self._where.items():
                both = kind & chars
                if both:
                    some |= where
                    if both != kind:
                        partly |= where
            found = self._accepted[chars] = some, partly
        return found


_layout = lru_cache(maxsize=4)(_Layout)


class _Walk:
    """One walk."""

    def __init__(self, shape: str) -> None:
        self.places = self.looked = self._steps = 0
        self._accepting = _layout(shape).accepting

    def sequence(self, nodes: list[_Node], at: int) -> int:
        """Return where a sequence can end that begins at any of some places."""
        self._steps += len(nodes)
        if self._steps > MOST_STEPS:
            raise _Beyond
        for node in nodes:
            if not at:
                break
            at = self._step(node, at)
        return at

    def _step(self, node: _Node, at: int) -> int:
        kind = node.kind
        if kind == _CHAR:
            return self._char(node.chars, at)
        if kind == _EITHER:
            ends = 0
            for each in node.inner:
                ends |= self.sequence(each, at)
            return ends
        if kind == _REPEAT:
            return self._repeat(node, at)
        if kind == _LOOK:
            self.sequence(node.inner[0], at >> node.least)
        else:
            # ``$`` looks behind a newline, whether the text ends there.
            self.looked |= at | at << 1
        return at

    def _char(self, chars: int, at: int) -> int:
        some, partly = self._accepting(chars)
        self.looked |= at
        self.places |= at & partly
        return (at & some) << 1

    def _run(self, chars: int, at: int) -> int:
        """Return where any number of characters can end."""
        some, partly = self._accepting(chars)
        # The sum carries each begin through the ones of its run, to the first place behind it.
        ends = at | ((at & some) + some) ^ some
        self.looked |= ends
        self.places |= ends & partly
        return ends

    def _repeat(self, node: _Node, at: int) -> int:
        inner, least, most = node.inner[0], node.least, node.most
        if least > _EXACT:
            least = 0
        for _ in range(least):
            at = self.sequence(inner, at)
        if 0 <= most <= _EXACT:
            ends = at
            for _ in range(most - least):
                at = self.sequence(inner, at)
                if at & ~ends == 0:
                    break
                ends |= at
            return ends
        if len(inner) == 1 and inner[0].kind == _CHAR:
            return self._run(inner[0].chars, at)
        ends, new = at, at
        while new:
            new = self.sequence(inner, new) & ~ends
            ends |= new
        return ends


def _accepted(code: Any, value: Any, flags: int) -> int:
    """Return the characters that one item of a regex accepts."""
    ignorecase = bool(flags & re.IGNORECASE)
    if code is sre.ANY:
        return _ALL if flags & re.DOTALL else _ALL & ~_bits("\n")
    if code is sre.IN:
        negated = value[0][0] is sre.NEGATE
        chars = 0
        for kind, item in value[negated:]:
            chars |= _item(kind, item, ignorecase=ignorecase)
    else:
        negated = code is sre.NOT_LITERAL
        chars = _item(sre.LITERAL, value, ignorecase=ignorecase)
    if ignorecase:
        chars = _bits("".join(c.lower() + c.upper() for c in _chars(chars)))
    return _ALL & ~chars if negated else _ALL & chars


def _item(kind: Any, item: Any, *, ignorecase: bool) -> int:
    if kind is sre.CATEGORY and item in _CATEGORIES:
        return _bits("".join(c for c in _chars(_ALL) if re.match(_CATEGORIES[item], c)))
    if kind is sre.LITERAL:
        first = last = item
    elif kind is sre.RANGE:
        first, last = item
    else:
        raise _Beyond
    if ignorecase and last > _LAST:
        raise _Beyond  # it may be another case of an ASCII letter
    return sum(1 << each for each in range(first, min(last, _LAST) + 1))


def _chars(bits: int) -> list[str]:
    return [chr(number) for number in range(_LAST + 1) if bits >> number & 1]
