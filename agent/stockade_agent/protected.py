# SPDX-License-Identifier: MIT
"""Addresses that no jail may ban whatever it is told: gateways, controllers, our own."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Callable, Optional

from stockade_agent.ignore import own_addresses
from stockade_agent.model import Address, Target, target
from stockade_agent.peers import Peers


FRESH = 1.0
"""Seconds for which an answer is taken for the present."""

_RTF_GATEWAY = 0x2
_MASK = 7


def gateways(proc: str = "/proc/self") -> frozenset[Address]:
    """Return the next hops of the default routes.

    Source:
        proc(5), ``net/route`` and ``net/ipv6_route``. The unit hides all of /proc but processes.
    """
    found: set[Address] = set()
    for line in _lines(f"{proc}/net/route")[1:]:
        fields = line.split()
        if len(fields) <= _MASK or not fields[1] == fields[_MASK] == "0" * 8:
            continue
        if int(fields[3], 16) & _RTF_GATEWAY:
            found.add(IPv4Address(int.from_bytes(bytes.fromhex(fields[2]), "little")))
    for line in _lines(f"{proc}/net/ipv6_route"):
        fields = line.split()
        if fields[:2] == ["0" * 32, "00"] and int(fields[4], 16):
            found.add(IPv6Address(int(fields[4], 16)))
    return frozenset(found)


def controllers(path: str) -> frozenset[Target]:
    """Return the addresses in the file of who pushed to this host; none when there is no file."""
    words = (line.partition("#")[0].split() for line in _lines(path))
    return frozenset(
        found for line in words for word in line if (found := target(word)) is not None
    )


class Protected:
    """The present answer to who must never be banned, beside what jails ignore.

    Args:
        path: the file of controllers.
        own: tells this host's addresses.
        routers: tells its gateways.

    Attributes:
        peers: who is logged in by a public key; jails with ``ignorepeers`` ask.
    """

    def __init__(
        self,
        path: str,
        own: Callable[[], Iterable[Address]] = own_addresses,
        routers: Callable[[], Iterable[Address]] = gateways,
    ) -> None:
        self._path, self._own, self._routers = path, own, routers
        self.peers = Peers()
        self.own: frozenset[Address] = frozenset()
        self.gateways: frozenset[Address] = frozenset()
        self.controllers: frozenset[Target] = frozenset()
        self.version = 0
        self._looked: Optional[float] = None
        self.refresh(0.0)

    def refresh(self, now: float) -> None:
        """Look again, at most once a second; ``version`` moves when anything has changed."""
        if self._looked is not None and 0 <= now - self._looked < FRESH:
            return
        self._looked = now
        before = (self.own, self.gateways, self.controllers)
        self.own, self.gateways = frozenset(self._own()), frozenset(self._routers())
        self.controllers = controllers(self._path)
        self.version += before != (self.own, self.gateways, self.controllers)

    def move(self, path: str) -> None:
        """Take another file of controllers."""
        self._path, self._looked = path, None

    def why(self, address: Optional[Target], *, own: bool = True) -> str:
        """Return why an address, or a network that holds one, is never banned; "" if it may be."""
        if address is None:
            return ""
        if any(_within(each, address) for each in self.controllers):
            return "controller"
        if any(_within(each, address) for each in self.gateways):
            return "gateway"
        if own and any(_within(each, address) for each in self.own):
            return "own address"
        return ""

    @property
    def always(self) -> dict[str, frozenset[Target]]:
        """Those that even a jail without ``ignoreself`` must not ban, by what they are."""
        return {"controller": self.controllers, "gateway": self.gateways}


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return lines.readlines()
    except OSError:
        return []


def _within(one: Target, other: Target) -> bool:
    """Return whether two addresses or networks have an address in common."""
    if one.version != other.version:
        return False
    first, second = (
        (int(each), int(each))
        if isinstance(each, (IPv4Address, IPv6Address))
        else (int(each.network_address), int(each.broadcast_address))
        for each in (one, other)
    )
    return first[0] <= second[1] and second[0] <= first[1]
