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
from stockade_agent.config.interpolation import Namespace
from stockade_agent.specs import Origin


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
        if not any(os.path.lexists(path) for path in files):
            return None
        tree = Tree(name)
        for path in self._with_includes(files, ()):
            tree.merge(self._file(path))
        tree.sections.pop(INCLUDES, None)
        for path in dict.fromkeys(tree.files):
            tree.missing += self._missing(path)
        return tree

    def _file(self, path: str) -> IniFile:
        ini = self._files.get(path)
        if ini is None:
            ini = self._files[path] = read_file(path)
        return ini

    def _with_includes(self, files: list[str], inside: tuple[str, ...]) -> list[str]:
        """Return ``files`` with their ``.local`` and includes around them.

        Args:
            files: in their order; the one or other may not be there.
            inside: the files that are being included from, outermost first.
        """
        order: list[str] = []
        for path in _with_local(files):
            # A .local that includes what is its own name comes back to itself.
            if inside.count(path) > 1:
                continue
            before, after = (self._included(option, path, inside) for option in ("before", "after"))
            order += [*before, path, *after]
        return order

    def _included(self, option: str, path: str, inside: tuple[str, ...]) -> list[str]:
        order: list[str] = []
        for name, _ in self._names(path, option):
            included = os.path.join(os.path.dirname(path), name)
            # Files that include each other in a circle are read as far as they get.
            if included not in inside and len(inside) < INCLUDE_DEPTH:
                order += self._with_includes([included], (*inside, path))
        return order

    def _names(self, path: str, option: str) -> list[tuple[str, int]]:
        """Return the files that an option of [INCLUDES] names, with their lines."""
        ini = self._file(path)
        value = ini.sections.get(INCLUDES, {}).get(option)
        if value is not None and "%" in value.text:
            alone = Tree(path)
            alone.merge(ini)
            try:
                value = Namespace(alone, INCLUDES).get(option)
            except Fault as fault:
                if not any(fault.message == known.message for known in ini.faults):
                    ini.faults.append(fault)
                return []
        if value is None:
            return []
        names = value.text.split("\n")
        lines = value.lines or (value.line,) * len(names)
        return [(name, line) for name, line in zip(names, lines) if name]

    def _missing(self, path: str) -> list[Fault]:
        return [
            Fault(
                f"no file {name} to include",
                path=path,
                line=line,
                needle=name,
                section=INCLUDES,
            )
            for option in ("before", "after")
            for name, line in self._names(path, option)
            # Whether there is a .local file is everyone's own affair.
            if not name.endswith(".local")
            and not os.path.exists(os.path.join(os.path.dirname(path), name))
        ]


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
    """Return what is there, links that lead nowhere too, each with its ``.local`` behind it."""
    order: list[str] = []
    for path in files:
        local = os.path.splitext(path)[0] + ".local"
        order += [path] if os.path.lexists(path) else []
        order += [local] if local not in files and os.path.isfile(local) else []
    return order
