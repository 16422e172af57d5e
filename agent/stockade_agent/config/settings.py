# SPDX-License-Identifier: MIT
"""The agent's own settings: ``stockade.conf`` over what it takes from ``fail2ban.conf``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Optional

from stockade_agent.config.faults import Fault, nearest
from stockade_agent.config.filters import bad
from stockade_agent.config.inifile import Value
from stockade_agent.config.interpolation import Namespace
from stockade_agent.config.tree import Library
from stockade_agent.config.values import BadValue, duration
from stockade_agent.specs import AUTO, JOURNAL, STDERR, AgentSpec


FIREWALLS = ("auto", "nftables", "iptables", "firewalld")
LOGLEVELS = (
    "CRITICAL",
    "ERROR",
    "WARNING",
    "NOTICE",
    "INFO",
    "DEBUG",
    "TRACEDEBUG",
    "HEAVYDEBUG",
)
# A fail2ban on the same host keeps its socket, its database and its log.
_SHARED = ("loglevel", "dbpurgeage")
LOGTARGETS = (AUTO, STDERR, JOURNAL)
OWN = (
    *("firewall", "chainprefix", "dbfile", "socket", "socketgroup", "controllers"),
    *("logtarget", "logsize", "logcount", *_SHARED),
)
_SIZE = re.compile(r"(\d{1,12})([kmg]?)", re.ASCII)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30}


def read(library: Library, faults: list[Fault]) -> AgentSpec:
    """Return the settings; what is wrong with them is added to ``faults``."""
    values: dict[str, Value] = {}
    for name, options in (("fail2ban", _SHARED), ("stockade", OWN)):
        tree = library.tree(name)
        if tree is None:
            continue
        faults += tree.faults
        space = Namespace(tree, "Definition")
        for option in options:
            try:
                value = space.get(option)
            except Fault as fault:
                faults.append(fault)
                continue
            if value is not None:
                values[option] = value
        if name == "stockade":
            faults += _unknown(tree.sections.get("Definition", {}))
    default = AgentSpec()
    return AgentSpec(
        firewall=_one_of(values, "firewall", FIREWALLS, default.firewall, faults),
        chainprefix=_text(values, "chainprefix", default.chainprefix),
        dbfile=_text(values, "dbfile", default.dbfile),
        socket=_text(values, "socket", default.socket),
        socketgroup=_text(values, "socketgroup", default.socketgroup),
        controllers=_text(values, "controllers", default.controllers),
        loglevel=_one_of(values, "loglevel", LOGLEVELS, default.loglevel, faults),
        logtarget=_logtarget(values, default.logtarget, faults),
        logsize=_number(values, "logsize", default.logsize, faults),
        logcount=_number(values, "logcount", default.logcount, faults),
        dbpurgeage=_age(values, default.dbpurgeage, faults),
        origins={option: value.origin for option, value in values.items()},
    )


def _unknown(options: Mapping[str, Value]) -> list[Fault]:
    return [
        Fault(
            f"unknown option {option}",
            path=value.path,
            line=value.line,
            needle=option,
            remedy=nearest(option, OWN) or f"known are {', '.join(OWN)}",
        )
        for option, value in options.items()
        if option not in OWN
    ]


def _text(values: Mapping[str, Value], option: str, default: str) -> str:
    value = values.get(option)
    return value.text if value is not None and value.text else default


def _one_of(
    values: Mapping[str, Value],
    option: str,
    known: tuple[str, ...],
    default: str,
    faults: list[Fault],
) -> str:
    value: Optional[Value] = values.get(option)
    if value is None or not value.text:
        return default
    for name in known:
        if value.text.lower() == name.lower():
            return name
    if option == "loglevel" and value.text.isdigit():
        return value.text
    hint = nearest(value.text, known) or f"known are {', '.join(known)}"
    faults.append(bad(BadValue(f"unknown: {value.text!r}", hint), option, value))
    return default


def _logtarget(values: Mapping[str, Value], default: str, faults: list[Fault]) -> str:
    value = values.get("logtarget")
    if value is not None and value.text.startswith("/"):
        return value.text
    known = (*LOGTARGETS, "/path/of/a/file")
    found = _one_of(values, "logtarget", known, default, faults)
    return default if found == known[-1] else found


def _number(values: Mapping[str, Value], option: str, default: int, faults: list[Fault]) -> int:
    """Return a whole number; of bytes it may be written as ``500k``, ``10m``, ``1g``."""
    value = values.get(option)
    if value is None or not value.text:
        return default
    found = _SIZE.fullmatch(value.text.lower())
    if found is None or (found[2] and option != "logsize"):
        hint = "such as 10m" if option == "logsize" else "such as 5"
        faults.append(bad(BadValue(f"{value.text!r} is no whole number", hint), option, value))
        return default
    return int(found[1]) << _UNITS[found[2]]


def _age(values: Mapping[str, Value], default: int, faults: list[Fault]) -> int:
    value = values.get("dbpurgeage")
    if value is None:
        return default
    try:
        return int(duration(value.text))
    except BadValue as error:
        faults.append(bad(error, "dbpurgeage", value))
        return default
