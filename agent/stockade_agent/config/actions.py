# SPDX-License-Identifier: MIT
"""Actions: ``action.d/NAME.conf`` with parameters, as a typed specification."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Optional

from stockade_agent.config.definition import KNOWN, Definition
from stockade_agent.config.faults import Fault, nearest
from stockade_agent.config.filters import names
from stockade_agent.config.inifile import Value, parse
from stockade_agent.config.tree import Library, Tree
from stockade_agent.config.values import BadValue, duration, join_ranges, ports, protocols
from stockade_agent.specs import ActionSpec, Shield


COMMANDS = (
    "actionstart",
    "actionstart_on_demand",
    "actionstop",
    "actionflush",
    "actionreload",
    "actioncheck",
    "actionrepair",
    "actionrepair_on_unban",
    "actionban",
    "actionprolong",
    "actionreban",
    "actionunban",
    "actiondigest",
    "norestored",
)
FOLDER = "action.d"
AUTO = "auto"
# These belong to the moment of a ban.
_OF_A_BAN = frozenset(("matches", "ipmatches", "ipjailmatches", "timeout", "bantime"))
_DURATIONS = ("timeout", "digest_time")
# The stock actions whose work one of our firewalls does itself.
_NATIVE = {
    AUTO: AUTO,
    **dict.fromkeys(
        (
            "iptables",
            "iptables-allports",
            "iptables-ipset",
            "iptables-ipset-proto4",
            "iptables-ipset-proto6",
            "iptables-ipset-proto6-allports",
            "iptables-multiport",
            "iptables-multiport-log",
            "iptables-new",
        ),
        "iptables",
    ),
    **dict.fromkeys(("nftables", "nftables-allports", "nftables-multiport"), "nftables"),
    **dict.fromkeys(
        (
            "firewallcmd-allports",
            "firewallcmd-ipset",
            "firewallcmd-multiport",
            "firewallcmd-new",
            "firewallcmd-rich-logging",
            "firewallcmd-rich-rules",
        ),
        "firewalld",
    ),
}
# What such an action is where a host has no file of its name.
_BUILT_IN = """
[Definition]
type = multiport
[Init]
port = 0:65535
protocol = tcp
chain = INPUT
blocktype = reject
"""
_BLOCKTYPES = ("reject", "drop")


def tree(library: Library, name: str, asked: Value) -> Tree:
    """Return the action's files; a stock ban action needs none.

    Args:
        library: the directory.
        name: without ``.conf``.
        asked: the option that names it, to be blamed if there is none.

    Raises:
        Fault: there is no such action, or it is a Python class.
    """
    if name.endswith(".py"):
        raise Fault(
            f"action {name} is a Python class of fail2ban, which is not run here",
            path=asked.path,
            line=asked.line,
            needle=name,
            remedy="use an action of commands, such as action.d/NAME.conf",
        )
    found = library.tree(os.path.join(FOLDER, name))
    if found is None and name in _NATIVE:
        found = Tree(name)
        found.merge(parse(_BUILT_IN, ""))
        if name.endswith("-allports"):
            found.sections["Definition"]["type"] = Value("allports", "", 0)
    if found is None:
        known = {*names(library, FOLDER), *_NATIVE}
        raise Fault(
            f"no action named {name}",
            path=asked.path,
            line=asked.line,
            needle=name,
            remedy=nearest(name, known) or f"put {name}.conf into {FOLDER}, or use {AUTO}",
        )
    return found


class JailAction:
    """An action as one jail uses it.

    Args:
        parameters: from its brackets; ``name`` and ``actname`` are added where they lack.
        options: the jail's options, which the action's file may refer to.

    Attributes:
        name: the ``actname``.
        definition: the file with all that was passed to it.
        combined: everything resolved that the configuration can resolve.
    """

    def __init__(
        self,
        files: Tree,
        file: str,
        jail: str,
        parameters: Mapping[str, Value],
        options: Mapping[str, Value],
    ) -> None:
        self.file, self.jail = file, jail
        given = dict(parameters)
        name = given.setdefault("name", Value(jail, "", 0)).text
        actname = given.get("actname")
        if actname is None:
            unique = file
            if name != jail:
                unique += name[len(jail) :] if name.startswith(jail) else f"-{name}"
            actname = given["actname"] = Value(unique, "", 0)
        self.name = actname.text
        self.definition = Definition(files, given)
        self.definition.read(COMMANDS, options)
        self.definition.read_init(options)
        self.combined = self.definition.combined(_OF_A_BAN)
        self.firewall = self._native()
        for option in _DURATIONS:
            if self.firewall is None and option in self.combined:
                _prove_duration(option, self.combined[option])
        if self.firewall is None and "digest_after" in self.combined:
            _prove_count("digest_after", self.combined["digest_after"])

    def spec(self) -> ActionSpec:
        """Return it as a specification."""
        return ActionSpec(
            name=self.name,
            file=self.file,
            firewall=self.firewall,
            parameters={
                option: self.combined[option].text
                for option in self.definition.init
                if option not in COMMANDS and not option.startswith(KNOWN)
            },
            definition={
                option: self.combined[option].text for option in COMMANDS if option in self.combined
            },
            origins={
                option: self.combined[option].origin
                for option in COMMANDS
                if option in self.combined and self.firewall is None
            },
        )

    def _native(self) -> Optional[str]:
        firewall = _NATIVE.get(self.file)
        files = any(self.definition.tree.files)
        if firewall is None or (firewall == AUTO and files):
            return None
        # Whoever rewrote the commands of a stock action wants his own to run.
        if any(option in self.definition.init for option in COMMANDS):
            return None
        if any(value.path.endswith(".local") for value in self.definition.options.values()):
            return None
        if self._blocktype() in _BLOCKTYPES:
            return firewall
        if files:
            return None
        value = self.combined["blocktype"]
        raise Fault(
            f"blocktype {value.text!r} is none that the firewall can be told",
            path=value.path,
            line=value.line,
            remedy="use reject or drop, or bring the action's own file",
        )

    def _text(self, option: str) -> str:
        value = self.combined.get(option)
        return "" if value is None else value.text

    def _blocktype(self) -> str:
        return self._text("blocktype").partition(" ")[0].lower()

    def shield(self) -> Shield:
        """Return what the native firewall closes for this action.

        Raises:
            BadValue: an unknown port or protocol.
        """
        every = self.file.endswith("-allports") or self.definition.tag("type") == "allports"
        actiontype = self._text("actiontype")
        every = every or (actiontype != "" and "port" not in actiontype)
        closed = () if every else ports(self._text("port") or "0:65535")
        chain = self._text("chain") if self.firewall in ("iptables", AUTO) else ""
        return Shield(
            jail=self.jail,
            ports=closed,
            protocols=protocols(self._text("protocol") or "tcp") if closed else ("tcp",),
            blocktype=self._blocktype(),
            chain=chain if chain and "<" not in chain else "INPUT",
        )


def _prove_duration(option: str, value: Value) -> None:
    try:
        if duration(value.text) > 0:
            return
        message, remedy = f"{value.text} is no length of time", "for example 60"
    except BadValue as error:
        message, remedy = str(error), error.remedy
    raise Fault(f"{option}: {message}", path=value.path, line=value.line, remedy=remedy)


def _prove_count(option: str, value: Value) -> None:
    if not value.text.isascii() or not value.text.isdigit():
        raise Fault(
            f"{option}: {value.text!r} is no number from 0 up", path=value.path, line=value.line
        )


def joined(shields: Sequence[Shield]) -> Optional[Shield]:
    """Return one shield that closes what any of them does, or None for none of them."""
    if not shields:
        return None
    first = shields[0]
    closed = [ranges for shield in shields for ranges in shield.ports]
    every = any(not shield.ports for shield in shields)
    protocols_ = dict.fromkeys(name for shield in shields for name in shield.protocols)
    return replace(
        first,
        ports=() if every else join_ranges(closed),
        protocols=("tcp",) if every else tuple(protocols_),
    )
