# SPDX-License-Identifier: MIT
"""A row of the table, and what goes into build/bench.json."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Row:
    """One work, measured.

    Attributes:
        figure: the agent's.
        goal: in words, as the project set it.
        met: whether it reaches the goal; None where there is none.
        peers: contender -> its figure, in the same unit.
        verdicts: contender -> what it decided, such as how many failures.
    """

    name: str
    figure: float
    unit: str
    goal: str = ""
    met: bool | None = None
    peers: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        return asdict(self)
