# SPDX-License-Identifier: MIT
"""The command actions of one jail: takes orders from the loop, and answers with ``Result``.

Each action has a lane of its own in the pool: its orders are done in their order, and whatever it
does, it delays no other action. A ban that fails is tried again, later and later, until it works,
ends or is lifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Callable, Optional, Protocol

from stockade_agent.firewall.action import TIMEOUT, Action, Step, Steps
from stockade_agent.firewall.pool import Pool, Slow
from stockade_agent.firewall.process import Ended, Shell
from stockade_agent.firewall.tags import Facts, Names
from stockade_agent.model import ActionSpec, Ban


BACKOFF = (5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds until a failed ban is tried again; the last one repeats."""

Order = Callable[[Action], Steps]


class Run(Protocol):
    """Runs a step's command, in a worker's thread."""

    def __call__(self, step: Step, slow: Slow) -> Ended:
        """Run it to its end; call ``slow`` when that takes long."""


@dataclass(frozen=True)
class Result:
    """What became of an order to one action.

    Attributes:
        order: ``start``, ``ban``, ``reban``, ``prolong``, ``unban``, ``flush``, ``check``,
            ``reload`` or ``stop``.
        id: whose ban it was about, or "".
        problem: which command failed and what it said, even where a repair made all well;
            hostile text.
        again: seconds until it is tried again, or None.
        lost: its chain or set had to be made anew, so its bans are gone: ``reban`` them.
    """

    jail: str
    action: str
    order: str
    id: str
    ok: bool
    problem: str = ""
    again: Optional[float] = None
    lost: bool = False


def in_shell(shell: Shell) -> Run:
    """Return the ``Run`` that asks for the values and starts processes."""

    def run(step: Step, slow: Slow) -> Ended:
        if "ip-host" in step.script.tags:
            slow()  # a name server may be
        variables = step.script.environment(step.values, echo_escapes=shell.echo_escapes)
        return shell.run(step.script.text, variables, step.timeout, slow)

    return run


class _Lane:
    """One action, in its worker's hands; only works of its lane touch it."""

    def __init__(self, action: Action) -> None:
        self.action = action
        # id -> the try that a failed ban waits for
        self.waiting: dict[str, object] = {}


