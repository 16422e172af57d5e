# SPDX-License-Identifier: MIT
"""The tree of groups that hosts.yml writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stockade import patterns, values, variables
from stockade.document import Entry, Node, fault, unknown
from stockade.errors import InputError
from stockade.model import Place
from stockade.variables import Variables


ALL, UNGROUPED = "all", "ungrouped"
KEYS = ("hosts", "children", "vars")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")


@dataclass
class Group:
    """A group while the inventory is read.

    Attributes:
        hosts: those written in the group itself, in order.
        written: its variables in hosts.yml.
        filed: its variables in group_vars, later files over earlier ones.
        depth: of how many groups the longest way down from ``all`` leads through.
    """

    name: str
    place: Place
    parents: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    hosts: dict[str, None] = field(default_factory=dict)
    written: Variables = field(default_factory=dict)
    filed: Variables = field(default_factory=dict)
    priority: int = 1
    depth: int = 0

    @property
    def order(self) -> tuple[int, int, str]:
        """What sorts groups so that the variables of a later one win."""
        return self.depth, self.priority, self.name


class Groups:
    """All groups and hosts of a hosts.yml.

    Attributes:
        named: group by name, ``all`` and ``ungrouped`` among them.
        hosts: host -> its variables in hosts.yml, in the order in which they were written.
        sources: every set of variables as it stands in one place.
        faults: all that is wrong.
    """

    def __init__(self, root: Node) -> None:
        self.named = {name: Group(name, root.place) for name in (ALL, UNGROUPED)}
        self.hosts: dict[str, Variables] = {}
        self.sources: list[Variables] = []
        self.faults: list[InputError] = []
        for name, (place, node) in self.mapping(root, "the inventory").items():
            self._group(name, place, node)
        self._close()
        if not self.hosts and not self.faults:
            self.faults.append(InputError("no host is named here", path=root.place.path))

    def mapping(self, node: Node, what: str) -> Mapping[str, Entry]:
        """Return the entries of what must be a mapping or empty; a lone word is a key."""
        if isinstance(node.data, Mapping) or node.data is None:
            return node.entries
        if isinstance(node.data, str):
            return {node.data: Entry(node.place, Node(None, node.place))}
        self.faults.append(
            node.fault(f"{what}: {node.kind} is not a mapping", "write 'name:' on each line")
        )
        return {}

    def source(self, entries: Variables) -> Variables:
        """Keep a set of variables for checks, and check what needs no roles."""
        if entries:
            self.sources.append(entries)
            self.faults += variables.faults(entries)
        return entries

    def members(self) -> Mapping[str, set[str]]:
        """Return the hosts of each group, its children's included."""
        found: dict[str, set[str]] = {}
        for group in sorted(self.named.values(), key=lambda group: -group.depth):
            found[group.name] = set(group.hosts).union(*(found[name] for name in group.children))
        return found

    def _group(self, name: str, place: Place, node: Node) -> None:
        group = self.named.setdefault(name, Group(name, place))
        for key, (where, part) in self.mapping(node, f"group {name}").items():
            if key == "hosts":
                for written, entry in self.mapping(part, f"hosts of {name}").items():
                    self._hosts(group, written, entry)
            elif key == "children":
                for child, (at, inner) in self.mapping(part, f"children of {name}").items():
                    self._group(child, at, inner)
                    group.children.add(child)
                    self.named[child].parents.add(name)
            elif key == "vars":
                entries = dict(self.mapping(part, f"vars of {name}"))
                self._priority(group, entries.pop(variables.PRIORITY, None))
                group.written = variables.over(group.written, self.source(entries))
            else:
                self.faults.append(unknown("key", key, where, KEYS, of=f"group {name}"))

    def _priority(self, group: Group, entry: Entry | None) -> None:
        if entry:
            wrong = list(values.faults(variables.PRIORITY, values.number, entry.node))
            self.faults += wrong
            group.priority = 1 if wrong else values.number(entry.node)

    def _hosts(self, group: Group, written: str, entry: Entry) -> None:
        try:
            names, port = patterns.expand(written)
        except ValueError as exc:
            self.faults.append(fault(entry.key, str(exc)))
            return
        own = self.source(self.mapping(entry.node, f"host {written}"))
        if port is not None:
            own = {**own, "ansible_port": Entry(entry.key, Node(port, entry.key))}
        for name in names:
            if not _NAME.fullmatch(name):
                self.faults.append(fault(entry.key, f"{name!r} cannot be the name of a host"))
                return
            group.hosts.setdefault(name)
            self.hosts[name] = variables.over(self.hosts.get(name, {}), own)

    def _close(self) -> None:
        """Hang loose groups under ``all`` and loose hosts into ``ungrouped``; find the depths."""
        top, loose = self.named[ALL], self.named[UNGROUPED]
        for group in self.named.values():
            if group is not top and not group.parents:
                group.parents.add(ALL)
                top.children.add(group.name)
        grouped = {
            name for group in self.named.values() if group is not top for name in group.hosts
        }
        loose.hosts.update((name, None) for name in self.hosts if name not in grouped)
        top.hosts = dict.fromkeys(self.hosts)
        # A group in a loop is never reached from `all`, unless `all` reaches into the loop.
        reached: set[str] = set()
        self._descend(ALL, (), reached)
        for name in self.named.keys() - reached:
            message = f"group {name} is a child of its own children"
            self.faults.append(fault(self.named[name].place, message))

    def _descend(self, name: str, above: tuple[str, ...], reached: set[str]) -> None:
        group = self.named[name]
        if name in above:
            loop = " > ".join((*above[above.index(name) :], name))
            self.faults.append(fault(group.place, f"groups contain one another: {loop}"))
            return
        reached.add(name)
        if group.depth and group.depth >= len(above):
            return
        group.depth = max(group.depth, len(above))
        for child in sorted(group.children):
            self._descend(child, (*above, name), reached)
