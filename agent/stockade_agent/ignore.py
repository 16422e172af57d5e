# SPDX-License-Identifier: MIT
"""Who is never banned: ``ignoreip``, ``ignoreself``, controllers, gateways.

    ignore = Ignore(spec, own=own_addresses(), always={"controller": [...]})
    ignore.names                       # host names in ignoreip; whoever asks name servers ...
    ignore.resolved(name, addresses)   # ... and hands the answers in
    reason = ignore.ignored(failure)   # "" : not ignored;  also takes a Ban or an address text

``file:PATH`` entries are read again when the file changes. What is not ignored here the module
``ignorecommand`` may be asked about.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Optional, Union

from stockade_agent.model import Address, Ban, Failure, Target, target
from stockade_agent.specs import JailSpec


_MOST_PASSED = 8192
_SEPARATORS = re.compile(r"[\s,]+")


class Networks:
    """A set of addresses and networks whose lookup costs the same for 10 and 100,000 members."""

    def __init__(self, members: Iterable[Target] = ()) -> None:
        # (IP version, prefix length) -> network numbers, already shifted right
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        self._lengths: dict[int, tuple[int, ...]] = {4: (), 6: ()}
        # The same -> the numbers of members that are no larger, cut to that length.
        self._cut: dict[tuple[int, int], frozenset[int]] = {}
        for member in members:
            self.add(member)

    def add(self, member: Target) -> None:
        """Add an address or network."""
        if isinstance(member, (IPv4Address, IPv6Address)):
            number, length = int(member), int(member.max_prefixlen)
        else:
            number, length = int(member.network_address), member.prefixlen
        version, key = member.version, (member.version, length)
        if key not in self._prefixes:
            self._prefixes[key] = set()
            self._lengths[version] = tuple(sorted({*self._lengths[version], length}, reverse=True))
        self._prefixes[key].add(number >> (member.max_prefixlen - length))
        self._cut.clear()

    def __contains__(self, wanted: Target) -> bool:
        """Whether an address, or the whole of a network, is covered."""
        if not self._prefixes:
            return False
        if isinstance(wanted, (IPv4Address, IPv6Address)):
            number, longest = int(wanted), int(wanted.max_prefixlen)
        else:
            number, longest = int(wanted.network_address), wanted.prefixlen
        bits, version = wanted.max_prefixlen, wanted.version
        return any(
            length <= longest and number >> (bits - length) in self._prefixes[version, length]
            for length in self._lengths[version]
        )

    def meets(self, network: Target) -> bool:
        """Whether any address of a network is covered."""
        if network in self or isinstance(network, (IPv4Address, IPv6Address)):
            return network in self
        version, length, bits = network.version, network.prefixlen, network.max_prefixlen
        cut = self._cut.get((version, length))
        if cut is None:
            cut = self._cut[version, length] = frozenset(
                number >> (longer - length)
                for longer in self._lengths[version]
                if longer >= length
                for number in self._prefixes[version, longer]
            )
        return int(network.network_address) >> (bits - length) in cut


class Ignore:
    """Decides which failures are not counted, for one jail.

    Args:
        own: the host's own addresses, used when the jail has ``ignoreself``.
        always: what they are called -> those who are never banned, whatever the jail says.

    Attributes:
        names: the host names in ``ignoreip``.
    """

    def __init__(
        self,
        spec: JailSpec,
        *,
        own: Collection[Address] = (),
        always: Mapping[str, Collection[Target]] = MappingProxyType({}),
    ) -> None:
        self.own = frozenset(own) if spec.ignoreself else frozenset()
        self._always = {name: Networks(targets) for name, targets in always.items() if targets}
        entries = [part for entry in spec.ignoreip for part in _SEPARATORS.split(entry) if part]
        self._files = [_File(e[len("file:") :]) for e in entries if e.startswith("file:")]
        listed = _Listed(e for e in entries if not e.startswith("file:"))
        self._networks, self._ids = listed.networks, listed.names
        self._resolved: dict[str, frozenset[Address]] = {}
        # Whoever guesses comes again: id -> the address that nothing here covers.
        self._passed: dict[str, Target] = {}

    @property
    def names(self) -> frozenset[str]:
        """The host names whose addresses are ignored once ``resolved`` has told them."""
        if not self._files:
            return self._ids
        return self._ids.union(*(file.listed.names for file in self._files))

    def resolved(self, name: str, addresses: Iterable[Address]) -> None:
        """Take the present addresses of one of ``names``."""
        known = frozenset(addresses)
        if self._resolved.get(name) != known:
            self._resolved[name] = known
            self._passed.clear()

    def ignored(self, subject: Union[Failure, Ban, str]) -> str:
        """Return why a failure, ban or id is ignored, in a few words; "" when it is not."""
        if isinstance(subject, str):
            id_, address = subject, target(subject)
        else:
            id_, address = subject.id, subject.address
        if address is None:
            return "ip" if id_ in self._ids else ""
        if self._passed.get(id_) is address:
            return ""
        why = self._why(address)
        if not why and not self._files:
            if len(self._passed) >= _MOST_PASSED:
                self._passed.clear()
            self._passed[id_] = address
        return why

    def within(self, network: Target) -> str:
        """Return why some address of a network is ignored, in a few words; "" when none is."""
        if isinstance(network, (IPv4Address, IPv6Address)):
            return self._why(network)
        for name, targets in self._always.items():
            if targets.meets(network):
                return name
        if any(address in network for address in self.own):
            return "ignoreself"
        listed = (self._networks, *(file.listed.networks for file in self._fresh()))
        if any(networks.meets(network) for networks in listed):
            return "ip"
        resolved = (address for known in self._resolved.values() for address in known)
        return "dns" if any(address in network for address in resolved) else ""

    @property
    def fixed(self) -> bool:
        """Whether it stays as it is: it has neither names nor files."""
        return not self._files and not self._ids

    def _why(self, address: Target) -> str:
        for name, targets in self._always.items():
            if address in targets:
                return name
        if address in self.own:
            return "ignoreself"
        if address in self._networks or any(address in f.listed.networks for f in self._fresh()):
            return "ip"
        if any(address in addresses for addresses in self._resolved.values()):
            return "dns"
        return ""

    def _fresh(self) -> list[_File]:
        for file in self._files:
            file.refresh()
        return self._files


class _Listed:
    """Entries of an ignore list, sorted by what they are."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.networks = Networks()
        names = set()
        for entry in entries:
            member = _entry(entry)
            if member is None:
                names.add(entry)
            else:
                self.networks.add(member)
        self.names = frozenset(names)