class Actions:
    """The command actions of one jail. To be called by the loop only; no call waits.

    Args:
        specs: those that no native firewall stands for, in the jail's order.
        run: what runs a command.
        seconds: what the text of a ``timeout`` means.
        inet6: whether this host has IPv6 at all.

    Raises:
        FirewallError: a command's tags cannot be used.
    """

    def __init__(
        self,
        jail: str,
        specs: Sequence[ActionSpec],
        pool: Pool,
        run: Run,
        names: Names,
        *,
        seconds: Callable[[str], float],
        inet6: bool = True,
    ) -> None:
        self._jail, self._pool, self._run, self._names = jail, pool, run, names
        self._seconds, self._inet6 = seconds, inet6
        self._lanes = {spec.name: _Lane(self._action(spec)) for spec in specs}
        self._tags = {name: lane.action.tags for name, lane in self._lanes.items()}

    @property
    def tags(self) -> frozenset[str]:
        """The run-time tags that any of them uses, so that ``Facts`` need tell no more."""
        return frozenset(tag for tags in self._tags.values() for tag in tags)

    def start(self, facts: Facts) -> None:
        """Start all of them."""
        for lane in self._lanes.values():
            self._put(lane, "start", lambda action: action.start(facts))

    def ban(self, ban: Ban, facts: Facts) -> None:
        """Refuse an id; where ``ban.prolonged``, move the end of its ban."""
        for lane in self._lanes.values():
            if ban.prolonged:
                self._prolong(lane, ban, facts)
            else:
                self._ban(lane, "ban", ban, facts)

    def reban(self, bans: Iterable[Ban], facts: Facts, action: Optional[str] = None) -> None:
        """Refuse ids again whose bans were lost, by one action or by all."""
        lanes = self._lanes.values() if action is None else (self._lanes[action],)
        for ban in bans:
            for lane in lanes:
                self._ban(lane, "reban", ban, facts)

    def unban(self, ban: Ban, facts: Facts) -> None:
        """Accept an id again."""
        for lane in self._lanes.values():
            self._unban(lane, ban, facts)

    def flush(self, bans: Iterable[Ban], facts: Facts) -> None:
        """Accept all ids again; ``bans`` are those in force."""
        bans = tuple(bans)
        for lane in self._lanes.values():
            self._flush(lane, bans, facts, stopping=False)

    def check(self, facts: Facts) -> None:
        """See whether what was started is still there, and repair what is not."""
        for lane in self._lanes.values():
            self._put(lane, "check", lambda action: action.check(facts))

    def stop(self, bans: Iterable[Ban], facts: Facts) -> None:
        """Accept all ids again, then stop the actions, the last one first."""
        bans = tuple(bans)
        for lane in self._lanes.values():
            self._flush(lane, bans, facts, stopping=True)
        self._stop(reversed([*self._lanes.values()]), facts)

    def reload(self, specs: Sequence[ActionSpec], bans: Iterable[Ban], facts: Facts) -> None:
        """Take on other specifications.

        Actions that are no longer there are stopped, new ones started and told of the bans in
        force as if they were restored, and the others get their ``actionreload``.

        Raises:
            FirewallError: a command's tags cannot be used; nothing has changed.
        """
        bans = tuple(bans)
        fresh = {spec.name: self._action(spec) for spec in specs}
        before, self._lanes = self._lanes, {}
        for spec in specs:
            lane = before.pop(spec.name, None)
            if lane is None:
                self._lanes[spec.name] = lane = _Lane(fresh[spec.name])
                self._put(lane, "start", lambda action: action.start(facts))
                for ban in bans:
                    self._ban(lane, "ban", replace(ban, restored=True), facts)
            else:
                self._lanes[spec.name] = lane
                self._reload(lane, spec, facts)
        self._tags = {name: action.tags for name, action in fresh.items()}
        for lane in before.values():
            self._flush(lane, bans, facts, stopping=True)
        self._stop(reversed([*before.values()]), facts)

    # ---- one order to one action --------------------------------------------------------------

    def _action(self, spec: ActionSpec) -> Action:
        return Action(spec, self._names, timeout=self._timeout(spec), inet6=self._inet6)

    def _timeout(self, spec: ActionSpec) -> float:
        text = spec.parameters.get("timeout")
        return TIMEOUT if text is None else self._seconds(text)

    def _ban(self, lane: _Lane, order: str, ban: Ban, facts: Facts, tries: int = 0) -> None:
        token = object()
        after = 0.0 if tries == 0 else _backoff(tries - 1)

        def work(slow: Slow) -> Optional[Result]:
            if tries and lane.waiting.get(ban.id) is not token:
                return None
            lane.waiting.pop(ban.id, None)
            if lane.action.norestored and ban.restored:
                return None
            steps = lane.action.reban if order == "reban" else lane.action.ban
            result = self._done(lane, order, ban.id, steps(ban, facts), slow)
            again = _backoff(tries)
            waited = sum(_backoff(n) for n in range(tries + 1))
            end = ban.expires_at
            if result.ok or (end is not None and facts.now + waited >= end):
                return result
            self._ban(lane, order, ban, facts, tries + 1)
            return replace(result, again=again)

        if tries:
            lane.waiting[ban.id] = token
        self._pool.put(lane, work, after=after)

    def _prolong(self, lane: _Lane, ban: Ban, facts: Facts) -> None:
        def work(slow: Slow) -> Optional[Result]:
            action = lane.action
            if not action.prolongs or (action.norestored and ban.restored):
                return None
            return self._done(lane, "prolong", ban.id, action.prolong(ban, facts), slow)

        self._pool.put(lane, work)

    def _unban(self, lane: _Lane, ban: Ban, facts: Facts) -> None:
        def work(slow: Slow) -> Result:
            lane.waiting.pop(ban.id, None)
            return self._done(lane, "unban", ban.id, lane.action.unban(ban, facts), slow)

        self._pool.put(lane, work)

    def _flush(self, lane: _Lane, bans: Sequence[Ban], facts: Facts, *, stopping: bool) -> None:
        def steps(action: Action) -> Steps:
            if not action.flushes:
                well = True
                for ban in bans:
                    well = (yield from action.unban(ban, facts)) and well
                return well
            if (yield from action.flush(facts)):
                return True
            yield from action.check(facts, stopping=stopping)
            return False

        def work(slow: Slow) -> Result:
            lane.waiting.clear()
            return self._done(lane, "flush", "", steps(lane.action), slow)

        self._pool.put(lane, work)

    def _reload(self, lane: _Lane, spec: ActionSpec, facts: Facts) -> None:
        timeout = self._timeout(spec)
        self._put(
            lane,
            "reload",
            lambda action: action.reload(spec, facts, timeout=timeout, inet6=self._inet6),
        )

    def _stop(self, lanes: Iterator[_Lane], facts: Facts) -> None:
        """Stop the first of them, and when that is done the next."""
        lane = next(lanes, None)
        if lane is None:
            return

        def work(slow: Slow) -> Result:
            try:
                return self._done(lane, "stop", "", lane.action.stop(facts), slow)
            finally:
                self._stop(lanes, facts)

        self._pool.put(lane, work)

    def _put(self, lane: _Lane, order: str, steps: Order) -> None:
        def work(slow: Slow) -> Result:
            return self._done(lane, order, "", steps(lane.action), slow)

        self._pool.put(lane, work)

    def _done(self, lane: _Lane, order: str, id_: str, steps: Steps, slow: Slow) -> Result:
        """Run what an order takes, command by command."""
        epoch, problem = lane.action.epoch, ""
        try:
            step = next(steps)
            while True:
                ended = self._run(step, slow)
                if not ended.ok and step.command != "actioncheck":
                    problem = f"{step.command}: {ended.problem}"
                step = steps.send(ended.ok)
        except StopIteration as stop:
            ok = bool(stop.value)
        return Result(
            jail=self._jail,
            action=lane.action.name,
            order=order,
            id=id_,
            ok=ok,
            problem=problem,
            lost=lane.action.epoch != epoch,
        )


def _backoff(tries: int) -> float:
    return BACKOFF[min(tries, len(BACKOFF) - 1)]
