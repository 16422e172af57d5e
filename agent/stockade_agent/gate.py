# SPDX-License-Identifier: MIT
"""Rejects log lines that no regex of a filter can match, before they are split or decoded.

From the syntax tree of each regex the words are taken that every match must contain; a whole
block of undecoded bytes is searched for them. A gate may let too much through, never too
little: where no word can be proved, it is open.

What makes the proof subtle is that a regex sees its line without the date, and that the text
before and after the date is joined. A word of the regex may thus be torn in two in the log.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional


if sys.version_info >= (3, 11):
    from re import _constants as sre  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_constants as sre
    import sre_parse as parser


SHORTEST = 3
"""Characters below which a word is too common to be worth a search."""

MOST_WORDS = 64
"""Alternatives above which one search for all of them costs more than it saves."""

_SINGLE_BYTE = re.compile(r"(ascii|iso8859-\d+|cp125\d|cp437|cp85\d|cp86\d|koi8-[ru])$")
_ASCII = "".join(map(chr, range(128)))
# Beyond upper and lower case: what Python's regexes take for the same letter.
_SAME_LETTER = {"i": "\u0131\u0130", "k": "\u212a", "s": "\u017f"}
_NO_BREAK = {sre.AT, sre.ASSERT, sre.ASSERT_NOT}


class Word(NamedTuple):
    """ASCII text that a matching line contains, in any case if ``ignorecase``."""

    text: str
    ignorecase: bool


Clause = frozenset[Word]
"""Words of which a matching line contains at least one."""


class Gate:
    """Finds the lines of a block that a filter could match.

    Args:
        prefregex: must match too, whatever failregex does; or None.
        failregexes: at least one of them must match.
        encoding: of the log.
        clean_cut: whether the cut of a date never tears a word (``DateDetector.clean_cut``).
        cut: whether a date is cut out at all.
    """

    def __init__(
        self,
        prefregex: Optional[re.Pattern[str]],
        failregexes: Sequence[re.Pattern[str]],
        *,
        encoding: str = "utf-8",
        cut: bool = True,
        clean_cut: bool = False,
    ) -> None:
        self.clauses: tuple[Clause, ...] = ()
        if not _keeps_ascii(encoding):
            return

        def whole(regex: re.Pattern[str]) -> list[Clause]:
            clauses = required(regex)
            return [_torn(clause, clean=clean_cut) for clause in clauses] if cut else clauses

        needs = [] if prefregex is None else whole(prefregex)
        needs += _either([whole(regex) for regex in failregexes])
        useful = [clause for clause in needs if _worth(clause)]
        useful.sort(key=_cost)
        self.clauses = tuple(dict.fromkeys(useful))
        searches = [_search(clause, encoding) for clause in self.clauses]
        self._first = searches[0] if searches else None
        self._others = searches[1:]
        self._literal = self._plain(encoding)

    @property
    def open(self) -> bool:
        """Whether it lets everything through."""
        return not self.clauses

    def lines(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield begin and end (without the newline) of each line that could match."""
        return self._gated(data) if self.clauses else _every_line(data)

    def _gated(self, data: bytes) -> Iterator[tuple[int, int]]:
        position, size = 0, len(data)
        while position < size:
            hit = self._next(data, position)
            if hit < 0:
                return
            start = data.rfind(b"\n", position, hit) + 1 or position
            end = data.find(b"\n", hit)
            end = size if end < 0 else end
            if all(search.search(data, start, end) for search in self._others):
                yield start, end
            position = end + 1

    def _next(self, data: bytes, position: int) -> int:
        if self._literal:
            return data.find(self._literal, position)
        assert self._first is not None  # noqa: S101 - only a gate with clauses searches
        match = self._first.search(data, position)
        return -1 if match is None else match.start()

    def _plain(self, encoding: str) -> bytes:
        """Return the first clause's only word if bytes.find can search it."""
        words = list(self.clauses[0]) if self.clauses else []
        if len(words) == 1 and not words[0].ignorecase:
            return words[0].text.encode(encoding)
        return b""


def required(regex: re.Pattern[str]) -> list[Clause]:
    """Return what every text that the regex matches must contain: one word of each clause."""
    try:
        tree = parser.parse(regex.pattern, regex.flags)
    except (re.error, RecursionError):
        return []
    return _Walk(ignorecase=bool(regex.flags & re.IGNORECASE)).sequence(tree)


