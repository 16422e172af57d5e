# SPDX-License-Identifier: MIT
"""The nouns of the pipeline, one immutable type per stage.

    Block -> Failure -> Ban

and the typed configuration that tells each stage what to do:

    AgentSpec, JailSpec (with its FilterSpec and ActionSpecs)

Times are seconds since the epoch, UTC, as float. Durations are seconds.
An ``id`` is fail2ban's failure-id: the canonical text of an address or network, or
whatever ``<F-ID>`` captured. It is the key of counts and bans. ``address`` is the same as
an ``ipaddress`` object where it is one; past the filter nobody parses text again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import Any, NamedTuple, Optional, Union


Address = Union[IPv4Address, IPv6Address]  # evaluated at import: no `|` before Python 3.10
Target = Union[IPv4Address, IPv6Address, IPv4Network, IPv6Network]

FOREVER = -1
"""The bantime of a ban that never ends."""

FILTERTIME = 1.0
"""Seconds of CPU time that a filter may take for a line, where nothing else is said."""


_TRUE = frozenset(("1", "on", "true", "yes"))


def target(text: str) -> Optional[Target]:
    """Return the address or network that ``text`` is, IPv4-mapped IPv6 as IPv4, or None.

    A network is masked; one of full length is an address.
    """
    try:
        if "/" in text:
            network = ip_network(text, strict=False)
            if isinstance(network, IPv6Network) and network.subnet_of(IPv6Network("::ffff:0:0/96")):
                network = IPv4Network((int(network[0]) & 0xFFFFFFFF, network.prefixlen - 96))
            return network if network.prefixlen < network.max_prefixlen else network[0]
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


_NONE: Mapping[str, str] = MappingProxyType({})  # one for all of 100,000 without data


# ---- what flows -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Whole log lines as they were read, each ended by a newline.

    Attributes:
        watches: who asked for it: the ``Watch.name`` of each watch that covers this log.
        log: the log's path, or ``journal``.
        data: undecoded bytes.
        times: one time a line where the source knows it (journal), else None: the date
            then stands in the line.
        position: where to go on after this block, in the source's own notation; to be saved
            once the block has been dealt with.
        found: what was found in ``data``, by what was looked for: jails that look for the same
            do it once; and the failures that a filter found, for all jails that have it.
    """

    watches: tuple[str, ...]
    log: str
    data: bytes
    position: str
    times: Optional[Sequence[float]] = None
    found: dict[object, list[Any]] = field(default_factory=dict, compare=False, repr=False)


class Failure(NamedTuple):
    """One failed attempt, as a filter saw it.

    Attributes:
        at: when, from the line.
        id: what counts and is banned.
        address: the id as an address or network; None for any other id.
        host: a host name that still has to be resolved (``usedns``); ``id`` is then that name.
        attempts: how many failures the line stands for.
        matches: the lines, for actions and ``status``; hostile text.
        data: values of ``<F-…>`` tags by lower-case name; hostile text.
    """

    at: float
    id: str
    address: Optional[Target] = None
    host: Optional[str] = None
    attempts: int = 1
    matches: tuple[str, ...] = ()
    data: Mapping[str, str] = _NONE


class Tally(NamedTuple):
    """The failures of an id that may still earn it a ban.

    Attributes:
        first: since when they count.
        last: when the last one was.
        retry: what maxretry is compared with.
        failures: how many there were.
    """

    id: str
    first: float
    last: float
    retry: float
    failures: int
    matches: tuple[str, ...] = ()
    data: Mapping[str, str] = _NONE


