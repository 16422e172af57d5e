# SPDX-License-Identifier: MIT
"""How much of the agent's time those may take who are not root.

    allowance.wait(now)              seconds until there is some left, 0.0 when there is
    allowance.spend(seconds, now)    it may go below nothing: a piece of work is not cut

An allowance fills while time goes by. Times are seconds of a clock that never goes backwards.
"""

from __future__ import annotations


SHARE, SPAN = 0.1, 1.0
"""Of the agent's time for each user, and what he may take at once when he has long been still."""
SHARE_OF_ALL, SPAN_OF_ALL = 0.2, 2.0
"""Likewise for all of them together, root not among them."""
REQUEST = 0.01
"""Seconds that a request counts at least: ten a second, after a hundred at once."""
CONNECTION = 0.0002
"""Seconds that a new connection counts at least: a thousand a second of all together."""
MOST_AT_ONCE = 128
"""Connections that may come together."""
MOST_KNOWN = 1024
"""Users whose allowance is remembered."""


class Allowance:
    """Seconds of work that may be asked for.

    Args:
        share: seconds that come to it in a second.
        span: seconds that it holds at most, and at the beginning.
        now: seconds.
    """

    def __init__(self, share: float, span: float, now: float) -> None:
        self._share, self._span, self._left, self._at = share, span, span, now

    def wait(self, now: float) -> float:
        """Return the seconds until something is left, 0.0 if something is."""
        self._fill(now)
        return 0.0 if self._left > 0 else (0.001 - self._left) / self._share

    def spend(self, seconds: float, now: float) -> None:
        """Take note of work that was done."""
        self._fill(now)
        self._left -= seconds

    def is_full(self, now: float) -> bool:
        """Return whether nothing is known about it any more."""
        self._fill(now)
        return self._left >= self._span

    def _fill(self, now: float) -> None:
        passed, self._at = max(0.0, now - self._at), now
        self._left = min(self._span, self._left + passed * self._share)


class Allowances:
    """Those of all users but root: each has its own, and all share one more."""

    def __init__(self, now: float) -> None:
        self._of: dict[int, Allowance] = {}
        self._of_all = Allowance(SHARE_OF_ALL, SPAN_OF_ALL, now)
        self._door = Allowance(SHARE_OF_ALL, CONNECTION * MOST_AT_ONCE, now)

    def wait(self, uid: int, now: float) -> float:
        """Return the seconds until something may be done for a user."""
        own = self._of.get(uid)
        return max(self._of_all.wait(now), 0.0 if own is None else own.wait(now))

    def spend(self, uid: int, seconds: float, now: float) -> None:
        """Take note of work for a user."""
        if uid not in self._of:
            if len(self._of) >= MOST_KNOWN:
                self._of = {u: own for u, own in self._of.items() if not own.is_full(now)}
            if len(self._of) >= MOST_KNOWN:
                del self._of[next(iter(self._of))]
            self._of[uid] = Allowance(SHARE, SPAN, now)
        self._of[uid].spend(seconds, now)
        self._of_all.spend(seconds, now)

    def wait_at_door(self, now: float) -> float:
        """Return the seconds until another connection may be taken."""
        return self._door.wait(now)

    def came(self, now: float) -> None:
        """Take note of a connection."""
        self._door.spend(CONNECTION, now)
