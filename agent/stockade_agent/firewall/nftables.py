# SPDX-License-Identifier: MIT
"""Bans in a table of nftables that is ours alone: ``inet stockade``.

    table inet stockade {
        set v4-sshd     { type ipv4_addr; flags timeout; }      one set a jail and family
        set v4.24-sshd  { type ipv4_addr; flags timeout; }      one more a prefix length in use
        chain input {
            type filter hook input priority filter - 10; policy accept;
            ip saddr @v4-sshd tcp dport { 22 } counter reject with tcp reset
            ip saddr & 255.255.255.0 == @v4.24-sshd tcp dport { 22 } counter reject …
        }
    }

The chain refuses before any other filter chain of the host is asked and accepts nothing on
its own, so it weakens no rule of anybody. ``firewall-cmd --reload``, ufw and docker leave it
alone; ``nft flush ruleset`` does not.

- A banned address gets a TCP reset, as from a port where nobody listens, and ICMP port
  unreachable for everything else. A reset is also what ends its established connections: the
  rule asks for no connection state.
- Prefixes are looked up by their masked address in plain sets. Interval sets would refuse
  prefixes that overlap and cost O(n) an insert.
- Elements carry the ban's remaining time and a grace: if the agent dies, the kernel unbans.
  Permanent bans, and those of ten years and more, carry none.
- ``add`` ignores an element that exists, with its old timeout, and ``delete`` fails on one that
  expired. So each changed element is added, deleted and added in one transaction.

Cost: one ``nft`` process a call of ``apply``, ``banned`` and ``stop``, two of ``start``,
whatever the number of bans; ``probe`` takes three. Needs nft 0.9.3 and Linux 4.18.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple, Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Change
from stockade_agent.firewall.batch import (
    batch,
    closed,
    expiries,
    family,
    prefixlen,
    put_back,
    short,
    warnings,
)
from stockade_agent.firewall.command import Run, Runner, ToolError
from stockade_agent.model import Ban, Target
from stockade_agent.specs import Shield


GRACE = 60
"""Seconds that an element outlives its ban, so that unbans are the agent's as long as it lives."""

_TABLE = "inet stockade"
_PROBE_TABLE = "inet stockade-probe"
_PROBED = "192.0.2.1"
_OBJECT = re.compile(r"^\t(\w+) (\S+) \{$", re.MULTILINE)
# ``list table`` would have nft before 1.1 read all elements first, be it ever so terse.
_OBJECTS = ("nft", "-t", "list sets inet; list maps inet; list chains inet")
_OF_TABLE = re.compile(rf"^table {_TABLE} \{{\n(.*?)^\}}$", re.MULTILINE | re.DOTALL)
_CHAIN = {"name": "input", "hook": "input", "prio": -10, "policy": "accept"}
_TEN_YEARS = 3650 * 86400.0
_DAY = 86400
_LONGEST_NAME = 120  # the kernel's own limit is 255


class SetOf(NamedTuple):
    """Which addresses a set holds: one jail's, of one family, and of one prefix length if any."""

    jail: str
    version: int
    length: Optional[int] = None

    @property
    def name(self) -> str:
        """The set's name, a different one for each set.

        nft's identifiers hold letters, digits and ``/ _ . -``; ``/`` marks jail names that had
        to be changed.
        """
        length = "" if self.length is None else f".{self.length}"
        return f"v{self.version}{length}-{short(self.jail, _LONGEST_NAME, '/')}"


Elements = dict[SetOf, list[tuple[Target, Optional[float]]]]
"""Set -> targets, each with when its ban ends, None for never."""


