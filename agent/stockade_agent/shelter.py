# SPDX-License-Identifier: MIT
"""Whom one jail does not ban: who is protected, its ignore list, and who is logged in by a key.

unknown = shelter.unknown(now)     # a name in ignoreip that was never resolved, or ""
why = shelter.ignore.ignored(failure)
why = shelter.never(ban, now)      # asked before a ban rather than of each failure
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Callable, Optional

from stockade_agent.errors import ControlError
from stockade_agent.ignore import Ignore
from stockade_agent.log import Log
from stockade_agent.model import Address, Ban, Target, target
from stockade_agent.protected import Protected
from stockade_agent.resolver import Resolver
from stockade_agent.specs import JailSpec


MOST_SPARED = 1000
"""Prefixes of which it is said that they are not banned."""


class Shelter:
    """What speaks against a ban of one jail.

    Args:
        spec: the jail.
        protected: who must never be banned, whatever the jail.
        resolver: for names in ``ignoreip``.
        log: is told of prefixes that are never banned.
        now: seconds, UTC.

    Attributes:
        ignore: the jail's ignore list as of now.
        heed: called whenever that was made anew.
    """

    def __init__(
        self, spec: JailSpec, protected: Protected, resolver: Resolver, log: Log, now: float
    ) -> None:
        self._spec, self._protected, self._resolver, self._log = spec, protected, resolver, log
        self._names: dict[str, tuple[Address, ...]] = {}
        self._spared: set[str] = set()
        self.heed: Callable[[], None] = lambda: None
        self.take(spec)
        self.unknown(now)

    def take(self, spec: JailSpec) -> None:
        """Make the ignore list anew from a jail's options and what is protected now."""
        self._spec, self._version = spec, self._protected.version
        self.ignore = Ignore(spec, own=self._protected.own, always=self._protected.always)
        for name, addresses in self._names.items():
            self.ignore.resolved(name, addresses)
        self.heed()

    def unknown(self, now: float) -> str:
        """See that the names in ``ignoreip`` are known; return one that never was, or ""."""
        unknown = ""
        if self._version != self._protected.version:
            self.take(self._spec)
        for name in self.ignore.names:
            addresses = self._resolver.addresses(name, now, first=True)
            if addresses is not None:
                # Name servers that fail take nobody's shelter.
                self._names[name] = addresses or self._names.get(name, ())
                self.ignore.resolved(name, self._names[name])
            elif name not in self._names:
                unknown = name
        return unknown

    def never(self, ban: Ban, now: float) -> str:
        """Return why a ban must not be in force, or ""."""
        why = self._protects(ban.address, now) or self.ignore.ignored(ban)
        if not why and isinstance(ban.address, (IPv4Network, IPv6Network)):
            why = self.ignore.within(ban.address)
        return why

    def barred(self, network: IPv6Network, now: float) -> str:
        """Return why a prefix is never banned, and say it once; "" if it may be."""
        why = self._protects(network, now) or self.ignore.within(network)
        if why and str(network) not in self._spared and len(self._spared) < MOST_SPARED:
            self._spared.add(str(network))
            self._log.warning(
                f"[{self._spec.name}] {network} is never banned as a whole, "
                f"only what is in it: {why}"
            )
        return why

    def peer(self, address: Optional[Target], now: float) -> str:
        """Return who is logged in by a public key from an address or a network, or ""."""
        if not self._spec.ignorepeers:
            return ""
        peers = self._protected.peers
        why = peers.why(address, self._spec.shield, now)
        self._log.problem("ignorepeers", peers.problem, "WARNING")
        return why

    def is_news(self, id: str, now: float) -> bool:  # noqa: A002
        """Return whether it has not been said lately that somebody is spared as a peer."""
        return self._protected.peers.is_news(id, now)

    def check(self, id: str, now: float) -> Target:  # noqa: A002
        """Return the address that may be banned by hand.

        Raises:
            ControlError: it is no address, or one that is not to be banned now.
        """
        address, name = self.bannable(id, now), self._spec.name
        if why := self.peer(address, now):
            remedy = "end that session first, or set ignorepeers = false"
            raise ControlError(f"{address} is not banned in {name}: {why}", remedy=remedy)
        return address

    def bannable(self, id: str, now: float) -> Target:  # noqa: A002
        """Return the address that failures may be told of by hand.

        Raises:
            ControlError: it is no address, or one that is never banned.
        """
        address = target(id)
        if address is None:
            raise ControlError(f"{id!r} is no address or network")
        if why := self._protects(address, now) or self.ignore.within(address):
            raise ControlError(f"{address} is never banned in {self._spec.name}: {why}")
        return address

    def _protects(self, address: Optional[Target], now: float) -> str:
        """Look again whether an address has become one of ours, or that of a gateway."""
        self._protected.refresh(now)
        if self._version != self._protected.version:
            self.take(self._spec)
        return self._protected.why(address, own=self._spec.ignoreself)
