# SPDX-License-Identifier: MIT
"""The pipe, wired: sources, guards, ledger, firewall. What is done when something happens.

It owns all state of the agent and knows neither clock nor loop: ``daemon`` calls it with the
present time as a value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Callable, Optional

from stockade_agent import status
from stockade_agent.brake import Brake
from stockade_agent.control.protocol import AgentStatus
from stockade_agent.enforcement import Enforcement
from stockade_agent.errors import ControlError
from stockade_agent.firewall import Firewall, selection
from stockade_agent.firewall.peers import peers
from stockade_agent.guard import Guard
from stockade_agent.guards import Guards
from stockade_agent.healing import Healing
from stockade_agent.intake import Intake
from stockade_agent.log import Log
from stockade_agent.model import Ban, target
from stockade_agent.protected import Protected
from stockade_agent.records import Records
from stockade_agent.resolver import Resolver
from stockade_agent.specs import AgentSpec, Config, JailSpec


if TYPE_CHECKING:
    from stockade_agent.actions import Actions


JOURNALCTL = ("journalctl",)
Decide = Callable[[], Iterable[Ban]]


class Pipe:
    """Everything between a log line and the kernel.

    Args:
        read: the configuration.
        now: seconds, UTC, as in every other call.
        log: where the agent's own lines go.
        firewall: a backend instead of the configured one; ``memory`` for tests.
        journalctl: the command.
        clock: seconds that never go backwards, for the timeouts of commands.

    Attributes:
        spec: the agent's own settings.
        guards: the jails at work.
        actions: the commands that are run for them, or None where no jail has any.
        intake: what is read for them.
        log: as it was given.
        healing: puts back what somebody takes out of the kernel.
    """

    def __init__(
        self,
        read: Config,
        now: float,
        log: Log,
        firewall: str = "",
        journalctl: Sequence[str] = JOURNALCTL,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.spec = read.agent
        self.actions: Optional[Actions] = None
        self._clock = clock
        self.log = self._log = log
        self._forced, self._journalctl = firewall, tuple(journalctl)
        self._started_at, self._lines = now, 0
        self.resolver = Resolver()
        self.records = Records(read.agent.dbfile, log)
        self._protected = Protected(read.agent.controllers)
        self.records.keep_logins(self._protected.peers.restore, self._protected.peers.kept)
        self.guards = Guards.of(read, partial(self._guard, now), {})
        self.enforcement = Enforcement(
            partial(self._choose, read.agent),
            self._sweep,
            lambda: self.guards.bans(),  # noqa: PLW0108 - a reload has other guards
            self.records,
            log,
        )
        paused = "" if read.agent.dbfile == ":memory:" else f"{read.agent.dbfile}.paused"
        self.brake = Brake(self.records, log, peers, paused)
        self.healing = Healing(self.enforcement, log)
        self.intake = self._open_intake(now)

    def start(self, now: float) -> None:
        """Put the ledger's bans into force again, before anything is read."""
        for fault in self.guards.faults:
            self._log.error(f"configuration: {fault}")
        over = self.guards.restore(self.brake.standing(self.records.bans()), now, self._log)
        self.guards.recount(self.records.tallies, now)
        if self._forced != selection.MEMORY:
            self.healing.listen()
        self.enforcement.start(now, self.guards.shields())
        self.records.commit(now)
        if self.actions is not None:
            self.actions.start(self.guards, over, now)

    def close(self, now: float) -> None:
        """Keep what is to be kept; bans stay in force."""
        self.intake.close()
        self.carry_out(now, at_once=True)
        if self.actions is not None:
            self.actions.close(now)
        self.records.close(now)
        self.resolver.close()
        self.healing.close()

    # ---- what happens

    def take(self, source: str, now: float) -> None:
        """Deal with what a source has: lines to failures, to bans, to the firewall."""
        for block, jails, live in self.intake.take(source):
            self._lines += block.data.count(b"\n")
            self._protected.peers.read(block, [self.guards[jail].spec for jail in jails])
            for jail in jails:
                guard = self.guards[jail]
                self._order(guard, partial(guard.read, block, now, live=live), now)
            self.records.read_to(block.log, block.position)
            if self.records.full:
                self.records.commit(now)
            self.carry_out(now)
        for subject, problem in self.intake.changed_problems():
            self._log.problem(subject, problem, "WARNING")

    def names_resolved(self, now: float) -> None:
        """Deal with failures that waited for the addresses of a name."""
        for name, _ in self.resolver.answers(now):
            for guard in self.guards.values():
                self._order(guard, partial(guard.answered, name, now), now)
        self.carry_out(now)

    def carry_out(self, now: float, *, at_once: bool = False) -> None:
        """Tell the firewall, and then the actions, what was ordered, or leave it for a moment.

        With ``at_once`` somebody waits for it.
        """
        self.enforcement.carry_out(now, at_once=at_once)
        if self.actions is not None and self.enforcement.wait is None:
            self.actions.carry_out(now)

    @property
    def wait(self) -> Optional[float]:
        """Seconds until ``carry_out`` must be called again, or None."""
        if self.enforcement.wait is None and self.actions is not None and self.actions.pending:
            # What mended the firewall has carried out all that waited; the actions are next.
            return 0.0
        return self.enforcement.wait

    def acted(self, now: float) -> None:
        """Take note of what became of commands."""
        if self.actions is None:
            return
        self.actions.took(now)
        for guard in self.guards.values():
            if guard.spec.ignorecommand is not None:
                self._order(guard, partial(guard.decided, now), now)
        self.carry_out(now)

    def retry(self, now: float) -> None:
        """Try a firewall that failed anew."""
        self.enforcement.start(now)
        self.healing.settle(now)

    def unban_due(self, now: float) -> None:
        """Lift the bans that have ended."""
        self._lift(self.guards.due(now), now)

    def purge(self, now: float) -> None:
        """Let the ledger forget what is long over."""
        logs = [
            *self.intake.sources,
            *(log for jail in self.guards for log in self.intake.logs(jail)),
        ]
        self.records.purge(now, self.spec.dbpurgeage, logs, self.guards.findtimes())

    def heal_ledger(self, now: float) -> None:
        """Try a ledger that failed anew."""
        self.brake.file.heal()
        healed = self.records.heal(now, self.guards.tallies(), self.guards.bans())
        if healed and self.records.unread:
            self.records.unread = False
            self.guards.restore(self.brake.standing(self.records.bans()), now, self._log)
            self.enforcement.start(now)

    def summary(self) -> str:
        """Return how things are, in one line."""
        return status.summary(self.guards, self.enforcement.problem)

    # ---- what is asked for

    def ban(self, jail: str, ids: Iterable[str], now: float) -> list[str]:
        """Ban addresses by hand; return those that were not banned before.

        Raises:
            ControlError: there is no such jail, an address is never to be banned (then none
                is banned), or the firewall refuses.
        """
        guard = self.guards.running(jail)
        addresses = [guard.shelter.check(id_, now) for id_ in ids]

        made = (guard.jail.ban(str(a), now, address=a) for a in addresses)
        bans = self.by_hand(guard, lambda: (ban for ban in made if ban is not None), now)
        return [ban.id for ban in bans if not ban.prolonged]

    def unban(self, jail: str, ids: Sequence[str], now: float) -> list[str]:
        """Lift bans by hand and forget the history; return the ids that were banned.

        Args:
            jail: one, or "" for all.
            ids: addresses, networks, other ids; only ``all`` for every one.
            now: seconds, UTC.

        Raises:
            ControlError: there is no such jail.
        """
        guards = [self.guards.running(jail)] if jail else self.guards.values()
        lifted: list[Ban] = []
        every = list(ids) == ["all"]
        for guard in guards:
            mine: list[Ban] = []
            for id_ in list(guard.jail.banned) if every else ids:
                address = target(id_)
                ban = guard.jail.unban(id_ if address is None else str(address))
                mine += [ban] if ban else []
            self.records.recount(guard.name, guard.jail.changed())
            if every and mine and self.actions is not None:
                self.actions.flush(guard.name, mine)
            lifted += mine
        self._lift(lifted, now, by_hand=True, flushed=every)
        return list(dict.fromkeys(ban.id for ban in lifted))

    def by_hand(self, guard: Guard, decide: Decide, now: float) -> list[Ban]:
        """Put into force what a guard decides at somebody's word, or raise; return its bans."""
        bans = self._order(guard, decide, now)
        self.carry_out(now, at_once=True)
        if self.enforcement.problem:
            raise ControlError(f"noted, but not in force yet: {self.enforcement.problem}")
        self.records.commit(now)
        return bans

    def set_loglevel(self, level: str) -> None:
        """Write log lines of another level until the next reload."""
        self.spec = replace(self.spec, loglevel=level)
        self._log.level(level)

    def reload(self, now: float, read: Config, afresh: Collection[str] = ()) -> None:
        """Take another configuration; what it leaves as it was keeps its counts and bans.

        The caller opens the new ``intake`` to the loop; the old one is closed. Jails in ``afresh``
        keep nothing but their bans.

        Raises:
            ControlError: it has faults that the present one has not; nothing is changed then.
        """
        keep = {name: guard for name, guard in self.guards.items() if name not in afresh}
        guards = Guards.of(read, partial(self._guard, now), keep)
        known = {str(fault) for fault in self.guards.faults}
        new = [str(fault) for fault in guards.faults if str(fault) not in known]
        if new:
            raise ControlError(f"the old configuration stays: {'; '.join(new)}")
        ended = guards.inherit(self.guards, now, afresh)
        for ban in ended:
            self._log.unban(ban)
        if self.actions is not None:
            self.actions.reload(guards, ended, now)
        self.records.lifted(ended)
        before, after, self.spec, self.guards = self.spec, read.agent, read.agent, guards
        self._log.level(after.loglevel)
        self._protected.move(after.controllers)
        if (before.firewall, before.chainprefix) != (after.firewall, after.chainprefix):
            renamed = before.chainprefix != after.chainprefix
            self.enforcement.use(partial(self._choose, after), renamed=renamed)
        if (before.socket, before.dbfile) != (after.socket, after.dbfile):
            self._log.warning("another socket or dbfile is taken at the next restart")
        self.enforcement.start(now, guards.shields())
        self.records.commit(now)
        self.intake.close()
        self.intake = self._open_intake(now)

    def status(self, now: float, jail: str = "") -> AgentStatus:
        """Return how things are; with ``jail``, of that one alone.

        Raises:
            ControlError: there is no such jail.
        """
        self.unban_due(now)
        guards = [self.guards.running(jail)] if jail else list(self.guards.values())
        totals = self.records.totals
        running = (
            status.of_jail(
                guard,
                self.intake,
                self.brake,
                now,
                self._is_enforced,
                totals.get(guard.name, (0, 0)),
                () if self.actions is None else self.actions.status(guard.name),
            )
            for guard in guards
        )
        failed = (status.of_failed(f) for f in self.guards.faults if f.jail and not jail)
        return status.of_agent(
            (*running, *failed),
            status.of_firewall(
                self.enforcement, self.healing, self._forced or self.spec.firewall, now
            ),
            [*map(str, self.guards.faults), *self.records.faults, *self.brake.faults],
            status.never_banned(self._protected, guards),
            status.of_pauses(self.brake, now),
            now=now,
            started_at=self._started_at,
            lines=self._lines,
        )

    # ---- its parts

    def _order(self, guard: Guard, decide: Decide, now: float) -> list[Ban]:
        """Order the bans that a guard decides, and count its failures."""
        before, new = guard.jail.failed_total, 0
        passed = self.brake.passed(guard, list(decide()), now)
        bans = [ban for each in passed for ban in guard.settled(each, now)]
        for ban in bans:
            self._log.ban(ban)
            new += not ban.prolonged
            self.enforcement.order(ban)
            if self.actions is not None:
                self.actions.order(ban)
        for ban in guard.superseded():
            self.enforcement.supersede(ban)
            if self.actions is not None:
                self.actions.lift(ban)
        self.records.recount(guard.name, guard.jail.changed())
        failed = guard.jail.failed_total - before
        if failed or new:
            self.records.count(guard.name, failed, new)
        for other, theirs in self.guards.counting(bans, passed):
            self._order(other, partial(other.punished, theirs, now), now)
        return bans

    def _lift(
        self, bans: Sequence[Ban], now: float, *, by_hand: bool = False, flushed: bool = False
    ) -> None:
        if not bans:
            return
        for ban in bans:
            self._log.unban(ban)
            self.enforcement.lift(ban)
            if self.actions is not None and not flushed:
                self.actions.lift(ban)
        self.records.lifted(bans, forget=by_hand)
        self.carry_out(now, at_once=by_hand)
        self.records.commit(now)

    def _is_enforced(self, ban: Ban) -> bool:
        guard = self.guards.get(ban.jail)
        if guard is not None and guard.spec.shield is None and self.actions is not None:
            return self.actions.is_enforced(ban)
        return self.enforcement.is_enforced(ban)

    def _guard(self, now: float, spec: JailSpec) -> Guard:
        command = None
        if self.actions is None and (spec.commands or spec.ignorecommand is not None):
            # A host without any has no need of their modules.
            from stockade_agent.actions import Actions  # noqa: PLC0415

            self.actions = Actions(self._clock, self.records, self._log)
        if self.actions is not None and spec.ignorecommand is not None:
            command = self.actions.ignorecommand(spec)
        return Guard(
            spec,
            protected=self._protected,
            resolver=self.resolver,
            history=self.records,
            log=self._log,
            now=now,
            command=command,
        )

    def _choose(self, spec: AgentSpec) -> Firewall:
        return selection.select(self._forced or spec.firewall, chainprefix=spec.chainprefix)

    def _sweep(self, chosen: Firewall) -> None:
        for warning in selection.sweep(chosen):
            self._log.warning(f"firewall: {warning}")

    def _open_intake(self, now: float) -> Intake:
        specs, away = [guard.spec for guard in self.guards.values()], now == self._started_at
        return Intake(specs, self.records.positions, now, self._journalctl, away=away)
