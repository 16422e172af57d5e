# SPDX-License-Identifier: MIT
"""The variables that stockade itself gives a meaning: how to reach a host, its roles, its jails.

Connection variables have Ansible's names. Those that cannot change what stockade does are
accepted and have no effect; those that would, and are not supported, are refused in words.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stockade import ini, values
from stockade.document import Entry, Node, fault, nearest, unknown
from stockade.errors import InputError
from stockade.model import Host
from stockade_agent.config import jails


Variables = Mapping[str, Entry]

ROLES = "stockade_roles"
JAILS = "stockade_jails"
PRIORITY = "ansible_group_priority"
DEFAULT_ROLES = ("base", "sshd")

# Besides what the agent reads of a jail: what jail.conf defines for its actions.
_FOR_ACTIONS = frozenset((
    "action_", "action_mw", "action_mwl", "banaction", "banaction_allports", "blocktype", "chain",
    "destemail", "fail2ban_agent", "mode", "mta", "port", "protocol", "sender",
))  # fmt: skip
JAIL_OPTIONS = frozenset(jails.OPTIONS) | _FOR_ACTIONS
_JAIL = re.compile(r"[A-Za-z0-9_.-]+")

KEYS_ONLY = "stockade logs in with keys: set ansible_ssh_private_key_file or use ssh-agent"
NO_JUMPS = "jump hosts are not supported: stockade needs a direct way to the host"
STRICT = "host keys are always checked: put the host's key into known_hosts"


def _interpreter(node: Node) -> str | None:
    value = values.text(node)
    if value in ("auto", "auto_legacy", "auto_silent", "auto_legacy_silent"):
        return None
    if not value.startswith("/"):
        raise ValueError(f"{value!r} is neither auto nor an absolute path")
    return value


def _secret(node: Node) -> str | Node:
    """A text, or the node that names the environment's variable."""
    if set(node.entries) == {"env"}:
        values.text(node.entries["env"].node)
        return node
    if isinstance(node.data, str):
        return node.data
    raise ValueError("a password is a text (quote a number) or {env: NAME}")


# Variable -> field of Host, and how the value is read. Where two name one field, the first wins.
_USED: dict[str, tuple[str, values.Reader]] = {
    "ansible_host": ("address", values.text),
    "ansible_ssh_host": ("address", values.text),
    "ansible_port": ("port", values.port),
    "ansible_ssh_port": ("port", values.port),
    "ansible_user": ("user", values.text),
    "ansible_ssh_user": ("user", values.text),
    "ansible_ssh_private_key_file": ("key_file", values.text),
    "ansible_private_key_file": ("key_file", values.text),
    "ansible_become": ("become", values.switch),
    "ansible_become_password": ("become_password", _secret),
    "ansible_become_pass": ("become_password", _secret),
    "ansible_python_interpreter": ("python", _interpreter),
    "ansible_ssh_timeout": ("connect_timeout", values.seconds),
    "ansible_timeout": ("connect_timeout", values.seconds),
}
_WITHOUT_EFFECT = frozenset((
    "ansible_async_dir", "ansible_control_path", "ansible_control_path_dir",
    "ansible_pipelining", "ansible_remote_tmp", "ansible_scp_executable",
    "ansible_scp_extra_args", "ansible_scp_if_ssh", "ansible_sftp_batch_mode",
    "ansible_sftp_executable", "ansible_sftp_extra_args", "ansible_shell_executable",
    "ansible_ssh_control_path", "ansible_ssh_control_path_dir", "ansible_ssh_executable",
    "ansible_ssh_pipelining", "ansible_ssh_retries", "ansible_ssh_transfer_method",
    "ansible_ssh_use_tty",
))  # fmt: skip
_REFUSED = {
    **dict.fromkeys(("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"), KEYS_ONLY),
    **dict.fromkeys(
        ("ansible_ssh_private_key", "ansible_ssh_private_key_passphrase"),
        "load the key into ssh-agent instead",
    ),
    **dict.fromkeys(
        ("ansible_paramiko_proxy_command", "ansible_ssh_proxy_command", "ansible_jump_host"),
        NO_JUMPS,
    ),
}


def _only(words: tuple[str, ...], why: str) -> Callable[[Node], str]:
    """Return the reader for a variable of which stockade can do some values only."""

    def read(node: Node) -> str:
        value = values.text(node)
        if value not in words:
            raise ValueError(f"{value!r} is not supported: {why}")
        return value

    return read


def _checked_keys(node: Node) -> bool:
    if not values.switch(node):
        raise ValueError(STRICT)
    return True


# Options of ssh that tune the OpenSSH client, which stockade does not use.
_TUNING = frozenset((
    "compression", "controlmaster", "controlpath", "controlpersist", "loglevel",
    "serveralivecountmax", "serveraliveinterval", "tcpkeepalive",
))  # fmt: skip
_JUMPS = frozenset({"proxyjump", "proxycommand"})
_HOST_KEYS = frozenset({"stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile"})


def _ssh_arguments(node: Node) -> str:
    """Arguments for OpenSSH's client: accepted as long as nothing depends on them."""
    if node.data is None or node.data == "":
        return ""
    written = values.text(node)
    words = iter(shlex.split(written))
    for word in words:
        if word in ("-C", "-4", "-6", "-q", "-T"):
            continue
        option = word[2:] or next(words, "") if word.startswith("-o") else ""
        name = re.split(r"[=\s]", option, maxsplit=1)[0].lower()
        if word.startswith("-J") or name in _JUMPS:
            raise ValueError(NO_JUMPS)
        if name in _HOST_KEYS:
            raise ValueError(STRICT)
        if name not in _TUNING:
            raise ValueError(f"the ssh option {option or word!r} is not supported")
    return written


