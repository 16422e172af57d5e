# SPDX-License-Identifier: MIT
"""What rotation has put beside a log, and which of it is still to be read, in what order."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable
from typing import Optional

from stockade_agent.sources.openlog import Key, Mark, OpenLog, Position


TRIES = 10
"""How often to look again when names change while we look."""
DATES = 1_000_000
"""Numbers from here on are dates."""

_DIGITS = re.compile(r"\d+")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


def former(file: OpenLog, last: Position, taken: Container[Key]) -> list[OpenLog]:
    """Return the rotated file, or copy, that was where ``file`` is when it was read up to ``last``.

    It is opened at that offset; behind it come those that were rotated after it. Nothing when
    no file beside it whose name begins like its own has that content, or somebody else reads
    it (``taken``).
    """
    for _ in range(TRIES):
        beside = _beside(file.path)
        copy = _where(last, taken, sorted(beside))
        # A name that goes on while we look may be missed: the last of them is the oldest file.
        if copy is not None or _beside(file.path) == beside:
            break
    return [] if copy is None else [copy, *since(file, copy.key, taken)]


def _where(last: Position, taken: Container[Key], names: Iterable[str]) -> Optional[OpenLog]:
    """Return the one of some files that was read up to ``last``, opened there."""
    copy: Optional[OpenLog] = None
    for name in names:
        found = _opened(name)
        if found is None:
            continue
        moved = found.key == last.key
        like = moved or (last.offset and not copy)
        if found.key in taken or not like or not found.holds(last):
            found.close()
            continue
        found.seek(last.offset)
        if copy is not None:
            copy.close()
        copy = found
        if moved:
            break
    return copy


def since(file: OpenLog, key: Key, taken: Container[Key]) -> list[OpenLog]:
    """Return what rotation has put beside ``file`` after the file ``key``, oldest first.

    Nothing that is newer than ``file`` itself, which may be among them by now, and no copy of
    what still stands in it.
    """
    for _ in range(TRIES):
        beside = _beside(file.path)
        name = next((name for name, found in beside.items() if found == key), None)
        if name is None:
            continue
        files = []
        for newer in _after(file.path, name, beside):
            if beside[newer] == file.key:
                break
            found = _opened(newer) if beside[newer] not in taken else None
            if found is not None:
                files.append(found)
        if _beside(file.path) == beside:
            return _to_be_read(files, file)
        for found in files:
            found.close()
    return []


def truncated(file: OpenLog, mark: Mark, opened: Iterable[OpenLog]) -> Optional[list[OpenLog]]:
    """Return the copies to be read first, if a file was truncated while it was read, or before.

    It is asked after reading, as what was read since ``mark`` may then be of either content: it
    is taken back, and the file begun anew. None when nothing has happened.
    """
    if mark[0] == 0:
        if file.copied is None:
            return None
        # Between two looks it may have been written, copied and truncated unseen.
        copies = since(file, file.copied, {known.key for known in opened})
        if not copies:
            return None
        file.restore(mark)
    elif file.rewritten():
        file.restore(mark)
        copies = former(file, file.position, {known.key for known in opened})
        file.seek(0)
        file.copied = None
    else:
        return None
    file.copied = copies[-1].key if copies else file.copied
    return copies


def _after(path: str, name: str, beside: Iterable[str]) -> list[str]:
    """Return the names of the same kind as ``name`` that rotation gave to newer files, in order.

    ``log.2`` is newer than ``log.3`` where the files' times do not say otherwise, and
    ``log-20240502`` than ``log-20240501``.
    """
    kind = _DIGITS.sub("#", name[len(path) :])
    alike = (other for other in beside if _DIGITS.sub("#", other[len(path) :]) == kind)
    rows = sorted((_numbers(path, other), _written(other), other) for other in alike)
    if not rows or not rows[0][0]:
        return []
    (least, first, _), (_, last, _) = rows[0], rows[-1]
    upwards = last > first if last != first else least[0] >= DATES
    if not upwards:
        rows.reverse()
    at = next(n for n, row in enumerate(rows) if row[2] == name)
    return [other for _, written, other in rows[at + 1 :] if written >= rows[at][1]]


def _numbers(path: str, name: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in _DIGITS.findall(name[len(path) :]))


def _written(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        # Gone on, or deleted, while we look: that is noticed, and looked at again.
        return 0


def _beside(path: str) -> dict[str, Key]:
    """Return the files beside ``path`` whose names begin like it, and their inodes."""
    # While names change, a listing may lack one that is there; two that agree do not.
    before, found = None, _listed(path)
    for _ in range(TRIES):
        if found == before:
            break
        before, found = found, _listed(path)
    return found


def _listed(path: str) -> dict[str, Key]:
    directory, base = os.path.split(path)
    names = [name for name in os.listdir(directory) if name != base and name.startswith(base)]
    paths = (os.path.join(directory, name) for name in sorted(names))
    return {path: key for path in paths if (key := _key(path)) is not None}


def _key(path: str) -> Optional[Key]:
    try:
        status = os.stat(path)
    except OSError:
        # Gone on, or deleted, while we look.
        return None
    return status.st_dev, status.st_ino


def _opened(path: str) -> Optional[OpenLog]:
    try:
        return OpenLog(path)
    except OSError:
        # Neither readable nor a file: not what rotation leaves.
        return None


def _to_be_read(files: list[OpenLog], file: OpenLog) -> list[OpenLog]:
    kept = []
    for found in files:
        begin = os.pread(found.fd, 6, 0)
        # A copy that is being made, or made and the log not yet truncated, is no loss.
        if not begin or begin.startswith(_COMPRESSED) or found.begins_like(file):
            found.close()
        else:
            kept.append(found)
    return kept
