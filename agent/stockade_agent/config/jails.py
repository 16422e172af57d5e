# SPDX-License-Identifier: MIT
"""Jails: sections of ``jail.conf`` and its kin, as typed specifications."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable, Optional, TypeVar

from stockade_agent.config import actions, filters, meanings
from stockade_agent.config.faults import Fault
from stockade_agent.config.inifile import Value
from stockade_agent.config.interpolation import Namespace
from stockade_agent.config.parameters import BadParameters, Call, parse, split
from stockade_agent.config.surge import surge
from stockade_agent.config.tree import Library, Tree
from stockade_agent.config.values import (
    BadValue,
    boolean,
    integer,
    logpaths,
    prefix6_length,
    wider_than,
    words,
)
from stockade_agent.specs import BANS, ActionSpec, Escalation, FilterSpec, JailSpec, Shield


FIRST = ("enabled", "backend", "filter")
ESCALATION = (
    "bantime.increment",
    "bantime.factor",
    "bantime.formula",
    "bantime.multipliers",
    "bantime.maxtime",
    "bantime.rndtime",
    "bantime.overalljails",
)
OPTIONS = (
    "enabled",
    "backend",
    "maxretry",
    "maxmatches",
    "findtime",
    "filtertime",
    "bantime",
    *ESCALATION,
    "prefix6",
    "prefix6.wider",
    "prefix6.members",
    "ignorecommand",
    "ignoreself",
    "ignorepeers",
    "ignoreip",
    "ignorecache",
    "surge",
    "filter",
    "logtimezone",
    "logencoding",
    "logpath",
    "skip_if_nologs",
    "systemd_if_nologs",
    "action",
    *filters.OPTIONS,
)
RECIDIVE, OWN_LOG = "recidive", "fail2ban.log"
"""fail2ban's filter for bans, which it reads from its own log; we need none to know of ours."""

T = TypeVar("T")


