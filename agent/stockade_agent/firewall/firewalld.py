# SPDX-License-Identifier: MIT
"""Bans in ipsets and a policy of firewalld that are ours, seen and kept by ``firewall-cmd``.

    ipset  stockade-sshd-4   hash:net          ipset  stockade-sshd-6   hash:net, inet6
    policy stockade          from any zone to the host, before every zone's own rules:
        rule family="ipv4" source ipset="stockade-sshd-4" port port="22" protocol="tcp"
            reject type="tcp-reset"

Everything stands in the permanent configuration as well as in the running one, so that bans
survive ``firewall-cmd --reload``, ``--complete-reload`` and a restart of firewalld.

- firewalld accepts packets of established connections before it asks any policy. So what a banned
  address has open is ended one by one, through ``connections``.
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
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Change, connections, ruleset
from stockade_agent.firewall.batch import batch, expiries, family, warnings
from stockade_agent.firewall.bridge import Bridge
from stockade_agent.firewall.bus import change_entry
from stockade_agent.firewall.command import Run, Runner, ToolError
from stockade_agent.firewall.ipsets import (
    NETWORKS,
    POLICY,
    PORTED,
    ours,
    rich_rules,
    set_name,
    widest,
    within,
)
from stockade_agent.firewall.reload import losses, parse
from stockade_agent.firewall.ruleset import NFT, Ruleset, look, make_way, put
from stockade_agent.model import Ban, Target, target
from stockade_agent.specs import Shield


FEW = 24
"""Entries that are worth a call over D-Bus each."""

_PROBE_RULE = 'rule family="ipv4" source address="192.0.2.1" reject'
_OLDEST = (0, 9)
_POLICY_IS = (
    ("priority", "-32000", "--set-priority"),  # before zones, and policies that people write
    ("ingress-zones", "ANY", "--add-ingress-zone"),
    ("egress-zones", "HOST", "--add-egress-zone"),
)
_PERMANENT = "--permanent"
_RUNTIME = ""

Cut = Callable[[Mapping[str, Collection[Target]], Mapping[str, Shield]], int]

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
        cut: ends connections of banned addresses, given per jail.
    """

    name = "firewalld"

    def __init__(
        self, run: Optional[Run] = None, notes: Sequence[str] = (), cut: Cut = connections.cut
    ) -> None:
        self._run: Run = run or Runner(self.name)
        self._notes, self._cut = tuple(notes), cut
        self._shields: dict[str, Shield] = {}
        self._wanted: Sets = {}
        self._held: dict[tuple[str, str], set[Target]] = {}  # (scope, set) -> known entries
        self._bridge = Bridge(self._run)
        self._kind = ""  # of what the kernel holds our sets in
        self._rules: Counter[str] = Counter()  # as the kernel had them when all was well

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
        bans = list(bans)
        by_jail = {shield.jail: shield for shield in shields}
        wanted: Sets = {set_name(jail, version): set() for jail in by_jail for version in (4, 6)}
        for jail, expiring in expiries(bans).items():
            for address in expiring if jail in by_jail else ():
                wanted[set_name(jail, family(address))].add(address)
        rules = {rule for shield in by_jail.values() for rule in rich_rules(shield)}
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
            self._sync(_PERMANENT, name, widest(entries))
        if wanted or permanent.policy is not None:
            self._make_policy(permanent)
            self._write_rules(_PERMANENT, permanent.rules, rules)
        if asleep:
            self._ask("--reload")
            runtime = self._scope(_RUNTIME)
        for name, entries in wanted.items():
            self._sync(_RUNTIME, name, widest(entries))
        if runtime.policy is not None:
            self._write_rules(_RUNTIME, runtime.rules, rules)
        for name in sorted(permanent.sets - set(wanted)):
            self._ask(_PERMANENT, f"--delete-ipset={name}")
        known = self._rules if by_jail == self._shields and self._rules else None
        self._shields, self._wanted = by_jail, wanted
        lost = self._settle(known) if wanted else ()
        uncut = self._end_connections(expiries(bans))
        return (*self._notes, *lost, *uncut, *warnings(list(by_jail.values()), PORTED))

    def _end_connections(self, bans: Mapping[str, Collection[Target]]) -> tuple[str, ...]:
        """End what these have open; return that it cannot be done, as ``start`` finds out."""
        try:
            self._cut({jail: bans[jail] for jail in bans if jail in self._shields}, self._shields)
        except OSError as error:
            return (
                f"established connections of banned addresses go on: {error.strerror or error}",
            )
        return ()

    def _settle(self, rules: Optional[Counter[str]]) -> tuple[str, ...]:
        """See that the kernel has what firewalld believes; return what an operator must do."""
        found = look(self._run, self._kind)
        if found is not None and not found.serves(self._wanted, rules):
            loss = losses(self._ask, ours)
            if loss is not None:
                text = "somebody removed firewalld's own rules from the kernel: firewall-cmd "
                text += f"--reload brings them back, and changes other settings ({loss})"
                if self._bridge.holds:
                    text += "; until then a table of nftables refuses whom we ban"
                return (text,)
            self._reload()
            found = look(self._run)
        if found is not None:
            self._kind, self._rules = found.kind, found.rules
            self._complete(found)
            if self._kind == NFT:
                self._bridge.stop()
        return ()

    def concerns(self, change: Change) -> bool:
        """Return whether something went that is ours, or leads to ours, in firewalld's table."""
        if self._bridge.concerns(change):
            return True
        if not change.removed or change.table != ruleset.TABLE:
            return False
        name = change.name
        return not name or ruleset.OURS in name or name.startswith("filter_IN")

    @property
    def watched(self) -> bool:
        """With its nftables backend, what firewalld holds is told of."""
        return self._kind == NFT

    def mend(self, bans: Iterable[Ban], now: float) -> str:
        """Put entries back into the kernel's sets; hold bans in a table of ours if rules went.

        A reload of firewalld looks like a loss until it is over: then nothing is missing.
        """
        if not self._kind:
            return ""
        bridged = self._bridge.holds
        found = look(self._run, self._kind)
        if found is None or not found.serves(self._wanted, self._rules):
            if self._kind == NFT:
                self._bridge.start(list(self._shields.values()), bans, now)
            self._ask("--state")
            found = look(self._run, self._kind)
            if found is None or not found.serves(self._wanted, self._rules):
                raise FirewallError("somebody removed its rules", backend=self.name)
        if self._bridge.holds:
            self._bridge.stop()
        missing = self._complete(found)
        return missing or ("rules of firewalld" if bridged else "")

    def _complete(self, found: Ruleset) -> str:
        """Add to the kernel's sets what they lack; return what that was, in words."""
        missing = {n: found.missing(n, widest(entries)) for n, entries in self._wanted.items()}
        missing = {name: entries for name, entries in missing.items() if entries}
        if missing:
            put(self._run, self._kind, missing)
        entries = [str(entry) for of_set in missing.values() for entry in of_set]
        return entries[0] if len(entries) == 1 else f"{len(entries)} bans" if entries else ""

    def _reload(self) -> None:
        try:
            self._ask("--reload")
        except ToolError:
            # Old ones fail where there is no table that they could delete.
            make_way(self._run)
            self._ask("--reload")

    def apply(self, bans: Iterable[Ban], unbans: Iterable[Ban], now: float) -> None:
        """Add and remove entries, first in the running configuration, then in the other."""
        bans, unbans = list(bans), list(unbans)
        orders = batch(bans, unbans, self._shields, self.name)
        wanted: Sets = {}
        for jail, removing in orders.unbans.items():
            for address in removing:
                name = set_name(jail, family(address))
                wanted.setdefault(name, set(self._wanted[name])).discard(address)
        for jail, adding in orders.bans.items():
            for address in adding:
                name = set_name(jail, family(address))
                wanted.setdefault(name, set(self._wanted[name])).add(address)
        self._bridge.apply(bans, unbans, now)
        # Sets that are not in the kernel cannot be changed: a reload will make them anew.
        for scope in (_PERMANENT,) if self._bridge.holds else (_RUNTIME, _PERMANENT):
            for name, entries in wanted.items():
                self._sync(scope, name, widest(entries))
            if scope == _RUNTIME:
                self._end_connections(orders.bans)
        self._wanted.update(wanted)

    def banned(self) -> Mapping[str, set[Target]]:
        """Return the entries that the running sets have, and bans that lie within these."""
        found: dict[str, set[Target]] = {}
        for jail in self._shields:
            entries: set[Target] = set()
            for version in (4, 6):
                name = set_name(jail, version)
                held = self._entries(_RUNTIME, name)
                networks = [entry for entry in held if isinstance(entry, NETWORKS)]
                entries |= held
                entries |= {a for a in self._wanted[name] if any(within(a, n) for n in networks)}
            found[jail] = entries
        return found

    def stop(self) -> None:
        """Refuse nobody, and remove what can be removed without a loss to others."""
        if self._bridge.holds:
            self._bridge.stop()
        runtime, permanent = self._scope(_RUNTIME), self._scope(_PERMANENT)
        self._write_rules(_RUNTIME, runtime.rules, set())
        if permanent.policy is not None:
            self._ask(_PERMANENT, f"--delete-policy={POLICY}")
        for name in sorted(permanent.sets):
            self._ask(_PERMANENT, f"--delete-ipset={name}")
        self._shields, self._wanted, self._held = {}, {}, {}
        if (runtime.sets or runtime.policy is not None) and losses(self._ask, ours) is None:
            self._ask("--reload")

    def _ask(self, *arguments: str, stdin: str = "") -> str:
        words = (argument for argument in arguments if argument)
        return self._run(("firewall-cmd", *words), stdin=stdin, timeout=90.0)

    def _scope(self, scope: str) -> Scope:
        sets = frozenset(name for name in self._ask(scope, "--get-ipsets").split() if ours(name))
        if POLICY not in self._ask(scope, "--get-policies").split():
            return Scope(sets, None)
        return Scope(sets, parse(self._ask(scope, f"--info-policy={POLICY}"))[POLICY])

    def _refuse_loss(self) -> None:
        loss = losses(self._ask, ours)
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
