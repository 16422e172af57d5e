# SPDX-License-Identifier: MIT
"""Who is connected to this host now, as the kernel tells it."""

from __future__ import annotations

from stockade_agent.firewall.batch import closed
from stockade_agent.firewall.established import Address, established
from stockade_agent.specs import Shield


def peers(shield: Shield) -> set[Address]:
    """Return the addresses that have an established TCP connection to a port that a shield closes.

    Those that a socket of IPv6 serves by IPv4 are told as such.

    Raises:
        OSError: the kernel says no.
    """
    protocols, ranges = closed(shield)
    if protocols and "tcp" not in protocols:
        return set()
    return {
        one.address
        for one in established()
        if not protocols or any(low <= one.here <= high for low, high in ranges)
    }
