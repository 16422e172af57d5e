# SPDX-License-Identifier: MIT
"""The commands of ``action.d`` for all jails: orders go to a pool, results come back to the loop.

    ban, unban ─ order, lift ─▶ (ledger, firewall) ─ carry_out ─▶ pool ─ Result ─▶ took

Nothing here waits for a command. It is loaded only where a jail has an action that no native
firewall stands for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Callable

from stockade_agent.config import duration
from stockade_agent.control.protocol import ActionStatus
from stockade_agent.firewall.actions import Actions as JailActions
from stockade_agent.firewall.pool import Pool
from stockade_agent.firewall.process import Shell
from stockade_agent.firewall.runs import Result, in_shell
from stockade_agent.firewall.tags import Facts, Merged
from stockade_agent.guard import Guard
from stockade_agent.log import Log
from stockade_agent.model import Ban
from stockade_agent.outcomes import Outcomes, said
from stockade_agent.records import Records
from stockade_agent.resolver import HostNames
from stockade_agent.specs import ActionSpec, JailSpec


if TYPE_CHECKING:
    from stockade_agent.ignorecommand import IgnoreCommand


SETTLED = 3.0
"""Seconds after which a ban ought to keep an address from failing; then its action is checked."""
FAREWELL = 3.0
"""Seconds that commands may still take when the agent ends: nobody bans meanwhile."""

_MERGED = frozenset(("ipmatches", "ipfailures"))
_IPV6 = "/proc/self/net/if_inet6"


@dataclass
class _Jail:
    """The actions of one jail, and what became of their orders; perhaps a check is on its way."""

    actions: JailActions
    specs: tuple[ActionSpec, ...]
    outcomes: Outcomes
    checking: bool = False


class Actions:
    """What the jails' commands have been told, and what became of it.

    Args:
        clock: seconds that never go backwards.
        records: has the matches and data of bans in force.
        log: is told of trouble.
    """

    def __init__(self, clock: Callable[[], float], records: Records, log: Log) -> None:
        self._records, self._log = records, log
        self._pool, self._shell = Pool(clock), Shell(clock)
        self._names = HostNames()
        self._jails: dict[str, _Jail] = {}
        self._guards: Mapping[str, Guard] = {}
        self._orders: list[Callable[[float], None]] = []

    @property
    def fileno(self) -> int:
        """Readable when ``took`` has something to do."""
        return self._pool.fileno

    @property
    def pending(self) -> bool:
        """There are orders for ``carry_out``."""
        return bool(self._orders)

    # ---- the life of the agent

    def start(self, guards: Mapping[str, Guard], over: Iterable[Ban], now: float) -> None:
        """Start the actions of all jails, and tell them of the bans in force.

        Args:
            over: bans that ended while nobody ran, which the ledger still has.
        """
        self._guards = guards
        for guard in guards.values():
            if guard.spec.commands:
                self._begin(guard, now, left=True)
        for ban in over:
            if ban.jail in self._jails:
                self._unban(self._recalled(ban, "actionunban"), now, left=True)

    def reload(self, guards: Mapping[str, Guard], ended: Iterable[Ban], now: float) -> None:
        """Stop what is gone, start what is new; an action that is as it was goes on.

        Args:
            guards: those that run from now on.
            ended: bans that nobody holds any more; the ledger still has them.
        """
        self.carry_out(now)
        over: dict[str, list[Ban]] = {}
        for ban in ended:
            over.setdefault(ban.jail, []).append(ban)
        for name in [*self._jails]:
            guard = guards.get(name)
            bans = over.get(name, [])
            if guard is None or not guard.spec.commands:
                held = [] if guard is None else [*guard.jail.banned.values()]
                self._end(name, [*bans, *held], now)
                continue
            for ban in bans:
                self._unban(self._recalled(ban, "actionunban"), now)
        self._guards = guards
        for guard in guards.values():
            jail, specs = self._jails.get(guard.name), guard.spec.commands
            if not specs:
                continue
            if jail is None:
                self._begin(guard, now, left=False)
            elif jail.specs != specs:
                self._change(jail, guard, now)

    def close(self, now: float) -> None:
        """End what only tells of bans, and leave in force what holds some."""
        self.carry_out(now)
        for name, jail in self._jails.items():
            jail.actions.leave(self._facts(name, now))
        if not self._pool.drain(FAREWELL):
            undone = sum(a.queued for name in self._jails for a in self.status(name))
            self._log.warning(f"actions: {undone} orders were not carried out")
        self.took(now)
        self._pool.close()
        self._shell.kill()

    def ignorecommand(self, spec: JailSpec) -> IgnoreCommand:
        """Return what asks a jail's ``ignorecommand``; ``took`` hears its answers."""
        # Fewer hosts have one than have actions.
        from stockade_agent.ignorecommand import IgnoreCommand  # noqa: PLC0415

        return IgnoreCommand(spec, self._pool.put, self._shell, self._names)

    # ---- orders

    def order(self, ban: Ban) -> None:
        """Take a ban that ``carry_out`` is to tell the jail's actions of."""
        jail = self._jails.get(ban.jail)
        if jail is None:
            return
        for name in jail.actions.holders:
            if not ban.prolonged:
                jail.outcomes.ordered(name, (ban.id,))
        self._orders.append(partial(self._ban, ban))

    def lift(self, ban: Ban) -> None:
        """Take the end of a ban, while the ledger still has it."""
        if ban.jail in self._jails:
            self._orders.append(partial(self._unban, self._recalled(ban, "actionunban")))

    def flush(self, jail: str, bans: Iterable[Ban]) -> None:
        """Take the end of all bans of a jail at once, while the ledger still has them."""
        if jail in self._jails:
            lifted = [self._recalled(ban, "actionunban") for ban in bans]
            self._orders.append(partial(self._flush, jail, lifted))

    def carry_out(self, now: float) -> None:
        """Hand over all that was ordered."""
        orders, self._orders = self._orders, []
        for order in orders:
            order(now)

    def took(self, now: float) -> None:
        """Take note of what became of orders; call when ``fileno`` is readable."""
        for result in self._pool.results():
            if isinstance(result, Result):
                self._note(result, now)
            elif callable(result):
                result(now)
            else:
                self._log.error(f"actions: {type(result).__name__}: {result}")

    # ---- how things are

    def is_enforced(self, ban: Ban) -> bool:
        """Return whether all actions that hold bans have taken this one, and there are such."""
        jail = self._jails.get(ban.jail)
        if jail is None or not jail.actions.holders:
            return False
        return not any(jail.outcomes.is_open(name, ban.id) for name in jail.actions.holders)

    def status(self, jail: str) -> tuple[ActionStatus, ...]:
        """Return how the actions of a jail are."""
        found = self._jails.get(jail)
        if found is None:
            return ()
        actions = found.actions
        return tuple(found.outcomes.status(name, actions.queued(name)) for name in actions.names)

    # ---- one jail

    def _begin(self, guard: Guard, now: float, *, left: bool) -> None:
        name, specs = guard.name, guard.spec.commands
        jail = self._jails[name] = _Jail(
            JailActions(
                name,
                specs,
                self._pool,
                in_shell(self._shell),
                self._names,
                seconds=duration,
                inet6=os.path.exists(_IPV6),
            ),
            specs,
            Outcomes(name, self._log),
        )
        facts = self._facts(name, now)
        jail.actions.start(facts, left=left)
        if not jail.actions.holders:
            return
        for ban in self._in_force(guard):
            for holder in jail.actions.holders:
                jail.outcomes.ordered(holder, (ban.id,))
            jail.actions.ban(ban, self._merged(facts, ban), left=left)

    def _change(self, jail: _Jail, guard: Guard, now: float) -> None:
        before = set(jail.actions.names)
        bans = self._in_force(guard, whole=True)
        jail.specs = guard.spec.commands
        jail.actions.reload(jail.specs, bans, self._facts(guard.name, now))
        for name in before.difference(jail.actions.names):
            jail.outcomes.gone(name)
        for name in set(jail.actions.holders) - before:
            jail.outcomes.ordered(name, (ban.id for ban in bans))

    def _end(self, name: str, bans: Iterable[Ban], now: float) -> None:
        bans = [self._recalled(ban, "actionunban") for ban in bans]
        self._jails.pop(name).actions.stop(bans, self._facts(name, now))

    def _in_force(self, guard: Guard, *, whole: bool = False) -> list[Ban]:
        """Return the bans of a jail as its actions are to be told of them once more."""
        whole = whole or self._jails[guard.name].actions.recalls("actionban", restored=True)
        return [
            replace(self._records.whole(ban) if whole else ban, restored=True)
            for ban in guard.jail.banned.values()
        ]

    def _recalled(self, ban: Ban, command: str) -> Ban:
        """Return a ban with what the jail's commands need of it; few need more than an address."""
        if ban.matches or ban.data or not self._jails[ban.jail].actions.recalls(command):
            return ban
        return self._records.whole(ban)

    def _ban(self, ban: Ban, now: float) -> None:
        jail = self._jails.get(ban.jail)
        if jail is None:
            return
        if ban.prolonged:
            ban = self._recalled(ban, "actionprolong")
        facts = self._merged(self._facts(ban.jail, now), ban)
        if ban.prolonged and now - ban.at > SETTLED and not jail.checking:
            # Whom it keeps out cannot fail again.
            jail.checking = True
            jail.actions.check(facts)
        for name in jail.actions.ban(ban, facts):
            jail.outcomes.full(name)

    def _unban(self, ban: Ban, now: float, *, left: bool = False) -> None:
        jail = self._jails.get(ban.jail)
        if jail is None:
            return
        jail.outcomes.lifted(ban.id)
        jail.actions.unban(ban, self._merged(self._facts(ban.jail, now), ban), left=left)

    def _flush(self, name: str, bans: list[Ban], now: float) -> None:
        jail = self._jails.get(name)
        if jail is not None:
            jail.outcomes.flushed()
            jail.actions.flush(bans, self._facts(name, now))

    # ---- results

    def _note(self, result: Result, now: float) -> None:
        jail = self._jails.get(result.jail)
        if result.order == "check" and jail is not None:
            jail.checking = False
        if jail is None or result.order == "stop" or result.action not in jail.actions.names:
            # What has its name now is not what was stopped.
            if not result.ok:
                self._log.error(f"[{result.jail}] action {result.action}: {said(result)}")
            return
        if jail.outcomes.note(result, jail.actions.queued(result.action)):
            self._enforced(result)
        if result.lost:
            self._make_again(jail, result, now)

    def _enforced(self, result: Result) -> None:
        guard = self._guards[result.jail]
        ban = guard.jail.banned.get(result.id)
        if ban is not None and guard.spec.shield is None:
            self._records.enforced([ban])

    def _make_again(self, jail: _Jail, result: Result, now: float) -> None:
        """Make the bans again that a repair has cost."""
        guard = self._guards[result.jail]
        bans = [ban for ban in self._in_force(guard) if ban.id != result.id]
        jail.outcomes.ordered(result.action, (ban.id for ban in bans))
        jail.actions.reban(bans, self._facts(result.jail, now), result.action)

    # ---- facts

    def _facts(self, name: str, now: float) -> Facts:
        guard = self._guards.get(name)
        if guard is None:
            return Facts(jail=name, now=now)
        jail = guard.jail
        return Facts(
            jail=name,
            now=now,
            bantime=guard.spec.bantime,
            banned=jail.banned_now,
            banned_total=jail.banned_total,
            found=jail.failed_now,
            found_total=jail.failed_total,
        )

    def _merged(self, facts: Facts, ban: Ban) -> Facts:
        """Add what all jails know of an id, where an action asks for that."""
        if self._jails[facts.jail].actions.tags.isdisjoint(_MERGED):
            return facts
        others = (guard.jail.banned.get(ban.id) for guard in self._guards.values())
        bans = [
            ban if other.jail == ban.jail else self._records.whole(other)
            for other in others
            if other is not None
        ] or [ban]
        matches = tuple(line for each in bans for line in each.matches)
        merged = Merged(sum(each.failures for each in bans), matches)
        return replace(facts, everywhere=merged)
