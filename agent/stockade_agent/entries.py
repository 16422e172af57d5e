# SPDX-License-Identifier: MIT
"""What the rows of the ledger hold: bans, and failures below maxretry."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Sequence
from typing import Any, Optional

from stockade_agent.model import Ban, Tally, target


BARE = ("[]", "{}")
"""The columns ``matches`` and ``data`` of a row that has none."""


def ban_row(ban: Ban) -> tuple[object, ...]:
    """Return a ban as table ``bans`` holds it, but for ``enforced``; its seal comes last."""
    address = None if ban.address is None else str(ban.address)
    return (
        ban.jail,
        ban.id,
        address,
        ban.at,
        ban.bantime,
        ban.failures,
        ban.count,
        json.dumps(ban.matches),
        json.dumps(dict(ban.data)),
        _seal(ban.jail, ban.id, address, ban.at, ban.bantime),
    )


def is_sealed(row: Sequence[object], seal: int) -> bool:
    """Return whether who is banned, and until when (the first five columns), is as written."""
    # Rows of the first schema have none.
    return seal in (0, _seal(*row))


def _seal(*values: object) -> int:
    """Return what tells that no bit of a row has changed: sqlite itself does not look."""
    return zlib.crc32(repr(values).encode("utf-8", "backslashreplace")) or 1


def tally_row(tally: Tally) -> tuple[object, ...]:
    """Return a tally as table ``counts`` holds it, but for its jail."""
    *numbers, matches, data = tally
    if not matches and not data:  # of most; there may be very many
        return (*numbers, *BARE)
    return (*numbers, json.dumps(matches), json.dumps(dict(data)))


def tally(row: tuple[Any, ...]) -> Optional[Tally]:
    """Return the tally that a row holds, or None where damage left no whole one."""
    id_, first, last, retry, failures, matches, data = row
    try:
        return Tally(
            id=str(id_),
            first=float(first),
            last=float(last),
            retry=float(retry),
            failures=int(failures),
            matches=tuple(str(line) for line in json.loads(matches)),
            data={str(key): str(value) for key, value in json.loads(data).items()},
        )
    except (TypeError, ValueError, AttributeError):
        return None


def ban(row: tuple[Any, ...]) -> Optional[Ban]:
    """Return the ban that a row holds, or None where damage left no whole one."""
    jail, id_, address, at, bantime, failures, count, matches, data = row[:9]
    try:
        return Ban(
            jail=sys.intern(str(jail)),
            id=str(id_),
            address=None if address is None else target(str(address)),
            at=float(at),
            bantime=int(bantime),
            failures=int(failures),
            count=int(count),
            **_kept(matches, data),
        )
    except (TypeError, ValueError, AttributeError):
        return None


def _kept(matches: str, data: str) -> dict[str, Any]:
    """Return what a ban has of its lines: nothing where it is bare, as most are."""
    if (matches, data) == BARE:
        return {}
    return {
        "matches": tuple(str(line) for line in json.loads(matches)),
        "data": {str(key): str(value) for key, value in json.loads(data).items()},
    }
