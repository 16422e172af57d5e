# SPDX-License-Identifier: MIT
"""Where a journal begins by now, read from the heads of its files.

journald numbers its entries. What it has removed before anybody read it shows only there: a
journalctl that was kept waiting goes on with the oldest entry that is left, and says nothing.
"""

from __future__ import annotations

import glob
import os
import re
import struct
from collections.abc import Iterable
from typing import Optional


_CURSOR = re.compile(r"s=([0-9a-f]{32});i=([0-9a-f]+);")
# Of systemd's "Journal File Format": signature, id of the numbering, entries, first number.
_SIGNATURE, _NUMBERING = b"LPKSHHRH", slice(72, 88)
_ENTRIES, _FIRST = 152, 168
_HEAD = _FIRST + 8
_SYSTEM = "system"


def gone(cursor: str, globs: Iterable[str]) -> range:
    """Return the numbers of the entries behind a cursor's that are there no more.

    Args:
        cursor: of the last entry read.
        globs: the journal's files; those of users are passed over, as they begin at any time.
    """
    found = _CURSOR.match(cursor)
    if found is None:
        return range(0)
    numbering, number = bytes.fromhex(found[1]), int(found[2], 16)
    paths = {path for pattern in globs for path in glob.iglob(pattern)}
    system = (path for path in paths if os.path.basename(path).startswith(_SYSTEM))
    firsts = [first for path in system if (first := _first(path, numbering)) is not None]
    return range(number + 1, min(firsts, default=0))


def _first(path: str, numbering: bytes) -> Optional[int]:
    """Return the number of a file's first entry, or None where it is of another numbering."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_HEAD)
    except OSError:
        return None  # removed while we look
    if len(head) < _HEAD or not head.startswith(_SIGNATURE) or head[_NUMBERING] != numbering:
        return None
    (entries,), (first,) = (struct.unpack_from("<Q", head, place) for place in (_ENTRIES, _FIRST))
    return first if entries else None
