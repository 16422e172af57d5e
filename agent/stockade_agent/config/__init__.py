# SPDX-License-Identifier: MIT
"""fail2ban's configuration language: a directory of files in, typed specifications out.

    inifile ─▶ tree ─▶ interpolation ─▶ definition ─▶ filters, actions ─▶ jails ─▶ JailSpec
    (lines)   (order,    (%(…)s)         (<tags>,
              includes)                  [Init])

Every value keeps the file and line where it was written.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Optional

from stockade_agent.config import filters
from stockade_agent.config.definition import Definition
from stockade_agent.config.faults import Fault, nearest
from stockade_agent.config.reading import FAIL2BAN_VERSION, Reading, jail_tree, one_jail
from stockade_agent.config.tree import Library
from stockade_agent.config.values import BadValue, duration
from stockade_agent.errors import ConfigError
from stockade_agent.specs import Config, FilterSpec, JailSpec, Origin


if TYPE_CHECKING:
    from stockade_agent.config.explain import Explanation


__all__ = [
    "FAIL2BAN_VERSION",
    "BadValue",
    "check",
    "duration",
    "filter_names",
    "filter_origin",
    "filter_spec",
    "jail_faults",
    "jail_filter",
    "jail_names",
    "jail_spec",
    "nearest",
    "origin",
    "read",
    "resolve",
    "whole_filters",
]

# What only a person asks for is imported when he does: the daemon never needs it.


def read(directory: str, *, jails: Optional[Collection[str]] = None) -> Config:
    """Return the configuration of a directory: settings, enabled jails, and what is wrong.

    A fault of one jail takes only that jail out. Content of files never raises.

    Args:
        directory: such as ``/etc/stockade``.
        jails: read no others than these.
    """
    reading = Reading(directory, jails)
    runnable: list[JailSpec] = []
    for jail in reading.jails:
        spec = jail.spec()
        if not jail.faults:
            runnable.append(spec)
    return Config(reading.agent, tuple(runnable), tuple(reading.errors()))


def check(directory: str) -> tuple[ConfigError, ...]:
    """Return all that is wrong with a configuration, likely slips included, each with its place.

    What keeps a jail from running is what ``read`` says too. The rest are names that nobody
    knows or refers to, switches that are neither on nor off, includes that are not there.
    """
    from stockade_agent.config.lints import lints  # noqa: PLC0415

    reading = Reading(directory)
    for jail in reading.jails:
        jail.spec()
    errors = reading.errors()
    if reading.tree is not None:
        found = lints(reading.library, reading.tree, reading.jails)
        errors += [fault.error(jail or None) for jail, fault in found]
    # One bad line of [DEFAULT] is a fault of every jail, but one to repair.
    return tuple({str(error): error for error in reversed(errors)}.values())[::-1]


def jail_names(directory: str) -> tuple[str, ...]:
    """Return the names of all jails, enabled or not; none where there are no files of jails."""
    tree = jail_tree(Library(directory))
    return () if tree is None else tuple(tree.sections)


def filter_names(directory: str) -> frozenset[str]:
    """Return the names of all filters of ``filter.d``."""
    return frozenset(filters.names(Library(directory), filters.FOLDER))


def whole_filters(directory: str) -> frozenset[str]:
    """Return the filters that are no mere part of others: what these include is left out."""
    return frozenset(filters.whole(Library(directory)))


def jail_filter(
    directory: str, jail: str, options: Optional[Mapping[str, str]] = None
) -> FilterSpec:
    """Return the filter of a jail, enabled or not.

    Args:
        options: those that the jail shall have instead of its own.

    Raises:
        ConfigError: there is no such jail, or its filter cannot be read.
    """
    found = one_jail(directory, jail, options)
    spec = found.spec().filter
    if found.faults and not spec.failregex:
        raise found.faults[0].error(jail)
    return spec


def jail_faults(directory: str, jail: str) -> tuple[ConfigError, ...]:
    """Return all that keeps a jail, enabled or not, from running.

    Raises:
        ConfigError: there is no such jail.
    """
    found = one_jail(directory, jail)
    found.spec()
    return tuple(fault.error(jail) for fault in found.faults)


def jail_spec(directory: str, jail: str) -> JailSpec:
    """Return a jail, enabled or not.

    Raises:
        ConfigError: there is no such jail, or something of it is wrong.
    """
    faults = jail_faults(directory, jail)
    if faults:
        raise faults[0]
    return one_jail(directory, jail).spec()


def filter_spec(
    directory: str,
    name: str,
    parameters: Optional[Mapping[str, str]] = None,
    *,
    logtype: str = "",
) -> FilterSpec:
    """Return a filter as it is without any jail.

    Args:
        directory: where ``filter.d`` is; not looked at where ``name`` is a path.
        name: of a filter, or the path of its ``.conf``.
        parameters: as in ``name[key=value]``.
        logtype: ``file`` or ``journal``, which a jail's backend implies.

    Raises:
        ConfigError: there is no such filter, or it is wrong.
    """
    definition = _definition(directory, name, parameters, logtype)
    faults = list(definition.tree.faults)
    try:
        spec = filters.spec(name, definition.combined(), faults=faults)
    except Fault as fault:
        faults.append(fault)
    if faults:
        raise faults[0].error()
    return spec


def resolve(directory: str, jail: str) -> Mapping[str, Explanation]:
    """Return every option of a jail that is in effect, and where each part of it was written.

    Options of an action are named ``ACTNAME/actionban``. The jail need not be enabled, and what
    could be resolved of a faulty one is there.

    Raises:
        ConfigError: there is no such jail.
    """
    from stockade_agent.config.explain import explain  # noqa: PLC0415

    return explain(one_jail(directory, jail))


def origin(directory: str, jail: str, option: str, text: str) -> Optional[Origin]:
    """Return where one line of an option was written: a regex of ``failregex``, for example.

    Args:
        directory: the configuration.
        jail: its name.
        option: ``failregex``, ``ignoreregex``, ``prefregex``, …
        text: the line as ``read`` gave it.

    Raises:
        ConfigError: there is no such jail.
    """
    from stockade_agent.config.explain import line_of  # noqa: PLC0415

    return line_of(one_jail(directory, jail), option, text)


def filter_origin(
    directory: str, name: str, parameters: Optional[Mapping[str, str]], option: str, text: str
) -> Optional[Origin]:
    """Return where one line of a filter's option was written, as ``origin`` does for a jail.

    Raises:
        ConfigError: there is no such filter, or it is wrong.
    """
    from stockade_agent.config.explain import line_of_filter  # noqa: PLC0415

    return line_of_filter(_definition(directory, name, parameters), option, text)


def _definition(
    directory: str, name: str, parameters: Optional[Mapping[str, str]], logtype: str = ""
) -> Definition:
    if name.endswith((".conf", ".local")):
        path = os.path.splitext(os.path.abspath(name))[0]
        library, tree_name = Library(os.path.dirname(path)), os.path.basename(path)
    else:
        library, tree_name = Library(directory), os.path.join(filters.FOLDER, name)
    tree = library.tree(tree_name)
    if tree is None:
        hint = filters.likely(library, name)
        raise ConfigError(f"no filter named {name}", path=directory, remedy=hint)
    given = dict(parameters or {})
    if logtype and "logtype" not in tree.sections.get("Definition", {}):
        given.setdefault("logtype", logtype)
    try:
        return filters.alone(tree, given)
    except Fault as fault:
        raise fault.error() from None