class Nftables:
    """The ``Firewall`` that drives ``nft``.

    Args:
        run: runs ``nft``.
        notes: what ``start`` is to tell the operator besides its own warnings.
        grace: seconds that the kernel keeps an element past its ban's end.
    """

    name = "nftables"
    watched = True

    def __init__(
        self, run: Optional[Run] = None, notes: Sequence[str] = (), grace: float = GRACE
    ) -> None:
        self._run: Run = run or Runner(self.name)
        self._notes, self._grace = tuple(notes), grace
        self._shields: dict[str, Shield] = {}
        self._sets: dict[str, SetOf] = {}  # by name

    def probe(self) -> None:
        """Prove that a ban can be inserted and listed, in a table that is removed again."""
        try:
            self._nft(_probe_table())
            listed = self._run(("nft", "-j", "list", "table", *_PROBE_TABLE.split()))
        except FirewallError:
            with suppress(FirewallError):  # the first error is the one to tell
                self._nft(_without(_PROBE_TABLE))
            raise
        self._nft(_without(_PROBE_TABLE))
        if _PROBED not in _keys(listed).get(SetOf("probe", 4).name, ()):
            raise FirewallError(
                f"the kernel did not keep {_PROBED} in a set",
                backend=self.name,
                remedy="update nft and the kernel, or set firewall = iptables",
            )

    def start(self, shields: Sequence[Shield], bans: Iterable[Ban], now: float) -> Sequence[str]:
        """Make the table anew in one transaction; bans of no shield's jail are left out."""
        by_jail = {shield.jail: shield for shield in shields}
        elements: Elements = {SetOf(jail, version): [] for jail in by_jail for version in (4, 6)}
        for jail, wanted in expiries(bans).items():
            if jail in by_jail:
                _sort_in(elements, jail, wanted)
        lines = "".join(_whole_table(by_jail, elements, now - self._grace))
        try:
            self._nft(self._emptied() + lines)
        except ToolError:
            # Whatever somebody made of it, it is ours: without a chain that fits, a new one.
            self._nft(_without(_TABLE) + lines)
        self._shields = by_jail
        self._sets = {which.name: which for which in elements}
        return (*self._notes, *warnings(list(by_jail.values())))

    def apply(self, bans: Iterable[Ban], unbans: Iterable[Ban], now: float) -> None:
        """Add and remove elements in one transaction, with sets for new prefix lengths."""
        orders = batch(bans, unbans, self._shields, self.name)
        adding: Elements = {}
        removing: Elements = {}
        for jail, wanted in orders.bans.items():
            _sort_in(adding, jail, wanted)
        for jail, unwanted in orders.unbans.items():
            _sort_in(removing, jail, dict.fromkeys(unwanted))
        known = set(self._sets.values())
        lines: list[str] = []
        for which in adding:
            if which not in known:
                lines.append(f"add set {_TABLE} {which.name} {_set_type(which)}\n")
                rules = _rules(which, self._shields[which.jail])
                lines += [f"add rule {_TABLE} input {rule}\n" for rule in rules]
        for which in dict.fromkeys((*adding, *(known & set(removing)))):
            changed = [_key(t) for t, _ in (*removing.get(which, ()), *adding.get(which, ()))]
            lines.append(_element_line("add", which, changed))
            lines.append(_element_line("delete", which, changed))
            lines.append(
                _element_line("add", which, _timed(adding.get(which, ()), now - self._grace))
            )
        if not lines:
            return
        try:
            self._nft("".join(lines))
        except ToolError as error:
            if not _missing(error):
                raise
            raise FirewallError(
                f"somebody removed table {_TABLE} or a part of it", backend=self.name
            ) from error
        self._sets.update((which.name, which) for which in adding)

    def banned(self) -> Mapping[str, set[Target]]:
        """Return the elements that the kernel holds, per jail."""
        return self._banned(self._listed())

    def concerns(self, change: Change) -> bool:
        """Return whether it is our table, or anything in it but an element more."""
        return change.table == _TABLE

    def mend(self, bans: Iterable[Ban], now: float) -> str:
        """Put back elements; raise where a set, a rule or the chain is not as it was made."""
        wanted = list(bans)
        listed = self._listed()
        rules = Counter(
            name
            for name, which in self._sets.items()
            for _ in _rules(which, self._shields[which.jail])
        )
        if not _stands(listed, set(self._sets), rules):
            raise FirewallError(
                f"somebody removed table {_TABLE} or changed its rules", backend=self.name
            )
        return put_back(self, wanted, self._banned(listed), now)

    def _listed(self) -> str:
        try:
            return self._run(("nft", "-j", "list", "table", *_TABLE.split()))
        except ToolError as error:
            if _missing(error):
                return '{"nftables": []}'
            raise

    def _banned(self, listed: str) -> dict[str, set[Target]]:
        found: dict[str, set[Target]] = {jail: set() for jail in self._shields}
        for name, keys in _keys(listed).items():
            if name in self._sets:
                which = self._sets[name]
                found[which.jail].update(
                    ip_address(key) if which.length is None else ip_network(f"{key}/{which.length}")
                    for key in keys
                )
        return found

    def stop(self) -> None:
        """Remove the table."""
        self._nft(_without(_TABLE) + _without(_PROBE_TABLE))
        self._shields, self._sets = {}, {}

    def _emptied(self) -> str:
        """Return lines that leave of our table the chain ``input``, without rules, or nothing.

        A packet on its way meets one chain, before or after the change of its rules. Were the
        chain replaced, it could meet the new one before the change and the old one after it,
        both of them empty.
        """
        found = _OF_TABLE.findall(self._run(_OBJECTS))
        if not found:
            return ""
        lines = [f"flush table {_TABLE}\n"]
        for kind, name in _OBJECT.findall("".join(found)):
            if (kind, name) != ("chain", "input"):
                lines.append(f"delete {kind} {_TABLE} {name}\n")
        return "".join(lines)

    def _nft(self, lines: str) -> None:
        self._run(("nft", "-f", "-"), stdin=lines)


def _sort_in(elements: Elements, jail: str, expiring: Mapping[Target, Optional[float]]) -> None:
    of_kind: dict[tuple[type, Optional[int]], list[tuple[Target, Optional[float]]]] = {}
    for one in expiring.items():
        length = prefixlen(one[0])
        kind = (type(one[0]), length)
        if kind not in of_kind:
            of_kind[kind] = elements.setdefault(SetOf(jail, family(one[0]), length), [])
        of_kind[kind].append(one)


