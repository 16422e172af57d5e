# SPDX-License-Identifier: MIT
"""Who a failure is of: from the text that a regex captured to a canonical id and address.

The canonical text is the C library's (``inet_ntop``), as fail2ban writes it: an IPv4-mapped
IPv6 address is the IPv4 address, a network is masked.
"""

from __future__ import annotations

import re
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import NamedTuple, Optional, Union

from stockade_agent.model import Address, Target


class Identity(NamedTuple):
    """An id, and the same as an address or network where it is one."""

    id: str
    address: Optional[Target] = None


_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")
_MASKED = re.compile(r"([0-9a-fA-F:.]+)/(\d+|[0-9a-fA-F:.]+)", re.ASCII)
_FULL4, _FULL6, _MAPPED = 32, 128, 96


def ipv4(text: str) -> Optional[IPv4Address]:
    """Return the address that dotted decimal text is, without leading zeros; else None."""
    if _DECIMAL.fullmatch(text) is None:
        return None
    number = 0
    for part in text.split("."):
        byte = int(part)
        if byte > 0xFF:
            return None
        number = number << 8 | byte
    return IPv4Address(number)


def ipv6(text: str) -> Optional[IPv6Address]:
    """Return the address that text is, a zone excluded; else None."""
    if "%" in text or ":" not in text or not text.isascii():
        return None
    try:
        return IPv6Address(text)
    except ValueError:
        return None


def plain(text: str) -> Optional[Address]:
    """Return the address that text is, IPv4-mapped IPv6 as IPv4; else None."""
    four = ipv4(text)
    if four is not None:
        return four
    six = ipv6(text)
    return six if six is None or six.ipv4_mapped is None else six.ipv4_mapped


def of_address(text: str, *, version: int, cidr: Optional[str]) -> Identity:
    """Return the identity of what an ``ip4`` or ``ip6`` group captured.

    What only looks like an address (999.1.1.1) is an id without one.

    Args:
        text: what was captured.
        version: 4 or 6, by the group.
        cidr: the prefix length beside it.
    """
    if cidr:
        address: Optional[Address] = ipv4(text) or ipv6(text)
        return Identity(text) if address is None else _network(address, int(cidr))
    if version == 4:
        address = ipv4(text)
    else:
        address = ipv6(text)
        if address is not None and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
    return Identity(text) if address is None else Identity(canonical(address), address)


def of_text(text: str) -> Identity:
    """Return the identity of what ``<F-ID>`` captured: an address, a network, or any text."""
    bare = text[1:-1] if len(text) > len("[]") and text[0] == "[" and text[-1] == "]" else text
    address = plain(bare)
    if address is not None:
        return Identity(canonical(address), address)
    masked = _MASKED.fullmatch(bare)
    if masked is None:
        return Identity(bare if bare is not text and "/" in bare else text)
    network = ipv4(masked[1]) or ipv6(masked[1])
    length = int(masked[2]) if masked[2].isdigit() else _length(masked[2])
    if network is None or length is None:
        return Identity(bare)
    return _network(network, length)


def canonical(address: Union[Address, IPv4Network, IPv6Network]) -> str:
    """Return the text of an address or network as the C library writes it."""
    if isinstance(address, IPv6Address):
        number = int(address)
        # "::192.0.2.1": what has nothing but zeros in front is written as IPv4.
        if 0xFFFF < number <= 0xFFFFFFFF:
            return f"::{IPv4Address(number)}"
    return str(address)


def _network(address: Address, length: int) -> Identity:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None and length >= _MAPPED:
        address, length = address.ipv4_mapped, length - _MAPPED
    full = _FULL4 if address.version == 4 else _FULL6
    if length >= full:
        return Identity(canonical(address), address)
    network = ip_network((int(address), length), strict=False)
    if length == 0:
        # fail2ban writes no /0; and a ban of everyone is not to be had from a log.
        return Identity(canonical(network.network_address), network.network_address)
    return Identity(f"{canonical(network.network_address)}/{length}", network)


def _length(mask: str) -> Optional[int]:
    address = ipv4(mask) or ipv6(mask)
    if address is None:
        return None
    bits = address.max_prefixlen
    ones = bin(int(address)).count("1")
    return ones if int(address) == ((1 << ones) - 1) << (bits - ones) else None
