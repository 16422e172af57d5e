# SPDX-License-Identifier: MIT
"""A journal entry, as ``journalctl --output=json`` prints it, as a log line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Optional


_WITHIN_BOOT = re.compile(r"(?:^|;)b=.*")


def same(cursor: str, other: str) -> bool:
    """Return whether two cursors are of one entry, be it in another file by now.

    journald numbers anew what it moves from ``/run`` to ``/var``; boot, times and contents stay.
    """
    one, two = _WITHIN_BOOT.search(cursor), _WITHIN_BOOT.search(other)
    return cursor == other or (one is not None and two is not None and one[0] == two[0])


def entry_of(line: bytes) -> Optional[dict[str, Any]]:
    """Return the fields of a line of ``--output=json``, or None where it is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _bytes(value: Any) -> bytes:
    """Return a field's bytes: text, an array of bytes, or several values, joined by a space."""
    if isinstance(value, str):
        return value.encode(errors="replace")
    if not isinstance(value, list):
        return b""
    if all(isinstance(item, int) for item in value):
        return bytes(item & 0xFF for item in value)
    return b" ".join(_bytes(item) for item in value)


def values(entry: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Return all values that a field of an entry has."""
    value = entry.get(field)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and not all(isinstance(item, int) for item in value):
        return tuple(_bytes(item).decode(errors="replace") for item in value)
    return (_bytes(value).decode(errors="replace"),) if value is not None else ()


def line_of(entry: bytes) -> Optional[tuple[bytes, float]]:
    """Return the log line that an entry of ``--output=json`` is, and its time, or None."""
    parsed = entry_of(entry)
    return None if parsed is None else (text_of(parsed), time_of(parsed))


def text_of(entry: Mapping[str, Any]) -> bytes:
    """Return the log line that an entry is.

    Source:
        fail2ban's systemd backend, as observed: host, identifier with process id, message.
    """
    parts = [_bytes(entry.get("_HOSTNAME"))]
    name = _bytes(entry.get("SYSLOG_IDENTIFIER")) or _bytes(entry.get("_COMM"))
    if name:
        pid = _bytes(entry.get("SYSLOG_PID")) or _bytes(entry.get("_PID"))
        parts.append(name + (b"[%b]:" % pid if pid else b":"))
        if parts[-1] == b"kernel:":
            uptime = entry.get("_SOURCE_MONOTONIC_TIMESTAMP") or entry.get("__MONOTONIC_TIMESTAMP")
            parts.append(b"[%12.6f]" % (_number(uptime) / 1e6))
    parts = [part for part in parts if part]
    parts.append(_bytes(entry.get("MESSAGE")))
    return b" ".join(parts).replace(b"\n", b"\\n")


def time_of(entry: Mapping[str, Any]) -> float:
    """Return when an entry was written, in seconds, UTC."""
    stamp = _number(entry.get("_SOURCE_REALTIME_TIMESTAMP"))
    return (stamp or _number(entry.get("__REALTIME_TIMESTAMP"))) / 1e6


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
