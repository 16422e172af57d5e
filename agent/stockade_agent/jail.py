# SPDX-License-Identifier: MIT
"""A jail: counts failures, decides bans, knows when they end.

    jail = Jail(spec, history=ledger.history)
    ban = jail.add(failure, now)        # None, a new ban, or one whose end moved (ban.prolonged)
    ban = jail.ban("192.0.2.7", now)    # by hand
    ban = jail.unban("192.0.2.7")       # by hand; None: was not banned
    ban = jail.restore(ban, now)        # from the ledger at start; None: over, or too old to keep
    bans = jail.due(now)                # those that have ended; call at jail.next_due()
    tallies = jail.changed()            # whose failures below maxretry the ledger must note
    jail.recount(tallies, now)          # from the ledger at start

Nothing here asks the clock, reads or writes. Counts and bans follow fail2ban to the letter;
the one difference is that an escalated ban gets its full time at once, where fail2ban bans
with the base time first and prolongs within ten seconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Callable, NamedTuple, Optional, Protocol

from stockade_agent.counts import Count, Counts
from stockade_agent.errors import RegexError
from stockade_agent.model import FOREVER, Ban, Failure, Tally, Target, target
from stockade_agent.specs import Escalation, JailSpec


MAX_DOUBLINGS = 20
"""A known offender's failure counts for at most 2**20/2 + 1."""

DEFAULT_FORMULA = f"ban.Time * (1 << min(ban.Count, {MAX_DOUBLINGS})) * banFactor"
_NAMES = frozenset({"ban.Time", "ban.Count", "banFactor"})


class Past(NamedTuple):
    """What is known of an id's earlier bans: how many, and when the last one began."""

    bans: int
    at: float


class History(Protocol):
    """Remembers bans that are over. The ledger is one."""

    def past(self, who: str, jail: Optional[str], /) -> Optional[tuple[int, float]]:
        """Return the number of an id's bans in a jail and when the last began.

        For ``jail`` None: in all jails together. None when there were none. It is asked once
        for each failure of a jail that escalates, so it should be cheap.
        """


