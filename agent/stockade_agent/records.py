# SPDX-License-Identifier: MIT
"""The ledger as the daemon keeps it: whatever befalls the file, banning goes on.

While the file cannot be used, what must be kept is kept in memory and said; ``heal`` writes
it down once it can.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Callable, Optional

from stockade_agent.errors import LedgerError
from stockade_agent.ledger import Ledger
from stockade_agent.log import Log
from stockade_agent.model import Ban, Tally


_BACKEND, _PEERS = "firewall", "peers"
MOST_FAILING = 20_000
"""Ids whose failures are remembered for a ledger that cannot be written."""
MANY = 8192
"""Ids whose failures are noted, after which a commit had better not wait."""


class Records:
    """Bans, failures below maxretry, totals and positions of logs, committed together.

    Args:
        path: of the ledger.
        log: is told of trouble.

    Attributes:
        positions: log -> how far it was dealt with.
        totals: jail -> (failures, bans) since the ledger began.
        backend: the firewall that held the bans last, or "".
        problem: why nothing can be written now, or "".
        behind: something is noted that was not committed.
        unread: what is in the file could not be read so far.
    """

    def __init__(self, path: str, log: Log) -> None:
        self._path, self._log = path, log
        self.problem = ""
        self.behind = False
        self.positions: dict[str, str] = {}
        self.totals: dict[str, tuple[int, int]] = {}
        self.backend = ""
        self._moved: dict[str, str] = {}
        self._counted: dict[str, tuple[int, int]] = {}
        self._failing: dict[tuple[str, str], Optional[Tally]] = {}
        self._notes: dict[str, str] = {}
        self.unread = False
        self._logins: Callable[[], Optional[str]] = lambda: None
        try:
            self._ledger = self._open()
        except LedgerError as error:
            self._ledger = Ledger(":memory:")
            self._failed(error)
            self._read_only()
        try:
            self.positions = self._ledger.positions()
            self.totals = self._ledger.totals()
            self.backend = self._ledger.note(_BACKEND)
        except LedgerError as error:
            self._failed(error)

    def bans(self) -> Iterator[Ban]:
        """Yield the bans that the ledger knows, for the start: there may be 100,000."""
        try:
            yield from self._ledger.each()
        except LedgerError as error:
            self._failed(error)
        if self._ledger.damaged:
            self._log.error(f"ledger: {self._ledger.damaged} bans are damaged, and not restored")

    def keep_logins(
        self, restore: Callable[[str], None], kept: Callable[[], Optional[str]]
    ) -> None:
        """Hand out what the ledger knows of logins, and note them with all else from now on.

        Args:
            restore: takes it, at once.
            kept: returns it at each commit, or None where it is the same as last time.
        """
        self._logins = kept
        restore(self.noted(_PEERS))

    def tallies(self, jail: str) -> Iterator[Tally]:
        """Yield the failures below maxretry that the ledger knows, for the start."""
        try:
            yield from self._ledger.tallies(jail)
        except LedgerError as error:
            self._failed(error)

    def whole(self, ban: Ban) -> Ban:
        """Return a ban with its matches and data, as far as they are known."""
        try:
            return self._ledger.whole(ban)
        except LedgerError as error:
            self._failed(error)
            return ban

    def past(self, who: str, jail: Optional[str], *kin: str) -> Optional[tuple[int, float]]:
        """Return number and last time of earlier bans; None while nobody can tell."""
        try:
            return self._ledger.past(who, jail, *kin)
        except LedgerError as error:
            self._failed(error)
            return None

    def intend(self, bans: Collection[Ban]) -> None:
        """Note bans before the firewall is told of them."""
        self._write(lambda: self._ledger.ban(bans))

    def enforced(self, bans: Collection[Ban]) -> None:
        """Note that the firewall took bans."""
        self._write(lambda: self._ledger.enforced(bans))

    def lifted(self, bans: Collection[Ban], *, forget: bool = False) -> None:
        """Note that bans have ended; ``forget`` that they ever were."""
        self._write(lambda: self._ledger.unban(bans, forget=forget))

    def read_to(self, log: str, position: str) -> None:
        """Note how far a log was dealt with."""
        self.positions[log] = self._moved[log] = position
        self.behind = True

    def count(self, jail: str, failed: int, banned: int) -> None:
        """Note more failures and bans of a jail."""
        before = self.totals.get(jail, (0, 0))
        self.totals[jail] = self._counted[jail] = (before[0] + failed, before[1] + banned)
        self.behind = True

    def recount(self, jail: str, changed: Mapping[str, Optional[Tally]]) -> None:
        """Note ids' failures below maxretry, or that they have none any more (None)."""
        for id_, tally in changed.items():
            self._failing[jail, id_] = tally
            self.behind = True
        while self.problem and len(self._failing) > MOST_FAILING:
            del self._failing[next(iter(self._failing))]

    @property
    def faults(self) -> list[str]:
        """What is wrong with the ledger, for the status."""
        return [f"ledger: {self.problem}"] if self.problem else []

    @property
    def full(self) -> bool:
        """Whether so much is noted that a flood of addresses would fill the memory with it."""
        return not self.problem and len(self._failing) >= MANY

    def noted(self, name: str) -> str:
        """Return what was last noted under a name, or ""."""
        try:
            return self._notes.get(name) or self._ledger.note(name)
        except LedgerError as error:
            self._failed(error)
            return ""

    def note(self, name: str, value: str) -> None:
        """Note something small under a name."""
        self._notes[name] = value
        self.behind = True
        self._write(lambda: self._ledger.set_note(name, value))

    def held_by(self, backend: str) -> None:
        """Note which firewall holds the bans now."""
        self.backend = backend
        self._write(lambda: self._ledger.set_note(_BACKEND, backend))

    def commit(self, now: float) -> None:
        """Keep all that was noted, in one transaction."""
        logins = self._logins()
        if logins is not None:
            self.note(_PEERS, logins)
        self._write(lambda: self._flush(now))
        self.behind = False

    def heal(self, now: float, tallies: Mapping[str, Iterable[Tally]], bans: Iterable[Ban]) -> bool:
        """Try a ledger that failed anew, and write down what it missed; return whether that helped.

        Args:
            now: seconds, UTC.
            tallies: jail -> failures below maxretry, of all jails that run, as far as they are
                known; bans of other jails stay as the ledger has them.
            bans: those in force.
        """
        if not self.problem:
            return False
        try:
            ledger = self._open()
        except LedgerError as error:
            self._failed(error)
            return False
        old, self._ledger = self._ledger, ledger
        self._shut(old)
        try:
            self._rewrite(now, tallies, bans)
        except LedgerError as error:
            self._failed(error)
            return False
        self._moved.clear()
        self._counted.clear()
        self._failing.clear()
        self.problem = ""
        self._log.problem("ledger", "")
        return True

    def _rewrite(
        self, now: float, tallies: Mapping[str, Iterable[Tally]], bans: Iterable[Ban]
    ) -> None:
        stale = {(ban.jail, ban.id): ban for ban in self._ledger.bans() if ban.jail in tallies}
        # What the ledger knows already is no further ban in the id's history.
        self._ledger.ban(
            replace(ban, restored=True) if stale.pop((ban.jail, ban.id), None) else ban
            for ban in bans
        )
        if not self.unread:
            self._ledger.unban(stale.values())
        self._ledger.recount(self._failing)
        for jail, own in tallies.items():
            self._ledger.recount({(jail, tally.id): tally for tally in own})
        self._ledger.read_to(self.positions, now)
        self._ledger.count(self.totals)
        self._ledger.set_note(_BACKEND, self.backend)
        for name, value in self._notes.items():
            self._ledger.set_note(name, value)
        self._ledger.commit()

    def purge(
        self, now: float, age: float, logs: Collection[str], findtimes: Mapping[str, int]
    ) -> None:
        """Forget what is long over (see ``Ledger.purge``), and failures that count no more.

        Args:
            now: seconds, UTC.
            age: ``dbpurgeage``, seconds.
            logs: those that are still followed.
            findtimes: of the jails that run.
        """
        horizons = {jail: now - findtime for jail, findtime in findtimes.items()}
        self._write(lambda: self._ledger.purge(now, age, logs))
        self._write(lambda: self._ledger.forget_counts(horizons))
        self.commit(now)

    def close(self, now: float) -> None:
        """Keep what was noted, and release the file."""
        self.commit(now)
        self._shut(self._ledger)

    def _read_only(self) -> None:
        """Take what is in a file that cannot be written, as on a disk that turned read-only."""
        try:
            saved = self._ledger.take_over(self._path)
        except LedgerError:
            self.unread = True
        else:
            self._log.warning(f"ledger: {self._path}: {saved} bans were read all the same")

    def _open(self) -> Ledger:
        ledger = Ledger(self._path)
        for warning in ledger.warnings:
            self._log.error(f"ledger: {warning}")
        return ledger

    def _flush(self, now: float) -> None:
        self._ledger.read_to(self._moved, now)
        self._ledger.count(self._counted)
        self._ledger.recount(self._failing)
        self._ledger.commit()
        self._moved.clear()
        self._counted.clear()
        self._failing.clear()

    def _write(self, write: Callable[[], None]) -> None:
        if self.problem:
            return
        try:
            write()
        except LedgerError as error:
            self._failed(error)

    def _failed(self, error: LedgerError) -> None:
        self.problem = str(error)
        self._log.problem("ledger", f"{error}; bans go on, but a restart would forget them")

    def _shut(self, ledger: Ledger) -> None:
        try:
            ledger.close()
        except LedgerError as error:
            self._log.warning(f"ledger: {error}")
