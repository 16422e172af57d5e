# SPDX-License-Identifier: MIT
"""A jail's filter: blocks of log lines in, failures out, with fail2ban's exact verdict.

    filter = Filter(spec, findtime=600, now=clock())
    for failure in filter.failures(block, now, live=True):
        if failure.host:                       # a name: resolve it off the loop, then
            failures = resolved(failure, addresses)

``live`` is False while a log is read for the first time or after a stop (catch-up): then what
is older than findtime is dropped; when live, a date more than a minute off is taken as now.

``examine`` judges one line, for tools and tests. ``compile_check`` returns all that is wrong
with a filter's regexes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple, Optional

from stockade_agent.budget import Budget, of_line, searches
from stockade_agent.buffer import joined, parted
from stockade_agent.dates import DateDetector
from stockade_agent.errors import OverrunError
from stockade_agent.failregex import (
    LONG,
    SESSION_GROUP,
    Groups,
    Pattern,
    compile_pattern,
    merged,
    require_ids,
)
from stockade_agent.identity import Identity
from stockade_agent.lines import Line, Lines
from stockade_agent.model import Block, Failure
from stockade_agent.naming import Naming
from stockade_agent.sessions import Sessions
from stockade_agent.shapes import Shapes
from stockade_agent.specs import FilterSpec
from stockade_agent.sweep import Sweep, Told, data
from stockade_agent.trace import Trace


_MOST_HEADS = 256

_Try = tuple[int, Callable[[str], Optional["re.Match[str]"]], Pattern]
"""Number of a failregex, what searches for it, and the same compiled."""


class Found(NamedTuple):
    """A failregex that matched a line.

    Attributes:
        number: which failregex, counted from 0.
        at: the line's date, or None if it has none and none was known.
        identity: who; None while the session has not told.
        host: a host name to be resolved; ``identity`` is then that name.
        groups: values of all groups, those of its session included.
        users: all users that its session tried.
        matches: the lines that it stands for.
        harmless: context only, no failure.
    """

    number: int
    at: Optional[float]
    identity: Optional[Identity]
    host: Optional[str]
    groups: Groups
    users: Optional[frozenset[str]]
    matches: tuple[str, ...]
    harmless: bool


class Filter:
    """The compiled filter of one jail, with the state of its sessions, dates and buffers.

    Args:
        now: any time near the start; ``%ExY`` accepts years around it.
        check_all: try every failregex on every line, instead of stopping at the first match.
        raw_host: leave host names as they are, as ``usedns = raw`` does.
        any_time: judge a line whatever its date, and one without a date too.
        first_year: the earliest year that ``%ExY`` accepts.
        budget: what lines may take; any time where there is none.

    Raises:
        RegexError: a regex, ``datepattern``, ``logtimezone`` or ``logencoding`` is wrong.
    """

    def __init__(
        self,
        spec: FilterSpec,
        *,
        findtime: float = 600,
        now: float,
        check_all: bool = False,
        raw_host: bool = False,
        any_time: bool = False,
        first_year: int = 2000,
        budget: Optional[Budget] = None,
    ) -> None:
        self.spec = spec
        self._budget = Budget(0) if budget is None else budget
        self._any_time, self._check_all = any_time, check_all
        self._usedns = spec.usedns.lower()
        if self._usedns not in ("yes", "warn", "raw"):
            self._usedns = "no"
        self._buffered = spec.maxlines > 1
        self._prefregex = self._compiled("prefregex", (spec.prefregex,) if spec.prefregex else ())
        self._failregex = self._compiled("failregex", spec.failregex)
        self._ignoreregex = self._compiled("ignoreregex", spec.ignoreregex)
        require_ids(self._prefregex, self._failregex)
        self._ignore_first = 0 < len(self._ignoreregex) < len(self._failregex) - 2
        self._sessions = Sessions()
        self._lines = Lines(
            spec,
            findtime=findtime,
            now=now,
            any_time=any_time,
            first_year=first_year,
            prefregex=self._prefregex,
            # A buffer needs the lines around a match, so nothing is to be rejected.
            failregex=() if self._buffered else self._failregex,
            sessions=self._sessions,
            budget=self._budget,
        )
        self._buffer: list[Line] = []
        self._prefixes = [(pattern.find, pattern) for pattern in self._prefregex]
        self._tries = [(i, p.find, p) for i, p in enumerate(self._failregex)]
        self._long: Optional[list[_Try]] = None
        self._likely: dict[str, list[_Try]] = {}
        self._naming = Naming(raw=raw_host or self._usedns == "raw")
        self._sweep = self._swept()

    def _swept(self) -> Optional[Sweep]:
        """Return what judges a block by shapes; None where lines have no meaning of their own."""
        if self._buffered or self._check_all or self._any_time or self._ignoreregex:
            return None
        names = {name for one in (*self._prefregex, *self._failregex) for name in one.captured}
        return Sweep(
            Shapes(self._prefregex, self._promising, self._lines.detector),
            self._lines,
            self._sessions,
            self._line_by_line,
            self._of_told,
            self._naming.known,
            budget=self._budget,
            plain_ids=names.isdisjoint(("fid", "cidr")),
        )

    @property
    def detector(self) -> DateDetector:
        """The filter's date detector, for reports."""
        return self._lines.detector

    @property
    def buffered(self) -> tuple[Line, ...]:
        """The lines that wait for those to come, where ``maxlines`` is more than 1."""
        return tuple(self._buffer) if self._buffered else ()

    def failures(self, block: Block, now: float, *, live: bool = True) -> Iterator[Failure]:
        """Yield the failures in a block, in order.

        Args:
            block: of any log that the jail watches.
            now: the present; no failure is later.
            live: the lines are new, not from before the start.
        """
        raw = self._lines.raw if self._sweep is not None and block.times is None else None
        if self._sweep is None or raw is None:
            for line, at in self._lines.read(block, now, live=live):
                yield from self._failures(line, at, now)
        elif not self._lines.passed(block, now, live=live):
            yield from self._sweep.failures(raw(block), now, live=live)

    def _line_by_line(self, text: str, now: float, live: bool) -> Iterator[Failure]:  # noqa: FBT001
        try:
            dated = self._lines.date(text, now, live=live)
        except OverrunError as error:
            self._budget.gave_up(text, error)
        else:
            if dated is not None:
                yield from self._failures(*dated, now)

    def _failures(self, line: Line, at: Optional[float], now: float) -> Iterator[Failure]:
        try:
            judged = self._judged(line, at, now)
        except OverrunError as error:
            self._budget.gave_up(line.whole, error)
            self._buffer = []
            return
        for found in judged:
            failure = _failure(found, now)
            if failure is not None:
                yield failure

    def _of_told(self, told: Told, now: float) -> Optional[Failure]:
        number, at, groups, users, matches, in_session = told
        found = self._named(number, groups, at, users, matches, in_session=in_session)
        return None if found is None else _failure(found, now)

    def examine(
        self,
        line: str,
        now: float,
        *,
        at: Optional[float] = None,
        live: bool = True,
        trace: Optional[Trace] = None,
    ) -> list[Found]:
        """Return which failregexes match a line, and what they found.

        Args:
            line: without its newline.
            now: the present.
            at: the line's time where it is known otherwise (journal); the line then has no date.
            live: as for ``failures``.
            trace: is told how the line fares.
        """
        dated = self._lines.date(line, now, at=at, live=live)
        if dated is None:
            return []
        if trace is not None:
            trace.line, trace.at = dated
        return self._judged(*dated, now, trace)

    @of_line
    @searches("pattern")
    def _judged(
        self, line: Line, at: Optional[float], now: float, trace: Optional[Trace] = None
    ) -> list[Found]:
        if self._buffered:
            self._buffer = [*self._buffer, line][-self.spec.maxlines :]
            lines = self._buffer
            text = joined(lines)
        else:
            lines = [line]
            text = f"{line.before}{line.after}\n"
        if trace is not None:
            trace.text = text
        if self._ignore_first and self._ignored(text, trace):
            if trace is not None:
                trace.ignored_first = True
            return []
        base: Groups = {}
        for find, pattern in self._prefixes:
            match = pattern.find_long(text) if len(text) > LONG else find(text)
            if trace is not None:
                trace.prefregex = match is not None
            if match is None:
                return []
            base = pattern.groups(match)
            if trace is not None:
                trace.captured = dict(base)
            content = base.pop("content", None)
            if content:
                text = f"{content}\n"
                if self._buffered:
                    self._buffer = [Line("", "", str(content))]
        if trace is not None:
            trace.text = text
        return self._matched(text, lines, base, at, now, trace)

    @searches("pattern")
    def _matched(
        self,
        text: str,
        lines: list[Line],
        base: Groups,
        at: Optional[float],
        now: float,
        trace: Optional[Trace],
    ) -> list[Found]:
        found: list[Found] = []
        for index, find, pattern in self._promising(text):
            match = find(text)
            if match is None:
                continue
            if trace is not None:
                trace.matched.append(index)
            covered, left = parted(match, lines) if self._buffered else (lines, [])
            if self._ignoreregex and self._ignored(
                joined(covered) if self._buffered else text, trace
            ):
                if self._buffered:
                    self._buffer = left
                    text = joined(self._buffer)
                if not self._check_all:
                    break
                continue
            if at is None and not self._any_time:
                continue
            if self._buffered:
                self._buffer = left
                text = joined(self._buffer)
                whole = tuple(line.whole for line in covered)
            else:
                whole = (lines[0].whole,)
            groups = pattern.groups(match)
            if base:
                groups = merged(base, groups)
            one = self._found(index, groups, at, now, whole)
            if one is None:
                continue
            found.append(one)
            if not self._check_all:
                break
        return found

    def _promising(self, text: str) -> list[_Try]:
        """Return the failregexes that a text can match, as far as its first character tells."""
        if self._buffered or self._check_all:
            return self._tries
        if len(text) > LONG:
            if self._long is None:
                self._long = [(i, p.find_long, p) for i, p in enumerate(self._failregex)]
            return self._long
        head = text[0]
        tries = self._likely.get(head)
        if tries is None:
            tries = [one for one in self._tries if one[2].can_begin(head)]
            if len(self._likely) < _MOST_HEADS:
                self._likely[head] = tries
        return tries

    def _found(
        self, index: int, groups: Groups, at: Optional[float], now: float, lines: tuple[str, ...]
    ) -> Optional[Found]:
        session = groups.get(SESSION_GROUP)
        users, harmless = None, False
        if session is not None:
            merged = self._sessions.merge(str(session), groups, lines, now)
            groups, users, lines, harmless = merged
            if harmless and not self._check_all:
                return Found(index, at, None, None, groups, users, lines, harmless)
        found = self._named(index, groups, at, users, lines, in_session=session is not None)
        return None if found is None else found._replace(harmless=harmless)

    def _named(
        self,
        index: int,
        groups: Groups,
        at: Optional[float],
        users: Optional[frozenset[str]],
        lines: tuple[str, ...],
        *,
        in_session: bool,
    ) -> Optional[Found]:
        """Return a failure with whose it is, as far as its groups tell."""
        identity, host = self._naming.of(groups)
        if identity is None and host is None:
            if not in_session:
                return None  # optional groups, none of which took part
            self._sessions.pend()
        elif identity is None and self._usedns not in ("yes", "warn"):
            return Found(index, at, None, None, groups, users, lines, harmless=False)
        if host is not None:
            identity = Identity(host)
        return Found(index, at, identity, host, groups, users, lines, harmless=False)

    @searches("pattern")
    def _ignored(self, text: str, trace: Optional[Trace] = None) -> bool:
        ignored, long = False, len(text) > LONG
        for index, pattern in enumerate(self._ignoreregex):
            if (pattern.find_long if long else pattern.regex.search)(text) is None:
                continue
            ignored = True
            if trace is not None:
                trace.ignoring.append(index)
            if trace is None or not self._check_all:
                break
        return ignored

    def _compiled(self, option: str, texts: Iterable[str]) -> list[Pattern]:
        multiline = self._buffered and option == "failregex"
        return [
            compile_pattern(
                text, option=option, index=index, usedns=self._usedns, multiline=multiline
            )
            for index, text in enumerate(texts)
        ]


def _failure(found: Found, now: float) -> Optional[Failure]:
    if found.at is None or found.identity is None or found.harmless:
        return None
    return Failure(
        at=min(found.at, now),
        id=found.identity.id,
        address=found.identity.address,
        host=found.host,
        matches=found.matches,
        data=data(found.groups, (), found.users),
    )
