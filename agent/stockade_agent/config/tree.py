# SPDX-License-Identifier: MIT
"""All files of one name, merged in fail2ban's order.

For the name N: ``N.conf``, ``N.d/*.conf``, ``N.local``, ``N.d/*.local``. Each of them brings
along what its ``[INCLUDES]`` name: ``before`` ahead of it, ``after`` behind it, both with their
own ``.local``. Later files win, option by option; the value that an option had just before is
kept as ``known``.
"""

from __future__ import annotations

import os
import re
from typing import Optional

from stockade_agent.config.faults import Fault
from stockade_agent.config.inifile import DEFAULT, INCLUDES, IniFile, Value, read_file
from stockade_agent.model import Origin


Options = dict[str, Value]

INCLUDE_DEPTH = 30
"""How deep files may include each other; what lies deeper is not read."""

_CONDITIONAL = re.compile(r"(\w+)(\?.+)$")


class Tree:
    """The merged sections of a name.

    Attributes:
        name: ``jail``, ``filter.d/sshd``, …
        files: what was read, in order.
        defaults: ``[DEFAULT]``.
        sections: every other section but ``[INCLUDES]``; the options of ``[Init?family=inet6]``
            stand in ``Init``, named ``option?family=inet6``.
        known: section -> option -> the value before the last file redefined it.
        headers: section -> where it was first begun.
        faults: what was wrong with the files.
        missing: includes that are not there, which fail2ban passes over.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: list[str] = []
        self.defaults: Options = {}
        self.sections: dict[str, Options] = {}
        self.known: dict[str, Options] = {}
        self.headers: dict[str, Origin] = {}
        self.faults: list[Fault] = []
        self.missing: list[Fault] = []

    def merge(self, ini: IniFile) -> None:
        """Lay a further file over what is there."""
        if ini.path not in self.files:
            self.faults += ini.faults
        self.files.append(ini.path)
        for name, options in ini.sections.items():
            if name == DEFAULT:
                self.defaults.update(options)
                continue
            section, merged = name, options
            conditional = _CONDITIONAL.match(name)
            if conditional:
                section, condition = conditional.groups()
                merged = {option + condition: value for option, value in options.items()}
            self.headers.setdefault(section, Origin(ini.path, ini.headers[name]))
            mine = self.sections.get(section)
            if mine is None:
                self.sections[section] = dict(merged)
                continue
            replaced = {option: mine[option] for option in merged if option in mine}
            self.known.setdefault(section, {}).update(replaced)
            mine.update(merged)


class Library:
    """The trees of one configuration directory; no file is parsed twice.

    Attributes:
        base: the directory, as it was given.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self._files: dict[str, IniFile] = {}
        self._trees: dict[str, Optional[Tree]] = {}

    def tree(self, name: str) -> Optional[Tree]:
        """Return the tree of ``name``, or None if there is no file of that name."""
        if name not in self._trees:
            self._trees[name] = self._read(name)
        return self._trees[name]

    def _read(self, name: str) -> Optional[Tree]:
        base = os.path.join(self.base, name)
        files = [f"{base}.conf", *_siblings(base, ".conf")]
        files += [f"{base}.local", *_siblings(base, ".local")]
        files = [path for path in files if os.path.exists(path)]
        if not files:
            return None
        tree = Tree(name)
        for path in self._with_includes(files, ()):
            tree.merge(self._file(path))
        tree.sections.pop(INCLUDES, None)
        for path in dict.fromkeys(tree.files):
            tree.missing += _missing(self._file(path))
        return tree

    def _file(self, path: str) -> IniFile:
        ini = self._files.get(path)
        if ini is None:
            ini = self._files[path] = read_file(path)
        return ini

    def _with_includes(self, files: list[str], inside: tuple[str, ...]) -> list[str]:
        """Return ``files`` with their ``.local`` and includes around them.

        Args:
            inside: the files that are being included from, outermost first.
        """
        order: list[str] = []
        for path in _with_local(files):
            includes = self._file(path).sections.get(INCLUDES, {})
            before, after = (
                self._included(includes.get(option), path, inside) for option in ("before", "after")
            )
            order += [*before, path, *after]
        return order

    def _included(self, value: Optional[Value], path: str, inside: tuple[str, ...]) -> list[str]:
        order: list[str] = []
        for line in value.text.split("\n") if value else ():
            included = os.path.join(os.path.dirname(path), line)
            # Files that include each other in a circle are read as far as they get.
            if not line or included in inside or not os.path.isfile(included):
                continue
            if len(inside) < INCLUDE_DEPTH:
                order += self._with_includes([included], (*inside, path))
        return order


def _missing(ini: IniFile) -> list[Fault]:
    faults = []
    includes = ini.sections.get(INCLUDES, {})
    for value in (includes[option] for option in ("before", "after") if option in includes):
        for number, line in enumerate(value.text.split("\n")):
            path = os.path.join(os.path.dirname(ini.path), line)
            # Whether there is a .local file is everyone's own affair.
            if line and not line.endswith(".local") and not os.path.exists(path):
                fault = Fault(
                    f"no file {line} to include",
                    path=ini.path,
                    line=value.lines[number],
                    needle=line,
                    section=INCLUDES,
                )
                faults.append(fault)
    return faults


def _siblings(base: str, suffix: str) -> list[str]:
    folder = f"{base}.d"
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    # As a shell's `*` does, hidden files are left out.
    return [
        os.path.join(folder, name)
        for name in names
        if name.endswith(suffix) and not name.startswith(".")
    ]


def _with_local(files: list[str]) -> list[str]:
    order: list[str] = []
    for path in files:
        order.append(path)
        local = os.path.splitext(path)[0] + ".local"
        if local not in files and os.path.isfile(local):
            order.append(local)
    return order
