# SPDX-License-Identifier: MIT
"""How far a long command has come, on standard error and only for a person who waits."""

from __future__ import annotations

import sys
import time


PATIENCE = 2.0
"""Seconds before anything is said."""
_EVERY = 0.5
_LINES = 256


class Progress:
    """Counts lines, and says how many.

    Args:
        size: bytes in all, or 0 where nobody knows.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lines = size, 0
        self._shown = False
        self.began = time.monotonic()
        self._next = self.began + PATIENCE
        self._on = sys.stderr.isatty()

    def step(self, read: int) -> None:
        """Count a line.

        Args:
            read: bytes read so far.
        """
        self._lines += 1
        if not self._on or self._lines % _LINES:
            return
        now = time.monotonic()
        if now >= self._next:
            self._next, self._shown = now + _EVERY, True
            share = f", {100 * read // self._size} %" if self._size else ""
            print(f"\r{self._lines:,} lines{share} ", end="", file=sys.stderr, flush=True)

    def end(self) -> float:
        """Take back what was said, and return the seconds since the begin."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        return time.monotonic() - self.began
