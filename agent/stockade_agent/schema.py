# SPDX-License-Identifier: MIT
"""The tables of a ledger, and what brings those of an older agent up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping


VERSION = 2
"""The version that this agent writes; see ``MIGRATIONS``."""

_TABLES = """
CREATE TABLE bans (
    jail TEXT NOT NULL, id TEXT NOT NULL, address TEXT, at REAL NOT NULL, bantime INTEGER NOT NULL,
    failures INTEGER NOT NULL, count INTEGER NOT NULL, matches TEXT NOT NULL, data TEXT NOT NULL,
    enforced INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (jail, id)
) WITHOUT ROWID;
CREATE TABLE history (
    id TEXT NOT NULL, jail TEXT NOT NULL, count INTEGER NOT NULL, at REAL NOT NULL,
    bantime INTEGER NOT NULL,
    PRIMARY KEY (id, jail)
) WITHOUT ROWID;
CREATE TABLE positions (log TEXT PRIMARY KEY, position TEXT NOT NULL, at REAL NOT NULL)
    WITHOUT ROWID;
CREATE TABLE totals (
    jail TEXT PRIMARY KEY, failed INTEGER NOT NULL, banned INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_SECOND = """
ALTER TABLE bans ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
CREATE TABLE counts (
    jail TEXT NOT NULL, id TEXT NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
    retry REAL NOT NULL, failures INTEGER NOT NULL, matches TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (jail, id)
) WITHOUT ROWID;
"""
MIGRATIONS: Mapping[int, str] = {0: _TABLES, 1: _SECOND}
"""Version found in a file -> the statements that lead to the next one."""

COLUMNS = {
    "bans": (
        "jail",
        "id",
        "address",
        "at",
        "bantime",
        "failures",
        "count",
        "matches",
        "data",
        "enforced",
        "seal",
    ),
    "history": ("id", "jail", "count", "at", "bantime"),
    "positions": ("log", "position", "at"),
    "totals": ("jail", "failed", "banned"),
    "notes": ("name", "value"),
    "counts": ("jail", "id", "first", "last", "retry", "failures", "matches", "data"),
}
"""Table -> its columns, in their order."""


def migrate(db: sqlite3.Connection) -> None:
    """Bring a file's tables up to date.

    Raises:
        sqlite3.DatabaseError: its tables are not ours, or those of a newer agent.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise sqlite3.DatabaseError(f"written by a newer agent (schema {version})")
    try:
        for step in range(version, VERSION):
            db.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[step]}")
            db.execute(f"PRAGMA user_version = {step + 1}")
            db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        # Tables of ours in a file that says it has none, or the other way round.
        if "already exists" in str(error) or "no such" in str(error):
            raise sqlite3.DatabaseError(str(error)) from error
        raise
    for table, columns in COLUMNS.items():
        found = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        if found != list(columns):
            raise sqlite3.DatabaseError(f"table {table} is not as it should be")
