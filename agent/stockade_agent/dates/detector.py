# SPDX-License-Identifier: MIT
"""Finds the date of a line among several templates, and remembers which one fits the log."""

from __future__ import annotations

import re
from typing import Any, Callable, NamedTuple, Optional

from stockade_agent.budget import searches
from stockade_agent.dates.defaults import (
    default_templates,
    embedded_templates,
    has_date_place,
    template,
)
from stockade_agent.dates.moment import moment
from stockade_agent.dates.pattern import LINE_BEGIN, UNBOUND, Template, read_fields
from stockade_agent.dates.zones import minutes_east
from stockade_agent.errors import RegexError


_FAR = 0x7FFFFFFF
_UNUSED_FOR = 300
"""Seconds after which a template gives way to one that is used."""

_CACHE_SIZE = 4096

DEEPEST = 1 << 14
"""Characters of a line in which a date is looked for: a search cannot be ended as fast in more."""


class Date(NamedTuple):
    """Where a line says its date, and when that is.

    Attributes:
        start: where the text begins that is to be cut out of the line; ``end`` where it ends.
            Equal when the pattern matched but there is nothing to cut.
        at: None when the text is no date after all (February 30).
    """

    start: int
    end: int
    at: Optional[float]


class DateDetector:
    """Finds dates in the lines of one jail's logs.

    Which template wins where several match follows fail2ban: one at the line's begin, then
    the one that the log used before, then the leftmost; it depends on the lines seen before.

    Args:
        pattern: the option ``datepattern``; None or "" for the default templates.
        zone: the option ``logtimezone``.
        exact_years: what ``years`` gave.

    Raises:
        RegexError: pattern or zone cannot be used.
    """

    def __init__(
        self, pattern: Optional[str] = None, *, zone: Optional[str] = None, exact_years: str
    ) -> None:
        self._zone = None if not zone else minutes_east(zone)
        if zone and self._zone is None:
            raise RegexError(
                f"unknown time zone {zone!r}",
                option="logtimezone",
                remedy="write a fixed offset such as UTC+0200",
            )
        self._entries = [_Entry(t) for t in _templates(pattern or "", exact_years)]
        self._last = -1
        self._first_unused = 0
        # Where the last date stood, and the characters on both sides of its begin and end.
        self._start, self._before, self._first = 1, "", ""
        self._end, self._final, self._after = _FAR, "", ""
        self._parsed: dict[tuple[str, tuple[Optional[str], ...]], Optional[float]] = {}
        self._minutes: dict[tuple[Optional[str], ...], Optional[float]] = {}
        self._parsed_at = 0.0
        # The template of the last date, if it can match at the line's begin only; what it found
        # lately; and the line whose date is not noted above yet.
        self._again: Optional[_Entry] = None
        self._known: dict[tuple[tuple[Optional[str], ...], tuple[int, int]], Date] = {}
        self._unnoted: Optional[tuple[str, int, int]] = None

    @property
    def dateless(self) -> bool:
        """Whether the pattern says that lines have no date (``{NONE}``)."""
        return all(entry.template.name == "{NONE}" for entry in self._entries)

    @property
    def clean_begin(self) -> bool:
        """Whether dates begin their lines, but for marks, and no word is joined to them."""
        templates = [entry.template for entry in self._entries]
        return all(one.margin >= 0 and one.clean_cut for one in templates)

    def tears(self, word: str, offset: int = 0) -> set[int]:
        """Return the places at which a word of a line without its date may have been joined.

        Args:
            word: ASCII.
            offset: so many characters of the line stand before it, at least.
        """
        return set().union(*(entry.template.tears(word, offset) for entry in self._entries))

    def hits(self) -> list[tuple[str, int]]:
        """Return template name and number of dates found by it, in the present order."""
        return [(entry.template.name, entry.hits) for entry in self._entries]

    def regexes(self) -> list[str]:
        """Return what each template searches, in the order of ``hits``."""
        return [entry.template.source for entry in self._entries]

    @searches("entry")
    def find(self, line: str, now: float) -> Optional[Date]:
        """Return the date of a line, or None if no template matches.

        ``now`` fills what the date leaves out: its year, often.
        """
        if len(line) > DEEPEST:
            line = line[:DEEPEST]
        entry = self._again
        if entry is not None and now == self._parsed_at:
            # Nearly every line of a log comes here, so it is written for speed: what is found as
            # before is looked up, and what only another template needs to know is noted later.
            match = entry.search_(line)
            if match is not None:
                entry.hits += 1
                entry.matches += 1
                entry.distance = match.start()
                entry.used = now
                self._unnoted = line, match.start(), match.end()
                key = match.groups(), match.span(1)
                known = self._known.get(key)
                if known is None:
                    known = self._known[key] = self._date(match, entry, now)
                return known
        if self._unnoted is not None:
            self._note(*self._unnoted)
        found = self._match(line, now)
        return None if found is None else self._date(*found, now)

    @property
    def usual(self) -> Optional[re.Pattern[str]]:
        """What matches the date of such lines as came last, at their begin; None: many might."""
        entry = self._again
        return entry.regex if entry is not None and entry.template.margin >= 0 else None

    def usual_date(self, line: str, now: float) -> Optional[tuple[Optional[float], int, int]]:
        """Return what ``find`` would of a line that begins with its date, and count nothing.

        Returns:
            The time, where the date ends, and where what ``usual`` matched ends; or None.
        """
        entry = self._again
        match = entry.search_(line) if entry is not None else None
        if match is None or entry is None or match.start(1) != 0:
            return None
        date = self._date(match, entry, now)
        return date.at, date.end, match.end()

    def repeated(self, times: int, line: str, end: int, now: float) -> None:
        """Count lines in a row whose date ``usual`` found; the last, and where the match ended."""
        entry = self._again
        if entry is not None:
            entry.hits += times
            entry.matches += times
            entry.distance, entry.used, self._unnoted = 0, now, (line, 0, end)

    def _date(self, match: re.Match[str], entry: _Entry, now: float) -> Date:
        start, end = match.span(1)
        if start == end:  # also where group 1 took no part: -1
            return Date(0, 0, None)
        return Date(start, end, self._at(match, entry.template, now))

    def _at(self, match: re.Match[str], template_: Template, now: float) -> Optional[float]:
        if now != self._parsed_at or len(self._parsed) > _CACHE_SIZE:
            self._parsed.clear()
            self._known.clear()
            self._minutes.clear()
            self._parsed_at = now
        # Its groups are all that is read; what else it matched may be an address.
        key = (template_.name, match.groups())
        if key not in self._parsed:
            if template_.parse is read_fields:
                self._parsed[key] = self._read(template_.name, match.groupdict(), now)
            else:
                self._parsed[key] = template_.parse(match, now, self._zone)
        return self._parsed[key]

    def _read(self, name: str, fields: dict[str, Optional[str]], now: float) -> Optional[float]:
        """Return the time that fields say; a minute is computed once, and its seconds added."""
        second = fields.get("S")
        if second is None or len(second) != len("59") or second > "59" or not second.isascii():
            return moment(fields, now, self._zone)
        fields["S"] = "00"
        key = (name, *fields.values())
        if key not in self._minutes:
            begin, end = (
                moment(fields, now, self._zone),
                moment({**fields, "S": "59"}, now, self._zone),
            )
            # What a date leaves out may be filled in otherwise from some second on.
            whole = begin is not None and end is not None and end - begin == 59.0
            self._minutes[key] = begin if whole else None
        minute = self._minutes[key]
        if minute is None:
            return moment({**fields, "S": second}, now, self._zone)
        return minute + int(second)

    def _match(self, line: str, now: float) -> Optional[tuple[re.Match[str], _Entry]]:
        best: Optional[tuple[re.Match[str], int]] = None
        skip = -1
        if self._last >= 0:
            match, skip = self._match_again(line)
            if match is not None:
                if self._settled(match, self._entries[self._last].template):
                    return self._won(line, match, self._last, now)
                best = match, self._last
        match, index = self._match_any(line, skip, best)
        if match is None:
            if best is None:
                return None
            match, index = best
        return self._won(line, match, index, now)

    def _match_again(self, line: str) -> tuple[Optional[re.Match[str]], int]:
        """Try the template of the last date, at its place if the surroundings are the same.

        Returns:
            The match, and the index of the template if trying it again would be useless.
        """
        entry = self._entries[self._last]
        if entry.template.anchored:
            return entry.search(line), self._last
        start, end = self._start, self._end
        same_begin = line[max(start - 1, 0) : start] == self._before or (
            line[start : start + 1] == self._first and not self._first.isalnum()
        )
        same_end = line[end : end + 1] == self._after or (
            line[end - 1 : end] == self._final and not self._final.isalnum()
        )
        if same_begin and same_end:
            return entry.search(line, start, end), -1
        return entry.search(line), self._last

    def _settled(self, match: re.Match[str], template_: Template) -> bool:
        return (
            len(self._entries) == 1
            or template_.anchored
            or match.span() == (self._start, self._end)
        )

    def _match_any(
        self, line: str, skip: int, best: Optional[tuple[re.Match[str], int]]
    ) -> tuple[Optional[re.Match[str]], int]:
        """Return the first template's match that is good enough, else the leftmost one."""
        for index, entry in enumerate(self._entries):
            match = entry.search(line) if index != skip else None
            if match is None:
                continue
            distance = match.start()
            if index + 1 == len(self._entries) or entry.template.anchored:
                return match, index
            if distance == 0 and entry.hits and not self._entries[index + 1].matches:
                return match, index
            # Further right than usual: perhaps a date in the message; look for a better one.
            if distance > entry.distance or distance > self._start:
                if best is None or distance < best[0].start():
                    best = match, index
                continue
            return match, index
        return best if best is not None else (None, -1)

    def _won(
        self, line: str, match: re.Match[str], index: int, now: float
    ) -> tuple[re.Match[str], _Entry]:
        entry = self._entries[index]
        entry.hits += 1
        entry.used, entry.distance = now, match.start()
        if self._first_unused == index:
            self._first_unused += 1
        self._note(line, match.start(), match.end())
        if index and index != self._last:
            index = self._promoted(index)
        self._last = index
        again = entry if entry.template.anchored else None
        if again is not self._again:
            self._again = again
            self._known.clear()
        return match, entry

    def _note(self, line: str, start: int, end: int) -> None:
        """Note where a date stood."""
        self._start, self._before = start, line[max(start - 1, 0) : start]
        self._first = line[start : start + 1]
        self._end, self._after = end, line[end : end + 1]
        self._final = line[max(end - 1, 0) : end]
        self._unnoted = None

    def _promoted(self, index: int) -> int:
        """Move a template that won often towards the front and return its new index."""
        entries, entry = self._entries, self._entries[index]

        def beats(place: int) -> bool:
            other = entries[place]
            return entry.weight > other.weight or entry.used - _UNUSED_FOR > other.used

        place = self._first_unused if self._first_unused < index else index // 2
        if not beats(place):
            if place == index - 1 or not beats(index - 1):
                return index
            place = index - 1
        entries.insert(place, entries.pop(index))
        while self._first_unused < len(entries) and entries[self._first_unused].hits:
            self._first_unused += 1
        return place


