# SPDX-License-Identifier: MIT
"""The operator's hosts, groups and variables, in the shape of Ansible's YAML inventory.

    DIR/hosts.yml      all, children, hosts, vars
    DIR/group_vars/    <group>.yml, or a folder of files
    DIR/host_vars/     <host>.yml, or a folder of files
    DIR/known_hosts    the hosts' public keys

Variables win in Ansible's order: those of ``all`` in hosts.yml, of the other groups there
(parents before children, then ``ansible_group_priority``, then by name), of group_vars/all,
of the other group_vars, of the host in hosts.yml, of host_vars. A later one replaces an
earlier one whole, except ``stockade_jails``, which is merged per jail and option.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stockade import patterns, variables
from stockade.document import fault, nearest, read
from stockade.errors import InputError, InputErrors
from stockade.groups import ALL, Groups
from stockade.model import Host, Place
from stockade.variables import Variables


NAMES = ("hosts.yml", "hosts.yaml", "inventory.yml", "inventory.yaml")
SUFFIXES = (".yml", ".yaml", ".json")
FOLDERS = ("group_vars", "host_vars", "jail.d", "filter.d", "action.d", "roles", "known_hosts")


@dataclass(frozen=True)
class Inventory:
    """All hosts with their variables; made by ``load``.

    Attributes:
        folder: as the operator named it.
        names: all hosts, in the order in which they were written.
        groups: group -> its hosts, its children's included.
        sources: every set of variables as it stands in one place, for checks of names and types.
    """

    folder: Path
    names: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    sources: tuple[Variables, ...] = field(repr=False)
    _chains: Mapping[str, tuple[str, ...]] = field(repr=False)
    _grouped: Mapping[tuple[str, ...], Variables] = field(repr=False)
    _own: Mapping[str, Variables] = field(repr=False)
    _environ: Mapping[str, str] = field(repr=False)
    _policies: dict[Any, tuple[Mapping[str, Any], Mapping[str, Place]]] = field(
        default_factory=dict, repr=False
    )

    @property
    def known_hosts(self) -> Path:
        """Where the hosts' public keys are kept."""
        return self.folder / "known_hosts"

    def hosts(self, limit: str | None = None) -> tuple[Host, ...]:
        """Return the hosts that a limit chooses (see ``patterns.select``), all without one.

        ``Host.variables`` has what the inventory says and no connection variables; hosts with
        equal variables share one mapping. The defaults of roles are the plan's business.

        Raises:
            InputErrors: a part of the limit matches nothing, the environment lacks a variable.
        """
        chosen = (
            patterns.select(limit, self.groups, self.names) if limit is not None else self.names
        )
        found, faults = [], []
        for name in chosen:
            try:
                found.append(self._host(name))
            except InputError as exc:
                faults.append(exc)
        if faults:
            raise InputErrors(faults)
        return tuple(found)

    def variables(self, name: str) -> Variables:
        """Return all variables of a host, resolved, connection variables included."""
        return variables.over(self._grouped[self._chains[name]], self._own.get(name, {}))

    def _host(self, name: str) -> Host:
        resolved = self.variables(name)
        host = variables.connection(name, resolved, self.folder, self._environ)
        known, places = self._policy(name, resolved)
        chain = self._chains[name]
        groups = tuple(group for group in chain if group != ALL)
        roles = variables.roles_of(resolved)
        return replace(host, groups=groups, roles=roles, variables=known, places=places)

    def _policy(
        self, name: str, resolved: Variables
    ) -> tuple[Mapping[str, Any], Mapping[str, Place]]:
        """Return plain variables and their places, one object for all hosts of equal groups."""
        own = [key for key in self._own.get(name, ()) if key not in variables.CONNECTION]
        key: Any = name if own else self._chains[name]
        if key not in self._policies:
            kept = {k: v for k, v in resolved.items() if k not in variables.CONNECTION}
            plain = {k: entry.node.plain() for k, entry in kept.items()}
            self._policies[key] = MappingProxyType(plain), MappingProxyType(dict(_places(kept)))
        return self._policies[key]


def _places(entries: Variables) -> Iterator[tuple[str, Place]]:
    """Yield the place of each variable; jails' options as ``stockade_jails.<jail>.<option>``."""
    for name, entry in entries.items():
        yield name, entry.node.place
    if variables.JAILS in entries:
        for jail, options in entries[variables.JAILS].node.entries.items():
            yield f"{variables.JAILS}.{jail}", options.key
            for option, entry in options.node.entries.items():
                yield f"{variables.JAILS}.{jail}.{option}", entry.node.place


