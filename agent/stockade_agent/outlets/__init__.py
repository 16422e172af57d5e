# SPDX-License-Identifier: MIT
"""Where the agent's own log lines go: siblings under one contract.

    Entry ─▶ stream     standard error, the priority in front, as journald reads it from a service
          ─▶ journal    journald's own protocol: an entry has fields
          ─▶ file       with date and priority; it rotates itself

An outlet says how many entries it took, and by ``OSError`` that it took none. It never waits for
long. It may be used again after it failed. ``choice`` chooses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional, Protocol


NAME = "stockade-agent"
LEVELS = {2: "CRITICAL", 3: "ERROR", 4: "WARNING", 5: "NOTICE", 6: "INFO", 7: "DEBUG"}


Entry = tuple[int, str, str, str, str, Optional[Mapping[str, object]]]
"""Something that the agent says: priority (syslog's), text, event, jail, id, more.

The text is for a person, and may have been made of what strangers wrote. The event is what
happened, in one word, "" for what has no name; jail and id are those concerned, or ""; more are
other fields without their prefix. A plain tuple: a flood makes very many.
"""


class Outlet(Protocol):
    """Takes entries."""

    name: str
    """As ``logtarget`` has it."""

    def write(self, entries: Sequence[Entry]) -> int:
        """Write entries, in order, and return how many of them: the first ones.

        Raises:
            OSError: none of them was written.
        """

    def close(self) -> None:
        """Give descriptors back."""
