# SPDX-License-Identifier: MIT
"""Which covered files may be open, where globs cover more than the process may hold."""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Mapping
from typing import Optional


SPARE = 128
"""Descriptors kept for all else: sockets, pipes to the firewall's tools, the ledger."""

Covered = Mapping[str, Collection[str]]
"""Path -> the watches that cover it."""


def most() -> int:
    """Return how many log files may be open in this process."""
    limit = os.sysconf("SC_OPEN_MAX")
    return max(limit - SPARE, limit // 2)


def statuses(paths: Collection[str], problems: dict[str, str]) -> dict[str, os.stat_result]:
    """Return the paths that are there, sorted; why one cannot be reached goes to ``problems``."""
    found = {path: _status(path, problems) for path in sorted(paths)}
    return {path: status for path, status in found.items() if status is not None}


def _status(path: str, problems: dict[str, str]) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        problems[path] = error.strerror or str(error)
        return None


def allotted(
    covered: Covered, found: Mapping[str, os.stat_result], opened: Container[str], limit: int
) -> tuple[list[str], dict[str, int]]:
    """Return the paths that may be open, and watch -> how many of its own may not.

    No watch gets more than half of the places, and the smallest ones choose first, so that a glob
    that covers thousands takes no log away from others. Of one watch those come first that are
    open already, then those that were written last.
    """
    if len(found) <= limit:
        return list(found), {}
    wanted: dict[str, list[str]] = {}
    for path in found:
        for name in covered[path]:
            wanted.setdefault(name, []).append(path)
    allowed: set[str] = set()
    refused: dict[str, int] = {}
    for name, paths in sorted(wanted.items(), key=lambda item: (len(item[1]), item[0])):
        paths.sort(key=lambda path: (path not in opened, -found[path].st_mtime, path))
        new = [path for path in paths if path not in allowed]
        places = min(limit // 2, limit - len(allowed))
        allowed.update(new[:places])
        if new[places:]:
            refused[name] = len(new) - places
    return [path for path in found if path in allowed], refused
