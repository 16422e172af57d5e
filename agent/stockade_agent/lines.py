# SPDX-License-Identifier: MIT
"""From a block of undecoded bytes to dated lines: only those that a filter could match."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple, Optional

from stockade_agent.budget import Budget, of_line
from stockade_agent.dates import Date, DateDetector, years
from stockade_agent.errors import OverrunError, RegexError
from stockade_agent.failregex import Pattern
from stockade_agent.gate import Span, every_line, keeps_ascii
from stockade_agent.gates import Gates
from stockade_agent.model import Block
from stockade_agent.sessions import Sessions
from stockade_agent.specs import FilterSpec


TOLERANCE = 60
"""Seconds that a live line's date may differ from now, and that a date serves lines without."""

LOOK_BACK = 100
"""Rejected lines that are searched for a date when a matching line has none."""

_TAIL = 16384
_STEP = 8192
_LONG = 1 << 16
_PIECE = 1 << 16
# Bytes a counting line below which it is cheaper to look for all that may end a session at once.
_DENSE = 1024


class Line(NamedTuple):
    """A log line, parted at its date."""

    before: str
    date: str
    after: str

    @property
    def text(self) -> str:
        """What regexes are searched in: the line without its date."""
        return self.before + self.after

    @property
    def whole(self) -> str:
        """The line as it was read."""
        return self.before + self.date + self.after


Dated = tuple[Line, Optional[float]]
"""A line and its time; None where nothing tells it."""


