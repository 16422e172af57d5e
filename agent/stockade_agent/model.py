# SPDX-License-Identifier: MIT
"""The nouns of the pipeline, one immutable type per stage.

    Block -> Failure -> Ban

Times are seconds since the epoch, UTC, as float. Durations are seconds.
An ``id`` is fail2ban's failure-id: the canonical text of an address or network, or
whatever ``<F-ID>`` captured. It is the key of counts and bans. ``address`` is the same as
an ``ipaddress`` object where it is one; past the filter nobody parses text again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import Any, NamedTuple, Optional, Union


Address = Union[IPv4Address, IPv6Address]  # evaluated at import: no `|` before Python 3.10
Target = Union[IPv4Address, IPv6Address, IPv4Network, IPv6Network]

FOREVER = -1
"""The bantime of a ban that never ends."""


def target(text: str) -> Optional[Target]:
    """Return the address or network that ``text`` is, IPv4-mapped IPv6 as IPv4, or None.

    A network is masked; one of full length is an address; a zone is left out.
    """
    try:
        if "/" in text:
            network = ip_network(text, strict=False)
            if isinstance(network, IPv6Network) and network.subnet_of(IPv6Network("::ffff:0:0/96")):
                network = IPv4Network((int(network[0]) & 0xFFFFFFFF, network.prefixlen - 96))
            return network if network.prefixlen < network.max_prefixlen else network[0]
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    # No firewall of ours knows zones (fe80::1%eth0), and a zone may be any text.
    return IPv6Address(int(address)) if "%" in text else address


_NONE: Mapping[str, str] = MappingProxyType({})  # one for all of 100,000 without data


@dataclass(frozen=True)
class Block:
    """Whole log lines as they were read, each ended by a newline.

    Attributes:
        watches: who asked for it: the ``Watch.name`` of each watch that covers this log.
        log: the log's path, or ``journal``.
        data: undecoded bytes.
        times: one time a line where the source knows it (journal), else None: the date
            then stands in the line.
        position: where to go on after this block, in the source's own notation; to be saved
            once the block has been dealt with.
        found: what was found in ``data``, by what was looked for: jails that look for the same
            do it once; and the failures that a filter found, for all jails that have it.
    """

    watches: tuple[str, ...]
    log: str
    data: bytes
    position: str
    times: Optional[Sequence[float]] = None
    found: dict[object, list[Any]] = field(default_factory=dict, compare=False, repr=False)


class Failure(NamedTuple):
    """One failed attempt, as a filter saw it.

    Attributes:
        at: when, from the line.
        id: what counts and is banned.
        address: the id as an address or network; None for any other id.
        host: a host name that still has to be resolved (``usedns``); ``id`` is then that name.
        attempts: how many failures the line stands for.
        matches: the lines, for actions and ``status``; hostile text.
        data: values of ``<F-…>`` tags by lower-case name; hostile text.
        source: who failed, where ``address`` is the prefix that he counts for.
    """

    at: float
    id: str
    address: Optional[Target] = None
    host: Optional[str] = None
    attempts: int = 1
    matches: tuple[str, ...] = ()
    data: Mapping[str, str] = _NONE
    source: Optional[Target] = None


class Tally(NamedTuple):
    """The failures of an id that may still earn it a ban.

    Attributes:
        first: since when they count.
        last: when the last one was.
        retry: what maxretry is compared with.
        failures: how many there were.
    """

    id: str
    first: float
    last: float
    retry: float
    failures: int
    matches: tuple[str, ...] = ()
    data: Mapping[str, str] = _NONE


@dataclass(frozen=True)
class Ban:
    """An order to refuse an id, and until when.

    While it is in force only the ledger keeps ``matches`` and ``data``: ``Records.whole`` gives
    a ban with them.

    Attributes:
        at: when it began (the last failure's time).
        failures: how many failures earned it; 0 for a ban by hand.
        count: how many bans this id has had, this one included (``bantime.increment``).
        restored: it was in the ledger when the agent started.
        prolonged: the id was banned already; only the end of that ban has moved.
        rank: so many bans its history in this jail has with it, at least; 0: another has it now.
    """

    jail: str
    id: str
    address: Optional[Target]
    at: float
    bantime: int
    failures: int = 0
    count: int = 1
    matches: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=lambda: _NONE)
    restored: bool = False
    prolonged: bool = False
    rank: int = 1

    @property
    def expires_at(self) -> Optional[float]:
        """When to unban, or None for a permanent ban."""
        return None if self.bantime == FOREVER else self.at + self.bantime

    def bare(self) -> Ban:
        """Return it without matches and data."""
        return replace(self, matches=(), data=_NONE) if self.matches or self.data else self