class Jail:
    """Counts failures per id and holds the bans in force.

    Args:
        history: earlier bans, needed for ``bantime.increment`` only.
        rand: a number in [0, 1) for ``bantime.rndtime``, instead of Python's own.

    Raises:
        RegexError: ``bantime.formula`` or ``bantime.factor`` is no arithmetic expression.

    Attributes:
        banned: the bans in force by id. Read only.
        heed: is told of each ban that comes into force, or lasts longer.
        failed_total: failures counted since the start, as fail2ban counts them.
        banned_total: bans made since the start, restored ones included.
    """

    def __init__(
        self,
        spec: JailSpec,
        *,
        history: Optional[History] = None,
        rand: Optional[Callable[[], float]] = None,
    ) -> None:
        self.spec, self.failed_total, self.banned_total = spec, 0, 0
        self.banned: dict[str, Ban] = {}
        self.heed: Optional[Callable[[Ban], None]] = None
        self._counts = Counts()
        self._changed: set[str] = set()
        self._ends: list[tuple[float, str]] = []
        self._history = history if spec.escalation.enabled else None
        self._bantime = None if spec.escalation == Escalation() else _Bantime(spec.escalation, rand)

    @property
    def failed_now(self) -> int:
        """How many ids have failures inside findtime, as of the last ``add`` or ``due``.

        Of very many, some that are just over may be among them.
        """
        return len(self._counts)

    @property
    def banned_now(self) -> int:
        """How many ids are banned."""
        return len(self.banned)

    def add(self, failure: Failure, now: float) -> Optional[Ban]:
        """Count a failure and return the ban that it earns, if any.

        Its ``address`` is final: names are resolved, ignored ones gone.

        Returns:
            A new ban; or, for an id that is banned already and has again failed maxretry
            times, that ban with a later end and ``prolonged`` set; or None.

        Source:
            jail.conf(5), ``maxretry`` and ``findtime``. Past findtime the count goes on as
            an estimate from the rate: fail2ban's FailTicket and FailManager, as observed.
        """
        self.failed_total += 1
        count = self._counted(failure, now)
        if count.retry < self.spec.maxretry:
            past = self._past(failure.id, self.spec.name)
            if past is None or failure.at <= past.at:
                return None
            # Someone who was banned before needs fewer failures: each counts 2, 3, 5, 9, …
            weight = (1 << min(past.bans, MAX_DOUBLINGS)) / 2 + 1
            extra = min(weight, self.spec.maxretry) - 1
            if extra <= 0:
                return None
            count.retry += extra
            count.failures += 1
            self.failed_total += 1
            if count.retry < self.spec.maxretry:
                return None
        self._counts.take(failure.id)
        return self._decide(failure, count, now)

    def ban(
        self,
        who: str,
        now: float,
        *,
        address: Optional[Target] = None,
    ) -> Optional[Ban]:
        """Ban an id by hand for the jail's bantime and return the ban.

        Returns:
            As ``add``: None if it is banned already for at least as long.
        """
        by_hand = Failure(at=now, id=who, address=address if address is not None else target(who))
        return self._decide(by_hand, Count(now, 0, (), {}), now)

    def widen(self, network: IPv6Network, cause: Ban, failures: int, now: float) -> Optional[Ban]:
        """Ban a network for what was done from within it, last of all ``cause``; return the ban.

        Returns:
            None when it would be over by now.
        """
        count = Count(cause.at, 0, cause.matches, cause.data)
        count.failures = failures
        return self._decide(Failure(cause.at, str(network), network), count, now)

    def outlast(self, ban: Ban, others: Iterable[Ban]) -> Ban:
        """Let a ban last as long as the longest of others, and return it as it now stands."""
        ends = [one.expires_at for one in (ban, *others)]
        known = [end for end in ends if end is not None]
        bantime = FOREVER if len(known) < len(ends) else math.ceil(max(known) - ban.at)
        if bantime != FOREVER and bantime <= ban.bantime:
            return ban
        return self._hold(replace(ban, bantime=bantime))

    def unban(self, who: str) -> Optional[Ban]:
        """Forget an id's ban and its failures; return the ban, None if there was none."""
        if self._counts.take(who) is not None:
            self._changed.add(who)
        return self.banned.pop(who, None)

    def take_back(self, ban: Ban) -> None:
        """Forget a new ban that was decided and shall not be: it never was."""
        if self.banned.pop(ban.id, None) is not None:
            self.banned_total -= 1

    def withdraw(self, ban: Ban, now: float) -> None:
        """Take back a new ban that ``add`` has just returned; its failures count as before."""
        self.take_back(ban)
        count = Count(ban.at, self.spec.maxretry, ban.matches, ban.data)
        count.failures = ban.failures
        self._counts.put(ban.id, count, now - self.spec.findtime)

    def restore(self, ban: Ban, now: float) -> Optional[Ban]:
        """Take a ban from the ledger into force and return it as it now stands.

        Its end stays where it was, unless the jail's bantime (or ``bantime.maxtime``) has
        become shorter since.

        Returns:
            None when it is over by now.
        """
        escalation = self.spec.escalation
        limit = self.spec.bantime
        if escalation.enabled:
            limit = FOREVER if escalation.maxtime is None else escalation.maxtime
        bantime = ban.bantime
        # An end that is no further away than that may be one that later failures have moved.
        far = bantime == FOREVER or (bantime > limit and ban.at + bantime > now + limit)
        if limit != FOREVER and far:
            bantime = limit
        if bantime != FOREVER and ban.at + bantime <= now:
            return None
        # ``replace`` takes three times as long.
        return self._enforce(
            Ban(
                ban.jail,
                ban.id,
                ban.address,
                ban.at,
                bantime,
                ban.failures,
                ban.count,
                ban.matches,
                ban.data,
                restored=True,
            )
        )

    def go_on(self, former: Jail) -> None:
        """Go on counting where the same jail stopped under another configuration."""
        self.failed_total, self.banned_total = former.failed_total, former.banned_total
        self._counts = former._counts

    def due(self, now: float) -> list[Ban]:
        """Return the bans that have ended, soonest first, and forget them and old failures."""
        self._counts.forget(now - self.spec.findtime)
        ended = []
        while self._ends and self._ends[0][0] < now:
            end, id_ = heapq.heappop(self._ends)
            ban = self.banned.get(id_)
            # A heap entry outlives its ban when that was lifted or prolonged.
            if ban is not None and ban.expires_at == end:
                ended.append(self.banned.pop(id_))
        return ended

    def next_due(self) -> Optional[float]:
        """Return when the next ban ends (it is due just after), or None."""
        while self._ends:
            end, id_ = self._ends[0]
            ban = self.banned.get(id_)
            if ban is not None and ban.expires_at == end:
                return end
            heapq.heappop(self._ends)
        return None

    def changed(self) -> dict[str, Optional[Tally]]:
        """Return id -> its tally (None: it has none now) of all that changed since the last call.

        Those that have only become too old are not among them. Their lines are, where a
        command may ask for them one day.
        """
        changed = {id_: self._tally(id_) for id_ in self._changed}
        self._changed.clear()
        return changed

    def tallies(self) -> Iterator[Tally]:
        """Yield the tallies whose ids are known, the longest ago first."""
        return (tally for id_ in self._counts if (tally := self._tally(id_)) is not None)

    def recount(self, tallies: Iterable[Tally], now: float) -> None:
        """Take tallies from the ledger, in the order of ``tallies``, but none that is too old."""
        horizon = now - self.spec.findtime
        for tally in tallies:
            if tally.last > horizon:
                self._counts.take(tally.id)
                self._counts.put(tally.id, Count.of(tally), horizon)

    def _tally(self, who: str) -> Optional[Tally]:
        count = self._counts.get(who)
        return None if count is None else count.under(who, whole=bool(self.spec.commands))

    def _counted(self, failure: Failure, now: float) -> Count:
        self._changed.add(failure.id)
        horizon = now - self.spec.findtime
        count = self._counts.take(failure.id)
        if count is not None and count.last > horizon:
            count.follow(failure.at, self.spec.findtime)
            count.retry += failure.attempts
            count.failures += 1
            count.matches = self._kept(count.matches + failure.matches)
            count.data = count.data or failure.data
        else:
            matches = self._kept(failure.matches)
            count = Count(failure.at, failure.attempts, matches, failure.data)
        self._counts.put(failure.id, count, horizon)
        return count

    def _kept(self, matches: tuple[str, ...]) -> tuple[str, ...]:
        return matches[-self.spec.maxmatches :] if self.spec.maxmatches else ()

    def _past(self, who: str, jail: Optional[str]) -> Optional[Past]:
        past = self._history.past(who, jail) if self._history else None
        return None if past is None else Past(*past)

    def _decide(self, failure: Failure, count: Count, now: float) -> Optional[Ban]:
        bantime = self.spec.bantime
        if bantime != FOREVER and count.last + bantime < now:
            return None
        old = self.banned.get(failure.id)
        if old is not None:
            return self._prolong(old, count.last, bantime)
        times_before = 0
        if bantime > 0:
            jail = None if self.spec.escalation.overalljails else self.spec.name
            past = self._past(failure.id, jail)
            if past is not None and self._bantime is not None:
                times_before = past.bans
                bantime = self._bantime.after(past.bans, bantime)
        ban = Ban(
            jail=self.spec.name,
            id=failure.id,
            address=failure.address,
            at=count.last,
            bantime=bantime,
            failures=count.failures,
            count=times_before + 1,
            matches=count.matches,
            data=count.data,
        )
        return self._enforce(ban)

    def _prolong(self, old: Ban, at: float, bantime: int) -> Optional[Ban]:
        end = old.expires_at
        if end is None or (bantime != FOREVER and at + bantime <= end):
            return None
        if bantime != FOREVER:
            bantime += max(0, round(at - old.at))
        return self._enforce(replace(old, bantime=bantime, prolonged=True))

    def _enforce(self, ban: Ban) -> Ban:
        if not ban.prolonged:
            self.banned_total += 1
        return self._hold(ban)

    def _hold(self, ban: Ban) -> Ban:
        self.banned[ban.id] = ban.bare()
        if self.heed is not None:
            self.heed(ban)
        if ban.expires_at is not None:
            heapq.heappush(self._ends, (ban.expires_at, ban.id))
        return ban


