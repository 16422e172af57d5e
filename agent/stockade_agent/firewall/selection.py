# SPDX-License-Identifier: MIT
"""Which backend a host gets: the wanted one, or the first of three that proves itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Command, Firewall
from stockade_agent.firewall.command import Run, Runner, ToolError


AUTO = "auto"
MEMORY = "memory"
"""A firewall that nobody's packets pass, for tests."""
ORDER = ("firewalld", "nftables", "iptables")
"""How ``auto`` prefers: where firewalld runs it owns the host's rules; nft is the better tool."""

RunOf = Callable[[str], Run]
"""Backend's name -> what runs its tools."""


def select(wanted: str, *, chainprefix: str = "f2b-", run_of: RunOf = Runner) -> Firewall:
    """Return a backend that has just inserted and listed a ban.

    A backend that ``auto`` would have preferred and that failed is named, with the reason, in
    the warnings of the returned one's ``start``.

    Args:
        wanted: ``auto``, ``firewalld``, ``nftables``, ``iptables``, or ``memory``.
        chainprefix: what the names of iptables chains begin with.
        run_of: makes the ``Run`` of a backend, for tests.

    Raises:
        FirewallError: the wanted one does not work, or with ``auto`` none does.
    """
    if wanted != AUTO:
        firewall = _backend(wanted, run_of(wanted), chainprefix)
        firewall.probe()
        return firewall
    failures: list[FirewallError] = []
    for name in ORDER:
        run = run_of(name)
        if name == "firewalld" and not _runs(run):
            continue
        notes = tuple(f"passed over {failure}" for failure in failures)
        try:
            firewall = _backend(name, run, chainprefix, notes)
            firewall.probe()
        except FirewallError as failure:
            failures.append(failure)
        else:
            return firewall
    raise FirewallError("none works: " + "; ".join(map(str, failures)), backend=AUTO)


def sweep(chosen: Firewall, *, run_of: RunOf = Runner) -> Sequence[str]:
    """Remove what backends other than the chosen one left behind in an earlier run.

    To be called after the chosen one's ``start``, so that nobody is let through meanwhile. A
    tool that is not installed holds nothing of ours.

    Returns:
        Warnings: what could not be removed, and why.
    """
    warnings: list[str] = []
    for name in ORDER if chosen.name != MEMORY else ():
        run = run_of(name)
        if name != chosen.name and (name != "firewalld" or _runs(run)):
            try:
                _backend(name, run).stop()
            except ToolError as error:
                if error.code is not None:
                    warnings.append(f"bans of an earlier run may be left: {error}")
    return warnings


def _backend(name: str, run: Run, chainprefix: str = "f2b-", notes: Sequence[str] = ()) -> Firewall:
    # Of three backends a host needs one; the others would only fill its memory.
    if name == "firewalld":
        from stockade_agent.firewall.firewalld import Firewalld  # noqa: PLC0415

        return Firewalld(run, notes=notes)
    if name == "nftables":
        from stockade_agent.firewall.nftables import Nftables  # noqa: PLC0415

        return Nftables(run, notes=notes)
    if name == "iptables":
        from stockade_agent.firewall.iptables import Iptables  # noqa: PLC0415

        return Iptables(run, prefix=chainprefix, notes=notes)
    if name == MEMORY:
        from stockade_agent.firewall.memory import Memory  # noqa: PLC0415

        return Memory()
    raise FirewallError(
        f"there is no firewall backend {name!r}",
        backend=name,
        remedy=f"use {AUTO}, {', '.join(ORDER)}",
    )


def _runs(run: Run) -> bool:
    """Return whether firewalld runs; not installed is the same as not running."""
    state: Command = ("firewall-cmd", "--state")
    try:
        return run(state).strip() == "running"
    except FirewallError:
        return False
