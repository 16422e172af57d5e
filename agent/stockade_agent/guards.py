# SPDX-License-Identifier: MIT
"""All jails at work, and the bans that they hold together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Callable, Optional, Union

from stockade_agent import config
from stockade_agent.config.faults import nearest
from stockade_agent.errors import ConfigError, NoJailError, RegexError
from stockade_agent.guard import Guard
from stockade_agent.inspection import command_fault, located
from stockade_agent.log import Log
from stockade_agent.model import Ban, Tally
from stockade_agent.specs import BANS, Config, JailSpec, Shield


Make = Callable[[JailSpec], Guard]
"""Returns a guard for a jail, or raises ``RegexError``."""


def read(directory: str) -> Config:
    """Return a configuration that can be used.

    Raises:
        ConfigError: it is wrong as a whole, not only one of its jails.
    """
    found = config.read(directory)
    for fault in found.faults:
        if not (isinstance(fault, ConfigError) and fault.jail is not None):
            raise fault
    return found


class Guards(Mapping[str, Guard]):
    """The guards by the name of their jail.

    Attributes:
        faults: why other jails of the configuration do not run.
    """

    def __init__(self, guards: Mapping[str, Guard], faults: Iterable[ConfigError] = ()) -> None:
        self._guards = dict(guards)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, found: Config, make: Make, keep: Mapping[str, Guard]) -> Guards:
        """Return the guards of a configuration; one in ``keep`` stays if its jail is the same."""
        guards: dict[str, Guard] = {}
        faults = [fault for fault in found.faults if isinstance(fault, ConfigError)]
        for spec in found.jails:
            kept = keep.get(spec.name)
            if kept is not None and kept.configured == spec and not kept.failed:
                guards[spec.name] = kept
                continue
            made = _made(spec, make)
            if isinstance(made, Guard):
                new = (guard for guard in guards.values() if guard is not keep.get(guard.name))
                twin = next((guard for guard in new if _judges_alike(guard.configured, spec)), None)
                if twin is not None:
                    made.join(twin)
                guards[spec.name] = made
            else:
                faults.append(made)
        return cls(guards, faults)

    def __getitem__(self, name: str) -> Guard:
        return self._guards[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._guards)

    def __len__(self) -> int:
        return len(self._guards)

    def _acquaint(self) -> None:
        """Tell the jails by which prefixes the others ban, for ``bantime.overalljails``."""
        lengths = {length for guard in self.values() for length in guard.spec.prefix6}
        for guard in self.values():
            guard.jail.lengths = lengths

    def bans(self) -> Iterator[Ban]:
        """Yield all bans in force."""
        for guard in self.values():
            yield from guard.jail.banned.values()

    def shields(self) -> tuple[Shield, ...]:
        """Return what the jails' bans close."""
        return tuple(guard.spec.shield for guard in self.values() if guard.spec.shield)

    def counting(
        self, bans: Sequence[Ban], causes: Sequence[Ban]
    ) -> Iterator[tuple[Guard, Sequence[Ban]]]:
        """Yield the jails for which bans of other jails are failures, and those bans.

        A prefix that was banned for bans within it is no further failure where those count for a
        prefix as large, or a larger one.
        """
        known = [ban for ban in bans if ban.address is not None and not ban.prolonged]
        ids = {ban.id for ban in causes}
        for guard in self.values() if known else ():
            theirs = [ban for ban in known if ban.jail != guard.name]
            if guard.spec.prefix6:
                length = guard.spec.prefix6[0]
                theirs = [ban for ban in theirs if ban.id in ids or _is_larger(ban, length)]
            if guard.spec.backend == BANS and theirs:
                yield guard, theirs

    def due(self, now: float) -> list[Ban]:
        """Return the bans that have ended, and forget them and old failures."""
        return [ban for guard in self.values() for ban in guard.jail.due(now)]

    def next_due(self) -> Optional[float]:
        """Return when the next ban ends, or None."""
        ends = (guard.jail.next_due() for guard in self.values())
        return min((end for end in ends if end is not None), default=None)

    def restore(self, bans: Iterable[Ban], now: float, said: Log) -> list[Ban]:
        """Put bans of the ledger into force again, but none of who is never banned by now.

        Returns:
            Those of these jails that are not in force any more.
        """
        self._acquaint()
        over: list[Ban] = []
        for ban in bans:
            guard = self.get(ban.jail)
            if guard is None or ban.id in guard.jail.banned:
                continue
            why = guard.shelter.never(ban, now)
            if why:
                said.warning(f"[{ban.jail}] {ban.id} stays free, though it was banned: {why}")
            elif guard.jail.restore(ban, now) is not None:
                said.notice(f"[{ban.jail}] Restore Ban {ban.id}")
                continue
            over.append(ban)
        return over

    def recount(self, known: Callable[[str], Iterable[Tally]], now: float) -> None:
        """Take the failures below maxretry that the ledger knows of each jail."""
        for name, guard in self.items():
            guard.jail.recount(known(name), now)

    def tallies(self) -> dict[str, Iterator[Tally]]:
        """Return jail -> failures below maxretry, of ids that are known, for a ledger to heal."""
        return {name: guard.jail.tallies() for name, guard in self.items()}

    def findtimes(self) -> dict[str, int]:
        """Return jail -> how long its failures count, seconds."""
        return {name: guard.spec.findtime for name, guard in self.items()}

    def running(self, name: str) -> Guard:
        """Return a jail at work.

        Raises:
            NoJailError: there is none of that name.
        """
        guard = self.get(name)
        if guard is not None:
            return guard
        for fault in self.faults:
            if fault.jail == name:
                raise NoJailError(f"jail {name} does not run: {fault}")
        raise NoJailError(f"no jail named {name}", remedy=nearest(name, self))

    def inherit(self, former: Guards, now: float, afresh: Collection[str] = ()) -> list[Ban]:
        """Take over what guards have that these replace; return the bans that nobody holds now.

        What was set at run time ends here.

        Args:
            former: the guards until now.
            now: seconds, UTC.
            afresh: jails that take over their bans alone, neither failures nor totals.
        """
        self._acquaint()
        ended: list[Ban] = []
        for name, guard in former.items():
            heir = self.get(name)
            if heir is guard:
                guard.revert()
                # A push tells of its controller, and reloads.
                networks = [ban for ban in guard.jail.banned.values() if "/" in ban.id]
                wrong = (ban for ban in networks if guard.shelter.never(ban, now))
                ended += [ban for ban in wrong if guard.jail.unban(ban.id) is not None]
                continue
            ended += [
                ban
                for ban in guard.jail.banned.values()
                if heir is None
                or heir.shelter.never(ban, now)
                or heir.jail.restore(ban, now) is None
            ]
            if heir is not None and name not in afresh:
                heir.jail.go_on(guard.jail)
        return ended


def _is_larger(ban: Ban, length: int) -> bool:
    return isinstance(ban.address, IPv6Network) and ban.address.prefixlen < length


def _judges_alike(one: JailSpec, other: JailSpec) -> bool:
    """Return whether two jails that start together find the same failures in all that comes."""

    def judging(spec: JailSpec) -> tuple[object, ...]:
        where = (spec.logpath, spec.backend, spec.backend_parameters, spec.systemd_if_nologs)
        return (*where, spec.findtime, spec.filtertime, replace(spec.filter, origins={}))

    return judging(one) == judging(other)


def _made(spec: JailSpec, make: Make) -> Union[Guard, ConfigError]:
    fault = command_fault(spec)
    if fault is not None:
        return fault
    try:
        return make(spec)
    except RegexError as error:
        return located(error, spec)
