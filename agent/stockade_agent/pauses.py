# SPDX-License-Identifier: MIT
"""What ``panic`` began: until when nobody is banned, since when, and who asked for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional


EVERY = ""
"""Stands for all jails, those of later configurations included."""


@dataclass(frozen=True)
class Pause:
    """A pause of one jail, or of all.

    Attributes:
        until: when it ends by itself, or None: not before ``resume``.
        since: when it began; None where an agent before this one did not note it.
        by: who asked for it, or "".
    """

    until: Optional[float]
    since: Optional[float] = None
    by: str = ""

    def lasts(self, now: float) -> bool:
        """Return whether it is not over."""
        return self.until is None or now < self.until

    def outlasts(self, other: Pause) -> bool:
        """Return whether it ends later than another."""
        return other.until is not None and (self.until is None or self.until > other.until)


def noted(pauses: Mapping[str, Pause]) -> dict[str, Any]:
    """Return pauses, by jail, as JSON's own types."""
    # Two keys: an agent from before ``begun`` was noted keeps the pause all the same.
    return {
        "paused": {jail: pause.until for jail, pause in pauses.items()},
        "begun": {jail: [pause.since, pause.by] for jail, pause in pauses.items()},
    }


def recalled(kept: Any) -> dict[str, Pause]:
    """Return what ``noted`` gave, or an agent before this one.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is something else.
    """
    paused = kept["paused"].items()
    begun = kept.get("begun", {})
    return {jail: _pause(until, *begun.get(jail, ())) for jail, until in paused}


def _pause(until: Any, since: Any = None, by: Any = "") -> Pause:
    return Pause(
        None if until is None else finite(until), None if since is None else finite(since), str(by)
    )


def finite(kept: Any) -> float:
    """Return a number that was kept.

    Raises:
        TypeError: it is none, or has no end.
    """
    if not isinstance(kept, (int, float)) or not math.isfinite(kept):
        raise TypeError(f"{kept!r} is no number")
    return float(kept)
