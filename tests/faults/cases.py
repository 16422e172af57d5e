# SPDX-License-Identifier: MIT
"""All cases by name, the most valuable first."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from faults import (
    beside,
    clock,
    contenders,
    evil,
    files,
    flushes,
    fuzz,
    hang,
    inject,
    journald,
    kills,
    rotation,
    soak,
    tools,
)
from faults.rows import Row


class Case(NamedTuple):
    """A case.

    Attributes:
        make: given an empty folder and ``small``, yields its rows.
        lab: it starts hosts of the lab, and no namespaces of its own.
        needs: Debian's packages of others, fetched before.
        aside: it runs beside the others, on another core; none of its figures is a time.
    """

    make: Callable[..., Iterator[Row]]
    lab: bool = False
    needs: tuple[str, ...] = ()
    aside: bool = False


CASES = {
    "kill": Case(kills.kill),
    "power": Case(files.power),
    "corrupt": Case(files.corrupt),
    "full": Case(files.full),
    "readonly": Case(files.readonly),
    "rotation": Case(rotation.rotation),
    "flush": Case(flushes.flush),
    "tools": Case(tools.tools, lab=True),
    "docker": Case(tools.docker, needs=tools.DOCKER),
    "hang": Case(hang.hang),
    "fuzz": Case(fuzz.fuzz, aside=True),
    "guided": Case(fuzz.guide, aside=True),
    "inject": Case(inject.inject),
    "clock": Case(clock.clock),
    "crowd": Case(soak.crowd),
    "soak": Case(soak.soak),
    "journald": Case(journald.journald, lab=True),
    "evil": Case(evil.evil, needs=("python3-pyinotify",)),
    "beside": Case(beside.beside, needs=contenders.PACKAGES),
}

__all__ = ["CASES", "Case", "Path"]
