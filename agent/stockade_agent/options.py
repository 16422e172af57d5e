# SPDX-License-Identifier: MIT
"""Options of the agent and of its jails at run time: what ``get`` tells and what ``set`` changes.

Everyday ones can be set, and last until the next reload. What is not here is written into a file
and taken by a reload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from stockade_agent.config import BadValue, duration
from stockade_agent.config.values import SINGLE, boolean
from stockade_agent.errors import ControlError
from stockade_agent.guard import Guard
from stockade_agent.intake import FILE, JOURNAL
from stockade_agent.log import LEVELS
from stockade_agent.model import FOREVER, target
from stockade_agent.pipe import Pipe
from stockade_agent.specs import JailSpec


IDLE = "idle"
_JAIL_REMEDY = "write it to a file of jail.d, and reload"
_AGENT_REMEDY = "write it to stockade.conf, and reload"


def get(pipe: Pipe, jail: str, option: str) -> Any:
    """Return the value of an option, as JSON's own types.

    Args:
        pipe: the agent's.
        jail: a jail, or "" for the agent itself.
        option: its name.

    Raises:
        NoJailError: there is no such jail.
        ControlError: there is no such option.
    """
    if not jail:
        if option not in _OF_AGENT:
            raise ControlError(f"no option {option!r}")
        return _OF_AGENT[option](pipe)
    guard = pipe.guards.running(jail)
    if option not in _OF_JAIL:
        raise ControlError(f"no option {option!r}")
    return _OF_JAIL[option](pipe, guard)


def change(pipe: Pipe, jail: str, option: str, words: Sequence[str]) -> Any:
    """Set an option until the next reload, and return what ``get`` tells of it now.

    Args:
        pipe: the agent's.
        jail: a jail, or "" for the agent itself.
        option: its name, with ``add`` or ``del`` before that of a list.
        words: what it shall be.

    Raises:
        NoJailError: there is no such jail.
        ControlError: the option cannot be set at run time, or not to this.
    """
    guard = pipe.guards.running(jail) if jail else None
    try:
        return _changed(pipe, option, words) if guard is None else _set(pipe, guard, option, words)
    except BadValue as error:
        raise ControlError(f"{option}: {error}", remedy=error.remedy) from error


def _changed(pipe: Pipe, option: str, words: Sequence[str]) -> Any:
    if option != "loglevel":
        raise BadValue("cannot be set at run time", _AGENT_REMEDY)
    pipe.set_loglevel(_level(_one(words)))
    return pipe.spec.loglevel


def _set(pipe: Pipe, guard: Guard, option: str, words: Sequence[str]) -> Any:
    if option == IDLE:
        guard.idle = _switch(_one(words))
        return guard.idle
    if option not in _CHANGES:
        raise BadValue("cannot be set at run time", _JAIL_REMEDY)
    field, meaning = _CHANGES[option]
    guard.change(**{field: meaning(guard.spec, words)})
    return _OF_JAIL[field](pipe, guard)


# ---- what is


def _logpath(pipe: Pipe, guard: Guard) -> list[str]:
    is_file = pipe.intake.chosen[guard.name] == FILE
    return list(pipe.intake.logs(guard.name)) if is_file else []


def _journalmatch(pipe: Pipe, guard: Guard) -> list[str]:
    is_journal = pipe.intake.chosen[guard.name] == JOURNAL
    return list(guard.spec.filter.journalmatch) if is_journal else []


def _ignoreip(_pipe: Pipe, guard: Guard) -> list[str]:
    known = [target(entry) for entry in guard.spec.ignoreip]
    return [
        entry if address is None else str(address)
        for entry, address in zip(guard.spec.ignoreip, known)
    ]


def _of_spec(option: str) -> Callable[[Pipe, Guard], Any]:
    return lambda _pipe, guard: getattr(guard.spec, option)


def _of_filter(option: str) -> Callable[[Pipe, Guard], Any]:
    return lambda _pipe, guard: getattr(guard.spec.filter, option)


_OF_AGENT: Mapping[str, Callable[[Pipe], Any]] = {
    "loglevel": lambda pipe: pipe.spec.loglevel,
    "logtarget": lambda pipe: pipe.log.target,
    "syslogsocket": lambda _pipe: "auto",
    "dbfile": lambda pipe: pipe.spec.dbfile,
    "dbpurgeage": lambda pipe: pipe.spec.dbpurgeage,
    # The ledger keeps what a jail keeps.
    "dbmaxmatches": lambda pipe: max(
        (guard.spec.maxmatches for guard in pipe.guards.values()), default=0
    ),
}
_OF_JAIL: Mapping[str, Callable[[Pipe, Guard], Any]] = {
    "logpath": _logpath,
    "prefix6": lambda _pipe, guard: (*guard.spec.prefix6, SINGLE)[0],
    "journalmatch": _journalmatch,
    "ignoreip": _ignoreip,
    "actions": lambda _pipe, guard: [action.name for action in guard.spec.actions],
    **{
        option: _of_spec(option)
        for option in (
            "bantime",
            "findtime",
            "ignorecache",
            "ignorecommand",
            "ignorepeers",
            "ignoreself",
            "maxmatches",
            "maxretry",
        )
    },
    **{
        option: _of_filter(option)
        for option in (
            "datepattern",
            "failregex",
            "ignoreregex",
            "logencoding",
            "logtimezone",
            "maxlines",
            "prefregex",
            "usedns",
        )
    },
}


# ---- what shall be


def _one(words: Sequence[str]) -> str:
    if len(words) != 1:
        raise BadValue("one value is needed")
    return words[0]


def _bantime(_spec: JailSpec, words: Sequence[str]) -> int:
    seconds = int(duration(_one(words)))
    return FOREVER if seconds < 0 else _positive(seconds)


def _findtime(_spec: JailSpec, words: Sequence[str]) -> int:
    return _positive(int(duration(_one(words))))


def _maxretry(_spec: JailSpec, words: Sequence[str]) -> int:
    return _positive(_number(_one(words)))


def _maxmatches(_spec: JailSpec, words: Sequence[str]) -> int:
    number = _number(_one(words))
    return number if number >= 0 else _positive(number)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadValue(f"{text!r} is no whole number")
    return int(text)


def _positive(number: int) -> int:
    if number <= 0:
        raise BadValue("must be greater than 0")
    return number


def _truth(_spec: JailSpec, words: Sequence[str]) -> bool:
    return boolean(_one(words))


def _add_ignoreip(spec: JailSpec, words: Sequence[str]) -> tuple[str, ...]:
    known = {_address(entry) for entry in spec.ignoreip}
    return (*spec.ignoreip, *(word for word in dict.fromkeys(words) if _address(word) not in known))


def _del_ignoreip(spec: JailSpec, words: Sequence[str]) -> tuple[str, ...]:
    gone = {_address(_one(words))}
    left = tuple(entry for entry in spec.ignoreip if _address(entry) not in gone)
    if len(left) == len(spec.ignoreip):
        raise BadValue(f"{words[0]!r} is not in the list", "get JAIL ignoreip shows it")
    return left


def _address(entry: str) -> str:
    address = target(entry)
    return entry if address is None else str(address)


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise BadValue(f"{text!r} is neither on nor off")
    return text == "on"


def _level(text: str) -> str:
    name = text.upper()
    if name not in LEVELS and not (name.isascii() and name.isdigit()):
        raise BadValue(f"{text!r} is unknown", f"known are {', '.join(LEVELS)}")
    return name


_CHANGES: Mapping[str, tuple[str, Callable[[JailSpec, Sequence[str]], Any]]] = {
    "bantime": ("bantime", _bantime),
    "findtime": ("findtime", _findtime),
    "maxretry": ("maxretry", _maxretry),
    "maxmatches": ("maxmatches", _maxmatches),
    "ignoreself": ("ignoreself", _truth),
    "ignorepeers": ("ignorepeers", _truth),
    "addignoreip": ("ignoreip", _add_ignoreip),
    "delignoreip": ("ignoreip", _del_ignoreip),
}
