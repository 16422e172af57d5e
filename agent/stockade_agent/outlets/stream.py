# SPDX-License-Identifier: MIT
"""Lines on standard error; whoever started the agent takes them from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from stockade_agent.outlets import Entry
from stockade_agent.plain import plain


class Stream:
    """Writes to a stream.

    Args:
        stream: where to; it is somebody else's, and stays open.
        prefixed: whether priorities are written; a person at a terminal needs none.
    """

    name = "STDERR"

    def __init__(self, stream: TextIO, *, prefixed: bool = True) -> None:
        self._stream, self._prefixed = stream, prefixed

    def write(self, entries: Sequence[Entry]) -> int:
        """Write entries, a line each, all of them."""
        if self._prefixed:
            lines = [f"<{entry[0]}>{plain(entry[1])}\n" for entry in entries]
        else:
            lines = [f"{plain(entry[1])}\n" for entry in entries]
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except ValueError as error:
            raise OSError(str(error)) from error
        return len(entries)

    def close(self) -> None:
        """Leave it open."""
