# SPDX-License-Identifier: MIT
"""Who is connected to this host by TCP, asked of the kernel in the agent's own process.

The unit hides /proc/net; netlink tells the same, who owns each socket, and only what is asked.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple, Optional, Union

from stockade_agent.firewall.netlink import sockets
from stockade_agent.model import Target


Address = Union[IPv4Address, IPv6Address]

_ESTABLISHED = 1 << 1
_FAMILIES = {socket.AF_INET: 4, socket.AF_INET6: 16}
_ENDS = struct.Struct("!4xHH16s16s")
_OWNER = slice(64, 68)  # in the host's own byte order, unlike the ports
_PEER_IS = 8  # the operation that compares the other end with a prefix
_ANY_PORT = -1


class Connection(NamedTuple):
    """An established connection of this host.

    Attributes:
        address: the other end's; one of IPv4 as such, also where a socket of IPv6 serves it.
        port: the other end's.
        here: ours.
        owner: the user id of who opened the socket here.
    """

    address: Address
    port: int
    here: int
    owner: int


def established(peers: Optional[Target] = None) -> Iterator[Connection]:
    """Yield the connections with an address or network, or all for None.

    Raises:
        OSError: the kernel cannot be asked.
    """
    condition = b"" if peers is None else _with(peers)
    for family, length in _FAMILIES.items():
        # A socket of IPv6 may serve IPv4, never the other way round.
        if peers is not None and peers.version > (4 if family == socket.AF_INET else 6):
            continue
        for message in sockets(family, _ESTABLISHED, condition):
            here, port, _, theirs = _ENDS.unpack_from(message)
            address: Address = ip_address(theirs[:length])
            if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            if peers is not None and address.version != peers.version:
                continue  # ::/64 holds all of IPv4 in the kernel's eyes
            owner = int.from_bytes(message[_OWNER], sys.byteorder)
            yield Connection(address, port, here, owner)


def _with(peers: Target) -> bytes:
    """Return the kernel's code for: the other end is within this.

    Source:
        linux/inet_diag.h, ``inet_diag_bc_op`` and ``inet_diag_hostcond``.
    """
    network = ip_network(peers)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    wanted = struct.pack("=BBxxi", family, network.prefixlen, _ANY_PORT)
    wanted += network.network_address.packed
    size = 4 + len(wanted)
    # Where it is true, the code is over; where not, a jump beyond its end says no.
    return struct.pack("=BBH", _PEER_IS, size, size + 4) + wanted