def load(directory: Path | str, environ: Mapping[str, str] | None = None) -> Inventory:
    """Return the inventory of a directory (or of the hosts.yml in it).

    Args:
        directory: as the operator named it; messages name its files like that.
        environ: where ``{env: NAME}`` is looked up, by default the process's own.

    Raises:
        InputErrors: all that is wrong with it, names and types of roles' variables aside.
    """
    path = Path(directory)
    file = path if path.is_file() else _hosts_file(path)
    folder = file.parent
    groups = Groups(read(file))
    filed = _group_vars(folder, groups), _host_vars(folder, groups)
    groups.faults += _neighbours(folder)
    if groups.faults:
        raise InputErrors(groups.faults)
    return _resolved(folder, groups, *filed, os.environ if environ is None else environ)


def _hosts_file(folder: Path) -> Path:
    there = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(there) == 1:
        return there[0]
    if there:
        names = " and ".join(path.name for path in there)
        raise InputError(f"{names} are both here", path=str(folder), remedy="keep one of them")
    if (folder / "hosts").is_file():
        raise InputError(
            "inventories in INI format are not read",
            path=str(folder / "hosts"),
            remedy="ansible-inventory -i hosts --list --yaml prints it as hosts.yml",
        )
    what = "has no hosts.yml" if folder.is_dir() else "there is no such directory"
    raise InputError(what, path=str(folder), remedy=f"stockade init {folder} writes an example")


def _resolved(
    folder: Path,
    groups: Groups,
    of_groups: Mapping[str, Variables],
    of_hosts: Mapping[str, Variables],
    environ: Mapping[str, str],
) -> Inventory:
    members = groups.members()
    chains: dict[str, tuple[str, ...]] = dict.fromkeys(groups.hosts, ())
    for group in sorted(groups.named.values(), key=lambda group: group.order):
        for name in members[group.name]:
            chains[name] += (group.name,)
    grouped: dict[tuple[str, ...], Variables] = {}
    for chain in set(chains.values()):
        layers = [groups.named[name].written for name in chain]
        layers += [of_groups.get(name, {}) for name in chain]
        grouped[chain] = reduce(variables.over, layers, {})
    own = {name: variables.over(groups.hosts[name], of_hosts.get(name, {})) for name in chains}
    ordered = {
        name: tuple(host for host in groups.hosts if host in inside)
        for name, inside in members.items()
    }
    return Inventory(
        folder=folder,
        names=tuple(groups.hosts),
        groups=MappingProxyType(ordered),
        sources=tuple(groups.sources),
        _chains=chains,
        _grouped=grouped,
        _own=own,
        _environ=environ,
    )


def _group_vars(folder: Path, groups: Groups) -> Mapping[str, Variables]:
    return _filed(folder / "group_vars", "group", groups.named, groups)


def _host_vars(folder: Path, groups: Groups) -> Mapping[str, Variables]:
    return _filed(folder / "host_vars", "host", groups.hosts, groups)


def _filed(
    folder: Path, what: str, known: Collection[str], groups: Groups
) -> Mapping[str, Variables]:
    """Return the variables that the files of group_vars or host_vars give to their owners."""
    found: dict[str, Variables] = {}
    for path in _listed(folder):
        owner = path.stem if path.is_file() and path.suffix in SUFFIXES else path.name
        if owner not in known:
            message = f"there is no {what} {owner!r}"
            groups.faults.append(InputError(message, path=str(path), remedy=nearest(owner, known)))
            continue
        for file in _files_below(path):
            try:
                root = read(file)
            except InputError as exc:
                groups.faults.append(exc)
                continue
            entries = dict(groups.mapping(root, file.name))
            misplaced = entries.pop(variables.PRIORITY, None)
            if misplaced:
                message = f"{variables.PRIORITY} has no effect here"
                remedy = "give it in the group's vars in hosts.yml"
                groups.faults.append(fault(misplaced.key, message, remedy))
            found[owner] = variables.over(found.get(owner, {}), groups.source(entries))
    return found


def _neighbours(folder: Path) -> Iterator[InputError]:
    """Yield what looks as if it should be read, but is not: nearly a name, or out of place."""
    for path in _listed(folder):
        close = nearest(path.name, FOLDERS)
        if path.suffix in (".conf", ".local"):
            close = "jails go into jail.d, filters into filter.d, actions into action.d"
        if close and path.name not in FOLDERS:
            yield InputError("nothing reads this", path=str(path), remedy=close)


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, editors' and hidden files aside."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name[-1] != "~")


def _files_below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for inner in _listed(path):
        if inner.is_dir():
            yield from _files_below(inner)
        elif inner.suffix in (*SUFFIXES, ""):
            yield inner
