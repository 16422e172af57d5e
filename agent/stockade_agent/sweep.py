# SPDX-License-Identifier: MIT
"""Blocks judged at the pace of an attack: lines whose like was judged before, by their shape.

What ``Sweep`` yields is what its filter would find line by line. Lines of a shape that is not
known go to the filter, which thereby shows what the shape means.

On this path speed outranks style: it is run for each line of an attack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, NamedTuple, Optional

from stockade_agent.budget import Budget
from stockade_agent.failregex import Groups, Value
from stockade_agent.identity import Identity
from stockade_agent.later import Later
from stockade_agent.lines import Lines
from stockade_agent.model import Failure
from stockade_agent.sessions import Later as LaterSaid
from stockade_agent.sessions import Sessions, whole
from stockade_agent.shapes import NOTHING, NUMBERS, Outcome, Shape, Shapes


_MOST_MOMENTS = 4096

Judge = Callable[[str, float, bool], Iterator[Failure]]
"""A line, now, live -> what the filter finds."""


class Told(NamedTuple):
    """A line that a failregex matched, where it takes more to say who it is."""

    number: int
    at: float
    groups: Groups
    users: Optional[frozenset[str]]
    matches: tuple[str, ...]
    in_session: bool


class Sweep:
    """The known shapes of one filter at work.

    Args:
        shapes: of the filter.
        lines: its candidates.
        sessions: those that are open.
        judge: judges any line.
        name: says who a matched line is of, and what comes of it.
        known: addresses as they were read -> who that is.
        budget: what the lines may take.
        plain_ids: nothing but addresses, without a prefix length, says who failed.
    """

    def __init__(
        self,
        shapes: Shapes,
        lines: Lines,
        sessions: Sessions,
        judge: Judge,
        name: Callable[[Told, float], Optional[Failure]],
        known: dict[Value, Identity],
        *,
        budget: Budget,
        plain_ids: bool,
    ) -> None:
        self._shapes, self._lines, self._sessions = shapes, lines, sessions
        self._judge, self._name, self._known = judge, name, known
        self._budget, self._plain_ids = budget, plain_ids

    def failures(self, raws: Iterator[bytes], now: float, *, live: bool) -> Iterator[Failure]:
        """Yield the failures among a block's candidates, in order."""
        shapes, follow, known = self._shapes, self._sessions.follow, self._known
        plain_ids, other, budget = self._plain_ids, shapes.other, self._budget
        shapes.judged_by((now, live))
        times = 0
        before: Optional[tuple[Shape, bytes, float]] = None
        moment: Optional[tuple[Optional[float], float]]
        try:
            for raw in raws:
                key = raw.translate(NUMBERS)
                shape = shapes.young.get(key) or other(raw, key)
                outcome: Optional[Outcome] = None
                moment = None
                if shape is not None:
                    outcome = shape.outcome or shape.outcomes.get(shape.pick(raw))
                    if outcome is not None:
                        moment = shape.moments.get(raw[: shape.end])
                        if moment is None:
                            moment = self._moment(shape, raw, now, live=live)
                if shape is None or outcome is None or moment is None:
                    if before is not None:
                        self._catch_up(times, *before, now)
                        times, before = 0, None
                    if budget.over:
                        return
                    given_up = budget.given_up
                    yield from self._judge(self._lines.decoded(raw), now, live)
                    if budget.given_up == given_up:
                        shapes.learn(raw)
                    continue
                times += 1
                at, lent = moment
                before = shape, raw, lent
                if at is None or outcome is NOTHING:
                    continue
                text = raw.decode("ascii")
                _, said, groups, varying = outcome
                if said is not None:
                    session = follow(said, text, now)
                    if session is None:
                        continue
                    users, matches, who = session.users, session.matches, None
                    if plain_ids:
                        begin, end = said.address
                        if end and session.family == said.family:
                            who = known.get(text[begin:end])
                        else:
                            groups = session.whole()
                            who = known.get(groups.get("ip4") or groups.get("ip6"))
                    if who is not None:
                        parts = session.groups, tuple(session.later), users
                    else:
                        groups = dict(session.whole())
                else:
                    groups, users, matches, who = groups.copy(), None, (text,), None
                    for name, begin, end in varying:
                        groups[name] = text[begin:end]
                    if plain_ids:
                        who = known.get(groups.get("ip4") or groups.get("ip6"))
                    parts = groups, (), None
                if who is not None:
                    yield Failure(min(at, now), *who, None, 1, matches, Later(data, *parts))
                    continue
                told = Told(outcome.number, at, groups, users, matches, said is not None)
                failure = self._name(told, now)
                if failure is not None:
                    yield failure
        finally:
            if before is not None:
                self._catch_up(times, *before, now)

    def _moment(
        self, shape: Shape, raw: bytes, now: float, *, live: bool
    ) -> Optional[tuple[Optional[float], float]]:
        """Return what a date means that was not read yet; None: only the filter can tell."""
        lines = self._lines
        found = lines.detector.usual_date(raw.decode("ascii"), now)
        if found is None or found[1:] != (shape.end, shape.stop) or found[0] is None:
            return None
        if len(shape.moments) >= _MOST_MOMENTS:
            shape.moments.clear()
        moment = lines.taken(found[0], now, live=live)
        shape.moments[raw[: shape.end]] = moment
        return moment

    def _catch_up(self, times: int, shape: Shape, raw: bytes, lent: float, now: float) -> None:
        """Tell of lines in a row whose date was known; the last of them."""
        text = raw.decode("ascii")
        self._lines.detector.repeated(times, text, shape.stop, now)
        self._lines.pass_on(lent, text[: shape.end])


def data(
    groups: Groups, later: tuple[LaterSaid, ...], users: Optional[frozenset[str]]
) -> dict[str, str]:
    """Return the values that a failure brings, of what its session has said."""
    if later:
        groups = whole(groups, later)
    found = {name: str(value) for name, value in groups.items() if value is not None}
    if users:
        found["users"] = ", ".join(sorted(users))
    return found