@dataclass(frozen=True)
class Ban:
    """An order to refuse an id, and until when.

    While it is in force only the ledger keeps ``matches`` and ``data``: ``Records.whole`` gives
    a ban with them.

    Attributes:
        at: when it began (the last failure's time).
        failures: how many failures earned it; 0 for a ban by hand.
        count: how many bans this id has had in this jail, this one included.
        restored: it was in the ledger when the agent started.
        prolonged: the id was banned already; only the end of that ban has moved.
    """

    jail: str
    id: str
    address: Optional[Target]
    at: float
    bantime: int
    failures: int = 0
    count: int = 1
    matches: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=lambda: _NONE)
    restored: bool = False
    prolonged: bool = False

    @property
    def expires_at(self) -> Optional[float]:
        """When to unban, or None for a permanent ban."""
        return None if self.bantime == FOREVER else self.at + self.bantime

    def bare(self) -> Ban:
        """Return it without matches and data."""
        return replace(self, matches=(), data=_NONE) if self.matches or self.data else self


# ---- what a jail's bans refuse ----------------------------------------------------------------


@dataclass(frozen=True)
class Shield:
    """What one jail's bans close: the ports that a banned address can no longer reach.

    Attributes:
        jail: whose bans.
        ports: inclusive ranges, sorted; empty means every port and protocol.
        protocols: ``tcp``, ``udp``, …; not used when ``ports`` is empty.
        blocktype: ``reject`` or ``drop``.
        chain: the base chain that iptables hooks from.
    """

    jail: str
    ports: tuple[tuple[int, int], ...] = ()
    protocols: tuple[str, ...] = ("tcp",)
    blocktype: str = "reject"
    chain: str = "INPUT"


# ---- what the configuration says --------------------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """Where a value was written: file and line, counted from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class FilterSpec:
    """A filter, all includes, interpolations and tags of the configuration resolved.

    The regexes still carry the tags of the regex language (``<HOST>``, ``<F-USER>``, …).

    Attributes:
        datepattern: newline-separated patterns, or None for the default detectors.
        journalmatch: one string a line of the option, unsplit.
        origins: option name -> where its value came from.
    """

    name: str
    failregex: tuple[str, ...]
    ignoreregex: tuple[str, ...] = ()
    prefregex: Optional[str] = None
    datepattern: Optional[str] = None
    maxlines: int = 1
    usedns: str = "warn"
    logencoding: str = "auto"
    logtimezone: Optional[str] = None
    journalmatch: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True)
class ActionSpec:
    """An action of a jail, resolved as far as the configuration can.

    Attributes:
        name: the ``actname``: unique within its jail.
        file: the action file's name, without ``.conf``.
        firewall: the native backend that does the same (``nftables``, ``iptables``,
            ``firewalld``, or ``auto``), or None when its commands must be run.
        parameters: what the jail passed and the file's ``[Init]`` defaults.
        definition: the options of ``[Definition]`` (``actionban``, ``actionstart``, …).
        origins: option of ``definition`` -> where it was written; no difference between actions.
    """

    name: str
    file: str
    firewall: Optional[str] = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    definition: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)

    @property
    def restores(self) -> bool:
        """Whether it is to be told of bans that were in force before the agent started."""
        return self.definition.get("norestored", "").lower() not in _TRUE

    @property
    def holds(self) -> bool:
        """Whether it has bans in force, rather than only telling of them."""
        return self.restores and self.definition.get("actionban", "").strip() != ""


@dataclass(frozen=True)
class LogPath:
    """A glob of log files; ``tail`` starts at the end of a file never read before."""

    pattern: str
    tail: bool = False


@dataclass(frozen=True)
class IgnoreCache:
    """How long answers of an ``ignorecommand`` hold.

    Attributes:
        key: text with tags; failures for which it reads the same share an answer.
    """

    key: str
    max_count: int = 100
    max_time: float = 300.0


@dataclass(frozen=True)
class Escalation:
    """``bantime.increment`` and its companions, in the format's own units and words."""

    enabled: bool = False
    factor: str = "1"
    formula: str = ""
    multipliers: tuple[float, ...] = ()
    maxtime: Optional[int] = None
    rndtime: Optional[int] = None
    overalljails: bool = False


