# SPDX-License-Identifier: MIT
"""Which outlet the settings ask for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Callable, TextIO

from stockade_agent.outlets import Outlet
from stockade_agent.outlets.stream import Stream
from stockade_agent.specs import AUTO, STDERR, AgentSpec


def outlet(
    spec: AgentSpec,
    stream: TextIO,
    environment: Mapping[str, str],
    *,
    now: Callable[[], float],
    clock: Callable[[], float],
) -> Outlet:
    """Return where ``logtarget`` wants the agent's lines.

    Args:
        spec: the settings.
        stream: standard error.
        environment: systemd says in it which stream leads to the journal.
        now: seconds since the epoch.
        clock: seconds that never go backwards.
    """
    target = spec.logtarget
    if target.startswith("/"):
        from stockade_agent.outlets.file import File  # noqa: PLC0415 - few hosts have one

        return File(target, spec.logsize, spec.logcount, now)
    if target == STDERR or (target == AUTO and not _leads_to_journal(stream, environment)):
        return Stream(stream, prefixed=not stream.isatty())
    from stockade_agent.outlets.journal import Journal  # noqa: PLC0415 - likewise

    return Journal(clock)


def _leads_to_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"
