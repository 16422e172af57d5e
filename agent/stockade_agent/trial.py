# SPDX-License-Identifier: MIT
"""A filter tried on lines: what became of each, and how often each regex matched.

The numbers are those of fail2ban-regex. Lines go through one at a time, and what is kept of them
for the end of a report goes to disk when it grows.
"""

from __future__ import annotations

import tempfile
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple, Optional

from stockade_agent.budget import BURST, Budget
from stockade_agent.errors import OverrunError
from stockade_agent.filter import Filter, Found
from stockade_agent.identity import of_text
from stockade_agent.model import Address
from stockade_agent.specs import FILTERTIME, FilterSpec
from stockade_agent.trace import Trace


KINDS = ("matched", "ignored", "missed")
SHOWN = 20
"""Lines of a kind that are listed unless all are asked for."""

_MEMORY = 1 << 20
# Logs of all times are tried: %ExY takes the years 1900 to 2099.
_FIRST_YEAR, _LATE = 1900, 3976214400.0

Lookup = Callable[[str], Iterable[Address]]
"""Returns the addresses of a host name."""


class Outcome(NamedTuple):
    """What became of a line.

    Attributes:
        kind: one of ``KINDS``.
        found: each match, of a host name one for each of its addresses.
        trace: the line's way.
    """

    kind: str
    found: list[Found]
    trace: Trace

    @property
    def failures(self) -> list[Found]:
        """What was found but for mere context (``<F-NOFAIL>``)."""
        return [one for one in self.found if not is_context(one)]


def is_context(found: Found) -> bool:
    """Return whether a match is none of a failure."""
    return found.harmless or bool(found.groups.get("nofail"))


class Kept:
    """Lines in their order, of which the last few can be taken back.

    Args:
        window: how many.
    """

    def __init__(self, window: int = 1) -> None:
        self._last: deque[str] = deque()
        self._window = window
        self._rest = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed with its owner
            _MEMORY, "w+", encoding="utf-8", errors="surrogatepass", newline="\n"
        )
        weakref.finalize(self, self._rest.close)

    def add(self, line: str) -> None:
        """Keep a line."""
        self._last.append(line)
        if len(self._last) > self._window:
            self._rest.write(self._last.popleft() + "\n")

    def take_back(self, line: str) -> None:
        """Forget one of the last lines, if it is among them."""
        if line in self._last:
            self._last.remove(line)

    def __iter__(self) -> Iterator[str]:
        """Yield all lines; none can be added any more."""
        self._rest.seek(0)
        for line in self._rest:
            yield line[:-1]
        yield from self._last


class Trial:
    """A filter with counts.

    Args:
        spec: the filter.
        check_all: try every failregex on every line.
        raw_host: leave host names as they are.
        pending: a failure of someone not yet known is one.
        limit: how many lines of a kind are worth to be kept.
        every: the kinds of which all lines are kept.
        none: the kinds of which no line is kept.
        look_up: is asked for each host name that ``usedns`` wants resolved.
        seconds: that a line may take; see ``budget``.

    Attributes:
        counts: lines by kind.
        prefregex, failregex, ignoreregex: how often each matched, by its number.
        kept: lines by kind.
        given_up: what took too long, line by line.

    Raises:
        RegexError: see ``Filter``.
    """

    def __init__(
        self,
        spec: FilterSpec,
        *,
        check_all: bool = True,
        raw_host: bool = False,
        pending: bool = True,
        limit: int = SHOWN,
        every: Iterable[str] = (),
        none: Iterable[str] = ("matched",),
        look_up: Lookup = lambda _: (),
        seconds: float = FILTERTIME,
    ) -> None:
        self.budget = Budget(seconds)
        self.given_up: list[str] = []
        self.filter = Filter(
            spec,
            now=_LATE,
            check_all=check_all,
            raw_host=raw_host,
            any_time=True,
            first_year=_FIRST_YEAR,
        )
        self.counts = dict.fromkeys(KINDS, 0)
        self.prefregex = 0
        self.failregex: Counter[int] = Counter()
        self.ignoreregex: Counter[int] = Counter()
        self._check_all, self._pending, self._look_up = check_all, pending, look_up
        self.limit, self._every, self._none = limit, frozenset(every), frozenset(none)
        self.kept = {kind: Kept(max(limit + 1, spec.maxlines)) for kind in KINDS}

    @property
    def tested(self) -> int:
        """How many lines were tried."""
        return sum(self.counts.values())

    def line(self, text: str, now: float, at: Optional[float] = None) -> Outcome:
        """Try a line and return what became of it.

        Args:
            text: without its newline.
            now: the present, for dates without a year.
            at: the time of a journal entry.
        """
        trace = Trace()
        before = self.filter.buffered
        full = len(before) >= self.filter.spec.maxlines
        try:
            with self.budget.each_line():
                examined = self.filter.examine(text, now, at=at, trace=trace)
        except OverrunError as error:
            self.given_up.append(str(error))
            examined = []
        found = [each for one in examined for each in self._known(one)]
        self.prefregex += trace.prefregex is True
        self.ignoreregex.update(trace.ignoring)
        self.failregex.update(one.number for one in found)
        self._take_back([line.whole for line in before[full:] if line not in self.filter.buffered])
        kind = "matched" if found else "missed"
        if trace.ignoring or any(map(is_context, found)):
            kind = "ignored"
        self.counts[kind] += 1
        self._keep(kind, text)
        return Outcome(kind, found, trace)

    @property
    def hopeless(self) -> bool:
        """Whether so many lines took too long that an agent would suspend the filter."""
        return len(self.given_up) >= BURST

    def listed(self, kind: str) -> bool:
        """Return whether the lines of a kind are few enough to be shown, or all asked for."""
        return self.counts[kind] < self.limit or kind in self._every

    def _known(self, found: Found) -> list[Found]:
        """Return a match as one for each address of its host name; none where it is nothing."""
        if found.host is not None:
            ids = map(str, self._look_up(found.host))
            return [found._replace(identity=of_text(each), host=None) for each in sorted(set(ids))]
        if not self._check_all and found.harmless:
            return []
        if found.identity is None and (found.groups.get("dns") or not self._pending):
            return []
        return [found]

    def _take_back(self, lines: list[str]) -> None:
        """Count lines as matched that were missed until a later one completed them."""
        for line in lines:
            self.kept["missed"].take_back(line)
            self.counts["matched"] += 1
            self.counts["missed"] -= 1
            if "matched" in self._every:
                self.kept["matched"].add(line)

    def _keep(self, kind: str, text: str) -> None:
        few = self.counts[kind] <= self.limit + 1
        if kind in self._every or (few and kind not in self._none):
            self.kept[kind].add(text)
