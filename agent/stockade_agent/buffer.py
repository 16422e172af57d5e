# SPDX-License-Identifier: MIT
"""Failures that span several lines (``maxlines``, ``<SKIPLINES>``)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stockade_agent.lines import Line


def joined(lines: Sequence[Line]) -> str:
    """Return the text of lines, each ended by a newline."""
    return "".join(f"{line.text}\n" for line in lines)


def parted(match: re.Match[str], lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Return the lines that a match covers, and those that it leaves for later.

    Lines that ``<SKIPLINES>`` ran over are left for later too.
    """
    if len(lines) <= 1:
        return list(lines), []
    text = match.string
    first = text.count("\n", 0, text.rfind("\n", 0, match.start() + 1) + 1)
    end = text.find("\n", max(match.end() - 1, 0))
    last = text.count("\n", 0, end + 1 if end >= 0 else len(text))
    covered, left = list(lines[first:last]), list(lines[:first])
    place = 0
    for skipped in _skipped(match):
        for index in range(place, len(covered)):
            if covered[index].text == skipped:
                left.append(covered.pop(index))
                place = index
                break
    return covered, left + list(lines[last:])


def _skipped(match: re.Match[str]) -> list[str]:
    names = (f"skiplines{number}" for number in range(len(match.re.groupindex)))
    captured = [match[name] or "" for name in names if name in match.re.groupindex]
    return "".join(captured).splitlines()
