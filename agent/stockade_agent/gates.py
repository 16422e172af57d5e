# SPDX-License-Identifier: MIT
"""The gates of one filter: what may count as a failure, and what may only end a session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

from stockade_agent.failregex import Pattern
from stockade_agent.gate import Gate, Tears


class Gates(NamedTuple):
    """Where the lines of a filter are looked for.

    Attributes:
        counting: lines that could count as failures, or open a session.
        ending: lines that can do no more than end one; None: there are none such.
        marked: the lines of a session have its mark.
    """

    counting: Gate
    ending: Optional[Gate]
    marked: bool

    @classmethod
    def of(
        cls,
        prefregex: Sequence[Pattern],
        failregex: Sequence[Pattern],
        encoding: str,
        tears: Optional[Tears],
        *,
        marked: bool,
    ) -> Gates:
        """Return the gates for a filter's regexes."""
        first = prefregex[0].syntax if prefregex and failregex else None
        told = any(pattern.says_session() for pattern in prefregex)
        ends = [p.syntax for p in failregex if p.excuses() and (told or p.says_session())]
        counts = [p.syntax for p in failregex if p.syntax not in ends]
        if ends and counts:
            ending = Gate(first, ends, encoding=encoding, tears=tears)
            counting = Gate(first, counts, encoding=encoding, tears=tears, common=ends)
            if not (ending.open or counting.open):
                return cls(counting, ending, marked)
        every = [pattern.syntax for pattern in failregex]
        return cls(Gate(first, every, encoding=encoding, tears=tears), None, marked)
