# SPDX-License-Identifier: MIT
"""The addresses that have pushed to this host, which its agent never bans: the file of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from stockade.converge import files
from stockade.converge.host import CONTROLLERS, Host


def added(host: Host, wanted: Sequence[str]) -> tuple[list[str], bytes]:
    """Return the addresses to add to the controllers' file, and the file with them in it."""
    found = files.look(host, CONTROLLERS)
    lines = found.content.decode("utf-8", "replace").splitlines() if found and found.content else []
    there = {_address(line.partition("#")[0].strip()) for line in lines}
    new = []
    for text in wanted:
        address = _address(text)
        if address is not None and address not in there:
            there.add(address)
            new.append(address)
    for address in new:
        place = len(lines)
        for number, line in enumerate(lines):
            other = _address(line.partition("#")[0].strip())
            if other is not None and _order(other) > _order(address):
                place = number
                break
        lines.insert(place, str(address))
    return [str(address) for address in new], "".join(line + "\n" for line in lines).encode()


def _address(text: str) -> Any:
    """Return an address, or a network where the mask is shorter; None for anything else."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if network.prefixlen < network.max_prefixlen:
        return network
    address = network[0]
    return getattr(address, "ipv4_mapped", None) or address


def _order(address: Any) -> tuple[int, int]:
    first = address[0] if hasattr(address, "prefixlen") else address
    return first.version, int(first)
