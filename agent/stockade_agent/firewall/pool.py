# SPDX-License-Identifier: MIT
"""A few threads for work that may take long, in lanes.

What is put into one lane is done in order, one after the other; no lane waits for another.
A few threads serve all of them. One whose work has turned out slow no longer counts as one of the
few, so that another can take its place.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from typing import Callable, Optional


WORKERS = 4
"""Threads that work at a time, those with slow work not counted."""
IDLE = 30.0
"""Seconds after which a thread that has nothing to do ends."""

Slow = Callable[[], None]
Work = Callable[[Slow], object]
"""Is given a function to call when it turns out slow; what it returns goes to ``results``, but
for None."""


class Pool:
    """Does work in threads of its own, which start when there is some.

    Args:
        clock: seconds that never go backwards.

    Attributes:
        fileno: readable when there are results.
    """

    def __init__(self, clock: Callable[[], float], *, workers: int = WORKERS) -> None:
        self._clock, self._workers = clock, workers
        self._changed = threading.Condition()
        self._lanes: dict[Hashable, deque[Work]] = {}
        self._ready: deque[Hashable] = deque()
        self._busy: set[Hashable] = set()
        self._later: list[tuple[float, int, Hashable, Work]] = []
        self._order = itertools.count()
        self._threads = self._slow = self._idle = 0
        self._watched = self._closed = False
        self._results: deque[object] = deque()
        self.fileno, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def put(self, lane: Hashable, work: Work, *, after: float = 0.0) -> None:
        """Have something done, behind everything else in its lane.

        Args:
            after: seconds until it is put there.
        """
        with self._changed:
            if self._closed:
                return
            if after > 0:
                heapq.heappush(self._later, (self._clock() + after, next(self._order), lane, work))
            else:
                self._enqueue(lane, work)
            self._engage()

    def queued(self, lane: Hashable) -> int:
        """Return how much of a lane is not done, but for what is put off."""
        with self._changed:
            return len(self._lanes.get(lane, ())) + (lane in self._busy)

    def results(self) -> list[object]:
        """Return what works have returned, or raised; call when ``fileno`` is readable."""
        with suppress(BlockingIOError):
            os.read(self.fileno, 65536)
        came = []
        while self._results:
            came.append(self._results.popleft())
        return came

    def drain(self, seconds: float) -> bool:
        """Wait until all is done but what is put off; return False if it takes longer."""
        end = self._clock() + seconds
        with self._changed:
            while self._busy or self._ready:
                left = end - self._clock()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def close(self) -> None:
        """Take no more work and forget what has not begun; wait for nothing."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._lanes.clear()
            self._later.clear()
            self._changed.notify_all()
            self._release()

    # ---- with the lock held -------------------------------------------------------------------

    def _enqueue(self, lane: Hashable, work: Work) -> None:
        queue = self._lanes.setdefault(lane, deque())
        queue.append(work)
        if len(queue) == 1 and lane not in self._busy:
            self._ready.append(lane)

    def _engage(self) -> None:
        """Wake a thread, or start one, for work that is there or will be."""
        if self._idle:
            self._changed.notify_all()
        elif self._threads - self._slow < self._workers and (self._ready or self._later):
            self._threads += 1
            # Daemons: a command that hangs must not keep the agent from ending.
            threading.Thread(target=self._serve, name="action", daemon=True).start()

    def _next(self) -> Optional[tuple[Hashable, Work]]:
        """Wait for work; return None when there is none for long, or never will be."""
        while not self._closed:
            now = self._clock()
            while self._later and self._later[0][0] <= now:
                self._enqueue(*heapq.heappop(self._later)[2:])
            if self._ready:
                lane = self._ready.popleft()
                self._busy.add(lane)
                work = self._lanes[lane].popleft()
                self._engage()
                return lane, work
            # As long as something is put off, one thread stays to wait for it.
            watch = bool(self._later) and not self._watched
            self._watched = self._watched or watch
            self._idle += 1
            notified = self._changed.wait(self._later[0][0] - now if watch else IDLE)
            self._idle -= 1
            self._watched = self._watched and not watch
            if not notified and not watch and not self._ready:
                return None
        return None

    def _finish(self, lane: Hashable) -> None:
        self._busy.discard(lane)
        if self._lanes.get(lane):
            self._ready.append(lane)
        else:
            self._lanes.pop(lane, None)
        self._changed.notify_all()

    def _release(self) -> None:
        if self._closed and self._threads == 0 and self._wake >= 0:
            os.close(self.fileno)
            os.close(self._wake)
            self._wake = -1

    # ---- in the threads -----------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            with self._changed:
                found = self._next()
                if found is None:
                    self._threads -= 1
                    self._release()
                    return
            lane, work = found
            slowness = _Slowness(self._slowed)
            result: object
            try:
                result = work(slowness.tell)
            except Exception as error:  # noqa: BLE001 - the loop is where it belongs
                result = error
            if result is not None:
                self._results.append(result)
            with self._changed:
                self._slow -= slowness.told
                self._finish(lane)
            with suppress(BlockingIOError):
                os.write(self._wake, b"\0")

    def _slowed(self) -> None:
        with self._changed:
            self._slow += 1
            self._engage()


class _Slowness:
    def __init__(self, first: Slow) -> None:
        self._first, self.told = first, False

    def tell(self) -> None:
        if not self.told:
            self.told = True
            self._first()
