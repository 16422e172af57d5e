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
from functools import lru_cache
from typing import Callable, NamedTuple, Optional, Union

from stockade_agent.syntax import SAME_LETTER, Clause, Syntax, Word, cost


SHORTEST = 3
"""Characters below which a word is too common to be worth a search."""

MOST_WORDS = 512
"""Alternatives above which a clause costs more than it saves."""

MOST_SEARCHES = 12
"""Words above which one search for all that begin alike is cheaper than one for each."""

SAMPLE = 1 << 14
"""Bytes of a block in which the ways to search it are tried, where there are several."""

Span = tuple[int, int]
"""Begin and end of a line in a block, without its newline."""

Memo = dict[object, list[Span]]
"""What was found in a block: jails that search for the same find it once."""

Tears = Callable[[str, int], Collection[int]]
"""Tells at which places a word of a regex, behind so many characters of the text at least, may be
torn by the date (``DateDetector.tears``)."""

_SINGLE_BYTE = re.compile(r"(ascii|iso8859-\d+|cp125\d|cp437|cp85\d|cp86\d|koi8-[ru])$")
_SHARED = re.compile(r"\w{6,}", re.ASCII)
_CHECKED, _USUAL, _MOST_WAYS, _MOST_ANY = 3, 6, 4, 32
# Of a clause that a line meets more easily, a usual word is the lesser evil.
_COMMON = 2.0**-6
# What one search costs in a sample, and one line found, in the same unit.
_SEARCH, _LINE = SAMPLE / 3000, 1.5


class Check(NamedTuple):
    """What else a line must contain: all texts, and something that each regex finds."""

    texts: tuple[bytes, ...] = ()
    regexes: tuple[re.Pattern[bytes], ...] = ()


class Needle:
    """What a block is searched for; two that are equal are the same, see ``needle``.

    Attributes:
        key: the text, or the regex where it is more than one text.
        checks: one for each regex that needs it; one must be met.
    """

    __slots__ = ("checks", "key")

    def __init__(self, key: Union[bytes, re.Pattern[bytes]], checks: tuple[Check, ...]) -> None:
        self.key, self.checks = key, checks


@lru_cache(maxsize=1024)
def needle(key: Union[bytes, re.Pattern[bytes]], checks: tuple[Check, ...]) -> Needle:
    """Return the needle of a text or regex: for jails that search for the same, the same."""
    return Needle(key, checks)


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
        if not keeps_ascii(encoding):
            return

        def useful(syntax: Syntax) -> list[Clause]:
            whole = (_torn(clause, tears) for clause in syntax.words)
            return sorted((c for c in dict.fromkeys(whole) if _worth(c)), key=cost)

        prefix = [] if prefregex is None else useful(prefregex)
        needs = [useful(syntax) for syntax in failregexes]
        maker = _Needles(prefix, needs, encoding)
        self._ways = [maker.of(clause, needs) for clause in prefix]
        if len(needs) == 1:
            self._ways += [maker.of(clause, needs) for clause in needs[0][:_MOST_WAYS]]
        elif needs and all(needs):
            words = (word.text for syntax in common for clause in syntax.words for word in clause)
            usual = {text for text in words if len(text) >= _USUAL}
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
            return list(every_line(data, begin, end))
        memo = {} if memo is None else memo
        way = self._way(data, begin, end)
        key = (way, begin, end)
        if key not in memo:
            found = [_found(each, data, memo, begin, end) for each in way]
            found = [spans for spans in found if spans]
            memo[key] = found[0] if len(found) == 1 else sorted(set().union(*found))
        return memo[key]

    def floods(self, data: bytes, memo: Memo) -> bool:
        """Return whether so many lines of a block could match that it is not worth a search."""
        if not self._ways or len(data) < 4 * SAMPLE:
            return not self._ways
        end = data.rfind(b"\n", 0, SAMPLE) + 1
        found = [_found(each, data, memo, 0, end) for each in self._way(data, 0, SAMPLE)]
        return 2 * len(set().union(*found)) > data.count(b"\n", 0, end)

    def _way(self, data: bytes, begin: int, end: int) -> tuple[Needle, ...]:
        """Return the needles that are cheapest to look for in such a block."""
        if len(self._ways) == 1 or end - begin < SAMPLE:
            return self._ways[0]

        def expense(way: tuple[Needle, ...]) -> float:
            hits = sum(_count(each.key, data, begin, begin + SAMPLE) for each in way)
            return len(way) * _SEARCH + hits * _LINE

        return min(self._ways, key=expense)


