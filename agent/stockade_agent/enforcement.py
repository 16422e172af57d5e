# SPDX-License-Identifier: MIT
"""From an order to ban to the kernel's refusal: ledger, then firewall, then marked as enforced.

What the firewall does not take is said, kept, and tried again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Callable, Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Change, Firewall
from stockade_agent.log import Log
from stockade_agent.model import Ban
from stockade_agent.records import Records
from stockade_agent.specs import Shield


BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds until a firewall that failed is tried again, by the number of failures in a row."""

GAP = 0.05
"""Seconds between two batches: a single ban goes out at once, a flood in few processes."""

PATIENCE = 2
"""Failures in a row after which another backend may be chosen: firewalld restarts in seconds."""

Key = tuple[str, str]
"""A jail and an id."""


class Enforcement:
    """Makes the kernel agree with the bans in force.

    Args:
        choose: returns a backend that has proved itself, or raises ``FirewallError``.
        sweep: removes what other backends than the given one have left in the kernel.
        in_force: returns all bans that the kernel must hold.
        records: where intents and outcomes are noted.
        log: is told of trouble.

    Attributes:
        firewall: the backend in use, or None while none can be had.
        proved_at: when it last took what it was told.
        problem: the last failure that still stands, or "".
        warnings: what the backend wants an operator to know.
        retry: seconds until ``start`` must be called again, or None.
        wait: seconds until ``carry_out`` must be called again, or None.
    """

    def __init__(
        self,
        choose: Callable[[], Firewall],
        sweep: Callable[[Firewall], None],
        in_force: Callable[[], Iterable[Ban]],
        records: Records,
        log: Log,
    ) -> None:
        self._choose, self._sweep, self._in_force = choose, sweep, in_force
        self._renamed: Optional[Firewall] = None
        self._records, self._log = records, log
        self.firewall: Optional[Firewall] = None
        self.proved_at: Optional[float] = None
        self.problem = ""
        self.warnings: tuple[str, ...] = ()
        self.retry: Optional[float] = None
        self.wait: Optional[float] = None
        self._remade = ""
        self._carried_at: Optional[float] = None
        self._failures = 0
        self._shields: tuple[Shield, ...] = ()
        self._bans: dict[Key, Ban] = {}
        self._unbans: dict[Key, Ban] = {}
        self._intents: dict[Key, Ban] = {}
        self._superseded: list[Ban] = []
        # Jail -> ids. Dicts, as a set takes up to five times the memory.
        self._enforced: dict[str, dict[str, None]] = {}

    def use(self, choose: Callable[[], Firewall], *, renamed: bool = False) -> None:
        """Take another backend at the next ``start``, or the same with objects of other names."""
        self._choose = choose
        self._renamed = self.firewall if renamed else None
        self.firewall = None

    def start(self, now: float, shields: Optional[Sequence[Shield]] = None) -> bool:
        """Make the kernel hold exactly the bans in force; return whether it does.

        Args:
            now: seconds, UTC.
            shields: of all jails that run; None: as before.
        """
        if shields is not None:
            self._shields = tuple(shields)
        covered = {shield.jail for shield in self._shields}
        bans = [b for b in self._in_force() if b.address is not None and b.jail in covered]
        try:
            if self.firewall is None:
                self.firewall = self._choose()
                self._log.info(f"firewall: {self.firewall.name} works")
            if self._renamed is not None:
                self._renamed.stop()
                self._renamed = None
            warnings = tuple(self.firewall.start(self._shields, bans, now))
            self._tidy(self.firewall)
        except FirewallError as error:
            self._failed(error)
            if self._failures > PATIENCE:
                self._replace()
            return False
        for warning in warnings:
            if warning not in self.warnings:
                self._log.warning(f"firewall: {warning}")
        self.warnings = warnings
        self._bans.clear()
        self._unbans.clear()
        self.wait = None
        self._enforced = {}
        self._took(bans)
        self._records.enforced(bans)
        self._well(now)
        return True

    def _replace(self) -> None:
        """Let the next ``start`` use another backend, if this one is gone for good."""
        try:
            self.firewall = self._choose()
        except FirewallError:
            return  # the present one keeps what it has in force, and is tried again

    def _tidy(self, firewall: Firewall) -> None:
        """Remove what another backend holds, now that the present one holds all bans."""
        if self._records.backend != firewall.name:
            self._sweep(firewall)
            self._records.held_by(firewall.name)

    def order(self, ban: Ban) -> None:
        """Take a ban that ``carry_out`` is to make."""
        key = (ban.jail, ban.id)
        self._unbans.pop(key, None)
        self._bans[key] = self._intents[key] = ban

    def lift(self, ban: Ban) -> None:
        """Take the end of a ban."""
        self._bans.pop((ban.jail, ban.id), None)
        self._intents.pop((ban.jail, ban.id), None)
        self._unbans[ban.jail, ban.id] = ban

    def supersede(self, ban: Ban) -> None:
        """Take the end of a ban whose place others take, which are ordered already."""
        self.lift(ban)
        self._superseded.append(ban)

    def carry_out(self, now: float, *, at_once: bool = False) -> None:
        """Make all that was ordered so, in one batch, or leave it for ``wait`` seconds.

        Args:
            now: seconds, UTC.
            at_once: somebody waits for it.
        """
        self.wait = None
        if not self._bans and not self._unbans:
            return
        if self._intents or self._superseded:
            # Whatever waits, the ledger has it with the position of the log that it comes from.
            self._records.intend(list(self._intents.values()))
            self._intents.clear()
            # Not before: a crash must not find an address in neither.
            self._records.lifted([ban for ban in self._superseded if ban.rank])
            self._records.lifted([ban for ban in self._superseded if not ban.rank], forget=True)
            self._superseded.clear()
        since = GAP if self._carried_at is None else now - self._carried_at
        if 0 <= since < GAP and not at_once:
            self.wait = GAP - since
            return
        self._carried_at = now
        bans, unbans = list(self._bans.values()), list(self._unbans.values())
        self._bans.clear()
        self._unbans.clear()
        if bans:
            self._records.commit(now)
        if self.firewall is None:
            # ``start`` will make all that is in force, once there is a backend.
            return
        try:
            self._apply(self.firewall, bans, unbans, now)
        except FirewallError as error:
            # Somebody may have flushed our rules: then all must be made anew, at once.
            if not self.problem and self.start(now):
                self._remade = str(error)
                self._log.warning(f"firewall: made anew after: {error}")
            else:
                self._failed(error, again=not self.problem)
                self._one_by_one(self.firewall, bans, unbans, now)

    def concerns(self, change: Change) -> bool:
        """Return whether what somebody changed in nftables may be ours."""
        return self.firewall is not None and self.firewall.concerns(change)

    def mend(self, now: float) -> str:
        """Look in the kernel and put back what is missing; return what that was, or "".

        Where it fails, that is a ``problem`` as any other, and tried again.
        """
        self.carry_out(now, at_once=True)
        remade, self._remade = self._remade, ""
        if self.firewall is None or self.problem:
            return remade
        bans = [ban for ban in self._in_force() if self.is_enforced(ban)]
        try:
            return self.firewall.mend(bans, now) or remade
        except FirewallError as error:
            self.start(now)
            return str(error)

    @property
    def holds(self) -> bool:
        """The firewall has taken a ban that is still in force."""
        return any(self._enforced.values())

    def is_enforced(self, ban: Ban) -> bool:
        """Return whether the firewall took a ban."""
        return ban.id in self._enforced.get(ban.jail, ())

    def stop(self) -> None:
        """Take everything of ours out of the kernel."""
        if self.firewall is not None:
            self.firewall.stop()

    def _apply(
        self, firewall: Firewall, bans: Collection[Ban], unbans: Collection[Ban], now: float
    ) -> None:
        covered = {shield.jail for shield in self._shields}
        bans = [b for b in bans if b.address is not None and b.jail in covered]
        unbans = [b for b in unbans if b.address is not None and b.jail in covered]
        if bans or unbans:
            firewall.apply(bans, unbans, now)
        self._took(bans)
        for ban in unbans:
            self._enforced.get(ban.jail, {}).pop(ban.id, None)
        self._records.enforced(bans)

    def _took(self, bans: Iterable[Ban]) -> None:
        for ban in bans:
            self._enforced.setdefault(ban.jail, {})[ban.id] = None

    def _one_by_one(
        self, firewall: Firewall, bans: Sequence[Ban], unbans: Sequence[Ban], now: float
    ) -> None:
        """Let no jail's trouble keep another's bans from the kernel."""
        jails = dict.fromkeys(ban.jail for ban in (*bans, *unbans))
        if len(jails) == 1:
            return
        for jail in jails:
            mine = [ban for ban in bans if ban.jail == jail]
            try:
                self._apply(firewall, mine, [ban for ban in unbans if ban.jail == jail], now)
            except FirewallError as error:
                self._log.error(f"[{jail}] firewall: {error}")

    def _failed(self, error: FirewallError, *, again: bool = True) -> None:
        self.problem = str(error)
        if again:
            self.retry = BACKOFF[min(self._failures, len(BACKOFF) - 1)]
            self._failures += 1
        self._log.problem("firewall", self.problem)

    def _well(self, now: float) -> None:
        self.problem, self.retry, self._failures = "", None, 0
        self.proved_at = now
        self._log.problem("firewall", "")
