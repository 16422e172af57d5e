# SPDX-License-Identifier: MIT
"""Log sources: siblings under one contract, one module each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional, Protocol

from stockade_agent.model import Block


@dataclass(frozen=True)
class Watch:
    """One wish of one or more jails: a glob of files, or a journal match.

    Attributes:
        name: what blocks for it carry in ``Block.watches``; unique within a source.
        pattern: the glob (log files) or the lines of ``journalmatch`` (journal; empty: all).
        tail: start at the end of a log never read before.
    """

    name: str
    pattern: tuple[str, ...]
    tail: bool = False


class Source(Protocol):
    """Reads each of its logs once, whatever number of jails looks at it.

    What a caller may assume:

    - ``read`` never blocks, returns whole lines only, in order within a log, in blocks of at
      most about 1 MB, and ends when there is nothing more for now.
    - A log that is missing, vanishes, or cannot be read is no error: it is said in
      ``problems`` and watched for.
    - Nothing is read again after ``Block.position`` was given back to a new instance; what
      rotation left unread in the old file comes first.
    """

    def filenos(self) -> Sequence[int]:
        """Return the descriptors to select on; readable means: call ``read``."""

    def due(self) -> Optional[float]:
        """Return after how many seconds to call ``read`` although nothing is readable.

        None when the descriptors tell everything.
        """

    def read(self) -> Iterator[Block]:
        """Yield what has come since the last call."""

    def logs(self) -> Mapping[str, Sequence[str]]:
        """Return watch name -> logs that it covers now, for ``status``."""

    def problems(self) -> Mapping[str, str]:
        """Return log or watch name -> why it cannot be read now."""

    def close(self) -> None:
        """Release descriptors and end child processes."""
