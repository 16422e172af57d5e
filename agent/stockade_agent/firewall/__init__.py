# SPDX-License-Identifier: MIT
"""Firewall backends: siblings under one contract, one module each.

A backend touches only objects of its own: table ``inet stockade``, chains ``<prefix><jail>``
that carry our mark, ipsets and policies named ``stockade…``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from stockade_agent.model import Ban, Target
from stockade_agent.specs import Shield


class Change(NamedTuple):
    """Something of nftables that somebody else removed or changed.

    Attributes:
        table: with its family, as ``nft`` writes it: ``inet stockade``.
        name: the chain or the set that it was about or in; "" for the table itself.
        removed: it went, rather than came or became another.
    """

    table: str
    name: str
    removed: bool


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

    @property
    def watched(self) -> bool:
        """The kernel says by netlink when somebody changes what is ours; known after ``start``."""

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

    def concerns(self, change: Change) -> bool:
        """Return whether a change may have taken something of ours; too often is fine."""

    def mend(self, bans: Iterable[Ban], now: float) -> str:
        """Look in the kernel, and put back what somebody took.

        Args:
            bans: exactly those that ``start`` and ``apply`` have made so.
            now: seconds, UTC.

        Returns:
            What was missing, in words; "" when nothing was.

        Raises:
            FirewallError: it takes a ``start`` to mend; the message says what is missing.
        """

    def banned(self) -> Mapping[str, set[Target]]:
        """Return what the kernel refuses now, per jail."""

    def stop(self) -> None:
        """Remove everything of ours."""


Command = tuple[str, ...]