class Jail:
    """One jail, read as far as its faults let it be.

    Attributes:
        enabled: whether it shall run; if not, nothing else of it is read.
        options: the jail's own options, references resolved.
        filter_name: the filter's file, or "".
        filter: what its filter is told: the filter's options with the jail's own over them.
        actions: in the order in which they start.
        faults: all that is wrong with it.
        space: what its options mean.
        jail_filter: its filter, if it has one.

    Args:
        always: read it although it is not enabled.
    """

    def __init__(self, library: Library, tree: Tree, name: str, *, always: bool = False) -> None:
        self.name = name
        self.faults: list[Fault] = []
        self.options: dict[str, Value] = {}
        self.filter_name = ""
        self.filter: dict[str, Value] = {}
        self.actions: list[actions.JailAction] = []
        self._library, self._tree = library, tree
        self.jail_filter: Optional[filters.JailFilter] = None
        self.space = Namespace(tree, name)
        enabled = self._get("enabled")
        # A jail that may have been meant to run is not passed over in silence.
        self.enabled = bool(self.faults) or (enabled is not None and boolean(enabled.text))
        if self.enabled or always:
            self._read()

    def _blame(self, fault: Fault, option: str) -> None:
        """Add a fault of an option, at the place where its needle was written."""
        source = self.space.source(option, fault.needle) if fault.needle else None
        if source is not None:
            fault = fault.at(*source)
        # What follows from a fault that is known already is no news.
        if not any(
            (fault.path, fault.line, fault.needle) == (other.path, other.line, other.needle)
            for other in self.faults
        ):
            self.faults.append(fault)

    def _get(self, option: str) -> Optional[Value]:
        try:
            return self.space.get(option)
        except Fault as fault:
            # A first option is read twice.
            if not any(str(fault) == str(known) for known in self.faults):
                self.faults.append(fault)
            return None

    def _read(self) -> None:
        first = {option: value for option in FIRST if (value := self._get(option)) is not None}
        self.jail_filter = self._filter(first)
        if self.jail_filter:
            known = self.jail_filter.known
            self.space = Namespace(self._tree, self.name, behind_known=known)
        for option in OPTIONS:
            value = self._get(option)
            if value is not None:
                self.options[option] = value
        self.filter = {
            option: self.options[option] for option in filters.OPTIONS if option in self.options
        }
        if self.jail_filter:
            try:
                self.filter = self.jail_filter.beneath(self.options)
            except Fault as fault:
                self.faults.append(fault)
        self._actions()

    def _filter(self, first: Mapping[str, Value]) -> Optional[filters.JailFilter]:
        value = first.get("filter")
        if value is None or not value.text:
            return None
        try:
            call = self._call(value.text, "filter", value, 0)
            files = filters.tree(self._library, call.name, value)
            self.faults += files.faults
        except Fault as fault:
            self._blame(fault, "filter")
            return None
        self.filter_name = call.name
        return filters.JailFilter(files, _values(call, value), first)

    def _actions(self) -> None:
        value = self.options.get("action")
        if value is None:
            return
        for text, offset in split(value.text):
            try:
                call = self._call(text, "action", value, offset)
                files = actions.tree(self._library, call.name, value)
                self.faults += (fault for fault in files.faults if fault not in self.faults)
                action = actions.JailAction(
                    files,
                    call.name,
                    self.name,
                    _values(call, value),
                    self.options,
                )
            except Fault as fault:
                self._blame(fault, "action")
                continue
            if any(action.name == other.name for other in self.actions):
                self.faults.append(
                    Fault(
                        f"two actions are named {action.name}",
                        path=value.path,
                        line=value.line_at(offset),
                        needle=text.partition("[")[0],
                        remedy=f"give one of them a name: {call.name}[actname=…]",
                    )
                )
            self.actions.append(action)

    def _call(self, text: str, option: str, value: Value, offset: int) -> Call:
        try:
            return parse(text)
        except BadParameters as error:
            raise Fault(
                f"{option}: {error}",
                path=value.path,
                line=value.line_at(offset),
                needle=error.needle.partition("\n")[0],
                section=self.name,
            ) from None

    # ---- typed ----------------------------------------------------------------------------

    def spec(self) -> JailSpec:
        """Return the jail as a specification; meaningless values are added to ``faults``."""
        default = JailSpec(name=self.name, filter=FilterSpec(name="", failregex=()))
        backend = self._typed("backend", meanings.backend, Call(default.backend, {}))
        logpath = self._typed("logpath", logpaths, default.logpath)
        if self.filter_name == RECIDIVE and (
            backend.name == "systemd" or all(p.pattern.endswith(f"/{OWN_LOG}") for p in logpath)
        ):
            backend = Call(BANS, {})
        specs, shield = self._protection()
        return JailSpec(
            name=self.name,
            filter=self._filter_spec(),
            backend=backend.name,
            backend_parameters=backend.parameters,
            logpath=logpath,
            maxretry=self._typed("maxretry", meanings.positive, default.maxretry),
            findtime=self._typed("findtime", meanings.seconds, default.findtime),
            filtertime=self._typed("filtertime", meanings.filtertime, default.filtertime),
            bantime=self._typed("bantime", meanings.bantime, default.bantime),
            maxmatches=self._typed("maxmatches", integer, default.maxmatches),
            systemd_if_nologs=self._typed("systemd_if_nologs", boolean, default.systemd_if_nologs),
            ignoreip=self._typed("ignoreip", words, default.ignoreip),
            ignoreself=self._typed("ignoreself", boolean, default.ignoreself),
            ignorepeers=self._typed("ignorepeers", boolean, default.ignorepeers),
            ignorecommand=self._typed("ignorecommand", meanings.text, default.ignorecommand),
            ignorecache=self._typed("ignorecache", meanings.ignorecache, default.ignorecache),
            actions=specs,
            shield=shield,
            escalation=self._escalation(),
            surge=self._typed("surge", surge, default.surge),
            prefix6=self._prefixes(),
            members=self._typed("prefix6.members", meanings.several, default.members),
            origins={option: value.origin for option, value in self.options.items()},
        )

    def _typed(self, option: str, meaning: Callable[[str], T], default: T) -> T:
        value = self.options.get(option)
        if value is None:
            return default
        try:
            return meaning(value.text)
        except BadValue as error:
            self._blame(filters.bad(error, option, value), option)
            return default

    def _filter_spec(self) -> FilterSpec:
        self._typed("logencoding", meanings.encoding, "auto")
        options = dict(self.filter)
        for option in filters.OF_LOGS:
            if option in self.options:
                options[option] = self.options[option]
        return filters.spec(self.filter_name, options, faults=self.faults)

    def _escalation(self) -> Escalation:
        default = Escalation()
        return Escalation(
            enabled=self._typed("bantime.increment", boolean, default.enabled),
            factor=self._typed("bantime.factor", str, default.factor),
            formula=self._typed("bantime.formula", str, default.formula),
            multipliers=self._typed(
                "bantime.multipliers", meanings.multipliers, default.multipliers
            ),
            maxtime=self._typed("bantime.maxtime", meanings.optional_seconds, default.maxtime),
            rndtime=self._typed("bantime.rndtime", meanings.optional_seconds, default.rndtime),
            overalljails=self._typed("bantime.overalljails", boolean, default.overalljails),
        )

    def _prefixes(self) -> tuple[int, ...]:
        length = self._typed("prefix6", prefix6_length, None)
        none: tuple[int, ...] = ()
        wider = self._typed("prefix6.wider", wider_than(length), none)
        return () if length is None else (length, *wider)

    def _protection(self) -> tuple[tuple[ActionSpec, ...], Optional[Shield]]:
        shields = []
        for action in self.actions:
            if action.firewall is None:
                continue
            try:
                shields.append(action.shield())
            except BadValue as error:
                value = self.options["action"]
                fault = Fault(
                    str(error),
                    path=value.path,
                    line=value.line,
                    needle=error.needle,
                    remedy=error.remedy,
                )
                self._blame(fault, "action")
        return tuple(action.spec() for action in self.actions), actions.joined(shields)


def _values(call: Call, origin: Value) -> dict[str, Value]:
    return {name: Value(text, origin.path, origin.line) for name, text in call.parameters.items()}
