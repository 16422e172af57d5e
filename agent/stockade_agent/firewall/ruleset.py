# SPDX-License-Identifier: MIT
"""What the kernel holds of our ipsets and policy, past firewalld, which answers from memory.

With firewalld's nftables backend, table ``inet firewalld``; with its iptables backend, ipsets
and the chains of ``iptables``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.command import Run, ToolError
from stockade_agent.model import Target


TABLE = "inet firewalld"
NFT, IPSET = "nft", "ipset"
OURS = "stockade"
"""What every name of ours begins with, and no other has in it."""

_ENTRANCE = ("filter_INPUT", "filter_INPUT_ZONES")  # empty, no zone and no policy is ever asked
_SAVES = (("iptables-save", "-t", "filter"), ("ip6tables-save", "-t", "filter"))

Range = tuple[int, int, int]
"""IP version, first and last address as numbers."""


@dataclass(frozen=True)
class Ruleset:
    """What there is of ours.

    Attributes:
        kind: ``nft`` or ``ipset``: what holds it.
        sets: name -> ranges that it holds.
        rules: chain -> how many rules in it speak of us.
        asked: the sets that rules look up.
        open: the chains that lead to ours have rules.
    """

    kind: str
    sets: Mapping[str, frozenset[Range]]
    rules: Counter[str]
    asked: frozenset[str]
    open: bool

    def serves(self, names: Iterable[str], rules: Optional[Counter[str]]) -> bool:
        """Return whether these sets are there and looked up, by just these rules if given."""
        wanted = set(names)
        if not self.open or not self.sets.keys() >= wanted or not self.asked >= wanted:
            return False
        return rules is None or rules == self.rules

    def missing(self, name: str, entries: Iterable[Target]) -> list[Target]:
        """Return those entries that a set does not hold."""
        held = self.sets.get(name, frozenset())
        wanted = {entry: _range(entry) for entry in entries}
        missing = [entry for entry, limits in wanted.items() if limits not in held]
        if not missing:
            return []
        # A kernel may have joined neighbours.
        return [
            entry
            for entry in missing
            if not any(
                version == wanted[entry][0] and low <= wanted[entry][1] and wanted[entry][2] <= high
                for version, low, high in held
            )
        ]


def look(run: Run, kind: str = "") -> Optional[Ruleset]:
    """Return what the kernel holds, or None where no tool can say.

    Args:
        run: runs ``nft``, or ``ipset`` and ``iptables-save``.
        kind: which of the two, as an earlier look found; "" for whichever holds ours.
    """
    if kind:
        return _nft(run) if kind == NFT else _ipset(run)
    found: list[Ruleset] = []
    for ask in (_nft, _ipset):
        with suppress(FirewallError):  # not installed, or without the right
            found.append(ask(run))
            if found[-1].sets:
                return found[-1]
    return found[0] if found else None


def put(run: Run, kind: str, missing: Mapping[str, Iterable[Target]]) -> None:
    """Add entries to sets in the kernel that firewalld believes to be there."""
    if kind == NFT:
        lines = [
            f"add element {TABLE} {name} {{ {', '.join(map(str, entries))} }}\n"
            for name, entries in missing.items()
        ]
        run(("nft", "-f", "-"), stdin="".join(lines))
    else:
        lines = [f"add {name} {entry}\n" for name, entries in missing.items() for entry in entries]
        run(("ipset", "-exist", "restore"), stdin="".join(lines))


def make_way(run: Run) -> None:
    """Let firewalld reload whose table somebody deleted: it deletes it first, and fails else."""
    run(("nft", "-f", "-"), stdin=f"add table {TABLE}\n")


def _nft(run: Run) -> Ruleset:
    try:
        listed = run(("nft", "-j", "list", "table", *TABLE.split()))
    except ToolError as error:
        if "No such file or directory" not in error.stderr:
            raise
        return Ruleset(NFT, {}, Counter(), frozenset(), open=False)
    sets: dict[str, frozenset[Range]] = {}
    rules: Counter[str] = Counter()
    asked: set[str] = set()
    entrance = set(_ENTRANCE)
    for item in json.loads(listed)["nftables"]:
        if "set" in item and item["set"]["name"].startswith(OURS):
            sets[item["set"]["name"]] = frozenset(map(_element, item["set"].get("elem", ())))
        elif "rule" in item:
            chain = item["rule"]["chain"]
            entrance.discard(chain)
            text = json.dumps(item["rule"])
            if OURS in text:
                rules[chain] += 1
                asked.update(re.findall(r'"@([^"]+)"', text))
    return Ruleset(NFT, sets, rules, frozenset(asked), open=not entrance)


def _ipset(run: Run) -> Ruleset:
    sets: dict[str, set[Range]] = {}
    for line in run(("ipset", "save")).splitlines():
        words = line.split()
        if len(words) > 1 and words[1].startswith(OURS):
            entries = sets.setdefault(words[1], set())
            if words[0] == "add":
                entries.add(_range(ip_network(words[2])))
    rules: Counter[str] = Counter()
    asked: set[str] = set()
    jumps = 0
    for save in _SAVES:
        for line in run(save).splitlines():
            if line.startswith("-A "):
                jumps += line.startswith("-A INPUT ")
                if OURS in line:
                    rules[f"{save[0]} {line.split()[1]}"] += 1
                    asked.update(re.findall(r"--match-set (\S+)", line))
    held = {name: frozenset(entries) for name, entries in sets.items()}
    return Ruleset(IPSET, held, rules, frozenset(asked), open=bool(jumps))


def _element(element: Any) -> Range:
    if isinstance(element, dict) and "prefix" in element:
        return _range(ip_network(f"{element['prefix']['addr']}/{element['prefix']['len']}"))
    if isinstance(element, dict) and "range" in element:
        first, last = map(ip_address, element["range"])
        return first.version, int(first), int(last)
    return _range(ip_address(element["elem"]["val"] if isinstance(element, dict) else element))


def _range(target: Target) -> Range:
    network = ip_network(target)
    return network.version, int(network.network_address), int(network.broadcast_address)
