# SPDX-License-Identifier: MIT
"""The configuration, typed: what tells each stage of the pipeline what to do.

    Config
        AgentSpec
        JailSpec, of each jail
            FilterSpec, ActionSpec, Shield

Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional


FILTERTIME = 1.0
"""Seconds of CPU time that a filter may take for a line, where nothing else is said."""

BANS = "bans"
"""The backend of a jail whose failures are the bans of others."""

_TRUE = frozenset(("1", "on", "true", "yes"))


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