@dataclass(frozen=True)
class Surge:
    """What happens when a jail bans far more than it ever did.

    Too many are, in an hour, more than ``floor`` and ``ratio`` times the most ever, or than
    ``share`` percent of who is connected to the jail's ports (0: not asked).
    """

    mode: str = "alert"
    floor: int = 100
    ratio: float = 10.0
    share: float = 0.0


@dataclass(frozen=True)
class JailSpec:
    """An enabled jail, every option typed.

    Attributes:
        backend: ``auto``, ``systemd``, a file backend (``polling``, ``pyinotify``), or ``bans``.
        backend_parameters: from its brackets: ``journalflags``, ``journalpath``, …
        filtertime: seconds of CPU time that its filter may take for a line; 0: any.
        systemd_if_nologs: ``auto`` may turn to the journal where no log file is found.
        ignorepeers: nobody is banned while he is logged in by a public key.
        shield: what its bans close where the native firewall makes them; None where only
            other actions act.
        escalation: how bantime grows for an address that comes back.
        prefix6: lengths of prefixes that IPv6 is banned by, the first the one that counts; or none.
    """

    name: str
    filter: FilterSpec
    backend: str = "auto"
    backend_parameters: Mapping[str, str] = field(default_factory=dict)
    systemd_if_nologs: bool = True
    logpath: tuple[LogPath, ...] = ()
    maxretry: int = 5
    findtime: int = 600
    bantime: int = 600
    maxmatches: int = 5
    filtertime: float = FILTERTIME
    ignoreip: tuple[str, ...] = ()
    ignoreself: bool = True
    ignorepeers: bool = False
    ignorecommand: Optional[str] = None
    ignorecache: Optional[IgnoreCache] = None
    actions: tuple[ActionSpec, ...] = ()
    shield: Optional[Shield] = None
    escalation: Escalation = field(default_factory=Escalation)
    surge: Surge = field(default_factory=Surge)
    prefix6: tuple[int, ...] = ()
    members: int = 4  # bans at a time within one of the other prefixes that get it banned
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def commands(self) -> tuple[ActionSpec, ...]:
        """The actions whose commands must be run."""
        return tuple(action for action in self.actions if action.firewall is None)


AUTO, STDERR, JOURNAL = "auto", "STDERR", "SYSTEMD-JOURNAL"
"""What ``logtarget`` may be, besides the path of a file."""


@dataclass(frozen=True)
class AgentSpec:
    """The agent's own settings: ``fail2ban.conf``, then ``stockade.conf`` over it.

    Attributes:
        firewall: ``auto``, ``nftables``, ``iptables`` or ``firewalld``.
        chainprefix: what the names of iptables chains begin with.
        dbfile: the ledger, or ``:memory:``.
        socketgroup: whose members may read through the socket, besides root; "" for nobody.
        logtarget: ``AUTO`` is the journal if standard error leads there, else standard error.
        logsize: bytes of a log file before it is rotated, 0 for any number.
        logcount: rotated files that are kept.
        controllers: file with the addresses that pushed to this host, one a line; they are
            never banned.
    """

    firewall: str = "auto"
    chainprefix: str = "f2b-"
    dbfile: str = "/var/lib/stockade/agent/ledger.sqlite3"
    socket: str = "/run/stockade/agent.sock"
    socketgroup: str = ""
    controllers: str = "/etc/stockade/controllers"
    loglevel: str = "INFO"
    logtarget: str = AUTO
    logsize: int = 10 << 20
    logcount: int = 5
    dbpurgeage: int = 86400
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """A whole configuration tree, read.

    Attributes:
        jails: the enabled jails that can run.
        faults: everything that is wrong: a ``ConfigError`` with ``jail`` set took that one
            jail out; one without makes the tree unusable.
    """

    agent: AgentSpec
    jails: tuple[JailSpec, ...]
    faults: tuple[Exception, ...] = ()
