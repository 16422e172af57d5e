# SPDX-License-Identifier: MIT
"""What can be read of a ledger that cannot be used as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import suppress

from stockade_agent import entries


def salvage(path: str, db: sqlite3.Connection, tables: Mapping[str, Collection[str]]) -> int:
    """Copy every row that can still be read into a new ledger; return how many bans.

    Args:
        path: of a ledger that is damaged, or that cannot be written.
        db: the new one.
        tables: name -> columns.

    Raises:
        sqlite3.Error: the new one cannot be written, or the old one not be opened at all.
    """
    saved = 0
    source = _readable(path)
    try:
        db.execute("BEGIN IMMEDIATE")
        for table, columns in tables.items():
            places = ", ".join("?" * len(columns))
            with suppress(sqlite3.Error):
                for row in source.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608
                    if table == "bans" and entries.ban(row) is None:
                        continue
                    db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)  # noqa: S608
                    saved += table == "bans"
        db.execute("COMMIT")
    finally:
        source.close()
    return saved


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
