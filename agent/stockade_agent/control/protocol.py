# SPDX-License-Identifier: MIT
"""What goes over the control socket: one JSON object a line, a reply for each request.

    -> {"command": "ban", "jail": "sshd", "ids": ["192.0.2.7"]}
    <- {"ok": true, "result": {"changed": ["192.0.2.7"]}}
    <- {"ok": false, "error": "no jail named sshdd (did you mean sshd?)"}

    command   asks for                                           result
    ping                                                         "pong"
    status    jail, or all                                       an ``AgentStatus``
    ban       jail, ids                                          {"changed": [id, …]}
    unban     jail or all, ids (``all`` alone for every one)     {"changed": [id, …], "count": bans,
                                                                "absent": [id, …], "within":
                                                                {absent id: [[jail, network], …]}}
    attempt   jail, ids, words (log lines, a failure each)       {"changed": [id, …]}: was counted
    panic     ids (jails; none: all), words (seconds, or none),  {"changed": [id, …]: was lifted,
              by                                                 "count": bans, "until": or null}
    resume    ids (jails; none: all)                             {"changed": [jail, …]}
    release   jail or all, words (``drop`` or none)              {"changed": [id, …]: is banned,
                                                                 "held": how many waited}
    reload    jail or all, words (``restart``, ``unban``,        {"jails": […], "faults": […]}
              ``if-exists``)
    get       jail or the agent itself, option                   {"value": …}
    set       jail or the agent itself, option, words            {"value": …}: as ``get`` tells

Root and the agent's own user may ask for all of it, the members of the group ``socketgroup`` for
``READS``. What ``set`` changes lasts until the next reload. Where a request names a jail that does
not run, the refusal has a ``code``:

    <- {"ok": false, "error": "no jail named sshdd", "code": "no jail"}

The dataclasses below are the ``result`` of ``status``; ``stockade status --json`` carries the same
object per host. Times are seconds since the epoch, durations are seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from stockade_agent.control.rows import Rows


READS = frozenset({"get", "ping", "status"})
"""Requests that change nothing; a new one is root's unless it stands here."""
NO_JAIL = "no jail"
MAX_LINE = 1 << 20
"""Bytes of the longest request; a longer one is refused and the connection closed."""
MAX_QUESTION = 4096
"""Likewise for who is not root."""


@dataclass(frozen=True)
class BanStatus:
    """A ban in force.

    ``expires_at`` is None for a permanent one; ``enforced`` says whether the firewall took it, or
    the actions of a jail that bans by nothing else.
    """

    id: str
    at: float
    expires_at: Optional[float]
    failures: int
    enforced: bool


@dataclass(frozen=True)
class ActionStatus:
    """An action whose commands the agent runs.

    Attributes:
        state: ``ready``, ``busy``, or ``failed``: something has failed and is not well yet.
        queued: orders that are not done, tries that wait included.
        failed: bans that it has not taken.
        problem: what failed last of all that is not well yet, or "".
    """

    name: str
    state: str
    queued: int
    failed: int
    problem: str


@dataclass(frozen=True)
class JailStatus:
    """One jail, running or not.

    Attributes:
        state: ``running``, ``waiting`` (for its first log to appear) or ``failed``.
        problem: why it does not run, or what troubles it, in one line; else "".
        source: ``file``, ``journal`` or ``bans``; "" if the configuration keeps it from running.
        logs: the log files covered now, or the lines of journalmatch.
        failed_now: ids with failures inside findtime.
        failed_total: failures since the ledger began; so ``banned_total``.
        ports: what its bans close, as written in the configuration's words: ``22,5901``.
        bans: those in force, in the order in which they began.
        failed_run: failures since the agent started; so ``banned_run``, restored bans included.
        backend: as the configuration has it: ``auto``, ``polling``, ``pyinotify``, ``systemd``.
        paused: by ``panic``: nobody is banned but by hand.
        held: bans of a surge that wait for ``release``.
        prefix6: length of the prefixes by which it counts IPv6; None: by address.
    """

    name: str
    state: str
    problem: str
    source: str
    logs: tuple[str, ...]
    ports: str
    maxretry: int
    findtime: int
    bantime: int
    failed_now: int
    failed_total: int
    banned_now: int
    banned_total: int
    bans: Sequence[BanStatus]
    actions: tuple[ActionStatus, ...] = ()
    failed_run: int = 0
    banned_run: int = 0
    backend: str = ""
    paused: bool = False
    held: int = 0
    prefix6: Optional[int] = None


