# SPDX-License-Identifier: MIT
"""The command actions of one jail: takes orders from the loop, and answers with ``Result``.

Each action has a lane of its own in the pool: its orders are done in their order, and whatever it
does, it delays no other action. A ban that fails is tried again, later and later, until it works,
ends or is lifted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Callable, Optional

from stockade_agent.firewall.action import TIMEOUT, Action, Steps
from stockade_agent.firewall.digest import AFTER, SECONDS, Digest
from stockade_agent.firewall.pool import Pool, Slow
from stockade_agent.firewall.runs import Result, Run, done
from stockade_agent.firewall.tags import Facts, Names
from stockade_agent.model import Ban
from stockade_agent.specs import ActionSpec


BACKOFF = (5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds until a failed ban is tried again; the last one repeats."""

QUEUE = 1000
"""Orders that may wait for an action that only tells of bans."""

Order = Callable[[Action], Steps]
_START = ""
"""What ``_Lane.waiting`` knows a failed start by: no id is empty."""


class _Lane:
    """One action, in its worker's hands; only works of its lane touch it."""

    def __init__(self, jail: str, action: Action) -> None:
        # Whoever comes after it with the same name works behind it.
        self.key = (jail, action.name)
        self.action = action
        # id -> the try that a failed ban waits for
        self.waiting: dict[str, object] = {}
        # Touched by the loop alone.
        self.digest: Optional[Digest] = None


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
        self._lanes = {spec.name: self._lane(spec) for spec in specs}

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
        collected = 0 if lane.digest is None else lane.digest.collected
        return self._pool.queued(lane.key) + len(lane.waiting) + collected

    def start(self, facts: Facts, *, left: bool = False) -> None:
        """Start all of them; one that fails is tried again, later and later.

        Args:
            left: an agent before this one may have left them started.
        """
        for lane in self._lanes.values():
            self._start(lane, facts, left=left)

    def ban(self, ban: Ban, facts: Facts, *, left: bool = False) -> tuple[str, ...]:
        """Refuse an id; where ``ban.prolonged``, move the end of its ban.

        Args:
            left: an agent before this one may have left it refused.

        Returns:
            Actions that only tell of bans, and are not told: ``QUEUE`` orders wait for them.
        """
        full = []
        for name, lane in self._lanes.items():
            if ban.prolonged:
                self._prolong(lane, ban, facts)
            elif self._known[name].norestored and self._pool.queued(lane.key) >= QUEUE:
                full.append(name)
            elif lane.digest is None or ban.restored or not lane.digest.takes(ban, facts.now):
                self._ban(lane, "left" if left else "ban", ban, facts)
            elif lane.digest.collected == 1:
                # The worker has nothing to do; what it returns is done in the loop.
                tell = partial(self._tell, lane, facts)
                self._pool.put(lane.key, partial(_later, tell), after=lane.digest.seconds)
        return tuple(full)

    def reban(self, bans: Iterable[Ban], facts: Facts, action: Optional[str] = None) -> None:
        """Refuse ids again whose bans were lost, by one action or by all."""
        lanes = self._lanes.values() if action is None else (self._lanes[action],)
        for ban in bans:
            for lane in lanes:
                self._ban(lane, "reban", ban, facts)

    def unban(self, ban: Ban, facts: Facts, *, left: bool = False) -> None:
        """Accept an id again.

        Args:
            left: an agent before this one may have left it refused.
        """
        for lane in self._lanes.values():
            self._unban(lane, ban, facts, left=left)

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
        telling = [self._lanes[name] for name, act in self._known.items() if act.norestored]
        for lane in telling:
            self._tell(lane, facts, facts.now)
        self._stop(telling, facts)

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
                self._lanes[spec.name] = lane = self._lane(spec)
                self._start(lane, facts)
                for ban in bans:
                    self._ban(lane, "ban", replace(ban, restored=True), facts)
            else:
                self._lanes[spec.name] = lane
                self._tell(lane, facts, facts.now)
                lane.digest = self._digest(spec, known[spec.name])
                self._reload(lane, spec, facts)
        self._known = known
        for lane in before.values():
            self._tell(lane, facts, facts.now)
            self._flush(lane, bans, facts, stopping=True)
        self._stop(before.values(), facts)

    # ---- one order to one action --------------------------------------------------------------

    def _action(self, spec: ActionSpec) -> Action:
        return Action(spec, self._names, timeout=self._timeout(spec), inet6=self._inet6)

    def _lane(self, spec: ActionSpec) -> _Lane:
        action = self._action(spec)
        lane = _Lane(self._jail, action)
        lane.digest = self._digest(spec, action)
        return lane

    def _digest(self, spec: ActionSpec, action: Action) -> Optional[Digest]:
        if not action.digests:
            return None
        after = spec.parameters.get("digest_after")
        seconds = spec.parameters.get("digest_time")
        return Digest(
            AFTER if after is None else int(after),
            SECONDS if seconds is None else self._seconds(seconds),
        )

    def _tell(self, lane: _Lane, facts: Facts, now: float) -> None:
        """Tell of what an action has collected, in the loop."""
        ban = None if lane.digest is None else lane.digest.close()
        if ban is not None:
            self._ban(lane, "digest", ban, replace(facts, now=now))

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
            told = "ban" if order == "left" else order
            steps = _refusal(lane.action, order, ban, facts)
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

    def _unban(self, lane: _Lane, ban: Ban, facts: Facts, *, left: bool) -> None:
        def work(slow: Slow) -> Result:
            lane.waiting.pop(ban.id, None)
            steps = lane.action.unban(ban, facts, left=left)
            return self._done(lane, "unban", ban.id, steps, slow)

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

    def _done(self, lane: _Lane, order: str, id_: str, steps: Steps, slow: Slow) -> Result:
        return done(self._run, self._jail, lane.action, order, id_, steps, slow)

    def _put(self, lane: _Lane, order: str, steps: Order) -> None:
        def work(slow: Slow) -> Result:
            return self._done(lane, order, "", steps(lane.action), slow)

        self._pool.put(lane.key, work)


def _later(tell: Callable[[float], None], _slow: Slow) -> Callable[[float], None]:
    return tell


def _refusal(action: Action, order: str, ban: Ban, facts: Facts) -> Steps:
    if order == "reban":
        return action.reban(ban, facts)
    if order == "digest":
        return action.digest(ban, facts)
    return action.ban(ban, facts, left=order == "left")


def _backoff(tries: int) -> float:
    return BACKOFF[min(tries, len(BACKOFF) - 1)]
