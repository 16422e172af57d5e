# SPDX-License-Identifier: MIT
"""What every backend makes of its orders before it writes them in its tool's language."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Firewall
from stockade_agent.model import Ban, Target
from stockade_agent.specs import Shield


PORTED = ("tcp", "udp", "sctp", "dccp", "udplite")
"""The protocols that have ports."""


@dataclass(frozen=True)
class Batch:
    """Bans and unbans of one call, each address once.

    Attributes:
        bans: jail -> target -> when the ban ends, None for never.
        unbans: jail -> targets, none of which is in ``bans``.
    """

    bans: Mapping[str, Mapping[Target, Optional[float]]]
    unbans: Mapping[str, set[Target]]


def batch(
    bans: Iterable[Ban], unbans: Iterable[Ban], jails: Collection[str], backend: str
) -> Batch:
    """Sort orders by jail; of two bans of an address the one that ends later counts.

    Raises:
        FirewallError: a ban is for a jail that is not among ``jails``.
    """
    wanted = expiries(bans)
    strangers = sorted(set(wanted) - set(jails))
    if strangers:
        raise FirewallError(f"jail {strangers[0]} has not been started", backend=backend)
    unwanted: dict[str, set[Target]] = {}
    for ban in unbans:
        if ban.address is not None and ban.jail in jails:
            address = unscoped(ban.address)
            if address not in wanted.get(ban.jail, {}):
                unwanted.setdefault(ban.jail, set()).add(address)
    return Batch(wanted, unwanted)


def expiries(bans: Iterable[Ban]) -> dict[str, dict[Target, Optional[float]]]:
    """Return jail -> target -> when the latest of its bans ends, None for never."""
    found: dict[str, dict[Target, Optional[float]]] = {}
    for ban in bans:
        if ban.address is None:
            continue
        ends, of_jail = ban.expires_at, found.setdefault(ban.jail, {})
        address = unscoped(ban.address)
        # Asked once in all: ``ipaddress`` computes a hash in Python.
        known = of_jail.setdefault(address, ends)
        if known is not ends and known is not None and (ends is None or ends > known):
            of_jail[address] = ends
    return found


def put_back(
    firewall: Firewall, bans: Sequence[Ban], held: Mapping[str, set[Target]], now: float
) -> str:
    """Apply those bans that are not held; return what was missing, in words.

    Raises:
        FirewallError: more is held than these bans, or ``apply`` failed.
    """
    wanted = expiries(bans)
    for jail, targets in held.items():
        if not targets <= wanted.get(jail, {}).keys():
            raise FirewallError(f"somebody added bans to jail {jail}", backend=firewall.name)
    missing = [
        ban
        for ban in bans
        if ban.address is not None and unscoped(ban.address) not in held.get(ban.jail, ())
    ]
    if missing:
        firewall.apply(missing, (), now)
    return named(missing)


def named(bans: Sequence[Ban]) -> str:
    """Return whom these bans refuse, in a few words; "" where there are none."""
    if not bans:
        return ""
    return f"{bans[0].id} of jail {bans[0].jail}" if len(bans) == 1 else f"{len(bans)} bans"


def unscoped(address: Target) -> Target:
    """Return the address without its interface (``%eth0``), which no firewall set can hold."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return IPv6Address(int(address))
    return address


def family(address: Target) -> int:
    """Return 4 or 6."""
    return 4 if isinstance(address, (IPv4Address, IPv4Network)) else 6


def prefixlen(address: Target) -> Optional[int]:
    """Return the prefix length of a network, None for a single address."""
    return address.prefixlen if isinstance(address, (IPv4Network, IPv6Network)) else None


def closed(
    shield: Shield, ported: Collection[str] = PORTED
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Return the protocols and the port ranges that a shield closes; both empty means all.

    Ranges do not overlap. A protocol without ports closes everything: rather too much than
    too little.
    """
    if not shield.ports or any(protocol not in ported for protocol in shield.protocols):
        return (), ()
    ranges: list[tuple[int, int]] = []
    for low, high in sorted(shield.ports):
        if ranges and low <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(high, ranges[-1][1]))
        else:
            ranges.append((low, high))
    return tuple(dict.fromkeys(shield.protocols)), tuple(ranges)


def warnings(shields: Sequence[Shield], ported: Collection[str] = PORTED) -> list[str]:
    """Return a line for each shield whose protocols ``closed`` had to widen to all."""
    return [
        f"jail {shield.jail}: protocol {protocol} has no ports; "
        "every port is closed to its banned addresses"
        for shield in shields
        for protocol in shield.protocols
        if shield.ports and protocol not in ported
    ]


def short(name: str, limit: int, mark: str) -> str:
    """Return a name of at most ``limit`` letters, digits, ``_``, ``.`` and ``-``, one for each.

    A name that fits stays as it is; any other is cut and ends in ``mark`` and a digest. With a
    ``mark`` that no fitting name holds, different names never meet.
    """
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if clean == name and len(name) <= limit and mark not in name:
        return name
    # Here, as few names need one: it loads OpenSSL, a sixth of the idle agent's memory.
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{clean[: limit - len(mark) - len(digest)]}{mark}{digest}"
