# SPDX-License-Identifier: MIT
"""The nouns of the controller, one immutable type per stage.

    Host (inventory) -> Manifest (plan) -> HostResult (push)

Paths on a host are absolute POSIX paths. Contents are bytes. Hashes are SHA-256, hex.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal


Mode = Literal["push", "check", "ask"]
"""``push`` converges, ``check`` says what push would change, ``ask`` only puts a request to the
agent."""


@dataclass(frozen=True)
class Place:
    """Where a value was written: file, line, column, counted from 1."""

    path: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Host:
    """A host of the inventory, its variables resolved.

    Attributes:
        name: as the inventory calls it.
        address: where ssh goes (``ansible_host``, else the name).
        key_file: private key, or None for the ssh agent and the default keys.
        become: run as root through sudo.
        become_password: asked from the inventory; never printed, never in argv.
        variables: all variables with their values, defaults of roles included.
        places: variable -> where its value was written.
    """

    name: str
    address: str
    port: int = 22
    user: str = "root"
    key_file: str | None = None
    become: bool = False
    become_password: str | None = field(default=None, repr=False)
    python: str | None = None
    connect_timeout: float = 10.0
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file that push keeps on the host.

    Attributes:
        source: where the operator would edit it (template or file), for messages.
        secret: never shown in a diff.
        restart: the agent must be restarted when it changes (else only reloaded).
        unclaimed: a file of somebody else at its path is not replaced: the host refuses.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    source: str = ""
    secret: bool = False
    restart: bool = True
    unclaimed: bool = False

    @cached_property
    def sha256(self) -> str:
        """Hash of the content; a file stands in many manifests, and is hashed once."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """All that a host shall be: what travels to it.

    Attributes:
        files: agent bundle, unit, wrapper, configuration; sorted by path.
        packages: per package manager (``apt``, ``dnf``) the packages that must be there.
        epel: those of ``packages["dnf"]`` that live in EPEL.
        firewall: the backend asked for (``auto``, ``nftables``, ``iptables``, ``firewalld``).
        controllers: addresses never to ban, besides the one that the push comes from.
        jails: names of the jails that must run afterwards.
        deploys: ``module:function`` of pyinfra deploys that the host's roles bring.
    """

    host: str
    files: tuple[File, ...]
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    epel: tuple[str, ...] = ()
    firewall: str = "auto"
    controllers: tuple[str, ...] = ()
    jails: tuple[str, ...] = ()
    deploys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What a host said of itself.

    Attributes:
        family: ``debian``, ``rhel`` or "" for any other.
        distribution: ``ID`` and ``VERSION_ID`` of os-release, such as ``debian 12``.
        python: path of the Python that serves, or "" when there is none >= 3.9.
        missing: packages of the manifest that are not installed.
        firewalls: usable backends, in the order that ``auto`` would take them.
        controller: the address that this connection comes from, as the host sees it.
    """

    family: str = ""
    distribution: str = ""
    python: str = ""
    python_version: str = ""
    package_manager: str = ""
    missing: tuple[str, ...] = ()
    firewalls: tuple[str, ...] = ()
    controller: str = ""


@dataclass(frozen=True)
class Change:
    """One difference between host and manifest, made or (check mode) to be made.

    Attributes:
        kind: ``file``, ``package``, ``service`` or ``controller``.
        action: ``create``, ``update``, ``remove``, ``install``, ``enable``, ``start``, ``restart``.
        diff: unified diff of text files, "" for others.
    """

    kind: str
    name: str
    action: str
    diff: str = ""


@dataclass(frozen=True)
class HostResult:
    """What became of one host.

    Attributes:
        outcome: ``ok`` (nothing to change), ``changed``, ``failed``, ``refused`` or
            ``unreachable``. In check mode ``changed`` means: push would change it.
        error: one line for a person, or "".
        agent: the agent's answer to ``status`` (``AgentStatus.to_json``), or None.
        answer: the agent's reply to any other request, as ``control.protocol`` has it, or None.
        notes: what else a person should know, a line each, such as foreign files left alone.
        seconds: from the first packet to the answer.
    """

    host: str
    outcome: Literal["ok", "changed", "failed", "refused", "unreachable"]
    changes: Sequence[Change] = ()
    facts: Facts | None = None
    agent: Mapping[str, Any] | None = None
    answer: Mapping[str, Any] | None = None
    error: str = ""
    remedy: str = ""
    notes: Sequence[str] = ()
    seconds: float = 0.0
