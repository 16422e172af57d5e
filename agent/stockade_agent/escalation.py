# SPDX-License-Identifier: MIT
"""How bantime grows for who comes back, and whose earlier bans are his (``bantime.increment``).

bantime = Bantime(spec.escalation).after(times, base)
ids = kin(address, (64, 48))        # of the prefixes that hold an address
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from typing import Callable, NamedTuple, Optional, Protocol

from stockade_agent.errors import RegexError
from stockade_agent.model import Target
from stockade_agent.specs import Escalation


MAX_DOUBLINGS = 20
"""A known offender's failure counts for at most 2**20/2 + 1."""

DEFAULT_FORMULA = f"ban.Time * (1 << min(ban.Count, {MAX_DOUBLINGS})) * banFactor"
_NAMES = frozenset({"ban.Time", "ban.Count", "banFactor"})


class Past(NamedTuple):
    """What is known of an id's earlier bans: how many, and when the last one began."""

    bans: int
    at: float


class History(Protocol):
    """Remembers bans that are over. The ledger is one."""

    def past(self, who: str, jail: Optional[str], /, *kin: str) -> Optional[tuple[int, float]]:
        """Return the number of an id's bans in a jail and when the last began.

        For ``jail`` None: in all jails together. With ``kin`` it is, of each jail, that one's of
        all these ids that has the most. None when there were none. It is asked once for each
        failure of a jail that escalates, so it should be cheap.
        """


def kin(address: Optional[Target], lengths: Iterable[int]) -> tuple[str, ...]:
    """Return the ids of an address or network of IPv6 and of the prefixes that hold it."""
    if not isinstance(address, (IPv6Address, IPv6Network)):
        return ()
    network = IPv6Network(address)
    whole, own = int(network.network_address), network.prefixlen
    larger = (IPv6Network((whole, n), strict=False) for n in lengths if n < own)
    return (str(address), *map(str, larger))


class Bantime:
    """How bantime grows with the number of earlier bans (``bantime.increment``)."""

    def __init__(self, spec: Escalation, rand: Optional[Callable[[], float]]) -> None:
        # Both bring much into memory, and most jails have neither formula nor chance.
        from random import random  # noqa: PLC0415

        from stockade_agent.formula import Formula  # noqa: PLC0415

        self._spec, self._rand = spec, rand or random
        option = "bantime.factor"
        self._factor = Formula(spec.factor or "1", option=option).compute({})
        formula = spec.formula or DEFAULT_FORMULA
        self._formula = Formula(formula, option="bantime.formula", names=_NAMES)
        self.after(1, 600)  # what cannot be computed is said at start, not at the first ban

    def after(self, times: int, base: int) -> int:
        """Return the bantime for an id with ``times`` earlier bans."""
        if times <= 0:
            return base
        if self._spec.multipliers:
            multipliers = self._spec.multipliers
            bantime = base * self._factor * multipliers[min(times, len(multipliers) - 1)]
        else:
            values = {"ban.Time": base, "ban.Count": times, "banFactor": self._factor}
            bantime = max(base, self._formula.compute(values))
        if self._spec.maxtime is not None:
            bantime = min(bantime, self._spec.maxtime)
        if self._spec.rndtime is not None:
            bantime += self._rand() * self._spec.rndtime
        try:
            return int(bantime)
        except (OverflowError, ValueError) as exc:
            raise RegexError(f"gives {bantime} seconds", option="bantime.formula") from exc
