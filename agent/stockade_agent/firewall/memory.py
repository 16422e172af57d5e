# SPDX-License-Identifier: MIT
"""Bans in a dict: the ``Firewall`` for tests of everything that uses one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Change
from stockade_agent.firewall.batch import batch, expiries, put_back
from stockade_agent.model import Ban, Target
from stockade_agent.specs import Shield


@dataclass(frozen=True)
class Call:
    """One call that a ``Memory`` was given, failed ones included.

    Attributes:
        method: ``probe``, ``start``, ``apply`` or ``stop``.
        now: as it was passed, or None.
    """

    method: str
    shields: tuple[Shield, ...] = ()
    bans: tuple[Ban, ...] = ()
    unbans: tuple[Ban, ...] = ()
    now: Optional[float] = None


class Memory:
    """A ``Firewall`` that refuses nobody, remembers its calls and fails when told to.

    Args:
        warnings: what ``start`` returns.

    Attributes:
        calls: all calls that change something, oldest first.
    """

    name = "memory"
    watched = True

    def __init__(self, warnings: Sequence[str] = ()) -> None:
        self.calls: list[Call] = []
        self._warnings = tuple(warnings)
        self._failures = 0
        self._reason = ""
        self._shields: tuple[Shield, ...] = ()
        self._banned: dict[str, set[Target]] = {}

    def fail(self, times: int = 1, reason: str = "told to fail") -> None:
        """Make the next ``times`` calls raise ``FirewallError`` and change nothing."""
        self._failures, self._reason = times, reason

    def lose(self) -> None:
        """Forget everything, as a kernel does whose rules somebody flushed."""
        self._banned = {jail: set() for jail in self._banned}

    def probe(self) -> None:
        """Succeed, unless told to fail."""
        self._take(Call("probe"))

    def start(self, shields: Sequence[Shield], bans: Iterable[Ban], now: float) -> Sequence[str]:
        """Hold exactly these shields and bans."""
        given = tuple(bans)
        self._take(Call("start", tuple(shields), given, now=now))
        self._shields = tuple(shields)
        self._banned = {shield.jail: set() for shield in shields}
        for jail, expiring in expiries(given).items():
            if jail in self._banned:
                self._banned[jail] = set(expiring)
        return self._warnings

    def apply(self, bans: Iterable[Ban], unbans: Iterable[Ban], now: float) -> None:
        """Add and remove bans of started jails."""
        adding, removing = tuple(bans), tuple(unbans)
        orders = batch(adding, removing, self._banned, self.name)
        self._take(Call("apply", bans=adding, unbans=removing, now=now))
        for jail, targets in orders.unbans.items():
            self._banned[jail] -= targets
        for jail, expiring in orders.bans.items():
            self._banned[jail] |= set(expiring)

    def concerns(self, change: Change) -> bool:
        """Everything may."""
        del change
        return True

    def mend(self, bans: Iterable[Ban], now: float) -> str:
        """Put back what ``lose`` took."""
        return put_back(self, tuple(bans), self._banned, now)

    def banned(self) -> Mapping[str, set[Target]]:
        """Return what is held now, per jail."""
        return {jail: set(targets) for jail, targets in self._banned.items()}

    def stop(self) -> None:
        """Hold nothing."""
        self._take(Call("stop"))
        self._shields, self._banned = (), {}

    def _take(self, call: Call) -> None:
        self.calls.append(call)
        if self._failures:
            self._failures -= 1
            raise FirewallError(self._reason, backend=self.name)