class _Entry:
    """A template in a detector's list, with what the detector knows of its use."""

    __slots__ = ("distance", "hits", "matches", "regex", "search_", "template", "used")

    def __init__(self, template_: Template) -> None:
        self.template = template_
        self.regex: Optional[re.Pattern[str]] = None
        self.search_: Callable[..., Optional[re.Match[str]]] = self._first
        self.hits = self.matches = 0
        self.used, self.distance = 0.0, _FAR

    @searches("self")
    def _first(self, *place: Any) -> Optional[re.Match[str]]:
        """Search for the first time: most templates of a detector are never needed."""
        self.regex = regex = self.template.compiled()
        # ``search`` would try what can only match at the begin at every place.
        self.search_ = regex.match if self.template.margin >= 0 else regex.search
        return self.search_(*place)

    @property
    def source(self) -> str:
        """The pattern, as it was written."""
        return self.template.name

    @property
    def weight(self) -> float:
        return self.hits * self.template.weight / max(1, self.distance)

    @searches("self")
    def search(self, line: str, start: int = 0, end: int = _FAR) -> Optional[re.Match[str]]:
        match = self.search_(line, start, end)
        if match is not None:
            self.matches += 1
        return match


def _templates(pattern: str, exact_years: str) -> list[Template]:
    found: dict[str, Template] = {}
    for line in filter(None, map(str.strip, pattern.split("\n"))):
        several = bool(found)
        if line.upper() == "{DEFAULT}":
            continue  # as in fail2ban, it adds nothing to other patterns
        if line.upper() == LINE_BEGIN:
            new = [t for t in default_templates(exact_years) if t.at_begin]
        elif has_date_place(line):
            new = embedded_templates(line, exact_years)
            # Where the pattern has no fields of its own, all are right if one is.
            for one in new if "%" in line or "(?P" in line else new[:1]:
                one.compiled()
        else:
            several = False
            if line.upper() == "{NONE}":
                new = [template(f"{UNBOUND}^", exact_years)._replace(name="{NONE}")]
            else:
                new = [template(line, exact_years)]
                new[0].compiled()
        for one in new:
            if one.name in found and not several:
                raise RegexError(f"{one.name!r} is given twice", option="datepattern")
            known = found.setdefault(one.name, one)
            found[one.name] = known._replace(weight=max(known.weight, one.weight))
    return list(found.values() or default_templates(exact_years))
