# SPDX-License-Identifier: MIT
"""Who is connected to this host now, as the kernel tells it."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Union

from stockade_agent.firewall.batch import closed
from stockade_agent.firewall.netlink import connected
from stockade_agent.model import Shield


Address = Union[IPv4Address, IPv6Address]


def peers(shield: Shield) -> set[Address]:
    """Return the addresses that have an established TCP connection to a port that a shield closes.

    Those that a socket of IPv6 serves by IPv4 are told as such.

    Raises:
        OSError: the kernel says no.
    """
    protocols, ranges = closed(shield)
    if protocols and "tcp" not in protocols:
        return set()
    found = {
        ip_address(one.peer)
        for family in (socket.AF_INET, socket.AF_INET6)
        for one in connected(family)
        if not protocols or any(low <= one.port <= high for low, high in ranges)
    }
    return {getattr(address, "ipv4_mapped", None) or address for address in found}
