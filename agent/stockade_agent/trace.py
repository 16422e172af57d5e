# SPDX-License-Identifier: MIT
"""What becomes of a line on its way through a filter, for people who write filters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from stockade_agent.failregex import Groups
from stockade_agent.lines import Line


@dataclass
class Trace:
    """Filled by ``Filter.examine``.

    Attributes:
        line: parted at its date; None for a line that is too old to be looked at.
        at: its time, or None where nothing tells it.
        text: what failregexes were searched in: the line without its date, what ``<F-CONTENT>``
            captured, or the lines of a buffer.
        prefregex: whether it matched; None where it was not searched.
        captured: what its groups captured.
        matched: the numbers of the failregexes that matched, the ignored ones included.
        ignoring: the numbers of the ignoreregexes that matched, as often as they did.
        ignored_first: an ignoreregex ended it before any other regex was tried.
    """

    line: Optional[Line] = None
    at: Optional[float] = None
    text: str = ""
    prefregex: Optional[bool] = None
    captured: Groups = field(default_factory=dict)
    matched: list[int] = field(default_factory=list)
    ignoring: list[int] = field(default_factory=list)
    ignored_first: bool = False
