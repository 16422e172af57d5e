# SPDX-License-Identifier: MIT
"""The ipsets and rich rules that firewalld is given: their names, their words, what fits in."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from stockade_agent.firewall.batch import closed, short
from stockade_agent.model import Target
from stockade_agent.specs import Shield


POLICY = "stockade"
PORTED = ("tcp", "udp", "sctp", "dccp")
"""Protocols whose ports a rich rule can name."""
NETWORKS = (IPv4Network, IPv6Network)

_PREFIX = "stockade-"
_LONGEST_JAIL = 20  # an ipset's name has 31 characters at most


def ours(name: str) -> bool:
    """Return whether an ipset or a policy is ours, by its name."""
    return name == POLICY or name.startswith(_PREFIX)


def set_name(jail: str, version: int) -> str:
    """Return the ipset for a jail's addresses of IP version 4 or 6."""
    return f"{_PREFIX}{short(jail, _LONGEST_JAIL, '--')}-{version}"


def rich_rules(shield: Shield) -> list[str]:
    """Return a shield's rich rules, to the letter as ``firewall-cmd`` lists them."""
    protocols, ranges = closed(shield, PORTED)
    rules: list[str] = []
    for version in (4, 6):
        source = f'rule family="ipv{version}" source ipset="{set_name(shield.jail, version)}"'
        if not protocols:
            rules.append(f"{source} {'drop' if shield.blocktype == 'drop' else 'reject'}")
        for protocol in protocols:
            verdict = 'reject type="tcp-reset"' if protocol == "tcp" else "reject"
            if shield.blocktype == "drop":
                verdict = "drop"
            rules += [
                f'{source} port port="{low if low == high else f"{low}-{high}"}" '
                f'protocol="{protocol}" {verdict}'
                for low, high in ranges
            ]
    return rules


def within(address: Target, network: Target) -> bool:
    """Return whether a network holds all of another target."""
    inner, outer = ip_network(address), ip_network(network)
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def widest(targets: set[Target]) -> set[Target]:
    """Return those of one family's targets that lie within no other."""
    networks = sorted(
        (entry for entry in targets if isinstance(entry, NETWORKS)),
        key=lambda network: network.prefixlen,
    )
    wide: list[Target] = []
    for network in networks:
        if not any(within(network, other) for other in wide):
            wide.append(network)
    if not wide:
        return targets
    single = {entry for entry in targets if not isinstance(entry, NETWORKS)}
    return {*wide, *(a for a in single if not any(within(a, network) for network in wide))}
