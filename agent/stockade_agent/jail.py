# SPDX-License-Identifier: MIT
"""A jail: counts failures, decides bans, knows when they end.

    jail = Jail(spec, history=records)
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
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Callable, Optional

from stockade_agent.counts import Count, Counts
from stockade_agent.escalation import MAX_DOUBLINGS, Bantime, History, Past, kin
from stockade_agent.model import FOREVER, Ban, Failure, Tally, Target, target
from stockade_agent.specs import Escalation, JailSpec


class Jail:
    """Counts failures per id and holds the bans in force.

    Args:
        history: earlier bans, needed for ``bantime.increment`` and ``prefix6``.
        rand: a number in [0, 1) for ``bantime.rndtime``, instead of Python's own.

    Raises:
        RegexError: ``bantime.formula`` or ``bantime.factor`` is no arithmetic expression.

    Attributes:
        banned: the bans in force by id. Read only.
        heed: is told of each ban that comes into force, or lasts longer.
        lengths: of the prefixes that any jail bans; needed for ``bantime.overalljails`` only.
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
        self.lengths: Collection[int] = spec.prefix6
        self._history, self._escalates = history, spec.escalation.enabled
        self._bantime = None if spec.escalation == Escalation() else Bantime(spec.escalation, rand)

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
            past = self._past(failure) if self._escalates else None
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

    def widen(
        self, network: IPv6Network, cause: Ban, inside: Sequence[Ban], now: float
    ) -> Optional[Ban]:
        """Ban a network for the bans within it, the last of which is ``cause``; return the ban.

        Returns:
            None when it would be over by now.
        """
        count = Count(cause.at, 0, cause.matches, cause.data)
        count.failures = sum(one.failures for one in inside)
        most = max(one.count for one in inside)
        return self._decide(Failure(cause.at, str(network), network), count, now, most - 1)

    def replacing(self, ban: Ban, others: Sequence[Ban]) -> Ban:
        """Let a ban take the place of others, and return it as it now stands.

        It lasts as long as the longest of them, and is the how manieth the worst of them was.
        """
        if not others:
            return ban
        ends = [one.expires_at for one in (ban, *others)]
        known = [end for end in ends if end is not None]
        bantime = FOREVER if len(known) < len(ends) else math.ceil(max(known) - ban.at)
        if bantime != FOREVER:
            bantime = max(bantime, ban.bantime)
        count = max(one.count for one in (ban, *others))
        # What was restored does not know its rank; what is new does not stand in the ledger yet.
        asked = (self._history.past(one.id, self.spec.name) for one in others if self._history)
        ranks = (past[0] for past in asked if past is not None)
        rank = max(ban.rank, *(one.rank for one in others), *ranks)
        return self._hold(replace(ban, bantime=bantime, count=count, rank=rank))

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

    def _past(self, failure: Failure, *, overall: bool = False) -> Optional[Past]:
        """Return the earlier bans of who failed, and of the prefixes that he is in."""
        if self._history is None:
            return None
        lengths = self.lengths if overall else self.spec.prefix6
        ids = kin(failure.source or failure.address, lengths) if lengths else ()
        past = self._history.past(failure.id, None if overall else self.spec.name, *ids)
        return None if past is None else Past(*past)

    def _decide(self, failure: Failure, count: Count, now: float, before: int = 0) -> Optional[Ban]:
        """Return the ban for a count, of who was banned ``before`` so many times at least."""
        bantime = self.spec.bantime
        if bantime != FOREVER and count.last + bantime < now:
            return None
        old = self.banned.get(failure.id)
        if old is not None:
            return self._prolong(old, count.last, bantime)
        here = self._past(failure) if self.spec.prefix6 else None
        times_before = 0
        if bantime > 0 and self._escalates and self._bantime is not None:
            past = self._past(failure, overall=self.spec.escalation.overalljails)
            times_before = max(before, past.bans if past is not None else 0)
            bantime = self._bantime.after(times_before, bantime)
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
            rank=1 if here is None else here.bans + 1,
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
