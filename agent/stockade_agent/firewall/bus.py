# SPDX-License-Identifier: MIT
"""Entries of firewalld's running ipsets over D-Bus, by systemd's ``busctl``.

A ban must not wait for firewall-cmd: a call of busctl takes some 20 ms, where firewall-cmd
begins by starting Python.
"""

from __future__ import annotations

from stockade_agent.firewall import Command
from stockade_agent.firewall.command import Run, ToolError


_CALL: Command = (
    "busctl",
    "--system",
    "--auto-start=no",
    "call",
    "org.fedoraproject.FirewallD1",
    "/org/fedoraproject/FirewallD1",
    "org.fedoraproject.FirewallD1.ipset",
)
_METHODS = {"add": "addEntry", "remove": "removeEntry"}
_DONE_ALREADY = ("ALREADY_ENABLED", "NOT_ENABLED")


def change_entry(run: Run, option: str, name: str, entry: str) -> None:
    """Add an entry to a running ipset or remove it; that it is so already is fine.

    Args:
        option: ``add`` or ``remove``.

    Raises:
        ToolError: firewalld said no, or does not answer.
    """
    try:
        run((*_CALL, _METHODS[option], "ss", name, entry))
    except ToolError as error:
        if not any(word in error.stderr for word in _DONE_ALREADY):
            raise