class _File:
    """An ignore list in a file of its own, read again whenever it has changed."""

    def __init__(self, path: str) -> None:
        self._path, self._seen = path, (0, 0, 0)
        self.listed = _Listed(())
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it is another one than before; a missing one is empty."""
        try:
            state = os.stat(self._path)
            seen = (state.st_ino, state.st_size, state.st_mtime_ns)
            if seen == self._seen:
                return
            with open(self._path, encoding="utf-8", errors="replace") as lines:
                text = [re.sub(r"[#;].*", "", line) for line in lines]
        except OSError:
            self._seen, self.listed = (0, 0, 0), _Listed(())
            return
        self._seen = seen
        self.listed = _Listed(part for line in text for part in _SEPARATORS.split(line) if part)


def own_addresses() -> frozenset[Address]:
    """Return every address of this host's interfaces, loopback included.

    Source:
        /proc/self/net/fib_trie and if_inet6: no process, no socket. The unit hides /proc/net.
    """
    found: set[Address] = {ip_address("127.0.0.1"), ip_address("::1")}
    found.update(ip_address(text) for text in _local_ipv4(_read("/proc/self/net/fib_trie")))
    for line in _read("/proc/self/net/if_inet6"):
        found.add(IPv6Address(int(line.split()[0], 16)))
    return frozenset(found)


def _local_ipv4(lines: Iterable[str]) -> Iterable[str]:
    last = ""
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "|--":
            last = rest
        elif line.strip() == "/32 host LOCAL":
            yield last


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as lines:
            return lines.readlines()
    except OSError:
        return []


def _entry(text: str) -> Optional[Target]:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return target(bare)
