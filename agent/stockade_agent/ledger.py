# SPDX-License-Identifier: MIT
"""What is banned, until when and why, whose failures count, how far each log was read: sqlite.

Writes are collected in one transaction until ``commit``: a ban, the totals and the position
of the log it came from are kept together or not at all. In WAL mode a killed process loses
what was not committed and nothing else.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Optional

from stockade_agent import entries, pages, schema
from stockade_agent.errors import LedgerError
from stockade_agent.model import FOREVER, Ban, Tally
from stockade_agent.salvage import SUFFIXES, salvage, text


_BAN = """
INSERT INTO bans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT (jail, id) DO UPDATE SET
    address = excluded.address, at = excluded.at, bantime = excluded.bantime,
    failures = excluded.failures, count = excluded.count, enforced = 0, seal = excluded.seal,
    matches = CASE at WHEN excluded.at THEN matches ELSE excluded.matches END,
    data = CASE at WHEN excluded.at THEN data ELSE excluded.data END
"""
_PAST = """
INSERT INTO history VALUES (?, ?, ?, ?, ?) ON CONFLICT (id, jail) DO UPDATE SET
    count = max(count + 1, excluded.count), at = excluded.at, bantime = excluded.bantime
"""


class Ledger:
    """The ledger in a file, or in memory for ``:memory:``.

    A file that is no ledger is set aside as ``<path>.corrupt``, and what can still be read of
    it is taken over.

    Attributes:
        path: the file.
        warnings: what an operator should know of how it was opened.
        damaged: bans that ``bans`` could not return.

    Raises:
        LedgerError: by every call, when the file cannot be opened, read or written. Nothing
            of the current transaction is kept then.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.warnings: tuple[str, ...] = ()
        self.damaged = 0
        # Only a file that we have just made, or whose owner emptied it, has nothing in it.
        emptied = os.path.isfile(path) and not os.path.getsize(path)
        try:
            self._db = _open(path)
        except (sqlite3.Error, UnicodeError) as error:
            if isinstance(error, sqlite3.OperationalError) or path == ":memory:":
                raise LedgerError(f"{path}: {error}") from error
            self._db = self._set_aside(error)
        except OSError as error:
            raise LedgerError(f"{path}: {error.strerror}") from error
        if emptied:
            self.warnings = (f"{path}: was empty: no ban of an earlier run is known",)

    def take_over(self, path: str) -> int:
        """Take over what can be read of another ledger, left as it is; return how many bans."""
        with self._said():
            return salvage(path, self._db, schema.COLUMNS)

    # ---- reading

    def bans(self) -> list[Ban]:
        """Return all that ``each`` yields."""
        return list(self.each())

    def each(self) -> Iterator[Ban]:
        """Yield all bans that were not lifted, those that are over by now included.

        They are bare; ``whole`` has their matches and data. Damaged ones are dropped: ``damaged``
        says how many.
        """
        with self._said():
            rows = self._db.execute(
                "SELECT jail, id, address, at, bantime, failures, count, seal FROM bans"
            )
            self.damaged = 0
            for row in rows:
                ban = entries.ban((*row[:7], *entries.BARE))
                if ban is not None and entries.is_sealed(row[:5], row[7]):
                    yield ban
                else:
                    self.damaged += 1

    def whole(self, ban: Ban) -> Ban:
        """Return a ban with the matches and data that were noted with it."""
        with self._said():
            row = self._db.execute(
                "SELECT matches, data FROM bans WHERE jail = ? AND id = ?", (ban.jail, ban.id)
            ).fetchone()
        kept = entries.ban((*entries.ban_row(ban)[:7], *row)) if row else None
        return replace(ban, matches=kept.matches, data=kept.data) if kept else ban

    def past(self, who: str, jail: Optional[str], *kin: str) -> Optional[tuple[int, float]]:
        """Return (number, time of the last) of an id's bans, in one jail or in all for None.

        With ``kin`` it is, of each jail, the one's of these ids that has the most.
        """
        ids = ", ".join("?" * (1 + len(kin)))
        with self._said():
            count, at = self._db.execute(
                "SELECT sum(most), max(at) FROM (SELECT max(count) AS most, max(at) AS at FROM"  # noqa: S608
                f" history WHERE id IN ({ids}) AND jail = coalesce(?, jail) GROUP BY jail)",
                (who, *kin, jail),
            ).fetchone()
        return None if count is None else (count, at)

    def positions(self) -> dict[str, str]:
        """Return log -> position of what was dealt with."""
        with self._said():
            return dict(self._db.execute("SELECT log, position FROM positions"))

    def totals(self) -> dict[str, tuple[int, int]]:
        """Return jail -> (failures, bans) counted since the ledger began."""
        with self._said():
            rows = self._db.execute("SELECT jail, failed, banned FROM totals")
            return {jail: (failed, banned) for jail, failed, banned in rows}

    def tallies(self, jail: str) -> Iterator[Tally]:
        """Yield the failures below maxretry of a jail's ids, the longest ago first."""
        with self._said():
            rows = self._db.execute(
                "SELECT id, first, last, retry, failures, matches, data FROM counts"
                " WHERE jail = ? ORDER BY last",
                (jail,),
            )
            for row in rows:
                tally = entries.tally(row)
                if tally is not None:
                    yield tally

    def note(self, name: str) -> str:
        """Return what was last noted under a name, or ""."""
        with self._said():
            row = self._db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    # ---- writing

    def ban(self, bans: Iterable[Ban]) -> None:
        """Note the intent to ban.

        A prolonged or restored one is no new one in an id's history. A bare one keeps the
        matches and data that were noted when it began.
        """
        bans = list(bans)
        new = [ban for ban in bans if not ban.prolonged and not ban.restored]
        with self._said():
            self._run_each(_BAN, map(entries.ban_row, bans))
            self._run_each(_PAST, ((b.id, b.jail, b.rank, b.at, b.bantime) for b in new))

    def enforced(self, bans: Iterable[Ban]) -> None:
        """Note that the firewall took bans."""
        with self._said():
            self._run_each(
                "UPDATE bans SET enforced = 1 WHERE jail = ? AND id = ? AND enforced = 0",
                ((ban.jail, ban.id) for ban in bans),
            )

    def unban(self, bans: Iterable[Ban], *, forget: bool = False) -> None:
        """Note that bans are lifted; ``forget`` that they ever were, as an unban by hand does."""
        keys = [(ban.jail, ban.id) for ban in bans]
        with self._said():
            self._run_each("DELETE FROM bans WHERE jail = ? AND id = ?", keys)
            if forget:
                self._run_each("DELETE FROM history WHERE jail = ? AND id = ?", keys)

    def read_to(self, positions: Mapping[str, str], now: float) -> None:
        """Note how far logs were read and dealt with."""
        with self._said():
            for log, position in positions.items():
                self._run("INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (log, position, now))

    def count(self, totals: Mapping[str, tuple[int, int]]) -> None:
        """Note jail -> (failures, bans) since the ledger began."""
        with self._said():
            for jail, (failed, banned) in totals.items():
                self._run("INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", (jail, failed, banned))

    def recount(self, changed: Mapping[tuple[str, str], Optional[Tally]]) -> None:
        """Note (jail, id) -> its failures below maxretry, or None where it has none any more."""
        kept = ((jail, *entries.tally_row(tally)) for (jail, _), tally in changed.items() if tally)
        gone = (key for key, tally in changed.items() if tally is None)
        with self._said():
            self._run_each("INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", kept)
            self._run_each("DELETE FROM counts WHERE jail = ? AND id = ?", gone)

    def forget_counts(self, horizons: Mapping[str, float]) -> None:
        """Forget failures that no longer count: of each jail those up to a time."""
        with self._said():
            self._run_each(
                "DELETE FROM counts WHERE jail = ? AND last <= ?", tuple(horizons.items())
            )

    def set_note(self, name: str, value: str) -> None:
        """Note something of the agent itself, such as the backend in use."""
        with self._said():
            self._run("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def commit(self) -> None:
        """Keep what was written since the last time."""
        with self._said():
            if self._db.in_transaction:
                self._db.execute("COMMIT")

    def purge(self, now: float, age: float, logs: Collection[str]) -> None:
        """Forget bans that are over, their history after a while, positions of logs long gone.

        Args:
            now: seconds, UTC.
            age: ``dbpurgeage``, seconds.
            logs: those that are still followed; their positions stay.

        Source:
            fail2ban's database: kept for three times the bantime, and at least for the age.
        """
        with self._said():
            self._run("DELETE FROM bans WHERE bantime != ? AND at + bantime < ?", (FOREVER, now))
            self._run(
                "DELETE FROM history WHERE bantime != ? AND at < ? AND at + 3 * bantime < ?",
                (FOREVER, now - age, now - age),
            )
            old = self._db.execute("SELECT log FROM positions WHERE at < ?", (now - age,))
            for (log,) in old.fetchall():
                if log not in logs:
                    self._run("DELETE FROM positions WHERE log = ?", (log,))

    def close(self) -> None:
        """Keep what was written, and release the file."""
        try:
            self.commit()
        finally:
            self._db.close()

    # ---- sqlite

    def _run(self, statement: str, values: tuple[object, ...]) -> None:
        self._run_each(statement, (values,))

    def _run_each(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(statement, rows)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeError) as error:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise LedgerError(f"{self.path}: {error}") from error

    def _set_aside(self, fault: Exception) -> sqlite3.Connection:
        aside = f"{self.path}.corrupt"
        _move(self.path, aside)
        try:
            db = _open(self.path)
            try:
                saved = salvage(aside, db, schema.COLUMNS)
            except sqlite3.Error:
                db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            # No room, say: what it holds must be found where the next one looks for it.
            _move(aside, self.path)
            raise LedgerError(f"{self.path}: {error}") from error
        self.warnings = (
            f"{self.path}: {fault}: set aside as {aside}, {saved} bans could be taken over",
        )
        return db


def _open(path: str) -> sqlite3.Connection:
    """Return a connection to a ledger that is sound and of our version.

    Raises:
        sqlite3.OperationalError: it cannot be opened or written now.
        sqlite3.DatabaseError: the file is damaged, or no ledger of ours.
    """
    if path != ":memory:":
        _open_file(path)
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    db.text_factory = text
    try:
        db.execute(f"PRAGMA page_size = {pages.SIZE}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        db.execute("PRAGMA cache_size = -256")
        # What was lifted is not to be found in a page again, should the file be damaged.
        db.execute("PRAGMA secure_delete = ON")
        _examine(db)
        schema.migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _move(path: str, to: str) -> None:
    """Put a ledger with its WAL in the place of another, or of none."""
    for suffix in SUFFIXES:
        with suppress(FileNotFoundError):
            os.unlink(to + suffix)
        with suppress(FileNotFoundError):
            os.rename(path + suffix, to + suffix)


def _open_file(path: str) -> None:
    """See that a file can be written, and is nobody else's to read."""
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        head = os.read(file, pages.HEAD)
    finally:
        os.close(file)
    # sqlite takes much of it for a file that cannot be written, or that it is too old for.
    if head and not pages.is_head(head):
        raise sqlite3.DatabaseError("its head is damaged, or it is no ledger")


def _examine(db: sqlite3.Connection) -> None:
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