class Lines:
    """Decodes and dates the lines of one jail's logs.

    Args:
        findtime: how old a line may be in catch-up.
        now: any time near the start.
        any_time: take lines whatever their date, and those without one too.
        first_year: the earliest year that ``%ExY`` accepts.
        prefregex: empty, or the one; with ``failregex`` for the gate.
        failregex: empty for a filter that needs every line.
        budget: what the lines may take.
        sessions: those that are open; where none is, a line that can only be the harmless end of
            one is not looked at.

    Raises:
        RegexError: ``datepattern``, ``logtimezone`` or ``logencoding`` is wrong.
    """

    def __init__(
        self,
        spec: FilterSpec,
        *,
        findtime: float,
        now: float,
        any_time: bool,
        first_year: int,
        prefregex: Sequence[Pattern],
        failregex: Sequence[Pattern],
        sessions: Sessions,
        budget: Budget,
    ) -> None:
        self._sessions, self._budget = sessions, budget
        self._findtime, self._any_time = findtime, any_time
        self._encoding = log_encoding(spec.logencoding)
        self.detector = DateDetector(
            spec.datepattern, zone=spec.logtimezone, exact_years=years(now, first_year)
        )
        # Lines of these cannot be found in undecoded bytes.
        self._wide = self._encoding.startswith(("utf-16", "utf-32"))
        # The journal's are UTF-8 whatever files are in.
        self._narrow = "utf-8" if self._wide else self._encoding
        self._regexes = prefregex, failregex
        self._dated_gates: Optional[Gates] = None
        self._bare_gates: Optional[Gates] = None
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        self._last: Optional[float] = None
        self._last_text = ""
        # What the gate rejected since the last line: the end of the last block, and a part
        # of this one. It is looked at only when a line turns out to have no date.
        self._tail = b""
        self._gap = (b"", 0, 0)

    def read(self, block: Block, now: float, *, live: bool) -> Iterator[Dated]:
        """Yield the lines of a block that could match and are young enough."""
        if self.passed(block, now, live=live):
            return
        date = self.date
        for text, at in self._candidates(block):
            if self._budget.over:
                return
            try:
                dated = date(text, now, at=at, live=live)
            except OverrunError as error:
                self._budget.gave_up(text, error)
                continue
            if dated is not None:
                yield dated

    def passed(self, block: Block, now: float, *, live: bool) -> bool:
        """Return whether a block is of a time so long ago that nothing of it counts."""
        if live or not self._is_old(block, now):
            return False
        self._tail, self._gap = block.data[-_TAIL:], (b"", 0, 0)
        return True

    def _is_old(self, block: Block, now: float) -> bool:
        """Return whether a block is all older than findtime, as its first and last lines say.

        A log that lay for weeks is read at the speed of the disk this way.
        """
        horizon, data = now - self._findtime, block.data
        if self._any_time or self._wide:
            return False
        if block.times is not None:
            return max(block.times) < horizon
        if len(data) < _LONG:
            return False
        for place in (0, len(data) // 2, len(data) - 2):
            begin = data.rfind(b"\n", 0, place + 1) + 1 if place else 0
            try:
                found = self._first_date(data[begin : data.find(b"\n", begin)], now)
            except OverrunError:
                return False  # it is given up, and counted, when its turn comes
            if found is None or found.at is None or found.at >= horizon:
                return False
        return True

    @of_line
    def date(
        self, text: str, now: float, *, at: Optional[float] = None, live: bool
    ) -> Optional[Dated]:
        """Return a line with its time, or None if it is too old.

        Args:
            text: without its newline.
            now: the present.
            at: the time where it is known without reading it.
            live: the line is new, not from before the start.
        """
        if at is not None:
            parts = Line("", "", text)
        else:
            parts, at = self._dated(text, now, live=live)
        if self._any_time or at is None:
            return parts, at
        taken, last = self.taken(at, now, live=live)
        if last != at:
            self._last = last
        return None if taken is None else (parts, taken)

    def taken(self, at: float, now: float, *, live: bool) -> tuple[Optional[float], float]:
        """Return the time that a date counts for, None if too old, and the one it is lent for."""
        if not live:
            return None if at < now - self._findtime else at, at
        return (now, now) if abs(int(at - now)) > TOLERANCE else (at, at)

    @property
    def raw(self) -> Optional[Callable[[Block], Iterator[bytes]]]:
        """What yields the candidates undecoded; None where bytes are not enough to know a line."""
        unknown = self._wide or self._any_time or self.detector.dateless
        return None if unknown or not keeps_ascii(self._encoding) else self._raw

    def pass_on(self, at: float, date: str) -> None:
        """Note the date of lines that somebody else dated."""
        self._last, self._last_text = at, date

    @of_line
    def _first_date(self, raw: bytes, now: float) -> Optional[Date]:
        return self.detector.find(self.decoded(raw), now)

    def _candidates(self, block: Block) -> Iterator[tuple[str, Optional[float]]]:
        data, times = block.data, block.times
        if self._wide and times is None:
            decoder = self._decoders.get(block.log)
            if decoder is None:
                decoder = codecs.getincrementaldecoder(self._encoding)("replace")
                self._decoders[block.log] = decoder
            # ``splitlines`` would take what a client sends, such as U+2028, for a line's end.
            *lines, last = decoder.decode(data).split("\n")
            for line in [*lines, last] if last else lines:
                yield line.rstrip("\r"), None
        elif times is not None:
            number = position = 0
            for start, end in self._spans(block, self._gates(dated=False)):
                number += data.count(b"\n", position, start)
                position = start
                yield self.decoded(data[start:end]), times[number]
        else:
            for raw in self._raw(block):
                yield self.decoded(raw), None

    def _raw(self, block: Block) -> Iterator[bytes]:
        data, seen, gates = block.data, 0, self._gates(dated=True)
        if gates.counting.floods(data, block.found):
            # Nothing is rejected: no gap ever opens. Pieces, for lists of lines take memory.
            while seen < len(data):
                end = data.find(b"\n", seen + _PIECE) + 1 or len(data)
                piece = data[seen:end].split(b"\n")
                if not piece[-1]:
                    piece.pop()
                seen = end
                for raw in piece:
                    yield raw
                    self._tail = b""
            return
        for start, end in self._spans(block, gates):
            self._gap = (data, seen, start)
            seen = min(end + 1, len(data))
            yield data[start:end]
            self._tail = b""
        self._tail = (self._tail + data[max(seen, len(data) - _TAIL) :])[-_TAIL:]
        self._gap = (b"", 0, 0)

    def _spans(self, block: Block, gates: Gates) -> Iterator[Span]:
        """Yield where the lines are that could match, and change anything if they do."""
        data, position = block.data, 0
        if block.times is not None and gates.counting.floods(data, block.found):
            yield from every_line(data, 0, len(data))
            return
        lines = gates.counting.lines(data, block.found)
        if gates.ending is None:
            yield from lines
            return
        if len(lines) * _DENSE > len(data):
            ending = set(gates.ending.lines(data, block.found)).difference(lines)
            for line in sorted({*lines, *ending}):
                if line not in ending or self._follows(data[slice(*line)], gates):
                    yield line
            return
        for start, end in lines:
            if self._sessions:
                yield from self._followed(block, position, start, gates)
            yield start, end
            position = end + 1
        if self._sessions:
            yield from self._followed(block, position, len(data), gates)

    def _follows(self, line: bytes, gates: Gates) -> bool:
        """Return whether a line may be of an open session."""
        if not self._sessions:
            return False
        marks = self._sessions.marks if gates.marked else None
        return marks is None or not marks.isdisjoint(line.split())

    def _followed(self, block: Block, position: int, end: int, gates: Gates) -> Iterator[Span]:
        """Yield the lines that may end an open session, as long as one is open."""
        assert gates.ending is not None  # noqa: S101 - there is something to follow
        data = block.data
        step = _STEP
        while position < end:
            stop = end
            if position + step < end:
                stop = data.find(b"\n", position + step, end) + 1 or end
            for line in gates.ending.lines(data, block.found, position, stop):
                if self._follows(data[slice(*line)], gates):
                    yield line
                    if not self._sessions:
                        return
            position, step = stop, 2 * step

    def decoded(self, raw: bytes) -> str:
        """Return a line as text, without what ends it."""
        try:
            text = raw.decode(self._narrow)
        except UnicodeDecodeError:
            text = raw.decode(self._narrow, "replace")
        return text.rstrip("\r\n")

    def _dated(self, text: str, now: float, *, live: bool) -> Dated:
        found = self.detector.find(text, now)
        parts, at = Line("", "", text), None
        if found is not None:
            if found.start == found.end:  # the pattern says that there is none
                return self._borrowed(text, now) or (parts, now)
            parts = Line(text[: found.start], text[found.start : found.end], text[found.end :])
            at = found.at
        if at is not None:
            self._last, self._last_text = at, parts.date
            return parts, at
        self._look_back(now, live=live)
        at = now if live and not self._any_time else None
        return self._borrowed(text, now) or (parts, at)

    def _borrowed(self, text: str, now: float) -> Optional[Dated]:
        """Lend a line the last date seen, unless that is too old."""
        if self._last and self._last > now - TOLERANCE:
            return Line("", self._last_text, text), self._last
        return None

    def _look_back(self, now: float, *, live: bool) -> None:
        """Take the date that the lines rejected before this one would have left behind."""
        data, start, end = self._gap
        rejected = (self._tail + data[max(start, end - _TAIL) : end]).split(b"\n")[:-1]
        self._tail, self._gap = b"", (b"", 0, 0)
        for raw in reversed(rejected[-LOOK_BACK:]):
            text = self.decoded(raw)
            found = self.detector.find(text, now)
            if found is not None and found.at is not None:
                late = live and not self._any_time and abs(int(found.at - now)) > TOLERANCE
                self._last = now if late else found.at
                self._last_text = text[found.start : found.end]
                return

    def _gates(self, *, dated: bool) -> Gates:
        """Return the gates for lines that carry their date, or for those that have none."""
        gates = self._dated_gates if dated else self._bare_gates
        if gates is None:
            cut = dated and not self.detector.dateless
            gates = Gates.of(
                *self._regexes,
                self._encoding,
                self.detector.tears if cut else None,
                marked=not cut or self.detector.clean_begin,
            )
            if dated:
                self._dated_gates = gates
            else:
                self._bare_gates = gates
        return gates


def log_encoding(name: str) -> str:
    """Return the codec that ``logencoding`` means; ``auto`` is the locale's, ASCII aside.

    Raises:
        RegexError: Python knows no such encoding.
    """
    if name.lower() == "auto":
        # On Linux file names are in the locale's; the module of that name costs 0.5 MB.
        preferred = sys.getfilesystemencoding()
        name = "utf-8" if codecs.lookup(preferred).name == "ascii" else preferred
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise RegexError(f"unknown encoding {name!r}", option="logencoding") from None
