# SPDX-License-Identifier: MIT
"""Bans in ipsets and a policy of firewalld that are ours, seen and kept by ``firewall-cmd``.

    ipset  stockade-sshd-4   hash:net          ipset  stockade-sshd-6   hash:net, inet6
    policy stockade          from any zone to the host, before every zone's own rules:
        rule family="ipv4" source ipset="stockade-sshd-4" port port="22" protocol="tcp"
            reject type="tcp-reset"

Everything stands in the permanent configuration as well as in the running one, so that bans
survive ``firewall-cmd --reload``, ``--complete-reload`` and a restart of firewalld.

- firewalld accepts packets of established connections before it asks any policy: a ban
  refuses new connections in every zone, and leaves those that exist alone.
- firewalld makes sets and policies only in its permanent configuration; a reload brings them
  to life. ``start`` reloads when a set that it needs is not alive yet, but only where the
  running configuration of everybody else equals the permanent one: else the reload would
  take somebody's settings, and ``FirewallError`` says so and changes nothing.
- A set cannot hold networks that overlap: it gets the widest of them, and the narrower ones
  when that goes.
- Up to ``FEW`` entries are added to a running set and removed from it one by one, over D-Bus.
  More come from a file: firewalld then empties the running set and fills it again, which
  leaves it bare for a fraction of a second.
- Sets have no timeouts, as firewalld cannot list those: if the agent dies, bans stay until it
  comes back.
- After ``stop`` empty sets and an empty policy may live on until the next reload of firewalld,
  where reloading at once would take somebody's settings.

Cost, in calls of ``firewall-cmd`` of about 0.2 CPU-s each, whatever the number of bans:
``apply`` one or two for each set that gains entries, as many for each that loses some, and a
tenth of a call for each of a few entries, ``start`` six
and four for each jail, ``banned`` two for each jail, ``probe`` five. The first ``probe`` and
``start`` on a host add thirty, two for each jail, and a reload.

Needs firewalld 0.9, the first with policies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.batch import batch, closed, expiries, family, short, warnings
from stockade_agent.firewall.bus import change_entry
from stockade_agent.firewall.command import Run, Runner, ToolError
from stockade_agent.firewall.reload import losses, parse
from stockade_agent.model import Ban, Shield, Target, target


FEW = 24
"""Entries that are worth a call over D-Bus each."""

POLICY = "stockade"
_PREFIX = "stockade-"
_PROBE_RULE = 'rule family="ipv4" source address="192.0.2.1" reject'
_OLDEST = (0, 9)
_PORTED = ("tcp", "udp", "sctp", "dccp")
_POLICY_IS = (
    ("priority", "-32000", "--set-priority"),  # before zones, and policies that people write
    ("ingress-zones", "ANY", "--add-ingress-zone"),
    ("egress-zones", "HOST", "--add-egress-zone"),
)
_LONGEST_JAIL = 20  # an ipset's name has 31 characters at most
_PERMANENT = "--permanent"
_RUNTIME = ""

Sets = dict[str, set[Target]]
"""Name of an ipset -> its entries."""


@dataclass(frozen=True)
class Scope:
    """What one of firewalld's two configurations holds of ours.

    Attributes:
        sets: names of ipsets.
        policy: the policy's settings, None where there is none.
    """

    sets: frozenset[str]
    policy: Optional[Mapping[str, set[str]]]

    @property
    def stands(self) -> bool:
        """The policy is there, between the right zones."""
        policy = self.policy or {}
        return all(value in policy.get(key, ()) for key, value, _ in _POLICY_IS)

    @property
    def rules(self) -> set[str]:
        """The policy's rich rules."""
        return set() if self.policy is None else self.policy.get("rich rules", set())


