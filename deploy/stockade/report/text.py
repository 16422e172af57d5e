# SPDX-License-Identifier: MIT
"""Words and numbers for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def plain(text: str) -> str:
    """Return ``text`` with everything that could drive a terminal shown as an escape.

    Control and format characters (colours, cursor, bidirectional overrides) and line ends are
    written as Python would write them.
    """
    return "".join(
        character
        if character == " " or unicodedata.category(character)[0] not in "CZ"
        else ascii(character)[1:-1]
        for character in text
    )


def names(hosts: Sequence[str], shown: int = 6) -> str:
    """Return some names, and how many more there are."""
    listed = [plain(name) for name in hosts]
    if len(listed) <= shown + 1:
        return ", ".join(listed)
    return f"{', '.join(listed[:shown])} and {len(listed) - shown} more"


def count(number: int, noun: str) -> str:
    """Return ``1 host``, ``2 hosts``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def span(seconds: float) -> str:
    """Return a duration in its two largest units: ``2d 3h``, ``45s``."""
    left, parts = int(max(0.0, seconds)), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2]) or "0s"
