# SPDX-License-Identifier: MIT
"""Bans in chains of iptables and ip6tables, as users of ``iptables -L -n -v`` know them.

    Chain INPUT
    f2b-sshd  tcp  --  0.0.0.0/0   0.0.0.0/0   multiport dports 22 /* stockade */
    Chain f2b-sshd
    REJECT    all  --  192.0.2.1   0.0.0.0/0   reject-with icmp-port-unreachable
    RETURN    all  --  0.0.0.0/0   0.0.0.0/0   /* stockade */

- The comment is what makes a chain ours. A chain ``f2b-sshd`` without it is a fail2ban's or
  somebody's and is never touched; the jail's bans then go to ``f2b-sshd~…``, with a warning.
- Hooks stand at the top of the base chain after every ``start``. They ask for no connection
  state: packets of established connections of a banned address are refused too. ICMP port
  unreachable makes ``connect()`` fail at once; an established connection stalls.
- iptables has no timeouts: if the agent dies, its bans stay until it comes back.
- Batches go through ``iptables-restore --noflush``, which commits all of a family or nothing.
- IPv6 that the tool or the kernel does not offer is a warning; IPv4 goes on.

Cost, whatever the number of bans: ``apply`` one process a family that has something to do (two
more if the kernel was not as expected), ``start`` and ``stop`` two a family, ``banned`` one
a family, ``probe`` four. Both the nft and the legacy variant will do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Change
from stockade_agent.firewall.batch import batch, closed, expiries, family, put_back, warnings
from stockade_agent.firewall.chains import (
    LONGEST_NAME,
    MARK,
    RETURN,
    Filter,
    Hook,
    hooks,
    names,
    parse,
)
from stockade_agent.firewall.command import Run, Runner, ToolError
from stockade_agent.model import Ban, Target
from stockade_agent.specs import Shield


PATIENCE = 60.0
"""Seconds for one batch, and for the lock that all users of iptables share."""

_PROBE_CHAIN = "stockade-probe"
_PROBED = "192.0.2.1"
_TOOLS = {4: "iptables", 6: "ip6tables"}
_REJECT = {
    4: "REJECT --reject-with icmp-port-unreachable",
    6: "REJECT --reject-with icmp6-port-unreachable",
}
_PREFIX = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,15}")
_CHAIN = re.compile(rf"[A-Za-z0-9_.][A-Za-z0-9_.:-]{{0,{LONGEST_NAME - 1}}}")
_REBUILD = 64  # unbans past which a chain is written anew: deleting by rule searches the chain

Held = dict[str, set[Target]]
"""Jail -> the targets that its chain refuses."""


class Iptables:
    """The ``Firewall`` that drives ``iptables`` and ``ip6tables``.

    Args:
        run: runs the tools.
        prefix: what chain names begin with.
        variant: ``""`` for the host's default, ``-nft`` or ``-legacy``.
        notes: what ``start`` is to tell the operator besides its own warnings.
        if_inet6: lists the addresses of IPv6; empty or not there where the kernel has none.
    """

    name = "iptables"

    def __init__(
        self,
        run: Optional[Run] = None,
        prefix: str = "f2b-",
        variant: str = "",
        notes: Sequence[str] = (),
        if_inet6: str = "/proc/self/net/if_inet6",
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise FirewallError(
                f"chainprefix {prefix!r} cannot begin a chain's name",
                backend=self.name,
                remedy="use 1 to 16 letters, digits, '_', '.' or '-', such as f2b-",
            )
        self._run: Run = run or Runner(self.name)
        self._prefix, self._variant, self._notes = prefix, variant, tuple(notes)
        self._if_inet6 = if_inet6
        self._shields: dict[str, Shield] = {}
        self._chains: dict[str, str] = {}
        self._held: dict[int, Held] = {}
        self._jumps: dict[int, Counter[str]] = {}
        self._no_ipv6: Optional[FirewallError] = None
        self.watched = False

    def probe(self) -> None:
        """Prove that a ban can be inserted and listed, in a chain that nothing jumps to."""
        # The legacy variant changes tables that netlink says nothing of.
        self.watched = "nf_tables" in self._run((f"{_TOOLS[4]}{self._variant}", "-V"))
        rules = [
            f"-s {_PROBED}/32 -p tcp -m multiport --dports 9,11:12 {MARK} -j {_REJECT[4]}",
            RETURN,
        ]
        lines = [f":{_PROBE_CHAIN} - [0:0]", *(f"-A {_PROBE_CHAIN} {rule}" for rule in rules)]
        try:
            self._restore(4, lines)
            kept = parse(self._save(4)).ours.get(_PROBE_CHAIN, set())
        except FirewallError:
            with suppress(FirewallError):  # the first error is the one to tell
                self._restore(4, _removal(_PROBE_CHAIN))
            raise
        self._restore(4, _removal(_PROBE_CHAIN))
        if _PROBED not in {str(address) for address in kept}:
            raise FirewallError(
                f"the kernel did not keep {_PROBED} in a chain",
                backend=self.name,
                remedy="set firewall = nftables",
            )

    def start(self, shields: Sequence[Shield], bans: Iterable[Ban], now: float) -> Sequence[str]:
        """Write all our chains and hooks anew, a transaction a family."""
        del now  # iptables knows no timeouts
        by_jail = {shield.jail: shield for shield in shields}
        said = [*self._notes, *warnings(list(by_jail.values()))]
        tables = {4: parse(self._save(4))}
        try:
            tables[6] = parse(self._save(6))
            self._no_ipv6 = None
        except ToolError as error:
            self._no_ipv6 = error
            said.append(f"{error}; IPv4 addresses are refused, IPv6 addresses are not")
        chains, foreign = names(list(by_jail), self._prefix, list(tables.values()))
        said += foreign
        wanted: dict[int, Held] = {version: {jail: set() for jail in by_jail} for version in (4, 6)}
        for jail, expiring in expiries(bans).items():
            for address in expiring if jail in by_jail else ():
                wanted[family(address)][jail].add(address)
        for version, table in tables.items():
            lines, new, missing = self._whole(version, table, by_jail, chains, wanted[version])
            said += [line for line in missing if line not in said]
            self._restore(version, lines)
            self._jumps[version] = Counter(hook.goal for hook in new)
        self._shields, self._chains = by_jail, chains
        self._held = {version: wanted[version] for version in tables}
        return said

    def apply(self, bans: Iterable[Ban], unbans: Iterable[Ban], now: float) -> None:
        """Insert and delete rules, a transaction a family."""
        del now  # iptables knows no timeouts
        orders = batch(bans, unbans, self._shields, self.name)
        unenforced: list[Target] = []
        for version in (4, 6):
            adding = _of_family(version, orders.bans)
            removing = _of_family(version, orders.unbans)
            if version == 6 and self._no_ipv6 is not None:
                unenforced = [address for targets in adding.values() for address in targets]
            elif adding or removing:
                self._change(version, adding, removing)
        if unenforced and self._no_ipv6 is not None and self._has_ipv6():
            raise FirewallError(
                f"{unenforced[0]} is not refused: ip6tables does not work",
                backend=self.name,
                remedy=self._no_ipv6.remedy,
            )

    def concerns(self, change: Change) -> bool:
        """Return whether something went from a chain of ours or one that leads to ours."""
        if not change.removed or change.table not in ("ip filter", "ip6 filter"):
            return False
        bases = {shield.chain for shield in self._shields.values()}
        return change.name in {"", "INPUT", *bases, *self._chains.values()}

    def mend(self, bans: Iterable[Ban], now: float) -> str:
        """Put back rules; raise where a chain or a jump to it is missing."""
        tables = {version: parse(self._save(version)) for version in self._held}
        for version, table in tables.items():
            gone = sorted(set(self._chains.values()) - (set(table.ours) - table.empty))
            if gone:
                raise FirewallError(
                    f"somebody removed or emptied chain {gone[0]}", backend=self.name
                )
            jumps = Counter(hook.goal for hook in table.hooks)
            if jumps != self._jumps[version]:
                raise FirewallError(
                    f"somebody removed jumps to our chains in {_TOOLS[version]}",
                    backend=self.name,
                )
            for jail, chain in self._chains.items():
                self._held[version][jail] = table.ours[chain]
        held = {
            jail: self._held[4][jail] | self._held.get(6, {}).get(jail, set())
            for jail in self._chains
        }
        wanted = [b for b in bans if b.address is not None and family(b.address) in tables]
        return put_back(self, wanted, held, now)

    def banned(self) -> Mapping[str, set[Target]]:
        """Return the sources that our chains refuse, per jail."""
        found: dict[str, set[Target]] = {jail: set() for jail in self._shields}
        for version in self._held:
            ours = parse(self._save(version)).ours
            for jail, chain in self._chains.items():
                found[jail] |= ours.get(chain, set())
        return found

    def stop(self) -> None:
        """Remove our chains and hooks."""
        for version in (4, 6):
            try:
                table = parse(self._save(version))
            except ToolError:
                if version == 4 or version in self._held:
                    raise
                continue  # where IPv6 cannot be listed, nothing of it was ever written
            self._restore(version, _gone(table, set()))
        self._shields, self._chains, self._held = {}, {}, {}

    def _whole(
        self,
        version: int,
        table: Filter,
        shields: Mapping[str, Shield],
        chains: Mapping[str, str],
        wanted: Held,
    ) -> tuple[list[str], list[Hook], list[str]]:
        """Return lines that turn a table into the wanted one, its hooks, and warnings."""
        lines: list[str] = []
        missing: list[str] = []
        new: list[Hook] = []
        for jail, shield in shields.items():
            chain = chains[jail]
            if table.is_strange(chain):
                raise FirewallError(
                    f"chain {chain} is somebody else's, too: jail {jail} has no chain left",
                    backend=self.name,
                    remedy=f"see {_TOOLS[version]} -L {chain} -n; remove it or rename the jail",
                )
            lines += _refill(chain, version, shield, wanted[jail])
            base = shield
            if not _CHAIN.fullmatch(shield.chain) or shield.chain not in table.chains:
                missing.append(
                    f"jail {jail}: there is no chain {shield.chain} in {_TOOLS[version]}; "
                    "INPUT is used"
                )
                base = Shield(jail)
            new += hooks(base, *closed(shield), chain)
        lines += _gone(table, set(chains.values()))
        lines += [f"-I {hook.base} 1 {hook.rule}" for hook in reversed(new)]
        return lines, new, missing

    def _change(self, version: int, adding: Held, removing: Held) -> None:
        """Insert and delete what differs from what the kernel is known, or else read, to hold."""
        held = self._held[version]
        try:
            self._restore(version, self._changes(version, held, adding, removing))
        except ToolError:
            ours = parse(self._save(version)).ours
            gone = sorted(set(self._chains.values()) - set(ours))
            if gone:
                raise FirewallError(
                    f"somebody removed chain {gone[0]}", backend=self.name
                ) from None
            held = {jail: ours[chain] for jail, chain in self._chains.items()}
            self._held[version] = held
            self._restore(version, self._changes(version, held, adding, removing))
        for jail, targets in removing.items():
            held[jail] -= targets
        for jail, targets in adding.items():
            held[jail] |= targets

    def _changes(self, version: int, held: Held, adding: Held, removing: Held) -> list[str]:
        lines: list[str] = []
        for jail in dict.fromkeys((*adding, *removing)):
            new = adding.get(jail, set()) - held[jail]
            old = removing.get(jail, set()) & held[jail]
            chain, shield = self._chains[jail], self._shields[jail]
            if len(old) > _REBUILD:
                lines += _refill(chain, version, shield, held[jail] - old | new)
            else:
                lines += [f"-D {chain} {_rule(target, version, shield)}" for target in old]
                lines += [f"-I {chain} 1 {_rule(target, version, shield)}" for target in new]
        return lines

    def _has_ipv6(self) -> bool:
        try:
            with open(self._if_inet6, encoding="ascii") as addresses:
                return bool(addresses.read(1))
        except OSError:
            return False

    def _save(self, version: int) -> str:
        return self._run((f"{_TOOLS[version]}{self._variant}-save", "-t", "filter"))

    def _restore(self, version: int, lines: Sequence[str]) -> None:
        if not lines:
            return
        text = "\n".join(("*filter", *lines, "COMMIT", ""))
        tool = f"{_TOOLS[version]}{self._variant}-restore"
        try:
            # Never --wait=SECONDS: up to 1.8.7 that looks at the lock once a second, and whoever
            # calls iptables in a loop has it again each time.
            self._run((tool, "--noflush", "--wait"), stdin=text, timeout=PATIENCE)
        except ToolError as error:
            number = re.search(r"line:? (\d+)", error.stderr)
            if number is None or not 0 < int(number[1]) <= text.count("\n"):
                raise
            raise ToolError(
                f"{error.message.removeprefix(f'{self.name}: ')}: "
                + text.splitlines()[int(number[1]) - 1],
                backend=self.name,
                code=error.code,
                stderr=error.stderr,
                remedy=error.remedy,
            ) from error


def _of_family(version: int, orders: Mapping[str, Iterable[Target]]) -> Held:
    held: Held = {}
    for jail, targets in orders.items():
        mine = {target for target in targets if family(target) == version}
        if mine:
            held[jail] = mine
    return held


# ---- the language of iptables-restore ---------------------------------------------------------


def _rule(address: Target, version: int, shield: Shield) -> str:
    return f"-s {address} -j {'DROP' if shield.blocktype == 'drop' else _REJECT[version]}"


def _refill(chain: str, version: int, shield: Shield, targets: Iterable[Target]) -> list[str]:
    """Return lines that make or empty a chain, then fill it."""
    rules = [_rule(address, version, shield) for address in targets]
    return [f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in (*rules, RETURN))]


def _removal(chain: str) -> list[str]:
    return [f":{chain} - [0:0]", f"-X {chain}"]


def _gone(table: Filter, staying: set[str]) -> list[str]:
    """Return lines that remove all our hooks, and our chains but those that stay.

    A chain that somebody else's rule jumps to cannot be removed: it stays, empty.
    """
    lines = [f"-D {hook.base} {hook.rule}" for hook in table.hooks]
    for chain in table.ours:
        if chain not in staying:
            pinned = chain in table.pinned
            lines += [f":{chain} - [0:0]", f"-A {chain} {RETURN}" if pinned else f"-X {chain}"]
    return lines
