# SPDX-License-Identifier: MIT
"""What can go wrong with the lab.

LabError
├── CommandError   a command ended with a status other than 0
└── BuildError     a root file system could not be built
"""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """The lab cannot do what was asked; ``str()`` is one line for a person."""


class CommandError(LabError):
    """A command ended with a status other than 0.

    Attributes:
        argv: what was run
        rc: its exit status
        output: its standard output and error, as far as known
    """

    def __init__(self, argv: Sequence[str], rc: int, output: str) -> None:
        self.argv, self.rc, self.output = tuple(argv), rc, output
        tail = " / ".join(output.strip().splitlines()[-6:]) or "no output"
        super().__init__(f"{' '.join(argv)[:200]}: exit status {rc}: {tail}")


class BuildError(LabError):
    """A root file system could not be built."""
