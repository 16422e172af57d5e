# SPDX-License-Identifier: MIT
"""One jail at work: lines in, bans out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Optional

from stockade_agent.budget import Budget
from stockade_agent.escalation import History
from stockade_agent.filter import Filter
from stockade_agent.jail import Jail
from stockade_agent.log import Log
from stockade_agent.model import Ban, Block, Failure, Target, target
from stockade_agent.naming import resolved
from stockade_agent.protected import Protected
from stockade_agent.resolver import Resolver
from stockade_agent.shelter import Shelter
from stockade_agent.specs import BANS, JailSpec


if TYPE_CHECKING:
    from stockade_agent.ignorecommand import IgnoreCommand


MOST_WAITING = 1000
"""Failures that may wait for a name's addresses; the oldest are dropped, and it is said."""


class Guard:
    """A jail's filter, whom it does not ban, and its counts.

    Args:
        spec: the jail.
        protected: who must never be banned.
        resolver: for ``usedns`` and names in ``ignoreip``.
        history: earlier bans.
        log: is told what is found.
        now: seconds, UTC.
        command: its ``ignorecommand``, if it has one.

    Attributes:
        spec: the jail as it works now.
        shelter: whom it does not ban.
        configured: the jail as the configuration has it.
        idle: lines that come now are passed over.
        failed: why it stopped by an error of its own, or "".

    Raises:
        RegexError: a regex, date pattern or formula of the jail is wrong.
    """

    def __init__(
        self,
        spec: JailSpec,
        *,
        protected: Protected,
        resolver: Resolver,
        history: History,
        log: Log,
        now: float,
        command: Optional[IgnoreCommand] = None,
    ) -> None:
        self.spec = self.configured = spec
        self.idle = False
        self._command = command
        self.budget = Budget(spec.filtertime)
        self.filter = Filter(spec.filter, findtime=spec.findtime, now=now, budget=self.budget)
        self.jail = Jail(spec, history=history)
        self.shelter = Shelter(spec, protected, resolver, log, now)
        self._shares = False
        self._prefixes = None
        if spec.prefix6:
            from stockade_agent.prefixes import Prefixes  # noqa: PLC0415 - many have no need of it

            self._prefixes = Prefixes(spec, self.jail, self.shelter.barred, self.shelter.peer)
            self.shelter.heed = self._prefixes.forget
        self.failed = ""
        self._resolver, self._log = resolver, log
        self._waiting: deque[tuple[Failure, str]] = deque()

    @property
    def name(self) -> str:
        """The jail's name."""
        return self.spec.name

    @property
    def problem(self) -> str:
        """What an operator must know of it, or ""."""
        said = [self.failed] if self.failed else []
        if self.budget.problem:
            said.append(self.budget.problem)
        if self.idle:
            said.append("idle: what its logs say now is passed over")
        if self.spec != self.configured:
            names = [field.name for field in fields(self.spec)]
            told = [n for n in names if getattr(self.spec, n) != getattr(self.configured, n)]
            said.append(f"set by hand until the next reload: {', '.join(told)}")
        if not self.spec.filter.failregex and self.spec.backend != BANS:
            said.append("no failregex: nothing can match")
        if self.spec.shield is None and not any(action.holds for action in self.spec.commands):
            said.append("no action of it bans")
        if self._command is not None and self._command.problem:
            said.append(f"ignorecommand: {self._command.problem}")
        return "; ".join(said)

    def read(self, block: Block, now: float, *, live: bool) -> list[Ban]:
        """Return the bans that a block of lines earns."""
        if self.failed or self.idle:
            return []
        judged = self._shares and self.filter in block.found
        if not judged and not self.budget.lets(block, now):
            block.found[self.filter] = []
            return []
        if not judged:
            self.budget.begin(block, now)
        try:
            return list(self._read(block, now, live=live))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other jails go on
            self.failed = f"stopped by {type(error).__name__}: {error}"
            self._log.problem(f"[{self.name}]", self.failed)
            return []
        finally:
            if not judged:
                self.budget.end(now)
            self._log.problem(f"[{self.name}] filter", self.budget.suspension)
            for note in self.budget.notes():
                self._log.warning(f"[{self.name}] {note}")

    def join(self, other: Guard) -> None:
        """Take the verdicts of a jail that has the same filter and reads the same.

        Whichever is first to read a block judges it for all.
        """
        self.filter, self.budget = other.filter, other.budget
        self._shares = other._shares = True

    def answered(self, name: str, now: float) -> list[Ban]:
        """Return the bans of failures that waited for the addresses of a name."""
        if name in self.shelter.ignore.names:
            self.shelter.unknown(now)
        mine = [failure for failure, wanted in self._waiting if wanted == name]
        if not mine:
            return []
        self._waiting = deque(item for item in self._waiting if item[1] != name)
        return [ban for failure in mine for ban in self._seen(failure, now)]

    def punished(self, bans: Iterable[Ban], now: float) -> list[Ban]:
        """Return the bans that bans of other jails earn; each is a failure as of when it began."""
        if self.failed or self.idle:
            return []
        failures = (
            Failure(
                at=ban.at,
                id=ban.id if target(ban.id) == ban.address else str(ban.address),
                address=ban.address,
                matches=(f"[{ban.jail}] Ban {ban.id}",),
            )
            for ban in bans
            if ban.at > now - self.spec.findtime
        )
        return [ban for failure in failures for ban in self._seen(failure, now)]

    def decided(self, now: float) -> list[Ban]:
        """Return the bans of failures that waited for the answer of ``ignorecommand``."""
        if self._command is None:
            return []
        subject = f"[{self.name}] ignorecommand"
        self._log.problem(subject, self._command.problem, "WARNING")
        return [
            ban
            for failure, ignored in self._command.decided()
            if (ban := self._judged(failure, now, "command" if ignored else "")) is not None
        ]

    def attempt(self, id: str, lines: Sequence[str], now: float) -> list[Ban]:  # noqa: A002
        """Return the bans that failures earn of which somebody tells by hand, one a line.

        Raises:
            ControlError: it is no address, or one that is never banned.
        """
        address = self.shelter.bannable(id, now)
        failure = Failure(
            at=now,
            id=str(address),
            address=address,
            attempts=max(1, len(lines)),
            matches=tuple(lines),
        )
        return list(self._seen(failure, now))

    def change(self, **options: Any) -> None:
        """Take other values of the jail's options until ``revert``."""
        self._take(replace(self.spec, **options))

    def revert(self) -> None:
        """Be again as the configuration has it."""
        self.idle = False
        if self.spec != self.configured:
            self._take(self.configured)

    def _take(self, spec: JailSpec) -> None:
        self.spec = self.jail.spec = spec
        self.shelter.take(spec)

    def settled(self, ban: Ban, now: float) -> Sequence[Ban]:
        """Return a new ban, and those of larger prefixes that it earns; none where one holds it."""
        return (ban,) if self._prefixes is None else self._prefixes.settled(ban, now)

    def holds(self, address: Target) -> bool:
        """Return whether an address is banned, by itself or with its prefix."""
        held = str(address) in self.jail.banned
        return held or (self._prefixes is not None and self._prefixes.holds(address))

    def superseded(self) -> list[Ban]:
        """Return the bans that larger prefixes' took the place of, or that must be no more."""
        if self._prefixes is None:
            return []
        for ban in (over := self._prefixes.superseded()):
            within = self._prefixes.holds(ban.address)
            why = "is within a prefix that is banned now" if within else "is lifted"
            self._log.notice(f"[{self.name}] {ban.id} {why}")
        return over

    # ---- from a line to a ban

    def _read(self, block: Block, now: float, *, live: bool) -> Iterator[Ban]:
        for failure in self._failures(block, now, live=live):
            if failure.host is not None:
                yield from self._seen(failure, now)
            else:
                ban = self._counted(failure, now)
                if ban is not None:
                    yield ban

    def _failures(self, block: Block, now: float, *, live: bool) -> Iterable[Failure]:
        if not self._shares:
            return self.filter.failures(block, now, live=live)
        if self.filter not in block.found:
            block.found[self.filter] = list(self.filter.failures(block, now, live=live))
        return block.found[self.filter]

    def _seen(self, failure: Failure, now: float) -> Iterator[Ban]:
        if failure.host is not None:
            addresses = self._resolver.addresses(failure.host, now)
            if addresses is None:
                self._wait(failure, failure.host)
                return
            if not addresses:
                self._log.warning(f"[{self.name}] no address of {failure.host} is known")
            for found in resolved(failure, addresses):
                ban = self._counted(found, now)
                if ban is not None:
                    yield ban
        else:
            ban = self._counted(failure, now)
            if ban is not None:
                yield ban

    def _counted(self, failure: Failure, now: float) -> Optional[Ban]:
        if unknown := self.shelter.unknown(now):
            # Until its ignore list is known, a jail bans nobody whom it might name.
            self._wait(failure, unknown)
            return None
        why = self.shelter.ignore.ignored(failure)
        if not why and self._command is not None:
            ignored = self._command.ask(failure, now)
            if ignored is None:
                return None
            why = "command" if ignored else ""
        return self._judged(failure, now, why)

    def _judged(self, failure: Failure, now: float, why: str) -> Optional[Ban]:
        """Count a failure, unless something speaks against it; return the ban that it earns."""
        if why:
            self._log.ignored(self.name, failure.id, why)
            return None
        self._log.found(self.spec.name, failure.id)
        if self._prefixes is not None:
            failure = self._prefixes.counted(failure, now, known=self.shelter.ignore.fixed)
        ban = self.jail.add(failure, now)
        if ban is None:
            return None
        if why := self.shelter.never(ban, now):
            self.jail.unban(ban.id)
            self._log.warning(f"[{self.name}] {ban.id} would be banned, but is never: {why}")
            return None
        if not self._is_peer(ban, now):
            return ban
        if self._prefixes is not None:
            self._prefixes.spare(ban, now)
        return None

    def _is_peer(self, ban: Ban, now: float) -> bool:
        """Take a ban back that would cut off who is logged in by a key; return whether it would."""
        if ban.prolonged:  # whom a ban in force keeps out has nothing that could be cut
            return False
        why = self.shelter.peer(ban.address, now)
        if why:
            self.jail.withdraw(ban, now)
            if self.shelter.is_news(ban.id, now):
                self._log.warning(f"[{self.name}] {ban.id} would be banned, but is spared: {why}")
        return bool(why)

    def _wait(self, failure: Failure, name: str) -> None:
        if len(self._waiting) >= MOST_WAITING:
            dropped, _ = self._waiting.popleft()
            self._log.warning(f"[{self.name}] {dropped.id} is not counted: too many names to ask")
        self._waiting.append((failure, name))