class _Walk:
    """Collects clauses along a sequence of syntax nodes."""

    def __init__(self, *, ignorecase: bool) -> None:
        self._ignorecase = ignorecase
        self._clauses: list[Clause] = []
        self._run = ""

    def sequence(self, nodes: Any) -> list[Clause]:
        self._visit(nodes)
        self._break()
        return self._clauses

    def _break(self) -> None:
        if self._run:
            self._clauses.append(frozenset([Word(self._run, self._ignorecase)]))
        self._run = ""

    def _visit(self, nodes: Any) -> None:
        for code, value in nodes:
            if code is sre.LITERAL:
                self._literal(chr(value))
            elif code is sre.SUBPATTERN:
                self._group(*value)
            elif code is getattr(sre, "ATOMIC_GROUP", None):
                self._visit(value)
            elif code not in _NO_BREAK:
                self._break()
                self._clauses += self._alternatives(code, value)

    def _literal(self, char: str) -> None:
        if char in _ASCII and char not in "\r\n":
            self._run += char
        else:
            self._break()

    def _group(self, _group: object, on: int, off: int, nodes: Any) -> None:
        ignorecase = (self._ignorecase or bool(on & re.IGNORECASE)) and not off & re.IGNORECASE
        if ignorecase == self._ignorecase:
            self._visit(nodes)
        else:
            self._break()
            self._clauses += _Walk(ignorecase=ignorecase).sequence(nodes)

    def _alternatives(self, code: Any, value: Any) -> list[Clause]:
        if code is sre.BRANCH:
            branches = value[1]
        elif code is sre.GROUPREF_EXISTS:
            branches = [value[1], value[2] or []]
        elif code in _REPEATS and value[0] > 0:
            branches = [value[2]]
        else:
            return []
        return _either([_Walk(ignorecase=self._ignorecase).sequence(branch) for branch in branches])


_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", sre.MAX_REPEAT)}


def _either(needs: Sequence[list[Clause]]) -> list[Clause]:
    """Return what is required when one of several is."""
    if len(needs) == 1:
        return needs[0]
    if not needs or not all(needs):
        return []
    return [frozenset().union(*(min(clauses, key=_cost) for clauses in needs))]


def _cost(clause: Clause) -> float:
    """Return how likely a line meets the clause by chance: a rough guess is enough."""
    return sum(2.0 ** -sum(map(_rarity, word.text)) for word in clause)


def _rarity(char: str) -> float:
    """Return about how many bits a character of a word tells."""
    if char.islower():
        return 1.0
    return 0.5 if char == " " else 2.0


def _worth(clause: Clause) -> bool:
    return len(clause) <= MOST_WORDS and min(len(w.text) for w in clause) >= SHORTEST


def _torn(clause: Clause, *, clean: bool) -> Clause:
    """Return words that stay whole in the log when a date stood somewhere in the clause's."""
    words: set[Word] = set()
    for text, ignorecase in clause:
        if clean:
            # What follows the date is no word character, so only there a word can be torn.
            pieces = [min(_pieces(text), key=lambda piece: _cost(_alone(piece)))]
        else:
            # One tear at most: one of the halves is whole.
            middle = len(text) // 2
            pieces = [text[:middle], text[middle:]]
        words |= {Word(piece, ignorecase) for piece in pieces if piece}
    return frozenset(words)


def _pieces(text: str) -> list[str]:
    return re.findall(r"^\w+|[^\w]\w*", text, re.ASCII)


def _alone(text: str) -> Clause:
    return frozenset([Word(text, ignorecase=False)])


def _search(clause: Clause, encoding: str) -> re.Pattern[bytes]:
    regexes = sorted((_regex(word, encoding) for word in clause), key=len)
    return re.compile(b"|".join(regexes))


def _regex(word: Word, encoding: str) -> bytes:
    if not word.ignorecase:
        return re.escape(word.text.encode(encoding))
    return b"".join(_any_case(char, encoding) for char in word.text)


def _any_case(char: str, encoding: str) -> bytes:
    same = {char, char.lower(), char.upper(), *_SAME_LETTER.get(char.lower(), "")}
    # What the encoding cannot write encodes to nothing: the log cannot hold it.
    variants = {re.escape(one.encode(encoding, "ignore")) for one in same} - {b""}
    return b"(?:" + b"|".join(sorted(variants)) + b")"


def _keeps_ascii(encoding: str) -> bool:
    """Return whether an ASCII character is its own byte, and no other's part, in an encoding."""
    name = codecs.lookup(encoding).name
    return name == "utf-8" or bool(_SINGLE_BYTE.match(name))


def _every_line(data: bytes) -> Iterator[tuple[int, int]]:
    position, size = 0, len(data)
    while position < size:
        end = data.find(b"\n", position)
        end = size if end < 0 else end
        yield position, end
        position = end + 1
