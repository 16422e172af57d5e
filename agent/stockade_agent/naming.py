# SPDX-License-Identifier: MIT
"""Who a failure is of: the groups of a match, put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from stockade_agent.failregex import Groups, Value
from stockade_agent.identity import Identity, canonical, of_address, of_text, plain
from stockade_agent.model import Address, Failure


MOST = 8192
"""Addresses that are kept as they were read: who guesses comes again."""


class Naming:
    """Names who groups are of.

    Args:
        raw: leave host names as they are.

    Attributes:
        known: addresses as they were read lately, and whose they are.
    """

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self.known: dict[Value, Identity] = {}

    def of(self, groups: Groups) -> tuple[Optional[Identity], Optional[str]]:
        """Return who the groups name, or the host name that has to be resolved for it."""
        fid = groups.get("fid")
        address: Optional[Identity] = None
        for name, version in (("ip4", 4), ("ip6", 6)):
            text = groups.get(name)
            if text is not None:
                cidr = groups.get("cidr")
                if cidr:
                    address = of_address(str(text), version=version, cidr=str(cidr))
                    break
                address = self.known.get(text)
                if address is None:
                    if len(self.known) >= MOST:
                        self.known.clear()
                    address = of_address(str(text), version=version, cidr=None)
                    self.known[text] = address
                break
        else:
            text = groups.get("dns")
            if text is not None and not self._raw:
                numeric = plain(str(text).strip("[]"))
                if numeric is None:
                    return None, str(text)
                return Identity(canonical(numeric), numeric), None
            if text is not None:
                address = Identity(str(text))
        if fid is None or fid == text:
            return address, None
        own = Identity(str(fid)) if self._raw or isinstance(fid, tuple) else of_text(str(fid))
        if address is not None:
            # The id is counted, but what a firewall can refuse is the address beside it.
            groups["ip"] = address.id
            return Identity(own.id, address.address), None
        return own, None


def resolved(failure: Failure, addresses: Iterable[Address]) -> list[Failure]:
    """Return the failures that a host name stands for: one for each of its addresses."""
    found = []
    for address in sorted(set(addresses), key=str):
        identity = of_text(str(address))
        found.append(
            Failure(
                at=failure.at,
                id=identity.id,
                address=identity.address,
                attempts=failure.attempts,
                matches=failure.matches,
                data=failure.data,
            )
        )
    return found
