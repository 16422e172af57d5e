# SPDX-License-Identifier: MIT
"""Rejects log lines that no regex of a filter can match, before they are split or decoded.

From the syntax tree of each regex the words are taken that every match must contain; a whole
block of undecoded bytes is searched for them. A gate may let too much through, never too
little: where no word can be proved, it is open.

What makes the proof subtle is that a regex sees its line without the date, and that the text
before and after the date is joined. A word of the regex may thus be torn in two in the log.

Of all regexes a few words are chosen that together stand in all of them, as a search for one
word costs about as much as reading the block, and a search for many at once ten times that.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Callable, NamedTuple, Optional, Union

from stockade_agent.syntax import SAME_LETTER, Clause, Syntax, Word, cost


SHORTEST = 3
"""Characters below which a word is too common to be worth a search."""

MOST_WORDS = 64
"""Alternatives above which a clause costs more than it saves."""

MOST_SEARCHES = 12
"""Words above which one search for all of them is cheaper than one for each."""

SAMPLE = 1 << 14
"""Bytes of a block in which the ways to search it are tried, where there are several."""

Span = tuple[int, int]
"""Begin and end of a line in a block, without its newline."""

Memo = dict[object, list[Span]]
"""What was found in a block: jails that search for the same find it once."""

Tears = Callable[[str], Collection[int]]
"""Tells at which places a word of a regex may be torn by the date (``DateDetector.tears``)."""

_SINGLE_BYTE = re.compile(r"(ascii|iso8859-\d+|cp125\d|cp437|cp85\d|cp86\d|koi8-[ru])$")
_SHARED = re.compile(r"\w{6,}", re.ASCII)
_CHECKED = 3
# What one search costs in a sample, and one line found, in the same unit.
_SEARCH, _LINE = SAMPLE / 3000, 1.5


class Needle(NamedTuple):
    """What a block is searched for.

    Attributes:
        key: the text, or the regex where it is more than one text.
        checks: of each regex that needs it, what else a line must contain; one must be met.
    """

    key: Union[bytes, re.Pattern[bytes]]
    checks: tuple[tuple[bytes, ...], ...]


class Gate:
    """Finds the lines of a block that a filter could match.

    Args:
        prefregex: must match too, whatever failregex does; or None.
        failregexes: at least one of them must match.
        encoding: of the log.
        tears: where dates tear words; None: no date is cut out.
        common: regexes of lines that are to be expected: no word of theirs is searched for if
            another one does as well.
    """

    def __init__(
        self,
        prefregex: Optional[Syntax],
        failregexes: Sequence[Syntax],
        *,
        encoding: str = "utf-8",
        tears: Optional[Tears] = None,
        common: Sequence[Syntax] = (),
    ) -> None:
        self._ways: list[tuple[Needle, ...]] = []
        if not _keeps_ascii(encoding):
            return

        def useful(syntax: Syntax) -> list[Clause]:
            whole = (c if tears is None else _torn(c, tears) for c in syntax.words)
            return sorted((c for c in dict.fromkeys(whole) if _worth(c)), key=cost)

        prefix = [] if prefregex is None else useful(prefregex)
        needs = [useful(syntax) for syntax in failregexes]
        maker = _Needles(prefix, needs, encoding)
        self._ways = [maker.of(clause, needs) for clause in prefix]
        if needs and all(needs):
            usual = [word for syntax in common for clause in syntax.words for word in clause]
            self._ways.append(tuple(maker.hitting(usual)))
        self._ways.sort(key=len)

    @property
    def open(self) -> bool:
        """Whether it lets everything through."""
        return not self._ways

    def lines(
        self, data: bytes, memo: Optional[Memo] = None, begin: int = 0, end: int = -1
    ) -> Sequence[Span]:
        """Return begin and end (without the newline) of each line that could match, in order.

        Args:
            data: whole lines.
            memo: of this block.
            begin: of a line; ``end`` of another, with its newline; -1: all.
        """
        if end < 0:
            end = len(data)
        if not self._ways:
            return list(_every_line(data, begin, end))
        memo = {} if memo is None else memo
        found = [_found(n, data, memo, begin, end) for n in self._way(data, begin, end)]
        found = [spans for spans in found if spans]
        if len(found) == 1:
            return found[0]
        return sorted(set().union(*found))

    def _way(self, data: bytes, begin: int, end: int) -> tuple[Needle, ...]:
        """Return the needles that are cheapest to look for in such a block."""
        if len(self._ways) == 1 or end - begin < SAMPLE:
            return self._ways[0]

        def expense(way: tuple[Needle, ...]) -> float:
            hits = sum(_count(needle.key, data, begin, begin + SAMPLE) for needle in way)
            return len(way) * _SEARCH + hits * _LINE

        return min(self._ways, key=expense)


def _found(needle: Needle, data: bytes, memo: Memo, begin: int, end: int) -> list[Span]:
    key = (needle, begin, end)
    spans = memo.get(key)
    if spans is None:
        memo[key] = spans = []
        # On this path speed outranks elegance: it is run for each line that has a word.
        find, rfind = data.find, data.rfind
        text, checks, position = needle.key, needle.checks, begin
        while True:
            if isinstance(text, bytes):
                hit = find(text, position, end)
            else:
                match = text.search(data, position, end)
                hit = -1 if match is None else match.start()
            if hit < 0:
                break
            stop = find(b"\n", hit, end)
            position = stop = end if stop < 0 else stop
            start = rfind(b"\n", begin, hit) + 1 or begin
            line = data[start:stop]
            for check in checks:
                for word in check:
                    if word not in line:
                        break
                else:
                    spans.append((start, stop))
                    break
    return spans


def _count(key: Union[bytes, re.Pattern[bytes]], data: bytes, begin: int, end: int) -> int:
    if isinstance(key, bytes):
        return data.count(key, begin, end)
    return sum(1 for _ in key.finditer(data, begin, end))


class _Needles:
    """Chooses what to search for.

    Args:
        prefix: the clauses of prefregex.
        needs: the clauses of each failregex.
    """

    def __init__(self, prefix: list[Clause], needs: Sequence[list[Clause]], encoding: str) -> None:
        self._needs, self._encoding = needs, encoding
        self._also = self._literals(prefix)
        self._single = [
            [w.text for clause in clauses if len(clause) == 1 for w in clause if not w.ignorecase]
            for clauses in needs
        ]

    def of(self, clause: Clause, covered: Sequence[list[Clause]]) -> tuple[Needle, ...]:
        """Return the needles for one clause, which regexes with these clauses need."""
        checks = self._checks(covered)
        if len(clause) > MOST_SEARCHES or any(word.ignorecase for word in clause):
            return (Needle(_search(clause, self._encoding), checks),)
        return tuple(
            Needle(text.encode(self._encoding), checks)
            for text in _without_longer({word.text for word in clause})
        )

    def hitting(self, usual: Collection[Word]) -> Iterator[Needle]:
        """Yield needles of which every failregex needs one."""
        left = dict(enumerate(self._needs))
        shared = {t for texts in self._single for text in texts for t in _SHARED.findall(text)}
        shared = {text for text in shared if not any(text in word.text for word in usual)}
        while left:
            best = max(
                (sorted(i for i in left if self._covers(i, text)) for text in sorted(shared)),
                key=len,
                default=[],
            )
            if len(best) > 1:
                text = self._common(best, shared)
                covered = [left.pop(index) for index in best]
                yield Needle(text.encode(self._encoding), self._checks(covered))
                continue
            yield from self._each(list(left.values()))
            return

    def _each(self, left: list[list[Clause]]) -> Iterator[Needle]:
        """Yield the needles of regexes that share none."""
        # The best clause of each; where two have the same, the needle is the same.
        chosen: dict[Clause, list[list[Clause]]] = {}
        for clauses in left:
            chosen.setdefault(clauses[0], []).append(clauses)
        if sum(map(len, chosen)) > MOST_SEARCHES:
            everything: Clause = frozenset().union(*chosen)
            yield from self.of(everything, left)
            return
        for clause, covered in chosen.items():
            yield from self.of(clause, covered)

    def _covers(self, index: int, text: str) -> bool:
        return any(text in single for single in self._single[index])

    def _common(self, covered: Sequence[int], shared: Collection[str]) -> str:
        """Return the longest text that all of these regexes have around a shared word."""
        text = next(t for t in sorted(shared) if all(self._covers(i, t) for i in covered))
        around = next(single for single in self._single[covered[0]] if text in single)
        begin = around.index(text)
        end = begin + len(text)
        while end < len(around) and all(self._covers(i, around[begin : end + 1]) for i in covered):
            end += 1
        while begin and all(self._covers(i, around[begin - 1 : end]) for i in covered):
            begin -= 1
        return around[begin:end]

    def _checks(self, covered: Sequence[list[Clause]]) -> tuple[tuple[bytes, ...], ...]:
        found = {(*self._also, *self._literals(clauses)) for clauses in covered} or {self._also}
        # Where one regex needs nothing more, there is nothing to check.
        return ((),) if () in found else tuple(sorted(found))

    def _literals(self, clauses: Sequence[Clause]) -> tuple[bytes, ...]:
        words = [word for clause in clauses if len(clause) == 1 for word in clause]
        texts = [word.text for word in words if not word.ignorecase]
        return tuple(text.encode(self._encoding) for text in texts[:_CHECKED])


def _without_longer(texts: Collection[str]) -> list[str]:
    """Return texts without those that contain another."""
    found: list[str] = []
    for text in sorted(texts, key=lambda text: (len(text), text)):
        if not any(other in text for other in found):
            found.append(text)
    return found


def _worth(clause: Clause) -> bool:
    return len(clause) <= MOST_WORDS and min(len(w.text) for w in clause) >= SHORTEST


def _torn(clause: Clause, tears: Tears) -> Clause:
    """Return words that stay whole in the log when a date stood somewhere in the clause's."""
    words: set[Word] = set()
    for text, ignorecase in clause:
        places = sorted(tears(text))
        if len(places) == len(text) - 1 and places:
            # It may be torn anywhere, but once only: one of the halves is whole.
            middle = len(text) // 2
            pieces = [text[:middle], text[middle:]]
        else:
            whole = (text[a:b] for a, b in zip([0, *places], [*places, len(text)]))
            pieces = [
                min(whole, key=lambda piece: cost(frozenset([Word(piece, ignorecase=False)])))
            ]
        words |= {Word(piece, ignorecase) for piece in pieces if piece}
    return frozenset(words)


def _search(clause: Clause, encoding: str) -> re.Pattern[bytes]:
    regexes = sorted((_regex(word, encoding) for word in clause), key=len)
    return re.compile(b"|".join(regexes))


def _regex(word: Word, encoding: str) -> bytes:
    if not word.ignorecase:
        return re.escape(word.text.encode(encoding))
    return b"".join(_any_case(char, encoding) for char in word.text)


def _any_case(char: str, encoding: str) -> bytes:
    same = {char, char.lower(), char.upper(), *SAME_LETTER.get(char.lower(), "")}
    # What the encoding cannot write encodes to nothing: the log cannot hold it.
    variants = {re.escape(one.encode(encoding, "ignore")) for one in same} - {b""}
    return b"(?:" + b"|".join(sorted(variants)) + b")"


def _keeps_ascii(encoding: str) -> bool:
    """Return whether an ASCII character is its own byte, and no other's part, in an encoding."""
    name = codecs.lookup(encoding).name
    return name == "utf-8" or bool(_SINGLE_BYTE.match(name))


def _every_line(data: bytes, position: int, size: int) -> Iterator[Span]:
    while position < size:
        end = data.find(b"\n", position, size)
        end = size if end < 0 else end
        yield position, end
        position = end + 1
