# SPDX-License-Identifier: MIT
"""The tables of dates in fail2ban's own tests, judged by our date detector.

    python -m conformance.datetable [VERSION | DIR ...]

They are read from datedetectortestcase.py, which Debian's packages have, too.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance import literals
from conformance.samples import NOW, ZONE, Tree
from conformance.tally import Difference, Tally, Tell, by_hand
from conformance.zone import zone
from stockade_agent.dates import DateDetector, years


FILE = "datedetectortestcase.py"
UNIX = 1106513999.0
"""The moment that all dates of the first table mean."""

REST = "[sshd] error: PAM: Authentication failure"


def detector(pattern: str | None = None) -> DateDetector:
    """Return our detector as a filter without options of its own has it."""
    return DateDetector(pattern, exact_years=years(time.time()))


def _various(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each date at the beginning, behind a word, and as the end of one."""
    ours = detector()
    rows = literals.looped(path, "testVariousTimes")
    for number, (anchored, bound, date, cut) in enumerate(rows):
        found = date if cut is None and not date.startswith("no date") else cut
        for prefix, matches in (
            ("", found is not None),
            ("bogus-prefix ", not anchored),
            ("word-boundary", False),
        ):
            if prefix == "word-boundary" and not bound:
                continue
            expected = (found, UNIX) if matches else None
            fault = _fault(ours, f"{prefix}{date}{REST}", expected)
            yield f"various {number} {prefix.strip() or 'alone'}", fault


def _patterns(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each pattern with a line that it has a date for, or none."""
    ours = detector()
    for test in ("testAmbiguousDatePattern", "testVariousFormatSpecs"):
        for number, (matched, pattern, line) in enumerate(literals.looped(path, test)):
            expected = None
            if matched:
                moment = not isinstance(matched, str)
                expected = (None, matched) if moment else (matched, None)
            one = ours if pattern is None else detector(pattern)
            yield f"{test} {number}", _fault(one, line, expected)


def _in_turn(path: Path) -> Iterator[tuple[str, str]]:
    """Yield runs of lines whose dates one detector must tell apart by what it has seen."""
    ours = detector()
    rows = literals.looped(path, "testAmbiguousInOrderedTemplates")
    for number, (expected, line, times) in enumerate(rows):
        faults = [_fault(ours, line, (expected, None)) for _ in range(times)]
        yield f"in turn {number}", next(filter(None, faults), "")


def _fault(ours: DateDetector, line: str, expected: tuple[Any, Any] | None) -> str:
    """Return what is wrong with the date that we find; "" if nothing is.

    Args:
        expected: what is cut out and its moment, each None for any; or None for no date.
    """
    found = ours.find(line, NOW)
    got = None if found is None or found[2] is None else (line[found[0] : found[1]], found[2])
    if expected is None or got is None:
        return "" if expected == got else f"{line!r}: fail2ban {expected}, we {got}"
    same = all(one in (None, other) for one, other in zip(expected, got, strict=True))
    return "" if same else f"{line!r}: fail2ban {expected}, we {got}"


def run(root: Path, tell: Tell) -> Tally:
    """Return what comes of all rows."""
    path, tally = Tree(root).tests / FILE, Tally()
    with zone(ZONE):
        for table in (_various, _patterns, _in_turn):
            for key, fault in table(path):
                tally.total += 1
                if fault:
                    tally.differences.append(Difference(key, fault))
    return tally


if __name__ == "__main__":
    by_hand("datetable", run)
