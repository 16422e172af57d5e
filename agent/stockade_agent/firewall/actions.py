# SPDX-License-Identifier: MIT
"""The command actions of one jail: takes orders from the loop, and answers with ``Result``.

Each action has a lane of its own in the pool: its orders are done in their order, and whatever it
does, it delays no other action. A ban that fails is tried again, later and later, until it works,
ends or is lifted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
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
_ASKED = ("ip-host", "fq-hostname")
_START = ""
"""What ``_Lane.waiting`` knows a failed start by: no id is empty."""


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
        if not step.script.tags.isdisjoint(_ASKED):
            slow()  # a name server may be
        variables = step.script.environment(step.values, echo_escapes=shell.echo_escapes)
        return shell.run(step.script.text, variables, step.timeout, slow)

    return run


class _Lane:
    """One action, in its worker's hands; only works of its lane touch it."""

    def __init__(self, jail: str, action: Action) -> None:
        # Whoever comes after it with the same name works behind it.
        self.key = (jail, action.name)
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
        # What the loop may look at; those in the lanes belong to their workers.
        self._known = {spec.name: self._action(spec) for spec in specs}
        self._lanes = {spec.name: _Lane(jail, self._action(spec)) for spec in specs}

    @property
    def tags(self) -> frozenset[str]:
        """The run-time tags that any of them uses, so that ``Facts`` need tell no more."""
        return frozenset(tag for action in self._known.values() for tag in action.tags)

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called, in their order."""
        return tuple(self._known)

    @property
    def holders(self) -> tuple[str, ...]:
        """Those that have bans in force, rather than only telling of them."""
        return tuple(name for name, action in self._known.items() if action.holds)

    def recalls(self, command: str, *, restored: bool = False) -> bool:
        """Return whether a command of any of them needs a ban's matches or data.

        Args:
            restored: the ban is one that was in force before.
        """
        return any(
            command in action.recalls and not (restored and action.norestored)
            for action in self._known.values()
        )

    def queued(self, name: str) -> int:
        """Return how many orders to an action are not done, tries that wait included."""
        lane = self._lanes[name]
        return self._pool.queued(lane.key) + len(lane.waiting)

    def start(self, facts: Facts, *, left: bool = False) -> None:
        """Start all of them; one that fails is tried again, later and later.

        Args:
            left: an agent before this one may have left them started.
        """
        for lane in self._lanes.values():
            self._start(lane, facts, left=left)

    def ban(self, ban: Ban, facts: Facts, *, left: bool = False) -> None:
        """Refuse an id; where ``ban.prolonged``, move the end of its ban.

        Args:
            left: an agent before this one may have left it refused.
        """
        for lane in self._lanes.values():
            if ban.prolonged:
                self._prolong(lane, ban, facts)
            else:
                self._ban(lane, "left" if left else "ban", ban, facts)

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
        self._stop(self._lanes.values(), facts)

    def leave(self, facts: Facts) -> None:
        """Stop those that only tell of bans; what holds bans is left as it is."""
        telling = (name for name, action in self._known.items() if action.norestored)
        self._stop([self._lanes[name] for name in telling], facts)

    def reload(self, specs: Sequence[ActionSpec], bans: Iterable[Ban], facts: Facts) -> None:
        """Take on other specifications.

        Actions that are no longer there are stopped, new ones started and told of the bans in
        force as if they were restored, and the others get their ``actionreload``.

        Raises:
            FirewallError: a command's tags cannot be used; nothing has changed.
        """
        bans = tuple(bans)
        known = {spec.name: self._action(spec) for spec in specs}
        before, self._lanes = self._lanes, {}
        for spec in specs:
            lane = before.pop(spec.name, None)
            if lane is None:
                self._lanes[spec.name] = lane = _Lane(self._jail, self._action(spec))
                self._start(lane, facts)
                for ban in bans:
                    self._ban(lane, "ban", replace(ban, restored=True), facts)
            else:
                self._lanes[spec.name] = lane
                self._reload(lane, spec, facts)
        self._known = known
        for lane in before.values():
            self._flush(lane, bans, facts, stopping=True)
        self._stop(before.values(), facts)

    # ---- one order to one action --------------------------------------------------------------

    def _action(self, spec: ActionSpec) -> Action:
        return Action(spec, self._names, timeout=self._timeout(spec), inet6=self._inet6)

    def _timeout(self, spec: ActionSpec) -> float:
        text = spec.parameters.get("timeout")
        return TIMEOUT if text is None else self._seconds(text)

    def _start(self, lane: _Lane, facts: Facts, *, left: bool = False, tries: int = 0) -> None:
        token = object()

        def work(slow: Slow) -> Optional[Result]:
            if tries and lane.waiting.get(_START) is not token:
                return None
            lane.waiting.pop(_START, None)
            steps = lane.action.start(facts, left=left)
            result = self._done(lane, "start", "", steps, slow)
            if result.ok:
                return result
            self._start(lane, facts, left=left, tries=tries + 1)
            return replace(result, again=_backoff(tries))

        if tries:
            lane.waiting[_START] = token
        self._pool.put(lane.key, work, after=0.0 if tries == 0 else _backoff(tries - 1))

    def _ban(self, lane: _Lane, order: str, ban: Ban, facts: Facts, tries: int = 0) -> None:
        token = object()
        after = 0.0 if tries == 0 else _backoff(tries - 1)

        def work(slow: Slow) -> Optional[Result]:
            if tries and lane.waiting.get(ban.id) is not token:
                return None
            lane.waiting.pop(ban.id, None)
            if lane.action.norestored and ban.restored:
                return None
            if order == "reban":
                steps = lane.action.reban(ban, facts)
            else:
                steps = lane.action.ban(ban, facts, left=order == "left")
            told = "reban" if order == "reban" else "ban"
            result = self._done(lane, told, ban.id, steps, slow)
            again = _backoff(tries)
            waited = sum(_backoff(n) for n in range(tries + 1))
            end = ban.expires_at
            if result.ok or (end is not None and facts.now + waited >= end):
                return result
            self._ban(lane, order, ban, facts, tries + 1)
            return replace(result, again=again)

        if tries:
            lane.waiting[ban.id] = token
        self._pool.put(lane.key, work, after=after)

    def _prolong(self, lane: _Lane, ban: Ban, facts: Facts) -> None:
        def work(slow: Slow) -> Optional[Result]:
            action = lane.action
            if not action.prolongs or (action.norestored and ban.restored):
                return None
            return self._done(lane, "prolong", ban.id, action.prolong(ban, facts), slow)

        self._pool.put(lane.key, work)

    def _unban(self, lane: _Lane, ban: Ban, facts: Facts) -> None:
        def work(slow: Slow) -> Result:
            lane.waiting.pop(ban.id, None)
            return self._done(lane, "unban", ban.id, lane.action.unban(ban, facts), slow)

        self._pool.put(lane.key, work)

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
            start = lane.waiting.get(_START)
            lane.waiting.clear()
            if start is not None and not stopping:
                lane.waiting[_START] = start
            return self._done(lane, "flush", "", steps(lane.action), slow)

        self._pool.put(lane.key, work)

    def _reload(self, lane: _Lane, spec: ActionSpec, facts: Facts) -> None:
        timeout = self._timeout(spec)
        self._put(
            lane,
            "reload",
            lambda action: action.reload(spec, facts, timeout=timeout, inet6=self._inet6),
        )

    def _stop(self, lanes: Iterable[_Lane], facts: Facts) -> None:
        """Stop the last of them, and when that is done the one before."""
        behind = threading.Event()
        behind.set()
        for lane in reversed([*lanes]):
            behind = self._stop_behind(behind, lane, facts)

    def _stop_behind(self, behind: threading.Event, lane: _Lane, facts: Facts) -> threading.Event:
        done = threading.Event()

        def work(slow: Slow) -> Result:
            try:
                if not behind.is_set():
                    slow()
                    behind.wait()
                return self._done(lane, "stop", "", lane.action.stop(facts), slow)
            finally:
                done.set()

        # It stands in its lane at once: an action of its name that comes later starts behind it.
        self._pool.put(lane.key, work)
        return done

    def _put(self, lane: _Lane, order: str, steps: Order) -> None:
        def work(slow: Slow) -> Result:
            return self._done(lane, order, "", steps(lane.action), slow)

        self._pool.put(lane.key, work)

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
        except Exception as error:  # noqa: BLE001 - it is tried again, and the lane goes on
            ok, problem = False, f"{type(error).__name__}: {error}"
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
