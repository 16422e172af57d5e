# SPDX-License-Identifier: MIT
"""A directory read as a whole: its settings, its jails, and what is wrong with either."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Optional

from stockade_agent.config import settings
from stockade_agent.config.faults import Fault, nearest
from stockade_agent.config.inifile import Value
from stockade_agent.config.jails import Jail
from stockade_agent.config.tree import Library, Tree
from stockade_agent.errors import ConfigError


FAIL2BAN_VERSION = "1.1.1"
"""What ``%(fail2ban_version)s`` is: the release whose language this is."""


class Reading:
    """All of a directory, before its faults are judged.

    Args:
        directory: such as ``/etc/stockade``.
        only: read no other jails than these.

    Attributes:
        agent: the settings.
        tree: the jails' files, or None where there are none.
        jails: those that are enabled, or may be meant to be.
    """

    def __init__(self, directory: str, only: Optional[Collection[str]] = None) -> None:
        self.library = Library(directory)
        self._faults: list[Fault] = []
        self.agent = settings.read(self.library, self._faults)
        self.tree = jail_tree(self.library)
        self.jails: list[Jail] = []
        if self.tree is None:
            self._faults.append(_nothing(directory))
            return
        blamed: dict[str, list[Fault]] = {}
        for fault in self.tree.faults:
            if fault.section in self.tree.sections:
                blamed.setdefault(fault.section, []).append(fault)
            else:
                self._faults.append(fault)
        for name in self.tree.sections:
            if only is None or name in only:
                jail = Jail(self.library, self.tree, name)
                jail.faults[:0] = blamed.get(name, [])
                if jail.enabled:
                    self.jails.append(jail)

    def errors(self) -> list[ConfigError]:
        """Return the faults so far, each blamed on its jail."""
        errors = [fault.error() for fault in self._faults]
        errors += [fault.error(jail.name) for jail in self.jails for fault in jail.faults]
        return errors


def jail_tree(library: Library, version: str = FAIL2BAN_VERSION) -> Optional[Tree]:
    """Return the jails' files with what fail2ban always defines, or None if there are none."""
    tree = library.tree("jail")
    if tree is not None:
        tree.defaults["fail2ban_version"] = Value(version, "", 0)
        tree.defaults["fail2ban_confpath"] = Value(library.base, "", 0)
    return tree


def one_jail(directory: str, name: str, options: Optional[Mapping[str, str]] = None) -> Jail:
    """Return a jail, enabled or not.

    Args:
        options: those that it shall have instead of its own.

    Raises:
        ConfigError: there is none of that name.
    """
    library = Library(directory)
    tree = jail_tree(library)
    if tree is None:
        raise _nothing(directory).error()
    if name not in tree.sections:
        hint = nearest(name, tree.sections)
        raise ConfigError(f"no jail named {name}", path=directory, remedy=hint)
    given = {option: Value(text, "", 0) for option, text in (options or {}).items()}
    tree.sections[name].update(given)
    return Jail(library, tree, name, always=True)


def _nothing(directory: str) -> Fault:
    if not os.path.isdir(directory):
        return Fault("no such directory", path=directory)
    return Fault("neither jail.conf nor jail.d/*.conf is here", path=directory)
