# SPDX-License-Identifier: MIT
"""Table ``filter`` of iptables as ``iptables-save`` prints it, and whose chains are whose.

A chain is ours when it ends in ``-m comment --comment stockade -j RETURN``, a rule elsewhere
when it has that comment and jumps to a chain of ours. The name says nothing: a fail2ban that
runs beside us has chains of the same names. An empty chain is ours when such a rule jumps to it,
else nobody's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Optional

from stockade_agent.firewall.batch import short
from stockade_agent.model import Target, target
from stockade_agent.specs import Shield


MARK = "-m comment --comment stockade"
RETURN = f"{MARK} -j RETURN"
LONGEST_NAME = 28
"""Characters that iptables allows in a chain's name."""

_BUILT_IN = ("INPUT", "FORWARD", "OUTPUT")
_PORTS_A_RULE = 15  # what ``-m multiport`` takes; a range counts two


@dataclass(frozen=True)
class Hook:
    """A rule that jumps to a chain of ours: ``-A <base> <rule>``."""

    base: str
    rule: str

    @property
    def goal(self) -> str:
        """The chain that it jumps to."""
        return self.rule.rpartition(" ")[2]


@dataclass(frozen=True)
class Filter:
    """What one family's table ``filter`` holds.

    Attributes:
        chains: the names of all chains, built-in ones included.
        ours: our chains -> the targets that they refuse.
        hooks: our rules that jump to our chains.
        pinned: those of our chains that somebody else's rule jumps to.
        empty: chains without rules, as ``iptables -F`` leaves ours, without their mark.
    """

    chains: frozenset[str]
    ours: dict[str, set[Target]]
    hooks: tuple[Hook, ...]
    pinned: frozenset[str]
    empty: frozenset[str] = frozenset()

    def is_strange(self, chain: str) -> bool:
        """Return whether a chain is there, and somebody else's; an empty one is nobody's."""
        return chain in self.chains and chain not in self.ours and chain not in self.empty


def parse(saved: str) -> Filter:
    """Read the output of ``iptables-save -t filter`` or ``ip6tables-save -t filter``."""
    lines = saved.splitlines()
    chains = {line[1:].split(" ", 1)[0] for line in lines if line.startswith(":")}
    empty = chains - {line[3:].partition(" ")[0] for line in lines if line.startswith("-A ")}
    marked = [line for line in lines if line.startswith("-A ") and "stockade" in line]
    ours: dict[str, set[Target]] = {}
    for line in marked:
        chain, _, rule = line[3:].partition(" ")
        if rule == RETURN:
            ours[chain] = set()
        goal = rule.rpartition(" ")[2]
        if goal in empty and rule.endswith(f"{MARK} -j {goal}"):
            ours[goal] = set()  # somebody emptied it
    hooks: list[Hook] = []
    pinned: set[str] = set()
    for line in lines:
        if not line.startswith("-A "):
            continue
        chain, _, rule = line[3:].partition(" ")
        if chain in ours:
            address = _source(rule)
            if address is not None:
                ours[chain].add(address)
            continue
        goal = rule.rpartition(" ")[2]
        if goal in ours:
            if rule.endswith(f"{MARK} -j {goal}"):  # a longer comment would end in a quote
                hooks.append(Hook(chain, rule))
            else:
                pinned.add(goal)
    every = frozenset(chains | set(_BUILT_IN))
    return Filter(every, ours, tuple(hooks), frozenset(pinned), frozenset(empty - set(_BUILT_IN)))


def _source(rule: str) -> Optional[Target]:
    """Return the address of ``-s ADDRESS -j …``."""
    words = rule.split(" ", 2)
    return target(words[1]) if words[0] == "-s" and len(words) > 1 else None


def name_of(jail: str, prefix: str, *, beside_stranger: bool = False) -> str:
    """Return the chain for a jail, a different one for each jail.

    Args:
        jail: whose bans the chain holds.
        prefix: what the name begins with, of at most 16 characters.
        beside_stranger: a chain with the jail's usual name is somebody else's.
    """
    room = LONGEST_NAME - len(prefix)
    if beside_stranger:
        return prefix + short(f"{jail}\nstockade", room, "~")
    return prefix + short(jail, room, "~")


def names(
    jails: Sequence[str], prefix: str, tables: Collection[Filter]
) -> tuple[dict[str, str], list[str]]:
    """Choose each jail's chain, the same in all tables, and touch nobody's.

    Returns:
        jail -> chain, and a warning for each jail whose usual chain is somebody else's.
    """
    chosen: dict[str, str] = {}
    warnings: list[str] = []
    for jail in jails:
        usual = chosen[jail] = name_of(jail, prefix)
        if any(table.is_strange(usual) for table in tables):
            chosen[jail] = name_of(jail, prefix, beside_stranger=True)
            warnings.append(
                f"chain {usual} is somebody else's, perhaps a running fail2ban's, and is left "
                f"alone; bans of jail {jail} are in chain {chosen[jail]}"
            )
    return chosen, warnings


def hooks(
    shield: Shield, protocols: Sequence[str], ranges: Sequence[tuple[int, int]], chain: str
) -> list[Hook]:
    """Return the rules that send what a shield closes to its chain.

    Args:
        shield: says from which chain.
        protocols: empty for all.
        ranges: of ports, inclusive; empty for all.
        chain: where the rules jump to.
    """
    jump = f"{MARK} -j {chain}"
    if not protocols:
        return [Hook(shield.chain, jump)]
    batches: list[list[tuple[int, int]]] = [[]]
    for low, high in ranges:
        used = sum(1 if first == last else 2 for first, last in batches[-1])
        if used + (1 if low == high else 2) > _PORTS_A_RULE:
            batches.append([])
        batches[-1].append((low, high))
    lists = [",".join(str(a) if a == b else f"{a}:{b}" for a, b in part) for part in batches]
    return [
        Hook(shield.chain, f"-p {protocol} -m multiport --dports {ports} {jump}")
        for protocol in protocols
        for ports in lists
    ]
