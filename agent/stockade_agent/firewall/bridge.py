# SPDX-License-Identifier: MIT
"""The table that refuses whom we ban while firewalld's own rules are gone from the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stockade_agent.firewall import Change, Firewall
from stockade_agent.firewall.command import Run
from stockade_agent.model import Ban
from stockade_agent.specs import Shield


class Bridge:
    """``Nftables`` for a while.

    Args:
        run: runs ``nft``.

    Attributes:
        holds: it is in force.
    """

    def __init__(self, run: Run) -> None:
        self._run, self.holds = run, False

    def start(self, shields: Sequence[Shield], bans: Iterable[Ban], now: float) -> None:
        """Refuse whom these bans name."""
        self._table = self._nftables()
        self._table.start(shields, bans, now)
        self.holds = True

    def concerns(self, change: Change) -> bool:
        """Return whether a change may have taken something of it."""
        return self.holds and self._table.concerns(change)

    def apply(self, bans: Iterable[Ban], unbans: Iterable[Ban], now: float) -> None:
        """Add and remove bans, while it holds."""
        if self.holds:
            self._table.apply(bans, unbans, now)

    def stop(self) -> None:
        """Remove it, be it an earlier agent's."""
        self._nftables().stop()
        self.holds = False

    def _nftables(self) -> Firewall:
        # Rarely needed; other hosts with firewalld need not have it in their memory.
        from stockade_agent.firewall.nftables import Nftables  # noqa: PLC0415

        return Nftables(self._run)
