# SPDX-License-Identifier: MIT
"""Tags of an action's commands, at run time: what the configuration could not know.

``expand`` puts in what is configuration (``<iptables>``, ``<blocktype>`` of a family); that
becomes shell text. ``Values`` knows the rest, which are facts of one ban (``<ip>``,
``<matches>``, ``<F-USER>``); these are hostile and never become shell text, see ``script``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Callable, Optional, Protocol

from stockade_agent.errors import FirewallError
from stockade_agent.model import Ban, Target, target


FAMILIES = ("inet4", "inet6")
TAG = re.compile(r"<([^ <>]+)>")
CAPTURED = re.compile(r"F-([A-Z0-9_\-]+)")
"""A tag of what the filter's regex captured."""

_REPEATS = 25
_CONSTANTS = {"br": "\n", "sp": " "}
# Two names that a regex's group cannot have as they are.
_GROUPS = {"id": "fid", "port": "fport"}


class Names(Protocol):
    """Host names; may be slow, and is asked in a worker's thread."""

    def fully_qualified(self) -> str:
        """Return this host's name with its domain."""

    def short(self) -> str:
        """Return this host's name."""

    def of(self, address: str, /) -> str:
        """Return the name of an address, or "" if it has none."""


@dataclass(frozen=True)
class Merged:
    """What is known of all bans of one id together.

    Attributes:
        matches: their lines; hostile text.
    """

    failures: int
    matches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What an action may be told besides the ban; taken when the order is given.

    Attributes:
        bantime: the jail's, in seconds.
        here: all bans of the id in this jail, where an action asks for it (``Actions.tags``).
        everywhere: the same of all jails.
    """

    jail: str
    now: float
    bantime: int = 600
    banned: int = 0
    banned_total: int = 0
    found: int = 0
    found_total: int = 0
    here: Optional[Merged] = None
    everywhere: Optional[Merged] = None


def expand(text: str, properties: Mapping[str, str], family: str) -> str:
    """Return ``text`` with the tags replaced that ``properties`` knows.

    Values may bring further tags. What nobody knows stays: a tag of ``Values``, or a shell's
    redirection.

    Args:
        family: ``tag?family=…`` of this one goes before ``tag``; "" for none.

    Raises:
        FirewallError: a tag leads to itself.
    """

    def replacement(match: re.Match[str]) -> str:
        tag = match.group(1)
        value = properties.get(f"{tag}?family={family}") if family else None
        if value is None:
            value = properties.get(tag, _CONSTANTS.get(tag))
        return match.group() if value is None else value

    for _ in range(_REPEATS):
        replaced = TAG.sub(replacement, text)
        if replaced == text:
            return text
        text = replaced
    raise FirewallError(
        f"a tag leads to itself: {text[:60]}",
        backend="action",
        remedy="see its file and the parameters in the jail",
    )


class Values:
    """The values of run-time tags for one ban, or for none (``actionstart`` and its like).

    Args:
        family: ``inet4``, ``inet6``, or "" where there is none; by default the ban's.
    """

    def __init__(
        self, facts: Facts, names: Names, ban: Optional[Ban] = None, family: Optional[str] = None
    ) -> None:
        self.facts, self.names, self.ban = facts, names, ban
        self.ip, self._address = _ip(ban)
        if family is None:
            family = "" if self._address is None else FAMILIES[self._address.version == 6]
        self.family = family

    def __getitem__(self, tag: str) -> str:
        captured = CAPTURED.fullmatch(tag)
        if captured:
            return self._captured(captured.group(1).lower())
        return str(_TAGS[tag](self))

    def _captured(self, name: str) -> str:
        data = {} if self.ban is None else self.ban.data
        return data.get(_GROUPS.get(name, name), "")

    def reverse(self) -> str:
        """Return the address as its name in the DNS begins, or ""."""
        if self._address is None:
            return ""
        if self._address.version == 4:
            parts = self.ip.split(".")
        else:
            address = self._address
            first = address.network_address if isinstance(address, IPv6Network) else address
            parts = list(f"{int(first):032x}")
        return ".".join(reversed(parts)) + "."

    def bantime(self) -> int:
        """Return the ban's duration, or the jail's."""
        return self.facts.bantime if self.ban is None else self.ban.bantime

    def matches(self, merged: Optional[Merged] = None) -> str:
        """Return the lines of all that is merged, or of this ban."""
        if merged is None:
            merged = self._merged()
        return "\n".join(merged.matches)

    def failures(self, merged: Optional[Merged] = None) -> int:
        """Return the failures of all that is merged, or of this ban."""
        if merged is None:
            merged = self._merged()
        return merged.failures

    def _merged(self) -> Merged:
        return Merged(0) if self.ban is None else Merged(self.ban.failures, self.ban.matches)

    def raw(self) -> str:
        """Return the whole ban in one line, in fail2ban's words."""
        ban = self.ban
        if ban is None:
            return ""
        return (
            f"BanTicket: ip={ban.id} time={ban.at} bantime={ban.bantime} bancount={ban.count}"
            f" #attempts={ban.failures} matches={list(ban.matches)!r}"
        )


