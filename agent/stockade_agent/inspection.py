# SPDX-License-Identifier: MIT
"""What keeps a jail from running that only shows when it is built, found without any effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from stockade_agent.errors import ConfigError, FirewallError, RegexError
from stockade_agent.filter import Filter
from stockade_agent.jail import Jail
from stockade_agent.specs import ActionSpec, JailSpec, Origin


def fault_of(spec: JailSpec, now: float) -> Optional[ConfigError]:
    """Return why a jail cannot be built, or None."""
    return regex_fault(spec, now) or next(other_faults(spec), None)


def regex_fault(spec: JailSpec, now: float) -> Optional[ConfigError]:
    """Return why a jail's filter cannot be built, or None; ``lint`` tells all that is wrong."""
    try:
        Filter(spec.filter, findtime=spec.findtime, now=now)
    except RegexError as error:
        return located(error, spec)
    return None


def other_faults(spec: JailSpec) -> Iterator[ConfigError]:
    """Yield all that keeps a jail from being built whose filter can be."""
    try:
        Jail(spec)
    except RegexError as error:
        yield located(error, spec)
    yield from _command_faults(spec)


def command_fault(spec: JailSpec) -> Optional[ConfigError]:
    """Return why a command of the jail, its actions' or ignorecommand, cannot be run, or None."""
    return next(_command_faults(spec), None)


def _command_faults(spec: JailSpec) -> Iterator[ConfigError]:
    for action in spec.commands:
        fault = _unrunnable(action, spec)
        if fault is not None:
            yield fault
    fault = _unaskable(spec)
    if fault is not None:
        yield fault


def _unaskable(spec: JailSpec) -> Optional[ConfigError]:
    if spec.ignorecommand is None:
        return None
    from stockade_agent.firewall.script import compiled  # noqa: PLC0415 - few hosts need it

    try:
        compiled(spec.ignorecommand)
    except FirewallError as error:
        origin = spec.origins.get("ignorecommand")
        return _fault(spec, f"ignorecommand: {error.cause}", error.remedy, origin, "jail.conf")
    return None


def _unrunnable(action: ActionSpec, spec: JailSpec) -> Optional[ConfigError]:
    # Most hosts have no action of commands: what reads their shell is not loaded there.
    from stockade_agent.firewall.action import Action  # noqa: PLC0415
    from stockade_agent.resolver import HostNames  # noqa: PLC0415

    try:
        Action(action, HostNames())
    except FirewallError as error:
        origin = action.origins.get(error.command) or spec.origins.get("action")
        file = f"action.d/{action.file}.conf"
        return _fault(spec, f"{error.command}: {error.cause}", error.remedy, origin, file)
    return None


def located(error: RegexError, spec: JailSpec) -> ConfigError:
    """Return a fault with the place where it was written."""
    origin = spec.filter.origins.get(error.option) or spec.origins.get(error.option)
    file = f"filter.d/{spec.filter.name}.conf"
    return _fault(spec, f"{error.option}: {error.message}", error.remedy, origin, file)


def _fault(
    spec: JailSpec, cause: str, remedy: str, origin: Optional[Origin], file: str
) -> ConfigError:
    """Return a fault where it was written, or else in the file that it ought to be in."""
    return ConfigError(
        f"[{spec.name}] {cause}",
        path=origin.path if origin else file,
        line=origin.line if origin else None,
        jail=spec.name,
        remedy=remedy,
    )
