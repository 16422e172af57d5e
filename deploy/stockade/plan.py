# SPDX-License-Identifier: MIT
"""From inventory and roles to manifests, on the controller alone.

    Host ─▶ variables (defaults of its roles, the inventory's over them)
         ─▶ files (of roles, rendered templates, stockade_jails, the inventory's own)
         ─▶ Manifest

Hosts with equal variables share one ``Policy``: it is compiled once, and its configuration
tree is checked once, whatever number of hosts has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stockade import ini, values, variables
from stockade.document import unknown
from stockade.errors import InputError, InputErrors
from stockade.inventory import Inventory
from stockade.model import File, Host, Manifest, Place
from stockade.render import Renderer
from stockade.roles import Role, Roles, Template
from stockade.tree import JAILS, Policy, Tree


AGENT = "/usr/lib/stockade/stockade-agent.pyz"
OF_HOST = ("ansible_host", "group_names", "inventory_hostname")
"""What templates may ask about the host itself, besides the variables of its roles."""


class Compiler:
    """Compiles hosts of one inventory; remembers policies and rendered templates."""

    def __init__(self, inventory: Inventory, roles: Roles) -> None:
        self._inventory, self._roles = inventory, roles
        self._policies: dict[str, Policy] = {}
        self._keys: dict[int, tuple[Mapping[str, Any], str]] = {}
        self._readers = roles.readers
        self.renderer = Renderer()

    def policy(self, host: Host) -> Policy:
        """Return what a host shall be.

        Raises:
            InputErrors: all that is wrong with what its roles make of its variables.
        """
        place = host.places.get(variables.ROLES, Place(str(self._inventory.folder), 1))
        roles = self._roles.ordered(host.roles, place)
        itself = self._itself(host, roles)
        key = json.dumps([host.roles, itself, self._key(host.variables)])
        if key not in self._policies:
            self._policies[key] = self._compile(host, roles, itself)
        return self._policies[key]

    def _key(self, of_host: Mapping[str, Any]) -> str:
        """Return equal texts for equal variables; the mapping is kept, so its id stays its own."""
        if id(of_host) not in self._keys:
            self._keys[id(of_host)] = of_host, json.dumps(dict(of_host), sort_keys=True)
        return self._keys[id(of_host)][1]

    def _itself(self, host: Host, roles: Sequence[Role]) -> dict[str, Any]:
        """Return what the templates of these roles ask about the host itself: mostly nothing."""
        used: set[str] = set()
        for role in roles:
            for template in role.templates:
                used |= self.renderer.used(str(template.path), template.text)
        facts = {
            "ansible_host": host.address,
            "group_names": list(host.groups),
            "inventory_hostname": host.name,
        }
        return {name: facts[name] for name in OF_HOST if name in used}

    def _compile(self, host: Host, roles: Sequence[Role], itself: Mapping[str, Any]) -> Policy:
        filled, places = self._variables(host, roles)
        faults: list[InputError] = []
        made: dict[str, File] = {}
        templates: dict[str, Template] = {}
        owners: dict[str, Role] = {}
        for role in roles:
            own = list(role.files)
            for template in role.templates:
                try:
                    own += self._rendered(template, {**filled, **itself})
                except InputError as exc:
                    faults.append(exc)
                templates[template.target] = template
            for file in own:
                other = owners.setdefault(file.path, role)
                if file.path in made:
                    message = f"role {role.name} writes {file.path}, and role {other.name} too"
                    faults.append(InputError(message, path=file.source))
                made[file.path] = file
        if faults:
            raise InputErrors(faults)
        jails = self._inventory.variables(host.name).get(variables.JAILS)
        written = ini.sections(jails.node.plain()) if jails else ""
        if jails and written:
            made[JAILS] = File(JAILS, written.encode(), source=jails.key.path)
        for file in self._roles.files:
            made[file.path] = file
            templates.pop(file.path, None)
        packages, epel = _packages(roles, filled.get("base_firewall", "auto"))
        return Policy(
            files=tuple(made[path] for path in sorted(made)),
            templates=templates,
            variables=filled,
            places=places,
            packages=packages,
            epel=epel,
            jails=_unique(name for role in roles for name in role.spec.jails),
            deploys=_unique(name for role in roles for name in role.spec.deploys),
        )

    def _rendered(self, template: Template, values: Mapping[str, Any]) -> Iterator[File]:
        text = self.renderer.render(str(template.path), template.text, values)
        if text.strip():
            yield File(
                template.target,
                text.encode(),
                template.mode,
                str(template.path),
                restart=template.restart,
                unclaimed=template.unclaimed,
            )

    def _variables(
        self, host: Host, roles: Sequence[Role]
    ) -> tuple[dict[str, Any], dict[str, Place]]:
        """Return the roles' variables, each read by its kind, and where each was written."""
        given = self._inventory.variables(host.name)
        entries = {name: entry for role in roles for name, entry in role.defaults.items()}
        entries |= {name: given[name] for name in entries.keys() & given.keys()}
        filled = {
            name: None if entry.node.data is None else self._readers[name](entry.node)
            for name, entry in entries.items()
        }
        places = {name: entry.node.place for name, entry in entries.items()}
        return filled, {**places, **host.places}


