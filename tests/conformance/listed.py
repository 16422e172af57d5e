# SPDX-License-Identifier: MIT
"""The differences that docs/conformance.md lists, between two comments that mark the table.

A row says family, release (``all`` for each), key and reason. What the table does not list is a
fault, and so is a row that nothing answers to any more.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from conformance.fetch import ROOT
from conformance.tally import Difference, Tally


DOCUMENT = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- listed differences begin -->", "<!-- listed differences end -->"


class Row(NamedTuple):
    """A difference that is meant.

    Attributes:
        key: of a ``Difference``.
    """

    family: str
    release: str
    key: str
    reason: str


class Unreadable(Exception):
    """The table is not there, or a row of it is none."""


class Judgement(NamedTuple):
    """What is to be said of a family after a look at the table.

    Attributes:
        faults: differences that are not listed.
        stale: rows to which no difference answers.
        listed: how many differences are listed.
    """

    faults: list[Difference]
    stale: list[Row]
    listed: int


def rows(document: Path = DOCUMENT) -> list[Row]:
    """Return the table of a document."""
    _, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    table, end, _ = rest.partition(END)
    if not begin or not end:
        raise Unreadable(f"{document}: no table between {BEGIN} and {END}")
    found = []
    for line in table.strip().splitlines()[2:]:
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if len(cells) != len(Row._fields) or not all(cells):
            raise Unreadable(f"{document}: {line!r} is no row of family, release, key and reason")
        found.append(Row(*cells))
    return found


def judge(family: str, release: str, tally: Tally, table: Iterable[Row]) -> Judgement:
    """Return which differences are faults, and which rows of the table are over."""
    own = [row for row in table if row.family == family and row.release in (release, "all")]
    meant = {row.key for row in own}
    seen = {difference.key for difference in tally.differences}
    faults = [one for one in tally.differences if one.key not in meant]
    stale = [row for row in own if row.key not in seen]
    return Judgement(faults, stale, len(tally.differences) - len(faults))


def unlisted(family: str, release: str, differences: Iterable[Difference]) -> list[Difference]:
    """Return the differences that docs/conformance.md does not list, for runs of fewer cases."""
    return judge(family, release, Tally(differences=[*differences]), rows()).faults