class Firewalld:
    """The ``Firewall`` that drives ``firewall-cmd``.

    Args:
        run: runs ``firewall-cmd``.
        notes: what ``start`` is to tell the operator besides its own warnings.
    """

    name = "firewalld"

    def __init__(self, run: Optional[Run] = None, notes: Sequence[str] = ()) -> None:
        self._run: Run = run or Runner(self.name)
        self._notes = tuple(notes)
        self._shields: dict[str, Shield] = {}
        self._wanted: Sets = {}
        self._held: dict[tuple[str, str], set[Target]] = {}  # (scope, set) -> known entries

    def probe(self) -> None:
        """Prove that a rule can be made and listed, and that ``start`` may reload if it must.

        No reload, and no trace: the rule is a running one, in our policy or else in the default
        zone, refuses one documentation address, and would end by itself.
        """
        version = self._ask("--version").strip()
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST:
            raise FirewallError(
                f"firewalld {version} has no policies",
                backend=self.name,
                remedy="use firewalld 0.9 or later, or firewall = nftables",
            )
        alive = POLICY in self._ask("--get-policies").split()
        where = f"--policy={POLICY}" if alive else ""
        self._ask(where, f"--add-rich-rule={_PROBE_RULE}", "--timeout=60")
        try:
            rules = self._ask(where, "--list-rich-rules").splitlines()
        finally:
            self._ask(where, f"--remove-rich-rule={_PROBE_RULE}")
        if _PROBE_RULE not in rules:
            raise FirewallError(f"it did not keep {_PROBE_RULE}", backend=self.name)
        if not alive:
            self._refuse_loss()

    def start(self, shields: Sequence[Shield], bans: Iterable[Ban], now: float) -> Sequence[str]:
        """Make both configurations hold these shields and bans; reload if sets must come alive."""
        del now  # entries have no timeouts
        by_jail = {shield.jail: shield for shield in shields}
        wanted: Sets = {_set_name(jail, version): set() for jail in by_jail for version in (4, 6)}
        for jail, expiring in expiries(bans).items():
            for address in expiring if jail in by_jail else ():
                wanted[_set_name(jail, family(address))].add(address)
        rules = {rule for shield in by_jail.values() for rule in _rules(shield)}
        self._held.clear()
        runtime, permanent = self._scope(_RUNTIME), self._scope(_PERMANENT)
        asleep = bool(wanted) and (not runtime.stands or not runtime.sets >= set(wanted))
        if asleep:
            self._refuse_loss()
        for name in sorted(set(wanted) - permanent.sets):
            options = ["--option=family=inet6"] if name.endswith("6") else []
            options.append("--option=maxelem=1048576")
            self._ask(_PERMANENT, f"--new-ipset={name}", "--type=hash:net", *options)
            self._held[_PERMANENT, name] = set()
        for name, entries in wanted.items():
            self._sync(_PERMANENT, name, _widest(entries))
        if wanted or permanent.policy is not None:
            self._make_policy(permanent)
            self._write_rules(_PERMANENT, permanent.rules, rules)
        if asleep:
            self._ask("--reload")
            runtime = self._scope(_RUNTIME)
        for name, entries in wanted.items():
            self._sync(_RUNTIME, name, _widest(entries))
        if runtime.policy is not None:
            self._write_rules(_RUNTIME, runtime.rules, rules)
        for name in sorted(permanent.sets - set(wanted)):
            self._ask(_PERMANENT, f"--delete-ipset={name}")
        self._shields, self._wanted = by_jail, wanted
        return (*self._notes, *warnings(list(by_jail.values()), _PORTED))

    def apply(self, bans: Iterable[Ban], unbans: Iterable[Ban], now: float) -> None:
        """Add and remove entries, first in the running configuration, then in the other."""
        del now  # entries have no timeouts
        orders = batch(bans, unbans, self._shields, self.name)
        wanted: Sets = {}
        for jail, removing in orders.unbans.items():
            for address in removing:
                name = _set_name(jail, family(address))
                wanted.setdefault(name, set(self._wanted[name])).discard(address)
        for jail, adding in orders.bans.items():
            for address in adding:
                name = _set_name(jail, family(address))
                wanted.setdefault(name, set(self._wanted[name])).add(address)
        for scope in (_RUNTIME, _PERMANENT):
            for name, entries in wanted.items():
                self._sync(scope, name, _widest(entries))
        self._wanted.update(wanted)

    def banned(self) -> Mapping[str, set[Target]]:
        """Return the entries that the running sets have, and bans that lie within these."""
        found: dict[str, set[Target]] = {}
        for jail in self._shields:
            entries: set[Target] = set()
            for version in (4, 6):
                name = _set_name(jail, version)
                held = self._entries(_RUNTIME, name)
                networks = [entry for entry in held if isinstance(entry, _NETWORKS)]
                entries |= held
                entries |= {a for a in self._wanted[name] if any(_within(a, n) for n in networks)}
            found[jail] = entries
        return found

    def listing(self) -> str:
        """Return our policy and ipsets as ``firewall-cmd`` prints them."""
        scope = self._scope(_RUNTIME)
        parts = [] if scope.policy is None else [self._ask(f"--info-policy={POLICY}")]
        parts += [self._ask(f"--info-ipset={name}") for name in sorted(scope.sets)]
        return "\n".join(parts)

    def stop(self) -> None:
        """Refuse nobody, and remove what can be removed without a loss to others."""
        runtime, permanent = self._scope(_RUNTIME), self._scope(_PERMANENT)
        self._write_rules(_RUNTIME, runtime.rules, set())
        if permanent.policy is not None:
            self._ask(_PERMANENT, f"--delete-policy={POLICY}")
        for name in sorted(permanent.sets):
            self._ask(_PERMANENT, f"--delete-ipset={name}")
        self._shields, self._wanted, self._held = {}, {}, {}
        if (runtime.sets or runtime.policy is not None) and losses(self._ask, _ours) is None:
            self._ask("--reload")

    def _ask(self, *arguments: str, stdin: str = "") -> str:
        words = (argument for argument in arguments if argument)
        return self._run(("firewall-cmd", *words), stdin=stdin, timeout=90.0)

    def _scope(self, scope: str) -> Scope:
        sets = frozenset(name for name in self._ask(scope, "--get-ipsets").split() if _ours(name))
        if POLICY not in self._ask(scope, "--get-policies").split():
            return Scope(sets, None)
        return Scope(sets, parse(self._ask(scope, f"--info-policy={POLICY}"))[POLICY])

    def _refuse_loss(self) -> None:
        loss = losses(self._ask, _ours)
        if loss is not None:
            raise FirewallError(
                f"a reload is needed, and would change what runs now: {loss}",
                backend=self.name,
                remedy="firewall-cmd --runtime-to-permanent keeps what runs now",
            )

    def _make_policy(self, permanent: Scope) -> None:
        policy = permanent.policy
        if policy is None:
            self._ask(_PERMANENT, f"--new-policy={POLICY}")
            policy = {}
        for key, value, option in _POLICY_IS:
            if value not in policy.get(key, ()):
                self._ask(_PERMANENT, f"--policy={POLICY}", f"{option}={value}")

    def _write_rules(self, scope: str, present: set[str], wanted: set[str]) -> None:
        for option, rules in (("add", wanted - present), ("remove", present - wanted)):
            if rules:
                written = (f"--{option}-rich-rule={rule}" for rule in sorted(rules))
                self._ask(scope, f"--policy={POLICY}", *written)

    def _sync(self, scope: str, name: str, wanted: set[Target]) -> None:
        """Make a set hold these entries; what it holds is read where it is not known."""
        held = self._held.pop((scope, name), None)
        if held is None:
            held = self._entries(scope, name)
        for option, entries in (("remove", held - wanted), ("add", wanted - held)):
            if not entries:
                continue
            words = sorted(str(entry) for entry in entries)
            if scope == _RUNTIME and len(words) <= FEW:
                for word in words:
                    change_entry(self._run, option, name, word)
            else:
                source = f"--{option}-entries-from-file=/dev/stdin"
                self._ask(scope, f"--ipset={name}", source, stdin="\n".join((*words, "")))
        self._held[scope, name] = wanted

    def _entries(self, scope: str, name: str) -> set[Target]:
        try:
            listed = self._ask(scope, f"--ipset={name}", "--get-entries").split()
        except ToolError as error:
            if "INVALID_IPSET" not in error.stderr:
                raise
            raise FirewallError(f"somebody removed ipset {name}", backend=self.name) from error
        return {entry for entry in map(target, listed) if entry is not None}


