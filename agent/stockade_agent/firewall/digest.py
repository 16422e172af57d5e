# SPDX-License-Identifier: MIT
"""Many bans in one message: after the first few, an action that only tells of bans collects them.

    ban ban … ban       told one by one, as many as ``digest_after`` within ``digest_time``
    ban ban ban … ────▶ collected for ``digest_time``, then told by one ``actiondigest``

An option of ours; an action without ``actiondigest`` tells of each ban by itself.
"""

from __future__ import annotations

from collections import deque
from typing import Optional

from stockade_agent.model import FOREVER, Ban


AFTER = 10
SECONDS = 600.0
LISTED = 500
"""Bans that a digest names; of the others it says how many."""


class Digest:
    """Decides which bans of one action are told by themselves, and keeps the others.

    Args:
        after: how many are, within ``seconds``.
        seconds: how long the others are collected.
    """

    def __init__(self, after: int = AFTER, seconds: float = SECONDS) -> None:
        self.after, self.seconds = after, seconds
        self._told: deque[float] = deque()
        self._first: Optional[Ban] = None
        self._lines: list[str] = []
        self.collected, self._failures = 0, 0

    def takes(self, ban: Ban, now: float) -> bool:
        """Return whether a ban is collected, rather than told by itself."""
        while self._told and not 0 <= now - self._told[0] < self.seconds:
            self._told.popleft()
        if self._first is None and len(self._told) < self.after:
            self._told.append(now)
            return False
        if self._first is None:
            self._first = ban.bare()
        self.collected += 1
        self._failures += ban.failures
        if len(self._lines) < LISTED:
            self._lines.append(f"{ban.id}  {ban.failures} failures")
        return True

    def close(self) -> Optional[Ban]:
        """Return one ban that stands for all that were collected, and begin anew.

        Its id says how many they are, its matches name them.
        """
        first, count, lines = self._first, self.collected, self._lines
        if first is None:
            return None
        if count > len(lines):
            lines.append(f"and {count - len(lines)} more")
        merged = Ban(
            jail=first.jail,
            id=f"{count} addresses" if count > 1 else first.id,
            address=None,
            at=first.at,
            bantime=FOREVER,
            failures=self._failures,
            count=count,
            matches=tuple(lines),
        )
        self._first, self._lines = None, []
        self.collected, self._failures = 0, 0
        return merged
