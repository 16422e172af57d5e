# SPDX-License-Identifier: MIT
"""``ignorecommand``: asks a program whether a failure counts, and waits for it off the loop.

    answer = command.ask(failure, now)      # True: ignore; False: count; None: it is being asked,
    for failure, ignored in command.decided():          # and comes back here once that is known

A program that hangs holds up the failures of its own jail for at most ``TIMEOUT``, and then is not
asked for a while: whom it cannot tell is counted, as in fail2ban. Loaded only where a jail has one.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Callable, Optional

from stockade_agent.firewall.pool import Slow, Work
from stockade_agent.firewall.process import Ended, Shell
from stockade_agent.firewall.script import compiled
from stockade_agent.firewall.tags import TAG, Facts, Names, Values, is_runtime
from stockade_agent.model import Ban, Failure
from stockade_agent.specs import IgnoreCache, JailSpec


TIMEOUT = 10.0
"""Seconds that the program may take."""
HANGS = 3
"""Times in a row that it may take longer, until it is not asked for ``PAUSE``."""
PAUSE = 60.0
LANES = 4
"""Programs of a jail that run at a time."""
MOST = 1000
"""Failures of a jail that may wait; who comes beyond is counted without asking."""

# What only a name server knows; the address stands for it where answers are told apart.
_SLOW = "ip-host"

Put = Callable[[Hashable, Work], None]


class _Question:
    """One question, and the failures that wait for its answer."""

    def __init__(self, lane: int, cached: str) -> None:
        self.lane, self.cached = lane, cached
        self.failures: list[Failure] = []
        self.over = False


class _Cache:
    """Answers by key, for a while; the oldest make room."""

    def __init__(self, spec: IgnoreCache) -> None:
        self._spec = spec
        self._known: dict[str, tuple[float, bool]] = {}

    def get(self, key: str, now: float) -> Optional[bool]:
        known = self._known.get(key)
        if known is None or not 0 <= now - known[0] < self._spec.max_time:
            return None
        return known[1]

    def put(self, key: str, now: float, *, ignored: bool) -> None:
        self._known.pop(key, None)
        self._known[key] = (now, ignored)
        while len(self._known) > self._spec.max_count:
            del self._known[next(iter(self._known))]


class IgnoreCommand:
    """The program of one jail.

    Args:
        put: has work done in a lane of a pool; what that returns is called in the loop, with the
            time.
        shell: runs it.
        names: for ``<ip-host>``.

    Attributes:
        problem: why it is not asked, or could not answer the last time; hostile text.

    Raises:
        FirewallError: a tag stands where the shell takes no value.
    """

    def __init__(self, spec: JailSpec, put: Put, shell: Shell, names: Names) -> None:
        self._spec, self._put, self._shell, self._names = spec, put, shell, names
        self._script = compiled(spec.ignorecommand or "")
        self._cache = None if spec.ignorecache is None else _Cache(spec.ignorecache)
        self._questions: dict[Hashable, _Question] = {}
        self._load = [0] * LANES
        self._waiting = 0
        self._decided: list[tuple[Failure, bool]] = []
        self._hangs, self._paused_until = 0, float("-inf")
        self.problem = ""

    def ask(self, failure: Failure, now: float) -> Optional[bool]:
        """Return whether a failure is ignored; None: ``decided`` will give it back.

        Args:
            now: seconds, UTC.
        """
        values = self._values(failure, now)
        key = "" if self._spec.ignorecache is None else _text(self._spec.ignorecache.key, values)
        known = None if self._cache is None else self._cache.get(key, now)
        if known is not None:
            return known
        if now < self._paused_until <= now + PAUSE or self._waiting >= MOST:
            return False
        # One answer will do for all that would be asked in the same words.
        asked = tuple(values["ip" if tag == _SLOW else tag] for tag in sorted(self._script.tags))
        question = self._questions.get(asked)
        if question is None:
            lane = self._load.index(min(self._load))
            question = self._questions[asked] = _Question(lane, key)
            self._load[lane] += 1
            work = partial(self._work, asked, question, values)
            self._put(("ignorecommand", self._spec.name, lane), work)
        question.failures.append(failure)
        self._waiting += 1
        return None

    def decided(self) -> list[tuple[Failure, bool]]:
        """Return the failures whose answers have come, and whether they are ignored."""
        decided, self._decided = self._decided, []
        return decided

    def _values(self, failure: Failure, now: float) -> Values:
        ban = Ban(
            jail=self._spec.name,
            id=failure.id,
            address=failure.address,
            at=failure.at,
            bantime=self._spec.bantime,
            failures=failure.attempts,
            matches=failure.matches,
            data=failure.data,
        )
        facts = Facts(jail=self._spec.name, now=now, bantime=self._spec.bantime)
        return Values(facts, self._names, ban)

    def _work(
        self, asked: Hashable, question: _Question, values: Values, slow: Slow
    ) -> Optional[Callable[[float], None]]:
        """Run the program, in a worker's thread."""
        if question.over:
            return None
        if _SLOW in self._script.tags:
            slow()
        try:
            variables = self._script.environment(values, echo_escapes=self._shell.echo_escapes)
            ended = self._shell.run(self._script.text, variables, TIMEOUT, slow)
        except Exception as error:  # noqa: BLE001 - whatever it is, the failure waits for an answer
            ended = Ended(ok=False, problem=f"{type(error).__name__}: {error}")
        return partial(self._answered, asked, question, ended)

    def _answered(self, asked: Hashable, question: _Question, ended: Ended, now: float) -> None:
        if question.over:
            return
        self._close(asked, question, ignored=ended.ok)
        # Status 1 is its way to say no; anything else is none.
        told = ended.ok or ended.code == 1
        self.problem = "" if told else ended.problem
        if told and self._cache is not None:
            self._cache.put(question.cached, now, ignored=ended.ok)
        self._hangs = self._hangs + 1 if ended.code is None else 0
        if self._hangs >= HANGS:
            self._hangs, self._paused_until = 0, now + PAUSE
            self.problem = f"{ended.problem}; not asked for {PAUSE:g} s"
            for key, waiting in [*self._questions.items()]:
                self._close(key, waiting, ignored=False)

    def _close(self, asked: Hashable, question: _Question, *, ignored: bool) -> None:
        question.over = True
        del self._questions[asked]
        self._load[question.lane] -= 1
        self._waiting -= len(question.failures)
        self._decided += ((failure, ignored) for failure in question.failures)


def _text(template: str, values: Values) -> str:
    """Return the key of the cache: tags become values, and it never meets a shell."""

    def value(tag: str) -> str:
        return values["ip" if tag == _SLOW else tag]

    return TAG.sub(lambda m: value(m.group(1)) if is_runtime(m.group(1)) else m.group(), template)