def compile_host(inventory: Inventory, roles: Roles, host: Host, agent: bytes) -> Manifest:
    """Return the manifest of one host, without asking the agent's reader what it thinks of it.

    Raises:
        InputErrors: all that is wrong with what its roles make of its variables.
    """
    return Compiler(inventory, roles).policy(host).manifest(host.name, _agent(agent))


def plan(
    inventory: Inventory, roles: Roles, hosts: Iterable[Host], agent: bytes
) -> tuple[Manifest, ...]:
    """Return the manifests of hosts, in their order, every configuration tree checked.

    Args:
        inventory: where the hosts are from.
        roles: of that inventory.
        hosts: as ``Inventory.hosts`` gave them.
        agent: the bundle, as ``bundle.build`` makes it.

    Raises:
        InputErrors: all that is wrong, each with the place where the operator can repair it.
    """
    wrong: list[InputError] = list(faults(inventory, roles))
    if wrong:
        raise InputErrors(wrong)
    compiler, bundle = Compiler(inventory, roles), _agent(agent)
    policies: list[tuple[str, Policy]] = []
    for host in hosts:
        try:
            policies.append((host.name, compiler.policy(host)))
        except InputError as exc:
            wrong.append(exc)
    checked: dict[int, Policy] = {}
    with Tree() as tree:
        for _, policy in policies:
            if id(policy) not in checked:
                jails, found = tree.check(policy)
                wrong += found
                checked[id(policy)] = replace(policy, jails=jails)
    if wrong:
        raise InputErrors(wrong)
    return tuple(checked[id(policy)].manifest(name, bundle) for name, policy in policies)


def faults(inventory: Inventory, roles: Roles) -> Iterator[InputError]:
    """Yield every variable that no role knows, and every value that is not of its kind."""
    readers = roles.readers
    known = {*variables.CONNECTION, variables.ROLES, variables.JAILS, *readers}
    nullable = {
        name
        for role in roles.named.values()
        for name, entry in role.defaults.items()
        if entry.node.data is None
    }
    for source in inventory.sources:
        for name, (key, node) in source.items():
            if name not in known:
                yield unknown("variable", name, key, known)
            elif name in readers and not (node.data is None and name in nullable):
                yield from values.faults(name, readers[name], node)
        if variables.ROLES in source:
            for item in source[variables.ROLES].node.items:
                if item.data not in roles.named:
                    yield unknown("role", str(item.data), item.place, roles.named)


def _agent(content: bytes) -> File:
    return File(AGENT, content, source="stockade-agent")


def _packages(
    roles: Sequence[Role], firewall: str
) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the packages of roles per package manager, and which of dnf's live in EPEL."""
    wanted = [role.spec.packages for role in roles]
    wanted += [role.spec.firewalls[firewall] for role in roles if firewall in role.spec.firewalls]
    epel = _unique(name for packages in wanted for name in packages.epel)
    dnf = _unique(name for packages in wanted for name in (*packages.dnf, *packages.epel))
    apt = _unique(name for packages in wanted for name in packages.apt)
    return {"apt": apt, "dnf": dnf}, epel


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
