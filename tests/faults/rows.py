# SPDX-License-Identifier: MIT
"""A row of the table, and what goes into build/faults.json."""

from dataclasses import asdict, dataclass, field
from typing import Any


class Broken(Exception):
    """A case could not be made, or ended before its end: there is no figure."""


@dataclass
class Row:
    """One fault, made.

    Attributes:
        name: the fault, in words.
        figure: what was seen; of a promise kept the number of times that it was broken: 0.
        goal: in words.
        others: program -> what it does in the same case, or promises.
        seen: whatever tells how much was tried, and the first thing that was wrong.
        case: what ``make faults ROWS=…`` makes it again with.
    """

    name: str
    figure: float
    unit: str
    goal: str
    passed: bool
    seen: str = ""
    others: dict[str, str] = field(default_factory=dict)
    case: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        return asdict(self)

    @classmethod
    def broken(cls, name: str, wrong: list[str], tried: str, unit: str = "wrong") -> "Row":
        """Return the row of a promise: how often it was broken, which must be never."""
        seen = f"{tried}; {wrong[0]}" if wrong else tried
        return cls(name, len(wrong), unit, "0", not wrong, seen)
