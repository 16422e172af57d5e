# SPDX-License-Identifier: MIT
"""Bans that somebody took out of the kernel are put back: when to look, and what came of it.

One who takes them again and again is not answered at the same pace: each time within a minute
doubles the wait, so that a war of two tools costs next to nothing.
"""

from __future__ import annotations

from typing import Optional

from stockade_agent.enforcement import Enforcement
from stockade_agent.errors import FirewallError
from stockade_agent.firewall.command import OURS
from stockade_agent.firewall.watch import Watch
from stockade_agent.log import Log


DEBOUNCE = 0.1
"""Seconds from the first change to a look: a tool may need several for what it does."""
MINUTE = 60.0
"""Seconds after which somebody who took our rules before is forgiven."""
IDLE = 1.5
"""Seconds at most between two looks that find nothing amiss; with the look, less than two."""
LONGEST = 30.0
"""Seconds at most between two looks."""
WAR = 5
"""Times in a row from which the operator is told."""
POLL = 25.0
"""Seconds between two looks where the kernel tells nothing."""


class Healing:
    """Looks when told of a change, and keeps count of what was put back.

    Args:
        enforcement: what looks and puts back.
        log: where it is said.

    Attributes:
        count: how often bans or rules were put back.
        at: when, the last time; None for never.
        by: which process had taken them; "" where nobody knows.
        wait: seconds until ``look`` must be called, or None.
    """

    def __init__(self, enforcement: Enforcement, log: Log) -> None:
        self._enforcement, self._log = enforcement, log
        self._watch: Optional[Watch] = None
        self._deaf = False
        self.count = 0
        self.at: Optional[float] = None
        self.by = ""
        self.wait: Optional[float] = None
        self._row = self._fruitless = 0
        self._looked_at: Optional[float] = None
        self._suspect = ""
        self._owed = ""

    def listen(self) -> None:
        """Have the kernel tell of changes from now on; where it refuses, that is said."""
        try:
            self._watch = Watch(OURS)
        except FirewallError as error:
            self._log.warning(f"firewall: {error}")
            self._deaf = True

    def filenos(self) -> tuple[int, ...]:
        """Return what is readable when the kernel tells of a change."""
        return () if self._watch is None else (self._watch.fileno,)

    def changed(self, now: float) -> None:
        """Hear what the kernel tells."""
        if self._watch is not None:
            stranger = self._watch.stranger(self._enforcement.concerns)
            if stranger is not None:
                self.disturbed(stranger, now)

    @property
    def pace(self) -> Optional[float]:
        """Seconds until ``look`` must be called without having been told, or None."""
        firewall = self._enforcement.firewall
        if firewall is None or not self._enforcement.holds:
            return None
        return POLL if self._deaf or not firewall.watched else None

    def close(self) -> None:
        """Hear no more."""
        if self._watch is not None:
            self._watch.close()

    def disturbed(self, by: str, now: float) -> None:
        """Take note that a process changed what may be ours."""
        self._suspect = by
        since = None if self._looked_at is None else now - self._looked_at
        if since is None or not 0 <= since < MINUTE:
            self._row = self._fruitless = 0
        if self.wait is None:
            gap = min(LONGEST, DEBOUNCE * 2**self._row)
            self.wait = max(gap, min(IDLE, DEBOUNCE * 2**self._fruitless))

    def look(self, now: float) -> None:
        """Put back what is missing."""
        self.wait, self._looked_at = None, now
        missing = self._enforcement.mend(now)
        if not missing:
            self._fruitless = min(self._fruitless + 1, 10)
            return
        self._fruitless, self._row = 0, min(self._row + 1, 10)
        self._owed = missing
        self.settle(now)

    def settle(self, now: float) -> None:
        """Count what was put back, once the firewall has taken it."""
        if not self._owed or self._enforcement.problem:
            return
        missing, self._owed = self._owed, ""
        self.count, self.at, self.by, self._suspect = self.count + 1, now, self._suspect, ""
        self._log.healed(self.by, missing)

    def warning(self, now: float) -> str:
        """Return that somebody keeps taking our rules, or ""."""
        if self._row < WAR or self.at is None or not 0 <= now - self.at < MINUTE:
            return ""
        pace = min(LONGEST, DEBOUNCE * 2**self._row)
        return (
            f"{self.by or 'somebody'} keeps removing our rules: put back {self.count} times, "
            f"now looked for each {pace:.0f} s"
        )