@dataclass(frozen=True)
class FirewallStatus:
    """The backend in use.

    Attributes:
        wanted: what the configuration asked for (``auto`` or a backend).
        proved_at: when a ban was last inserted and listed as a proof, or None.
        problem: the last failure that still stands, or "".
        warnings: such as a foreign chain that has our name.
        healed: how often bans that somebody took out of the kernel were put back.
        healed_at: when, the last time, or None.
        healed_after: the process that had taken them; "" where nobody knows.
    """

    backend: str
    wanted: str
    proved_at: Optional[float]
    problem: str
    warnings: tuple[str, ...] = ()
    healed: int = 0
    healed_at: Optional[float] = None
    healed_after: str = ""


@dataclass(frozen=True)
class PauseStatus:
    """A pause in force, as ``panic`` began it.

    Attributes:
        jail: "" for all jails.
        since: when; None if that is not known.
        until: when it ends by itself, or None: not before ``resume``.
        by: who asked for it, or "".
    """

    jail: str
    since: Optional[float]
    until: Optional[float]
    by: str


@dataclass(frozen=True)
class AgentStatus:
    """The whole answer to ``status``.

    Attributes:
        lines: log lines read since the start.
        faults: everything that is wrong in the configuration, one line each.
        never_banned: addresses and networks that the agent will not ban: ignoreip of all
            jails, own addresses, controllers.
    """

    version: str
    python: str
    pid: int
    started_at: float
    now: float
    rss_bytes: int
    lines: int
    firewall: FirewallStatus
    jails: tuple[JailStatus, ...]
    faults: tuple[str, ...] = ()
    never_banned: tuple[str, ...] = ()
    pauses: tuple[PauseStatus, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON's own types; bans may be ``Rows``."""
        jails = [{**asdict(replace(jail, bans=())), "bans": _bans(jail)} for jail in self.jails]
        return {**asdict(replace(self, jails=())), "jails": jails}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AgentStatus:
        """Return the object that ``to_json`` made; unknown keys of a newer agent are dropped.

        Raises:
            TypeError: a key that is needed is missing.
        """
        known = _known(cls, data)
        firewall = _known(FirewallStatus, data["firewall"])
        firewall["warnings"] = tuple(firewall.get("warnings", ()))
        known["firewall"] = FirewallStatus(**firewall)
        known["jails"] = tuple(_jail(jail) for jail in data["jails"])
        known["faults"] = tuple(data.get("faults", ()))
        known["never_banned"] = tuple(data.get("never_banned", ()))
        known["pauses"] = tuple(
            PauseStatus(**_known(PauseStatus, pause)) for pause in data.get("pauses", ())
        )
        return cls(**known)


@dataclass(frozen=True)
class Request:
    """One request; ``jail`` empty means all jails, or the agent itself.

    Attributes:
        option: what ``get`` and ``set`` are about.
        words: values of the option, or what else a command takes.
        by: the person who asks, for those who wonder later; nothing depends on it.
    """

    command: str
    jail: str = ""
    ids: tuple[str, ...] = field(default=())
    option: str = ""
    words: tuple[str, ...] = field(default=())
    by: str = ""

    def to_line(self) -> bytes:
        """Return the request as it goes over the socket."""
        return json.dumps(asdict(self)).encode() + b"\n"


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in data if key in cls.__dataclass_fields__}  # type: ignore[attr-defined]


def _bans(jail: JailStatus) -> Sequence[dict[str, Any]]:
    bans = jail.bans
    # There may be very many, and asdict takes ten times as long.
    return bans.changed(vars) if isinstance(bans, Rows) else [dict(vars(ban)) for ban in bans]


def _jail(data: Mapping[str, Any]) -> JailStatus:
    known = _known(JailStatus, data)
    known["logs"] = tuple(data["logs"])
    known["bans"] = tuple(BanStatus(**_known(BanStatus, ban)) for ban in data["bans"])
    known["actions"] = tuple(
        ActionStatus(**_known(ActionStatus, action)) for action in data.get("actions", ())
    )
    return JailStatus(**known)
