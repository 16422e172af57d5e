# SPDX-License-Identifier: MIT
"""Firewall backends: siblings under one contract, one module each.

A backend touches only objects of its own: table ``inet stockade``, chains ``<prefix><jail>``
that carry our mark, ipsets and policies named ``stockade…``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from stockade_agent.model import Ban, Shield, Target


class Firewall(Protocol):
    """Puts bans into the kernel. Every call is idempotent.

    What a caller may assume:

    - Backends never decide: they hold no timers, read no logs, ask no clock. ``now`` comes in.
    - They raise ``FirewallError`` and change nothing, or as little as the tool allows; the
      caller retries.
    - Bans whose ``address`` is None never reach them.
    - One call is one batch: a bounded number of processes, whatever the number of bans.

    What an implementer may assume:

    - ``start`` comes first, and again whenever the kernel may have lost our objects.
    - The agent is the only user of the backend's objects.
    """

    name: str

    def probe(self) -> None:
        """Prove that a ban can be inserted and listed, then leave no trace.

        Raises:
            FirewallError: the tool is missing, lacks a right, or the kernel did not keep the
                element; ``remedy`` says what would help.
        """

    def start(self, shields: Sequence[Shield], bans: Iterable[Ban], now: float) -> Sequence[str]:
        """Make the kernel hold exactly these shields and bans, in one batch.

        Objects of ours for other jails are removed. No address that stays banned is let
        through for a moment.

        Returns:
            Warnings for the operator, such as a foreign chain that has our name.
        """

    def apply(self, bans: Iterable[Ban], unbans: Iterable[Ban], now: float) -> None:
        """Add and remove bans of started jails, in one batch; an unban that is not there is fine.

        Addresses may be given twice; where an address is in both, the ban wins.
        """

    def banned(self) -> Mapping[str, set[Target]]:
        """Return what the kernel refuses now, per jail."""

    def listing(self) -> str:
        """Return our objects as the firewall's own tool prints them, for a person."""

    def stop(self) -> None:
        """Remove everything of ours."""


Command = tuple[str, ...]