_LIMITED: Mapping[str, values.Reader] = {
    "ansible_connection": _only(("ssh", "smart", "paramiko", "paramiko_ssh"), "only ssh is"),
    "ansible_become_method": _only(("sudo",), "only sudo is"),
    "ansible_become_exe": _only(("sudo", "/usr/bin/sudo"), "only sudo is"),
    "ansible_become_user": _only(("root",), "the agent is installed by root"),
    "ansible_shell_type": _only(("sh",), "only sh is"),
    "ansible_become_flags": _only(("-H -S -n", "-H -S", "-H", "-n", "-S"), "only -H, -S, -n are"),
    "ansible_host_key_checking": _checked_keys,
    "ansible_ssh_host_key_checking": _checked_keys,
    "ansible_ssh_args": _ssh_arguments,
    "ansible_ssh_common_args": _ssh_arguments,
    "ansible_ssh_extra_args": _ssh_arguments,
}
_READERS = {**{name: read for name, (_, read) in _USED.items()}, **_LIMITED}
CONNECTION = frozenset(_READERS) | _WITHOUT_EFFECT | frozenset(_REFUSED)
"""Ansible's names that may stand in an inventory, those that are refused in words included."""


def faults(variables: Variables) -> Iterator[InputError]:
    """Yield what is wrong with variables as they stand in one place, names of roles aside."""
    for name, (key, node) in variables.items():
        yield from (
            part.fault(
                f"{name}: variables are not filled into one another, '{{{{' would stay as it is",
                "write the value itself",
            )
            for part in node.walk()
            if isinstance(part.data, str) and "{{" in part.data
        )
        if name == JAILS:
            yield from _jail_faults(node)
        elif name == ROLES:
            yield from values.faults(name, _roles, node)
        elif name in _REFUSED:
            yield fault(key, f"{name} is not supported", _REFUSED[name])
        elif name in _READERS:
            yield from values.faults(name, _READERS[name], node)


def _roles(node: Node) -> list[str]:
    if not isinstance(node.data, tuple):
        raise ValueError(f"{node.kind} is not a list of roles")  # noqa: TRY004 - readers raise one error
    return values.texts(node)


def _jail_faults(node: Node) -> Iterator[InputError]:
    if not isinstance(node.data, Mapping):
        yield node.fault(f"{JAILS}: {node.kind} is not a mapping of jails")
        return
    for jail, (place, options) in node.data.items():
        if not _JAIL.fullmatch(jail):
            yield fault(place, f"{jail!r} cannot be the name of a jail")
        if not isinstance(options.data, Mapping):
            yield options.fault(f"jail {jail}: {options.kind} is not a mapping of options")
            continue
        for option, (key, value) in options.data.items():
            if option not in JAIL_OPTIONS:
                yield unknown("option", option, key, JAIL_OPTIONS, of=f"jail {jail}")
            elif value.data is not None:
                yield from values.faults(f"jail {jail}: {option}", _ini_value, value)


def _ini_value(node: Node) -> str:
    return ini.value(values.anything(node))


def over(low: Variables, high: Variables) -> Variables:
    """Return two sets of variables as one, the second over the first."""
    if not (low and high):
        return low or high
    result = {**low, **high}
    if JAILS in low and JAILS in high:
        result[JAILS] = _merged(low[JAILS], high[JAILS])
    return result


def _merged(old: Entry, new: Entry, depth: int = 2) -> Entry:
    """Return two values of ``stockade_jails`` as one: per jail and option, the new one wins."""
    both = isinstance(old.node.data, Mapping) and isinstance(new.node.data, Mapping)
    if not (depth and both):
        return new
    entries = dict(old.node.entries)
    for name, entry in new.node.entries.items():
        entries[name] = _merged(entries[name], entry, depth - 1) if name in entries else entry
    return Entry(new.key, Node(MappingProxyType(entries), new.node.place))


def roles_of(variables: Variables) -> tuple[str, ...]:
    """Return the roles that a host's variables name."""
    entry = variables.get(ROLES)
    return tuple(_roles(entry.node)) if entry else DEFAULT_ROLES


def connection(name: str, variables: Variables, folder: Path, environ: Mapping[str, str]) -> Host:
    """Return a host with the fields that say how to reach it.

    Args:
        name: of the host.
        variables: resolved and without faults.
        folder: the inventory; relative key files are looked for there.
        environ: where ``{env: NAME}`` is looked up.

    Raises:
        InputError: the environment lacks a variable.
    """
    fields: dict[str, Any] = {"address": name}
    for variable, (field, read) in reversed(_USED.items()):
        if variable in variables:
            node = variables[variable].node
            value = read(node)
            fields[field] = _from_environment(value, environ) if isinstance(value, Node) else value
    if "key_file" in fields:
        fields["key_file"] = str(folder / Path(fields["key_file"]).expanduser())
    return Host(name=name, **fields)


def _from_environment(node: Node, environ: Mapping[str, str]) -> str:
    entry = node.entries["env"]
    name = values.text(entry.node)
    if name not in environ:
        raise entry.node.fault(f"the environment has no variable {name}", nearest(name, environ))
    return environ[name]
