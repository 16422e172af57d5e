# SPDX-License-Identifier: MIT
"""Hostile text made harmless for a terminal or a log line."""

from __future__ import annotations


def plain(text: str, limit: int = 0) -> str:
    r"""Return a text on one line, all that is not printable as ``\x1b``, ``\u202e`` and so on.

    Args:
        text: such as an id or a log line.
        limit: characters at most, the rest is cut and ends in ``…``; 0 for no limit.
    """
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        char
        if char.isprintable() and char != "\\"
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )


def printable(text: str) -> str:
    r"""Return a text fit for a terminal, tabs and backslashes as they are: regexes have many.

    ``plain`` tells what was escaped from what was written so; this does not.
    """
    if text.isprintable():
        return text
    return "".join(char if char in "\\\t" else plain(char) for char in text)