def _found(sought: Needle, data: bytes, memo: Memo, begin: int, end: int) -> list[Span]:
    key = (sought, begin, end)
    spans = memo.get(key)
    if spans is None:
        memo[key] = spans = []
        # On this path speed outranks elegance: it is run for each line that has a word.
        find, rfind = data.find, data.rfind
        text, checks, position = sought.key, sought.checks, begin
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
            for texts, regexes in checks:
                for each in texts:
                    if each not in line:
                        break
                else:
                    for regex in regexes:
                        if regex.search(line) is None:
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
        if any(word.ignorecase for word in clause):
            return (needle(_search(clause, self._encoding), checks),)
        texts = [t.encode(self._encoding) for t in _without_longer({w.text for w in clause})]
        if len(texts) <= MOST_SEARCHES:
            return tuple(needle(text, checks) for text in texts)
        alike: dict[bytes, list[bytes]] = {}
        for text in texts:
            alike.setdefault(text[:1], []).append(text)
        return tuple(
            needle(group[0] if len(group) == 1 else _any_of(group), checks)
            for group in alike.values()
        )

    def hitting(self, usual: Collection[str]) -> Iterator[Needle]:
        """Yield needles of which every failregex needs one, none that is usual if possible."""
        left = dict(enumerate(self._needs))
        shared = {t for texts in self._single for text in texts for t in _SHARED.findall(text)}
        shared = {text for text in shared if not _is_usual(text, usual)}
        while left:
            best = max(
                (sorted(i for i in left if self._covers(i, text)) for text in sorted(shared)),
                key=len,
                default=[],
            )
            if len(best) > 1:
                text = self._common(best, shared)
                covered = [left.pop(index) for index in best]
                yield needle(text.encode(self._encoding), self._checks(covered))
                continue
            yield from self._each(list(left.values()), usual)
            return

    def _each(self, left: list[list[Clause]], usual: Collection[str]) -> Iterator[Needle]:
        """Yield the needles of regexes that share none."""
        # The best clause of each; where two have the same, the needle is the same.
        chosen: dict[Clause, list[list[Clause]]] = {}
        for clauses in left:
            rare = (c for c in clauses if not any(_is_usual(word.text, usual) for word in c))
            best = next(rare, clauses[0])
            if cost(best) > _COMMON:
                best = clauses[0]
            chosen.setdefault(best, []).append(clauses)
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

    def _checks(self, covered: Sequence[list[Clause]]) -> tuple[Check, ...]:
        found = dict.fromkeys(map(self._check, covered)) or {self._check([]): None}
        # Where one regex needs nothing more, there is nothing to check.
        return (Check(),) if Check() in found else tuple(found)

    def _check(self, clauses: list[Clause]) -> Check:
        several = [c for c in clauses if 1 < len(c) <= _MOST_ANY][-_CHECKED:]
        regexes = tuple(_search(clause, self._encoding) for clause in reversed(several))
        return Check((*self._also, *self._literals(clauses)), regexes)

    def _literals(self, clauses: Sequence[Clause]) -> tuple[bytes, ...]:
        words = [word for clause in clauses if len(clause) == 1 for word in clause]
        texts = [word.text for word in words if not word.ignorecase]
        return tuple(text.encode(self._encoding) for text in texts[:_CHECKED])


def _is_usual(text: str, usual: Collection[str]) -> bool:
    return any(text in word or word in text for word in usual)


def _without_longer(texts: Collection[str]) -> list[str]:
    """Return texts without those that contain another."""
    found: list[str] = []
    for text in sorted(texts, key=lambda text: (len(text), text)):
        if not any(other in text for other in found):
            found.append(text)
    return found


def _worth(clause: Clause) -> bool:
    return len(clause) <= MOST_WORDS and min(len(w.text) for w in clause) >= SHORTEST


def _torn(clause: Clause, tears: Optional[Tears]) -> Clause:
    """Return words that stay whole in the log when a date stood somewhere in the clause's."""
    if tears is None:
        return frozenset(word._replace(offset=0) for word in clause)
    words: set[Word] = set()
    for text, ignorecase, offset in clause:
        places = sorted(tears(text, offset))
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


def _any_of(texts: Sequence[bytes]) -> re.Pattern[bytes]:
    """Return what finds texts that have their first byte in common."""
    seconds = b"".join(sorted({re.escape(text[1:2]) for text in texts}))
    rest = b"|".join(re.escape(text[1:]) for text in sorted(texts))
    # Its only fixed character is one byte, which the C library looks for faster than any other.
    return re.compile(re.escape(texts[0][:1]) + b"(?=[" + seconds + b"])(?:" + rest + b")")


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


def keeps_ascii(encoding: str) -> bool:
    """Return whether an ASCII character is its own byte, and no other's part, in an encoding."""
    name = codecs.lookup(encoding).name
    return name == "utf-8" or bool(_SINGLE_BYTE.match(name))


def every_line(data: bytes, position: int, size: int) -> Iterator[Span]:
    """Yield begin and end of each line of a part of a block."""
    while position < size:
        end = data.find(b"\n", position, size)
        end = size if end < 0 else end
        yield position, end
        position = end + 1
