# SPDX-License-Identifier: MIT
"""All cases by name, the most valuable first."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from faults import beside, clock, evil, files, fuzz, inject, journald, kills
from faults.rows import Row


class Case(NamedTuple):
    """A case.

    Attributes:
        make: given an empty folder and ``small``, yields its rows.
        lab: it starts hosts of the lab, and no namespaces of its own.
        needs: Debian's packages of others, fetched before.
    """

    make: Callable[..., Iterator[Row]]
    lab: bool = False
    needs: tuple[str, ...] = ()


CASES = {
    "kill": Case(kills.kill),
    "power": Case(files.power),
    "corrupt": Case(files.corrupt),
    "full": Case(files.full),
    "readonly": Case(files.readonly),
    "fuzz": Case(fuzz.fuzz),
    "inject": Case(inject.inject),
    "clock": Case(clock.clock),
    "crowd": Case(clock.crowd),
    "soak": Case(clock.soak),
    "journald": Case(journald.journald, lab=True),
    "evil": Case(evil.evil, needs=("python3-pyinotify",)),
    "beside": Case(beside.beside, needs=("python3-pyinotify",)),
}

__all__ = ["CASES", "Case", "Path"]