def _ip(ban: Optional[Ban]) -> tuple[str, Optional[Target]]:
    """Return the address that is refused: the id itself, unless the regex had ``<F-ID>``."""
    if ban is None:
        return "", None
    if ban.address is not None:
        return (ban.id if target(ban.id) == ban.address else str(ban.address)), ban.address
    captured = ban.data if "fid" in ban.data else {}
    text = captured.get("ip4", "") or captured.get("ip6", "") or ban.id
    return text, target(text)


_TAGS: Mapping[str, Callable[[Values], object]] = {
    "ip": lambda v: v.ip,
    "family": lambda v: v.family,
    "ip-rev": lambda v: v.reverse(),
    "ip-host": lambda v: v.names.of(v.ip) if v.ip else "",
    "fid": lambda v: "" if v.ban is None else v.ban.id,
    "failures": lambda v: v.failures(),
    "time": lambda v: float(v.facts.now if v.ban is None else v.ban.at),
    "bantime": lambda v: v.bantime(),
    "bancount": lambda v: 0 if v.ban is None else v.ban.count,
    "matches": lambda v: v.matches(),
    "restored": lambda v: int(v.ban is not None and v.ban.restored),
    "F-*": lambda v: {} if v.ban is None else dict(v.ban.data),
    "ipmatches": lambda v: v.matches(v.facts.everywhere),
    "ipjailmatches": lambda v: v.matches(v.facts.here),
    "ipfailures": lambda v: v.failures(v.facts.everywhere),
    "ipjailfailures": lambda v: v.failures(v.facts.here),
    "raw-ticket": lambda v: v.raw(),
    "jail.name": lambda v: v.facts.jail,
    "jail.banned": lambda v: v.facts.banned,
    "jail.banned_total": lambda v: v.facts.banned_total,
    "jail.found": lambda v: v.facts.found,
    "jail.found_total": lambda v: v.facts.found_total,
    "fq-hostname": lambda v: v.names.fully_qualified(),
    "sh-hostname": lambda v: v.names.short(),
}
ALL = frozenset(_TAGS)
"""The run-time tags, besides those that ``CAPTURED`` matches."""


_KEPT = frozenset(("matches", "ipmatches", "ipjailmatches", "raw-ticket", "F-*"))


def is_kept(tag: str) -> bool:
    """Return whether a tag's value is in a ban's matches or data."""
    return tag in _KEPT or CAPTURED.fullmatch(tag) is not None


def is_runtime(tag: str) -> bool:
    """Return whether a tag's value is a fact of the moment rather than configuration."""
    return tag in ALL or CAPTURED.fullmatch(tag) is not None
