# SPDX-License-Identifier: MIT
"""Ends what banned addresses have open, where a firewall lets established connections through.

A TCP socket of this host is ended: whoever owns it reads an error, and its peer gets a reset.
Then the kernel is told to forget the connection: a packet that still comes opens a new one in
its eyes, and meets the ban. That alone would not do for TCP, as the next packet that the host
sends makes of what comes back an answer. All in the agent's own process, over netlink.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple, Optional, Union

from stockade_agent.firewall.batch import closed, family
from stockade_agent.firewall.netlink import (
    ACK,
    CONNTRACK,
    DUMP,
    ask,
    attribute,
    attributes,
    can_destroy,
    destroy,
)
from stockade_agent.model import Target
from stockade_agent.specs import Shield


_ANY_INTERFACE = bytes(4)

FEW = 16
"""Addresses of IPv4 that the kernel is asked about one by one; past these, about all."""

Address = Union[IPv4Address, IPv6Address]

_GET, _DELETE = 1, 2
_TUPLE, _ZONE, _ID, _FILTER = 1, 18, 12, 25
_ADDRESSES, _PROTOCOL = 1, 2  # within a tuple
_SOURCES = {4: 1, 6: 3}  # within addresses
_NUMBER, _PORT = 1, 3  # within a protocol
_BY_SOURCE = 1
_CHOOSING = 4
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udplite": 136}


def cut(bans: Mapping[str, Collection[Target]], shields: Mapping[str, Shield]) -> int:
    """Have the kernel forget what banned addresses have open to the ports that are closed to them.

    Args:
        bans: jail -> whom it bans.
        shields: jail -> what is closed.

    Returns:
        How many connections there were.

    Raises:
        OSError: the kernel was built without it, or we lack the right.
    """
    can_destroy()  # a warning must not wait for the first ban
    ended = 0
    for version in (4, 6):
        doomed = {
            jail: [ip_network(target) for target in targets if family(target) == version]
            for jail, targets in bans.items()
        }
        networks = {network for of_jail in doomed.values() for network in of_jail}
        single = all(network.num_addresses == 1 for network in networks)
        asked = [network.network_address for network in networks]
        # Asked for one of IPv6, kernels up to 6.18 at least send all the others.
        few = single and len(asked) <= FEW and version == _CHOOSING
        for source in asked if few else [None] if asked else []:
            for connection in list(_connections(version, source)):
                if any(
                    connection.source in network and connection.meets(shields[jail])
                    for jail, of_jail in doomed.items()
                    for network in of_jail
                ):
                    ended += _end(connection)
    return ended


class Connection(NamedTuple):
    """What the kernel tracks.

    Attributes:
        source: who opened it.
        port: ours, that he opened it to.
        known_by: what names its socket, if it has one here.
        tracked_by: what names it among all that are tracked.
    """

    version: int
    source: Address
    protocol: int
    port: int
    known_by: bytes
    tracked_by: bytes

    def meets(self, shield: Shield) -> bool:
        """Return whether a shield closes its port."""
        protocols, ranges = closed(shield)
        if not protocols:
            return True
        return self.protocol in {_PROTOCOLS[name] for name in protocols} and any(
            low <= self.port <= high for low, high in ranges
        )


def _connections(version: int, source: Optional[Address]) -> Iterator[Connection]:
    """Yield all connections, or those from one address: where the kernel cannot choose, more."""
    body = b""
    if source is not None:
        address = attribute(_SOURCES[version], source.packed)
        body = attribute(_TUPLE, attribute(_ADDRESSES, address, nested=True), nested=True)
        flags = attribute(1, _BY_SOURCE.to_bytes(4, sys.byteorder))
        body += attribute(_FILTER, flags, nested=True)
    for message in ask(CONNTRACK, _GET, DUMP, _FAMILIES[version], body):
        tuple_ = message.attributes.get(_TUPLE, b"")
        parts = attributes(tuple_)
        addresses = attributes(parts.get(_ADDRESSES, b""))
        protocol = attributes(parts.get(_PROTOCOL, b""))
        theirs = addresses.get(_SOURCES[version], b"")
        ours = addresses.get(_SOURCES[version] + 1, b"")
        if not theirs or not ours or (source is not None and theirs != source.packed):
            continue
        port, their_port = protocol.get(_PORT, b"\0\0"), protocol.get(_PORT - 1, b"\0\0")
        tracked_by = attribute(_TUPLE, tuple_, nested=True)
        for kind in (_ZONE, _ID):
            if kind in message.attributes:
                tracked_by += attribute(kind, message.attributes[kind])
        yield Connection(
            version,
            ip_address(theirs),
            int.from_bytes(protocol.get(_NUMBER, b""), "big"),
            int.from_bytes(port, "big"),
            port + their_port + ours.ljust(16, b"\0") + theirs.ljust(16, b"\0") + _ANY_INTERFACE,
            tracked_by,
        )


def _end(connection: Connection) -> int:
    """Return whether it was still there."""
    family_ = _FAMILIES[connection.version]
    try:
        if connection.protocol == socket.IPPROTO_TCP:
            with suppress(FileNotFoundError):  # such as one that is forwarded
                destroy(family_, connection.known_by)
    finally:
        forgotten = True
        try:
            list(ask(CONNTRACK, _DELETE, ACK, family_, connection.tracked_by))
        except FileNotFoundError:
            forgotten = False
    return int(forgotten)