# ---- nft's language ---------------------------------------------------------------------------


def _without(table: str) -> str:
    """Return lines that remove a table, there or not."""
    return f"add table {table}\ndelete table {table}\n"


def _whole_table(
    shields: Mapping[str, Shield], elements: Elements, counted_from: float
) -> Iterator[str]:
    yield _without(_PROBE_TABLE)
    yield from _table(_TABLE, [(which, shields[which.jail]) for which in elements])
    for which, expiring in elements.items():
        yield _element_line("add", which, _timed(expiring, counted_from))


def _probe_table() -> str:
    """Return lines that need all that a real table needs, and refuse nobody."""
    which = SetOf("probe", 4)
    shields = (Shield("probe", ((9, 9), (11, 12))), Shield("probe"))
    table = "".join(_table(_PROBE_TABLE, [(which, shield) for shield in shields]))
    element = f"add element {_PROBE_TABLE} {which.name} {{ {_PROBED} timeout 1m }}\n"
    return f"{_without(_PROBE_TABLE)}{table}{element}"


def _table(table: str, shielded: Sequence[tuple[SetOf, Shield]]) -> Iterator[str]:
    yield f"table {table} {{\n"
    for which in dict.fromkeys(which for which, _ in shielded):
        yield f"\tset {which.name} {_set_type(which)}\n"
    yield "\tchain input {\n\t\ttype filter hook input priority -10; policy accept;\n"
    for which, shield in shielded:
        yield "".join(f"\t\t{rule}\n" for rule in _rules(which, shield))
    yield "\t}\n}\n"


def _set_type(which: SetOf) -> str:
    return f"{{ type ipv{which.version}_addr; flags timeout; }}"


def _rules(which: SetOf, shield: Shield) -> list[str]:
    """Return the rules that refuse a set's addresses what the shield closes."""
    source = "ip saddr" if which.version == 4 else "ip6 saddr"
    if which.length is not None:
        network = IPv4Network if which.version == 4 else IPv6Network
        source += f" & {network((0, which.length)).netmask} =="
    source += f" @{which.name}"
    protocols, ranges = closed(shield)
    ports = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
    if shield.blocktype == "drop":
        refusals = {"": "drop"}
    else:  # a reset answers TCP only, and has to come first
        refusals = {"tcp": "reject with tcp reset", "": "reject"}
    if not protocols:
        which_protocol = {"tcp": "meta l4proto tcp ", "": ""}
        return [
            f"{source} {which_protocol[protocol]}counter {verdict}"
            for protocol, verdict in refusals.items()
        ]
    return [
        f"{source} {protocol} dport {{ {ports} }} counter {refusals.get(protocol, refusals[''])}"
        for protocol in protocols
    ]


def _element_line(verb: str, which: SetOf, elements: Iterable[str]) -> str:
    listed = ", ".join(elements)
    return f"{verb} element {_TABLE} {which.name} {{ {listed} }}\n" if listed else ""


def _timed(
    expiring: Iterable[tuple[Target, Optional[float]]], counted_from: float
) -> Iterator[str]:
    for address, ends in expiring:
        left = math.inf if ends is None else max(ends - counted_from, 1.0)
        if left >= _TEN_YEARS:
            yield _key(address)
        else:  # nft reads no more than eight digits of seconds
            days, seconds = divmod(math.ceil(left), _DAY)
            yield f"{_key(address)} timeout {days}d{seconds}s"


def _key(address: Target) -> str:
    return str(address).split("/")[0]


# ---- nft's answers ----------------------------------------------------------------------------


def _keys(listed: str) -> dict[str, list[str]]:
    """Return set name -> addresses, from ``nft -j list``."""
    found: dict[str, list[str]] = {}
    for item in json.loads(listed)["nftables"]:
        if "set" in item:
            keys = found.setdefault(item["set"]["name"], [])
            keys += [
                element["elem"]["val"] if isinstance(element, dict) else element
                for element in item["set"].get("elem", ())
            ]
    return found


def _stands(listed: str, sets: set[str], rules: Counter[str]) -> bool:
    """Return whether a listing has the chain as we hook it, these sets, and so many rules each.

    A rule that looks up none of our sets is none that we made.
    """
    hooked, found, referring = False, set(), Counter[str]()
    for item in json.loads(listed)["nftables"]:
        if "chain" in item:
            chain = item["chain"]
            hooked = all(chain.get(key) == value for key, value in _CHAIN.items())
        elif "set" in item:
            found.add(item["set"]["name"])
        elif "rule" in item:
            matches = (e["match"]["right"] for e in item["rule"]["expr"] if "match" in e)
            names = [right[1:] for right in matches if str(right).startswith("@")]
            referring[names[0] if names else ""] += 1
    return hooked and found == sets and referring == rules


def _missing(error: ToolError) -> bool:
    return "No such file or directory" in error.stderr
