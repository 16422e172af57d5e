# SPDX-License-Identifier: MIT
"""What a jail makes of a line, step by step, and where it parts from one that it passes over."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Callable, Optional

from stockade_agent import config
from stockade_agent.budget import Budget
from stockade_agent.errors import OverrunError
from stockade_agent.failregex import compile_pattern
from stockade_agent.filter import Filter, Found
from stockade_agent.ignore import Ignore
from stockade_agent.lines import TOLERANCE
from stockade_agent.model import Address, Failure
from stockade_agent.naming import resolved
from stockade_agent.protected import Protected
from stockade_agent.reach import Reach, reach
from stockade_agent.specs import JailSpec, Origin
from stockade_agent.trace import Trace


FAILURE, IGNORED, CONTEXT, PENDING, MISSED = "failure", "ignored", "context", "pending", "missed"
GIVEN_UP = "given up"

_FIRST_YEAR = 1900
_SEPARATORS = re.compile(r"[\s,]+")

Lookup = Callable[[str], Iterable[Address]]
"""Returns the addresses of a host name."""


@dataclass(frozen=True)
class Regex:
    """One regex of a filter.

    Attributes:
        option: ``prefregex``, ``failregex`` or ``ignoreregex``.
        number: which of the option's, counted from 1.
        origin: where it was written, or None where that cannot be told.
    """

    option: str
    number: int
    text: str
    origin: Optional[Origin]


@dataclass(frozen=True)
class Date:
    """The date that was found in a line.

    Attributes:
        text: what was cut out of the line.
        at: seconds, UTC; None for a date that is none.
        template: by which it was found.
        late: too far from the present for a new line, which is taken as of now.
    """

    text: str
    at: Optional[float]
    template: str
    late: bool


@dataclass(frozen=True)
class Count:
    """Somebody whose failure the line is.

    Attributes:
        id: what counts.
        host: the host name that stood for it, or None.
        ignored: why it does not count: the entry of ``ignoreip``, ``own address``, …; or "".
        origin: where that was written, or None.
        data: what the groups captured; hostile text.
    """

    id: str
    host: Optional[str]
    ignored: str
    origin: Optional[Origin]
    data: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """What a jail makes of a line.

    Attributes:
        verdict: ``failure``; ``ignored``, by ignoreregex or because it is of somebody who is never
            banned; ``context`` (``<F-NOFAIL>``); ``pending`` until its session tells of whom it
            is; ``missed``; ``given up``, as it takes too long.
        searched: what the failregexes saw.
        prefregex: it, if there is one; ``agrees`` says whether it matches.
        failregex: the one that matches, or None.
        nearest: of those that do not match, the one that gets furthest, and how far.
        ignoreregex: those that match.
        counts: whose failure it is.
        given_up: what took too long, or "".
    """

    jail: str
    verdict: str
    date: Optional[Date]
    searched: str
    prefregex: Optional[Regex]
    agrees: Optional[bool]
    failregex: Optional[Regex]
    nearest: Optional[tuple[Regex, Reach]]
    ignoreregex: tuple[Regex, ...]
    counts: tuple[Count, ...]
    given_up: str = ""


class Judge:
    """A jail's filter and its ignore list; what a line leaves behind is there for the next.

    Args:
        directory: the configuration that the jail is of.
        protected: who is never banned.
        look_up: is asked for host names.
        now: the present.

    Raises:
        RegexError: see ``Filter``.
    """

    def __init__(
        self,
        directory: str,
        spec: JailSpec,
        *,
        protected: Protected,
        look_up: Lookup,
        now: float,
    ) -> None:
        self.spec = spec
        self._directory, self._protected, self._look_up = directory, protected, look_up
        self._budget = Budget(spec.filtertime)
        self._filter = Filter(
            spec.filter, findtime=spec.findtime, now=now, any_time=True, first_year=_FIRST_YEAR
        )
        self._entries = [e for text in spec.ignoreip for e in _SEPARATORS.split(text) if e]

    def line(self, text: str, now: float) -> Judgement:
        """Return what the jail makes of a line, all before it taken into account."""
        trace, before = Trace(), dict(self._filter.detector.hits())
        try:
            with self._budget.each_line():
                found = self._filter.examine(text, now, trace=trace)
        except OverrunError as error:
            return Judgement(
                self.spec.name, GIVEN_UP, None, "", None, None, None, None, (), (), str(error)
            )
        date = self._date(trace, before, now)
        counts = tuple(count for one in found for count in self._counts(one))
        failregex = self._regex("failregex", trace.matched[0]) if trace.matched else None
        prefregex = self._regex("prefregex", 0) if self.spec.filter.prefregex else None
        ignoreregex = tuple(self._regex("ignoreregex", n) for n in dict.fromkeys(trace.ignoring))
        nearest = None
        if not trace.matched and not trace.ignored_first:
            nearest = self._nearest(trace)
        return Judgement(
            self.spec.name,
            _verdict(found, trace, counts),
            date,
            trace.text.rstrip("\n"),
            prefregex,
            trace.prefregex,
            failregex,
            nearest,
            ignoreregex,
            counts,
        )

    def _date(self, trace: Trace, before: dict[str, int], now: float) -> Optional[Date]:
        if trace.line is None or not trace.line.date:
            return None
        hits = self._filter.detector.hits()
        templates = [name for name, count in hits if count > before.get(name, 0)]
        late = trace.at is not None and abs(trace.at - now) > TOLERANCE
        return Date(trace.line.date, trace.at, templates[0] if templates else "", late)

    # ---- regexes

    def _texts(self, option: str) -> tuple[str, ...]:
        spec = self.spec.filter
        if option == "prefregex":
            return (spec.prefregex,) if spec.prefregex else ()
        return spec.failregex if option == "failregex" else spec.ignoreregex

    def _regex(self, option: str, index: int) -> Regex:
        text = self._texts(option)[index]
        origin = config.origin(self._directory, self.spec.name, option, text)
        return Regex(option, index + 1, text, origin)

    def _nearest(self, trace: Trace) -> Optional[tuple[Regex, Reach]]:
        option = "prefregex" if trace.prefregex is False else "failregex"
        spec = self.spec.filter
        multiline = option == "failregex" and spec.maxlines > 1
        usedns = spec.usedns.lower()
        try:
            with self._budget.each_line():
                got = [
                    (reach(pattern.regex, trace.text), index)
                    for index, text in enumerate(self._texts(option))
                    for pattern in (
                        compile_pattern(text, option=option, usedns=usedns, multiline=multiline),
                    )
                ]
        except OverrunError:
            return None  # a hint that takes for ever is none
        if not got:
            return None
        furthest, index = max(got, key=lambda one: (one[0].share, one[0].end, -one[1]))
        return self._regex(option, index), furthest

    # ---- whom it counts against

    def _counts(self, found: Found) -> list[Count]:
        if found.harmless or found.identity is None:
            return []
        data = {name: str(value) for name, value in found.groups.items() if value is not None}
        failure = Failure(0.0, found.identity.id, found.identity.address, found.host)
        failures = [failure]
        if found.host is not None:
            failures = resolved(failure, self._look_up(found.host))
        return [Count(one.id, found.host, *self._ignored(one), data) for one in failures]

    def _ignored(self, failure: Failure) -> tuple[str, Optional[Origin]]:
        for entry in self._entries:
            if self._takes(entry, failure):
                return entry, config.origin(self._directory, self.spec.name, "ignoreip", entry) or (
                    self.spec.origins.get("ignoreip")
                )
        return self._protected.why(failure.address, own=self.spec.ignoreself), None

    def _takes(self, entry: str, failure: Failure) -> bool:
        ignore = Ignore(replace(self.spec, ignoreip=(entry,), ignoreself=False))
        for name in ignore.names:
            ignore.resolved(name, self._look_up(name))
        return bool(ignore.ignored(failure))


def _verdict(found: Collection[Found], trace: Trace, counts: Collection[Count]) -> str:
    if trace.ignoring:
        return IGNORED
    if not found:
        return MISSED
    if any(not count.ignored for count in counts):
        return FAILURE
    if counts:
        return IGNORED
    return CONTEXT if all(one.harmless for one in found) else PENDING
