# SPDX-License-Identifier: MIT
"""What can be read of a ledger that cannot be used as it is."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from stockade_agent import entries, pages


SUFFIXES = ("", "-wal", "-shm")
MOST_MISSING = 1 << 28
"""Bytes at the end of a file that are taken for cut off, and not for damage of the head."""

_BROKEN = (sqlite3.Error, UnicodeError)
"""What sqlite raises; it also says the names in a damaged schema, which Python cannot read."""


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
    _remove(f"{path}-copy")  # of one who was killed: its WAL is not ours
    copy = _mended(path)
    try:
        db.execute("BEGIN IMMEDIATE")
        _walk(copy or path, db, tables)
        if copy:
            _gather(copy, db, tables)
        (saved,) = db.execute("SELECT count(*) FROM bans").fetchone()
        db.execute("COMMIT")
    finally:
        _remove(f"{path}-copy")
    return int(saved)


def _remove(copy: str) -> None:
    """Remove a copy with its WAL, as far as that can be."""
    for suffix in SUFFIXES:
        with suppress(OSError):
            os.unlink(copy + suffix)


def _walk(path: str, db: sqlite3.Connection, tables: Mapping[str, Sequence[str]]) -> None:
    """Copy the rows to which sqlite finds a way."""
    source = _readable(path)
    source.text_factory = text
    try:
        for table, columns in tables.items():
            # A damaged page ends a walk: what is behind it is reached from the other end.
            for order in ("", *(f"ORDER BY {', '.join(f'{c} DESC' for c in columns[:2])}",)):
                statement = f"SELECT {', '.join(columns)} FROM {table} {order}"  # noqa: S608
                for row in _read(source, statement):
                    _take(db, table, row)
    finally:
        source.close()


def _read(source: sqlite3.Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows as far as the damage lets it; what befalls who takes them is not its matter."""
    try:
        rows = source.execute(statement)
    except _BROKEN:
        return
    while True:
        try:
            row = next(rows)
        except (StopIteration, *_BROKEN):
            return
        yield row


def _gather(path: str, db: sqlite3.Connection, tables: Mapping[str, Sequence[str]]) -> None:
    """Copy the rows that stand in some page of a file, though no way leads there any more."""
    if os.path.exists(f"{path}-wal"):
        return  # sqlite could not write it into the pages, which thus are older than it
    shapes = {
        table: [kind for _, _, kind, *_ in db.execute(f"PRAGMA table_info({table})")]
        for table in tables
    }
    with open(path, "rb") as file:
        for row in pages.rows(file):
            for table, kinds in shapes.items():
                if len(row) == len(kinds) and all(map(_fits, row, kinds)):
                    # sqlite keeps a REAL without a fraction as a whole number.
                    _take(db, table, tuple(map(_typed, row, kinds)))


def _fits(value: pages.Value, kind: str) -> bool:
    if kind == "TEXT":
        return value is None or isinstance(value, str)
    return isinstance(value, int) or (kind == "REAL" and isinstance(value, float))


def _typed(value: Any, kind: str) -> object:
    return float(value) if kind == "REAL" else value


def _take(db: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> None:
    """Keep a row that makes sense; who is banned is only believed under its seal."""
    if table == "bans" and (entries.ban(row) is None or not _is_sealed(row)):
        return
    places = ", ".join("?" * len(row))
    with suppress(sqlite3.IntegrityError):
        db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row)  # noqa: S608


def text(data: bytes) -> str:
    """Return what a column says, damaged or not."""
    return data.decode("utf-8", "replace")


def _is_sealed(row: tuple[Any, ...]) -> bool:
    return entries.is_sealed(row[:5], row[-1])


def _mended(path: str) -> str:
    """Return a copy at which sqlite looks even if its head is damaged or its end is gone, or ""."""
    copy = f"{path}-copy"
    try:
        for suffix in SUFFIXES[:2]:
            if os.path.exists(path + suffix):
                with open(path + suffix, "rb") as source, open(copy + suffix, "wb") as target:
                    while data := source.read(1 << 20):
                        target.write(data)
        _mend(copy)
    except OSError:
        return ""
    return copy


def _mend(path: str) -> None:
    with open(path, "r+b") as file:
        head = file.read(pages.HEAD)
        length = file.seek(0, os.SEEK_END)
        count = int.from_bytes(head[28:32], "big")
        if not pages.is_head(head):
            count = -(-length // pages.SIZE)
            file.seek(0)
            file.write(pages.head(count))
        if length < count * pages.SIZE <= length + MOST_MISSING:
            file.truncate(count * pages.SIZE)


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
