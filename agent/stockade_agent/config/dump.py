# SPDX-License-Identifier: MIT
"""A configuration as ``fail2ban-client -d`` prints it: the commands that would set it up."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from stockade_agent.config.actions import COMMANDS, JailAction
from stockade_agent.config.definition import KNOWN
from stockade_agent.config.jails import ESCALATION, Jail
from stockade_agent.config.reading import Reading
from stockade_agent.config.values import boolean, integer, words
from stockade_agent.errors import ConfigError


Command = list[Any]

# In the order in which fail2ban tells them.
_BEFORE = ("usedns", "prefregex", "maxlines")
_OF_FILTER = ("ignoreregex", "failregex", "datepattern", "journalmatch")
_OF_JAIL = (
    "maxretry",
    "maxmatches",
    "findtime",
    "bantime",
    *ESCALATION,
    "ignorecommand",
    "ignoreself",
    "ignoreip",
    "ignorecache",
    "logtimezone",
    "logencoding",
    "logpath",
)
_INTEGERS = {"maxretry", "maxmatches", "maxlines"}
_BOOLEANS = {"bantime.increment", "bantime.overalljails", "ignoreself"}
_FLAGS = {"norestored", "actionstart_on_demand", "actionrepair_on_unban"}


def dump(directory: str) -> tuple[list[Command], list[ConfigError]]:
    """Return the commands of a configuration, and all that is wrong with it."""
    reading = Reading(directory)
    agent = reading.agent
    commands: list[Command] = [
        ["set", "loglevel", agent.loglevel],
        ["set", "logtarget", agent.logtarget],
        ["set", "dbfile", agent.dbfile],
        ["set", "dbpurgeage", agent.dbpurgeage],
    ]
    started = []
    for jail in reading.jails:
        jail.spec()
        if jail.faults:
            why = "; ".join(str(fault.error(jail.name)) for fault in jail.faults)
            skipped = f"Jail '{jail.name}' skipped, because of wrong configuration: {why}"
            commands.append(["config-error", skipped])
        else:
            commands += of_jail(jail)
            started.append(["start", jail.name])
    return commands + started, reading.errors()


def of_jail(jail: Jail) -> Iterator[Command]:
    """Yield the commands that set up a jail."""
    backend = jail.options.get("backend")
    yield ["add", jail.name, backend.text if backend is not None else "auto"]
    # What the jail has itself is told after what is the filter's alone.
    own = [option for option in _OF_FILTER if option in jail.options]
    alone = [option for option in _OF_FILTER if option not in jail.options]
    for option in (*_BEFORE, *alone, *own, *_OF_JAIL):
        value = jail.filter.get(option) or jail.options.get(option)
        if value is not None:
            yield from _set(jail, option, value.text)
    for action in jail.actions:
        yield from _action(jail.name, action)


def _set(jail: Jail, option: str, text: str) -> Iterator[Command]:
    command = ["set", jail.name]
    if option in ("failregex", "ignoreregex"):
        lines = [line for line in text.split("\n") if line]
        if len(lines) > 1:
            yield ["multi-set", jail.name, f"add{option}", lines]
        elif lines:
            yield [*command, f"add{option}", lines[0]]
    elif option == "journalmatch":
        for line in text.split("\n"):
            if line:
                yield [*command, "addjournalmatch", *shlex.split(line)]
    elif option == "logpath":
        backend = jail.options.get("backend")
        if backend is None or not backend.text.startswith("systemd"):
            for line in text.split("\n"):
                yield from ([*command, "addlogpath", *found] for found in _logs(line))
    elif option == "ignoreip":
        yield [*command, "addignoreip", *words(text)]
    elif option in _INTEGERS:
        yield [*command, option, integer(text)]
    elif option in _BOOLEANS:
        yield [*command, option, boolean(text)]
    else:
        yield [*command, option, text]


def _logs(line: str) -> Iterator[Sequence[str]]:
    path, _, mode = line.rpartition(" ")
    pattern, mode = (path, mode) if path else (line, "head")
    for found in sorted(glob.glob(pattern)):
        yield found, mode


def _action(jail: str, action: JailAction) -> Iterator[Command]:
    told: list[list[Any]] = [
        [option, boolean(value.text) if option in _FLAGS else value.text]
        for option, value in action.combined.items()
        if option in COMMANDS
    ]
    # Parameters are told as they were written.
    told += [
        [option, value.text]
        for option, value in action.definition.init.items()
        if option not in COMMANDS and not option.startswith(KNOWN)
    ]
    yield ["set", jail, "addaction", action.name]
    yield ["multi-set", jail, "action", action.name, told]
