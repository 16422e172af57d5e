# SPDX-License-Identifier: MIT
"""How long filters may take: a line that takes too long is given up, and at last the filter.

    budget = Budget(seconds)             # one for each filter, given to it
    if budget.lets(block, now):
        budget.begin(block, now)
        ...                              # the filter reads the block
        budget.end(now)

Python's ``re`` holds the interpreter until a search has ended, but looks for signals every few
thousand steps. While a block is read, a timer of the process's CPU time ticks: a machine that
was paused, or is busy with other things, does not count. Its handler sees from the frames
which line is at work; honest lines pay nothing for that. Once a line has had its time, the
handler raises out of the search, and only out of a search: in the midst of anything else
something might stay half done.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time
from types import CodeType, FrameType
from typing import Any, Callable, Optional, TypeVar

from stockade_agent.errors import OverrunError
from stockade_agent.model import Block


BURST = 2
"""So many lines' time may be taken beyond what the lines are worth before a filter is suspended."""
WORTH = 10e-6
"""Share of a line's time that a byte is worth: some thirty times what failures of sshd take."""
RECOVERY = 0.02
"""Share of a line's time that is forgotten of what was taken too much, each second."""
PAUSES = (60, 120, 240, 480, 960, 1920, 3600)
"""Seconds that a filter is suspended, by how often it was lately."""
CALM = 3600.0
"""Seconds after a suspension from which on the next one is the first again."""

_TICKS, _FINEST, _COARSEST = 10, 0.01, 0.1
_SHOWN, _SHOWN_REGEX = 200, 80

_Function = TypeVar("_Function", bound=Callable[..., Any])
_LINES: set[CodeType] = set()
_SEARCHES: dict[CodeType, str] = {}


def of_line(function: _Function) -> _Function:
    """Mark what deals with one line: its callers are ready for ``OverrunError``."""
    _LINES.add(function.__code__)
    return function


def searches(local: str) -> Callable[[_Function], _Function]:
    """Mark what does nothing that takes long but search, and may be ended while it does.

    Args:
        local: the variable whose ``source`` says what is searched for.
    """

    def mark(function: _Function) -> _Function:
        _SEARCHES[function.__code__] = local
        return function

    return mark