_NETWORKS = (IPv4Network, IPv6Network)


def _ours(name: str) -> bool:
    return name == POLICY or name.startswith(_PREFIX)


def _set_name(jail: str, version: int) -> str:
    return f"{_PREFIX}{short(jail, _LONGEST_JAIL, '--')}-{version}"


def _rules(shield: Shield) -> list[str]:
    """Return a shield's rich rules, to the letter as ``firewall-cmd`` lists them."""
    protocols, ranges = closed(shield, _PORTED)
    rules: list[str] = []
    for version in (4, 6):
        source = f'rule family="ipv{version}" source ipset="{_set_name(shield.jail, version)}"'
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


def _within(address: Target, network: Target) -> bool:
    inner, outer = ip_network(address), ip_network(network)
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _widest(targets: set[Target]) -> set[Target]:
    """Return those of one family's targets that lie within no other."""
    networks = sorted(
        (entry for entry in targets if isinstance(entry, _NETWORKS)),
        key=lambda network: network.prefixlen,
    )
    wide: list[Target] = []
    for network in networks:
        if not any(_within(network, other) for other in wide):
            wide.append(network)
    if not wide:
        return targets
    single = {entry for entry in targets if not isinstance(entry, _NETWORKS)}
    return {*wide, *(a for a in single if not any(_within(a, network) for network in wide))}
