# SPDX-License-Identifier: MIT
"""One loop for everything: descriptors, timers, signals."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Callable, Optional


Call = Callable[[], None]


class Loop:
    """Waits, and calls whoever is concerned. It never wakes without a reason.

    Args:
        clock: seconds that never go backwards.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._listening: dict[str, tuple[int, ...]] = {}
        self._timers: dict[str, tuple[float, Call]] = {}
        self._signals: dict[int, Call] = {}
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before: dict[int, object] = {}
        self.listen("signals", (self._wake,), self._signalled)

    def listen(self, name: str, filenos: Sequence[int], call: Call) -> None:
        """Call when one of the descriptors is readable; they replace those of the same name."""
        new = tuple(filenos)
        old = self._listening.get(name, ())
        if new == old:
            return
        self.forget(name)
        for fileno in new:
            self._selector.register(fileno, selectors.EVENT_READ, call)
        self._listening[name] = new

    def after(self, name: str, seconds: Optional[float], call: Call) -> None:
        """Call once, so many seconds from now; it replaces the timer of the same name.

        None only takes that one away.
        """
        self._timers.pop(name, None)
        if seconds is not None:
            self._timers[name] = (self._clock() + max(0.0, seconds), call)

    def forget(self, name: str) -> None:
        """Neither listen nor call for that name any more; its descriptors may be closed."""
        for fileno in self._listening.pop(name, ()):
            # A closed descriptor has left the kernel's list by itself.
            with suppress(KeyError, OSError, ValueError):
                self._selector.unregister(fileno)
        self._timers.pop(name, None)

    def waiting(self, name: str) -> bool:
        """Return whether a timer of that name is set."""
        return name in self._timers

    def on_signal(self, number: int, call: Call) -> None:
        """Call when a signal has come, in the loop, not in its midst."""
        if not self._signals:
            signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        self._signals[number] = call
        self._before[number] = signal.signal(number, _noted)

    def turn(self) -> None:
        """Wait for the next thing and see to everything that is due."""
        timeout = None
        if self._timers:
            timeout = max(0.0, min(at for at, _ in self._timers.values()) - self._clock())
        ready = {key.data: None for key, _ in self._selector.select(timeout)}
        for call in ready:
            call()
        now = self._clock()
        for name, (at, call) in sorted(self._timers.items(), key=lambda timer: timer[1][0]):
            if at <= now and self._timers.get(name) == (at, call):
                del self._timers[name]
                call()

    def close(self) -> None:
        """Release the descriptors and give the signals back."""
        if self._signals:
            signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._selector.close()
        os.close(self._wake)
        os.close(self._woken)

    def _signalled(self) -> None:
        with suppress(BlockingIOError):
            for number in os.read(self._wake, 64):
                if number in self._signals:
                    self._signals[number]()


def _noted(_number: int, _frame: Optional[FrameType]) -> None:
    """Leave the signal to the loop, which the wakeup descriptor has told of it."""
