# SPDX-License-Identifier: MIT
"""What a family of comparisons comes to: the one form in which all of them answer.

A family is a module with ``run(root, tell)``: it compares us with the fail2ban that is unpacked at
``root``, may say now and then how far it is, and returns a ``Tally``.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from conformance.fetch import SUITES, Unavailable, fetch


Tell = Callable[[int, int], None]
"""Takes how many cases are done, and of how many."""

Run = Callable[[Path, Tell], "Tally"]

SHOWN = 40
_OR = " or "


class Difference(NamedTuple):
    """A case that comes out otherwise.

    Attributes:
        key: names the case, or the rule that it falls under; docs/conformance.md lists it so.
        text: what fail2ban says and what we say.
    """

    key: str
    text: str


@dataclass
class Tally:
    """Of so many cases these differ.

    Attributes:
        notes: what else is to be known of the cases, such as how many are of which kind.
    """

    total: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> int:
        """How many are the same."""
        return self.total - len(self.differences)


def silent(done: int, total: int) -> None:
    """Say nothing about how far it is."""


def rooted(argument: str) -> Path:
    """Return the fail2ban that a VERSION or DIR means."""
    if argument in SUITES:
        return fetch(argument)
    if not any(Path(argument).glob("**/fail2ban/version.py")):
        raise Unavailable(
            f"{argument}: no fail2ban is unpacked there; nor is it {_OR.join(SUITES)}"
        )
    return Path(argument)


def plain(lines: Iterable[tuple[str, str]]) -> list[Difference]:
    """Return differences of pairs of case and words."""
    return [Difference(key, text) for key, text in lines]


def main(name: str, run: Run, arguments: Sequence[str]) -> int:
    """Run one family with each fail2ban named; return 1 if any case differs, listed or not."""
    failed = 0
    for argument in arguments or list(SUITES):
        tally = run(rooted(argument), silent)
        for key, text in tally.differences[:SHOWN]:
            print(f"{key}: {text}")
        for note in tally.notes:
            print(f"  {note}")
        print(f"{name} {argument}: {tally.passed}/{tally.total}", flush=True)
        failed += tally.passed < tally.total
    return int(failed > 0)


def by_hand(name: str, run: Run) -> None:
    """Be the program ``python -m conformance.NAME``."""
    raise SystemExit(main(name, run, sys.argv[1:]))