class _Bantime:
    """How bantime grows with the number of earlier bans (``bantime.increment``)."""

    def __init__(self, spec: Escalation, rand: Optional[Callable[[], float]]) -> None:
        # Both bring much into memory, and most jails have neither formula nor chance.
        from random import random  # noqa: PLC0415

        from stockade_agent.formula import Formula  # noqa: PLC0415

        self._spec, self._rand = spec, rand or random
        option = "bantime.factor"
        self._factor = Formula(spec.factor or "1", option=option).compute({})
        formula = spec.formula or DEFAULT_FORMULA
        self._formula = Formula(formula, option="bantime.formula", names=_NAMES)
        self.after(1, 600)  # what cannot be computed is said at start, not at the first ban

    def after(self, times: int, base: int) -> int:
        """Return the bantime for an id with ``times`` earlier bans."""
        if times <= 0:
            return base
        if self._spec.multipliers:
            multipliers = self._spec.multipliers
            bantime = base * self._factor * multipliers[min(times, len(multipliers) - 1)]
        else:
            values = {"ban.Time": base, "ban.Count": times, "banFactor": self._factor}
            bantime = max(base, self._formula.compute(values))
        if self._spec.maxtime is not None:
            bantime = min(bantime, self._spec.maxtime)
        if self._spec.rndtime is not None:
            bantime += self._rand() * self._spec.rndtime
        try:
            return int(bantime)
        except (OverflowError, ValueError) as exc:
            raise RegexError(f"gives {bantime} seconds", option="bantime.formula") from exc
