# SPDX-License-Identifier: MIT
"""IPv6 by prefix: whose failures count together, and the larger prefix that many of them earn.

    prefixes = Prefixes(spec, jail, shelter.barred, shelter.peer)
    failure = prefixes.counted(failure, now)     # under the id that it counts for
    bans = prefixes.settled(ban, now)            # a ban just decided, and larger ones that it earns
    over = prefixes.superseded()                 # the bans that those take the place of

Whoever has one IPv6 address has 2**64 of them. No prefix is banned that holds an address that
never is: there each address counts by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network, ip_network
from typing import Callable, Optional

from stockade_agent.ignore import Networks
from stockade_agent.jail import Jail
from stockade_agent.model import Ban, Failure, Target
from stockade_agent.specs import JailSpec


BITS = 128
SPARED = 60.0
"""Seconds for which the addresses of a prefix count alone in which a peer is logged in."""
MOST_KNOWN = 8192
"""Prefixes of which it is remembered whether they may be banned."""

# In these an address tells more of who it is than its prefix does: neighbours on a link, and
# IPv4 behind a translator, whose prefix is everybody's.
_APART = Networks(
    ip_network(text)
    for text in ("::/64", "fe80::/10", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32")
)
# 6to4: each /48 is one address of IPv4, and a larger prefix is of many owners.
_SIX_TO_FOUR, _OF_ONE = IPv6Network("2002::/16"), 48
_SLACK = 4096

Key = tuple[int, int]
"""A prefix: its length, and its bits as a number."""


class Prefixes:
    """One jail's bans of IPv6, by prefix.

    Args:
        spec: it has a ``prefix6``.
        jail: counts, and holds the bans.
        barred: returns why a prefix is never to be banned, or "".
        peer: returns why one must not be banned just now, or "".
    """

    def __init__(
        self,
        spec: JailSpec,
        jail: Jail,
        barred: Callable[[IPv6Network, float], str],
        peer: Callable[[IPv6Network, float], str],
    ) -> None:
        self._length, *self._wider = spec.prefix6
        self._members = spec.members
        self._jail, self._barred, self._peer = jail, barred, peer
        self._spared: dict[str, float] = {}
        self._lengths = spec.prefix6
        self._known: dict[int, Optional[IPv6Network]] = {}
        self._over: list[Ban] = []
        # An index of the jail's bans. What is lifted stays in it until there is too much of that.
        self._noted = 0
        self._inside: dict[Key, set[str]] = {}
        self._large: dict[int, dict[int, str]] = {}
        jail.heed = self._heed

    def forget(self) -> None:
        """Ask again which prefixes may be banned."""
        self._known.clear()

    def spare(self, ban: Ban, now: float) -> None:
        """Let the addresses of a prefix that cannot be banned just now count alone for a time."""
        self._spared = {id_: end for id_, end in self._spared.items() if end > now}
        self._spared[ban.id] = now + SPARED

    def counted(self, failure: Failure, now: float, *, known: bool = True) -> Failure:
        """Return a failure under the id that it counts for.

        That is the banned prefix that holds its address, so that no ban is made inside another;
        else the address's own prefix; else, where that is never to be banned, the address. Unless
        ``known``, whom to spare may have changed unseen.
        """
        address = failure.address
        if not known:
            self.forget()
        # What is no address (an <F-ID>) counts by itself, whatever address stands beside it.
        if not isinstance(address, (IPv6Address, IPv6Network)) or failure.id != str(address):
            return failure
        number, length = _bits(address)
        held = self._holder(number, length)
        if held is not None and not self._freed(held, now):
            return failure._replace(id=held.id, address=held.address, source=address)
        if length <= self._length:
            return failure
        network = self._prefix(number, now)
        id_ = str(network)
        if network is None or self._spared.get(id_, now) > now:
            return failure
        return failure._replace(id=id_, address=network, source=address)

    def settled(self, ban: Ban, now: float) -> list[Ban]:
        """Return a ban that the jail has just made, and those of larger prefixes that it earns.

        Each takes the place of the bans within it, and lasts as long as the longest of them. A ban
        within one that is in force is none. A ban by hand is just that: it earns no larger one.
        """
        if ban.prolonged or not isinstance(ban.address, (IPv6Address, IPv6Network)):
            return [ban]
        if self.holds(ban.address):
            self._jail.take_back(ban)
            return []
        number, length = _bits(ban.address)
        made = [self._alone(ban)]
        for wider in self._wider if ban.failures else ():
            if wider >= length:
                continue
            inside = list(self._within((wider, number >> (BITS - wider))))
            if len({self._member(one) for one in inside}) < self._members:
                continue
            network = _network(number, wider)
            if self._refused(network, now) or self._peer(network, now):
                break
            earned = self._jail.widen(network, ban, inside, now)
            if earned is not None:
                made.append(self._alone(earned))
        return made

    def holds(self, address: Optional[Target]) -> bool:
        """Return whether an address or network is banned with a prefix that holds it."""
        if not isinstance(address, (IPv6Address, IPv6Network)):
            return False
        number, length = _bits(address)
        own = length > self._length and str(_network(number, self._length)) in self._jail.banned
        return own or self._holder(number, length) is not None

    def superseded(self) -> list[Ban]:
        """Return the bans that ended since the last call, as others took their place.

        Or as they hold somebody by now who is never banned.
        """
        over, self._over = self._over, []
        return over

    def _prefix(self, number: int, now: float) -> Optional[IPv6Network]:
        """Return the prefix that an address counts by, or None where that may not be banned."""
        key = number >> (BITS - self._length)
        if key not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            network = _network(number, self._length)
            self._known[key] = None if self._refused(network, now) else network
            held = self._jail.banned.get(str(network))
            if held is not None:
                self._freed(held, now)
        return self._known[key]

    def _freed(self, held: Ban, now: float) -> bool:
        """End a prefix's ban if it holds somebody by now who is never banned."""
        if not isinstance(held.address, IPv6Network) or not self._barred(held.address, now):
            return False
        self._jail.unban(held.id)
        self._over.append(held)
        return True

    def _refused(self, network: IPv6Network, now: float) -> bool:
        crowd = network.prefixlen < _OF_ONE and network.subnet_of(_SIX_TO_FOUR)
        return crowd or _APART.meets(network) or bool(self._barred(network, now))

    def _alone(self, ban: Ban) -> Ban:
        """End the bans within a ban."""
        if not isinstance(ban.address, IPv6Network):
            return ban
        number, length = _bits(ban.address)
        inside = list(self._within((length, number >> (BITS - length))))
        for one in inside:
            self._jail.unban(one.id)
        self._over += (replace(one, rank=0) for one in inside)
        return self._jail.replacing(ban, inside)

    def _within(self, key: Key) -> Iterator[Ban]:
        for id_ in self._inside.get(key, ()):
            ban = self._jail.banned.get(id_)
            if ban is not None:
                yield ban

    def _member(self, ban: Ban) -> Key:
        """Return what a ban counts as towards a larger one: ten of one prefix's are one."""
        number, length = _bits(ban.address) if ban.address is not None else (0, 0)
        length = min(length, self._length)
        return length, number >> (BITS - length)

    def _holder(self, number: int, length: int) -> Optional[Ban]:
        """Return the ban of a larger prefix that is in force, the largest first."""
        for large in sorted(self._large):
            id_ = self._large[large].get(number >> (BITS - large)) if large < length else None
            ban = self._jail.banned.get(id_) if id_ is not None else None
            if ban is not None:
                return ban
        return None

    def _heed(self, ban: Ban) -> None:
        """Take a ban into the index, which is made anew once it has too many that are over."""
        if self._noted > 2 * self._jail.banned_now + _SLACK:
            self._inside, self._large, self._noted = {}, {}, 0
            for one in self._jail.banned.values():
                self._note(one)
        self._note(ban)

    def _note(self, ban: Ban) -> None:
        if not isinstance(ban.address, (IPv6Address, IPv6Network)):
            return
        number, length = _bits(ban.address)
        for shorter in self._lengths:
            if shorter < length:
                self._inside.setdefault((shorter, number >> (BITS - shorter)), set()).add(ban.id)
                self._noted += 1
        if length < self._length:
            self._large.setdefault(length, {})[number >> (BITS - length)] = ban.id
            self._noted += 1


def _bits(address: Target) -> Key:
    """Return an address's or network's first address as a number, and its length."""
    if isinstance(address, IPv6Network):
        return int(address.network_address), address.prefixlen
    return (int(address), BITS) if isinstance(address, IPv6Address) else (0, 0)


def _network(number: int, length: int) -> IPv6Network:
    return IPv6Network((number >> (BITS - length) << (BITS - length), length))