class Budget:
    """What one filter may take, and what it took.

    Args:
        seconds: of CPU time that one line may take; 0: any.

    Attributes:
        over: the block at work has had its time; what is left of it is not looked at.
        given_up: lines that took too long.
        passed_over: lines that came while the filter was suspended.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.over = False
        self.given_up = self.passed_over = 0
        self._debt, self._at, self._worth = 0.0, 0.0, 0.0
        self._since = self._until = 0.0
        self._suspended, self._times = False, 0
        self._last = ""
        self._notes: list[str] = []

    @property
    def suspension(self) -> str:
        """Why and until when the filter is suspended, or ""."""
        if not self._suspended:
            return ""
        return (
            f"suspended, as it took too much CPU time{self._last}; "
            f"tried again with the first line after {_clock(self._until)}"
        )

    @property
    def problem(self) -> str:
        """What an operator must know of it, or ""."""
        said = []
        if self._suspended:
            passed = f"what its logs say meanwhile is passed over ({self.passed_over:,} lines)"
            said.append(f"filter {self.suspension}; {passed}")
        if self.given_up:
            lines = "1 line was" if self.given_up == 1 else f"{self.given_up:,} lines were"
            said.append(f"{lines} given up after {self.seconds:g} s each")
        return "; ".join(said)

    def lets(self, block: Block, now: float) -> bool:
        """Return whether the filter may read a block, or is suspended."""
        if not self._suspended:
            return True
        # A clock that was set back must not make it longer.
        if self._since <= now < self._until:
            self.passed_over += block.data.count(b"\n")
            return False
        self._suspended, self._last = False, ""
        # One more line that takes too long is enough now.
        self._debt, self._at = (BURST - 1) * self.seconds, now
        return True

    def begin(self, block: Block, now: float) -> None:
        """Watch what the filter takes from now on."""
        if not self.seconds:
            return
        self._debt = max(0.0, self._debt - max(0.0, now - self._at) * RECOVERY * self.seconds)
        self._at, self.over = now, False
        self._worth = len(block.data) * WORTH * self.seconds
        _watch.start(self, self._worth + BURST * self.seconds - self._debt)

    def end(self, now: float) -> None:
        """Note what it took since ``begin``."""
        if not self.seconds:
            return
        self._debt += max(0.0, _watch.stop() - self._worth)
        if self.over or self._debt >= BURST * self.seconds:
            self._suspend(now)
        self.over = False

    @contextmanager
    def each_line(self) -> Iterator[None]:
        """Limit single lines alone, for tools: what they ask for meanwhile may raise."""
        if self.seconds:
            _watch.start(self, float("inf"))
        try:
            yield
        finally:
            if self.seconds:
                _watch.stop()

    def gave_up(self, line: str, error: OverrunError) -> None:
        """Count a line that was given up."""
        self.given_up += 1
        self._last = f", last in {error.regex}" if error.regex else ""
        self._notes.append(f"{error}; the line: {line[:_SHOWN]}")

    def notes(self) -> Iterator[str]:
        """Yield what was given up since the last call, for the log."""
        notes, self._notes = self._notes, []
        yield from notes

    def _suspend(self, now: float) -> None:
        if now - self._until > CALM:
            self._times = 0
        pause = PAUSES[min(self._times, len(PAUSES) - 1)]
        self._suspended, self._times = True, self._times + 1
        self._since, self._until = now, now + pause


class _Watch:
    """The process's timer of CPU time: the kernel has one, and Python one handler for it."""

    def __init__(self) -> None:
        self._budget: Optional[Budget] = None
        self._begun = self._limit = self._seen = 0.0
        self._line: Optional[FrameType] = None
        self._place: tuple[Optional[FrameType], int] = (None, 0)
        self._ready = False

    def start(self, budget: Budget, limit: float) -> None:
        """Tick for a budget; ``over`` is set after ``limit`` seconds."""
        if not self._ready:
            signal.signal(signal.SIGPROF, self._ticked)
            self._ready = True
        self._budget, self._limit = budget, limit
        tick = max(_FINEST, min(_COARSEST, budget.seconds / _TICKS))
        self._begun = thread_time()
        signal.setitimer(signal.ITIMER_PROF, tick, tick)

    def stop(self) -> float:
        """Tick no more; return the seconds that were taken."""
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        self._budget, self._line, self._place = None, None, (None, 0)
        return thread_time() - self._begun

    def _ticked(self, _number: int, frame: Optional[FrameType]) -> None:
        budget = self._budget
        if budget is None or frame is None:
            return
        now = thread_time()
        if now - self._begun > self._limit:
            budget.over = True
        line = _line_of(frame)
        if line is not self._line:
            self._line, self._seen = line, now
        before, self._place = self._place, (frame, frame.f_lasti)
        if line is None or frame.f_code not in _SEARCHES:
            return
        # Still where it was at the last tick: in the search, not on the way to it or from it.
        stays = before[0] is frame and before[1] == frame.f_lasti
        if stays and now - self._seen >= budget.seconds:
            self._line, self._place = None, (None, 0)
            raise OverrunError(budget.seconds, regex=_searched(frame))


_watch = _Watch()


def _line_of(frame: Optional[FrameType]) -> Optional[FrameType]:
    """Return the frame of the line at work, or None."""
    while frame is not None and frame.f_code not in _LINES:
        frame = frame.f_back
    return frame


def _searched(frame: FrameType) -> str:
    source = getattr(frame.f_locals.get(_SEARCHES[frame.f_code]), "source", "")
    if not source:
        return ""
    return f"'{source[:_SHOWN_REGEX]}{'…' if len(source) > _SHOWN_REGEX else ''}'"


def _clock(at: float) -> str:
    minutes, seconds = divmod(int(at) % 86400, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02} UTC"
