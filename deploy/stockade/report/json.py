# SPDX-License-Identifier: MIT
"""A run as one JSON document, schema 1. Keys are only ever added within a schema.

    {"schema": 1, "command": "push", "changed": true, "exit": 0, "interrupted": false,
     "hosts": [HostResult, ...], "summary": {"ok": 1, "changed": 1, ...}, "under_way": {},
     "not_begun": [], "errors": [], "paused": {}, "held": {}}

``changed`` is true when a push changed something, or a plan would. ``under_way`` (host -> what
happened there) and ``not_begun`` are the hosts that an interrupted run left. ``errors`` are the
faults of the operator's own files; nothing was touched then. ``paused`` (host -> its pauses) and
``held`` (host -> jail -> number of bans) say where bans are not made, as far as agents were asked
for their status.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stockade.errors import InputError
from stockade.model import HostResult
from stockade.report.agents import status_of


SCHEMA = 1
OUTCOMES = ("ok", "changed", "failed", "refused", "unreachable")


def document(
    command: str,
    results: Iterable[HostResult],
    exit_code: int,
    *,
    under_way: Mapping[str, str] | None = None,
    not_begun: Sequence[str] = (),
    interrupted: bool = False,
    errors: Sequence[InputError] = (),
) -> str:
    """Return the document as text."""
    hosts = list(results)
    tally = Counter[str](result.outcome for result in hosts)
    told = {one.host: status for one in hosts if (status := status_of(one)) is not None}
    return _text(
        {
            "schema": SCHEMA,
            "command": command,
            "changed": any(result.changes for result in hosts),
            "exit": exit_code,
            "interrupted": interrupted,
            "hosts": [asdict(result) for result in hosts],
            "summary": {outcome: tally[outcome] for outcome in OUTCOMES},
            "under_way": dict(under_way or {}),
            "not_begun": list(not_begun),
            "errors": [_error(error) for error in errors],
            "paused": {
                host: [asdict(pause) for pause in status.pauses]
                for host, status in told.items()
                if status.pauses
            },
            "held": {
                host: held
                for host, status in told.items()
                if (held := {jail.name: jail.held for jail in status.jails if jail.held})
            },
        }
    )


def listing(command: str, hosts: Iterable[dict[str, Any]], exit_code: int) -> str:
    """Return the document of a command that lists hosts without running anything there."""
    return _text({"schema": SCHEMA, "command": command, "exit": exit_code, "hosts": list(hosts)})


def _error(error: InputError) -> dict[str, Any]:
    return {
        "path": error.path,
        "line": error.line,
        "column": error.column,
        "message": str(error),
        "remedy": error.remedy,
    }


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1)
