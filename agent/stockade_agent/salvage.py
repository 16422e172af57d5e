# SPDX-License-Identifier: MIT
"""What can be read of a ledger that cannot be used as it is."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from stockade_agent import entries


SUFFIXES = ("", "-wal", "-shm")
HEAD = 100
"""Bytes that tell sqlite what a file is."""
MOST_MISSING = 1 << 28
"""Bytes at the end of a file that are taken for cut off, and not for damage of the head."""

_MAGIC = b"SQLite format 3\0"
_SIZE, _PAGES = slice(16, 18), slice(28, 32)


def salvage(path: str, db: sqlite3.Connection, tables: Mapping[str, Sequence[str]]) -> int:
    """Copy every row that can still be read into a new ledger; return how many bans.

    The file stays as it is; what can be mended is mended in a copy.

    Args:
        path: of a ledger that is damaged, or that cannot be written.
        db: the new one.
        tables: name -> columns.

    Raises:
        sqlite3.Error: the new one cannot be written, or the old one not be opened at all.
    """
    saved: set[object] = set()
    copy = _mended(path, db)
    source = _readable(copy or path)
    source.text_factory = text
    try:
        db.execute("BEGIN IMMEDIATE")
        for table, columns in tables.items():
            names, places = ", ".join(columns), ", ".join("?" * len(columns))
            # A damaged page ends a walk: what is behind it is reached from the other end.
            for order in ("", *(f"ORDER BY {', '.join(f'{c} DESC' for c in columns[:2])}",)):
                with suppress(sqlite3.Error):
                    for row in source.execute(f"SELECT {names} FROM {table} {order}"):  # noqa: S608
                        if table == "bans":
                            if entries.ban(row) is None or not _is_sealed(row):
                                continue
                            saved.add(row[:2])
                        db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)  # noqa: S608
        db.execute("COMMIT")
    finally:
        source.close()
        for suffix in SUFFIXES if copy else ():
            with suppress(FileNotFoundError):
                os.unlink(f"{copy}{suffix}")
    return len(saved)


def text(data: bytes) -> str:
    """Return what a column says, damaged or not."""
    return data.decode("utf-8", "replace")


def _is_sealed(row: tuple[Any, ...]) -> bool:
    return entries.is_sealed(row[:5], row[-1])


def _mended(path: str, db: sqlite3.Connection) -> str:
    """Return a copy at which sqlite looks even if its head is damaged or its end is gone, or ""."""
    (size,) = db.execute("PRAGMA page_size").fetchone()
    copy = f"{path}-copy"
    try:
        for suffix in SUFFIXES[:2]:
            if os.path.exists(path + suffix):
                with open(path + suffix, "rb") as source, open(copy + suffix, "wb") as target:
                    while data := source.read(1 << 20):
                        target.write(data)
        _mend(copy, size)
    except OSError:
        return ""
    return copy


def _mend(path: str, size: int) -> None:
    with open(path, "r+b") as file:
        head = bytearray(file.read(HEAD))
        length = file.seek(0, os.SEEK_END)
        pages = int.from_bytes(head[_PAGES], "big")
        if head[: len(_MAGIC)] != _MAGIC or int.from_bytes(head[_SIZE], "big") != size:
            # As sqlite writes it for tables like ours: pages of that size, UTF-8, schema 4.
            pages = -(-length // size)
            head = bytearray(HEAD)
            head[: len(_MAGIC)], head[_SIZE] = _MAGIC, size.to_bytes(2, "big")
            head[18:24] = b"\x01\x01\x00\x40\x20\x20"
            head[24:28] = head[92:96] = b"\x00\x00\x00\x01"
            head[_PAGES] = pages.to_bytes(4, "big")
            head[44:48], head[56:60] = b"\x00\x00\x00\x04", b"\x00\x00\x00\x01"
            file.seek(0)
            file.write(head)
        if length < pages * size <= length + MOST_MISSING:
            file.truncate(pages * size)


def _readable(path: str) -> sqlite3.Connection:
    """Return a connection that reads, also where nothing can be written."""
    # quote() would do it, at the price of a large module.
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    # Without its WAL a file that cannot be written is only opened as one that nobody writes.
    for mode in ("rw", "ro", "ro&immutable=1"):
        db = sqlite3.connect(
            f"file:{quoted}?mode={mode}", timeout=1.0, isolation_level=None, uri=True
        )
        try:
            db.execute("PRAGMA user_version")
        except sqlite3.OperationalError:
            db.close()
            continue
        except sqlite3.DatabaseError:
            pass  # damaged: what can be read is to be read
        return db
    raise sqlite3.OperationalError("cannot be read either")
