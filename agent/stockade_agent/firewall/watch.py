# SPDX-License-Identifier: MIT
"""What others change in the kernel's nftables, as netlink tells it to whoever listens.

A message a change, then one that says whose transaction it was: no child, no polling. Needs
CAP_NET_ADMIN. An element that comes and one that expires are of no interest.

- Our own tools are known by their process id, which is the origin that the kernel names.
- A socket that cannot hold all messages drops some and says so. Then the number of the
  ruleset's generation tells whether there were more transactions than ours.
- iptables-nft, firewalld and docker change nftables too; iptables-legacy and ipset do not.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Change, netlink
from stockade_agent.firewall.netlink import Message


_GROUP = 7
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

_NEW_GENERATION, _GET_GENERATION = 15, 16
_NAMED_BY = {0: 0, 2: 0, 3: 3, 5: 3, 6: 2, 8: 2, 9: 2, 11: 2, 14: 2}
"""Message -> the attribute with the name of a chain or set: tables, chains, rules, sets."""
_REMOVALS = {2, 5, 8, 11, 14}


class Watch:
    """A socket that hears of changes in the network namespace of the process.

    Args:
        ours: process ids whose changes are our own; emptied by ``stranger``.

    Raises:
        FirewallError: the kernel does not let us listen.
    """

    def __init__(self, ours: deque[int]) -> None:
        self._ours = ours
        try:
            self._socket = netlink.connect()
        except OSError as error:
            raise _refused(error) from error
        try:
            self._socket.bind((0, 1 << (_GROUP - 1)))
            self._generation = _generation()
        except OSError as error:
            self._socket.close()
            raise _refused(error) from error
        self.fileno: int = self._socket.fileno()

    def stranger(self, concerns: Callable[[Change], bool]) -> Optional[str]:
        """Read all messages; return who made a change that concerns us, or None.

        The name is that of a process, or "" where it is lost; hostile, as any name.
        """
        before, complete = self._generation, True
        strangers: dict[int, str] = {}
        while True:
            try:
                data = self._socket.recv(netlink.READ)
            except BlockingIOError:
                break
            except OSError:
                complete = False  # ENOBUFS: the next call goes on after the gap
                continue
            for message in netlink.messages(data, netlink.NFTABLES):
                if message.kind == _NEW_GENERATION:
                    self._generation, name = _origin(message)
                    if message.origin in strangers:
                        strangers[message.origin] = name
                elif message.origin not in self._ours and message.origin not in strangers:
                    change = _change(message)
                    if change is not None and concerns(change):
                        strangers[message.origin] = ""
        if not complete:
            strangers |= self._hidden(before)
        self._ours.clear()
        return next(iter(strangers.values())) if strangers else None

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def _hidden(self, before: int) -> dict[int, str]:
        """Return whom messages that were dropped may have told of."""
        try:
            self._generation = _generation()
        except OSError:
            return {0: ""}
        return {0: ""} if (self._generation - before) % 2**32 > len(self._ours) else {}


def _refused(error: OSError) -> FirewallError:
    return FirewallError(
        f"the kernel does not tell of changes: {error.strerror}",
        backend="netlink",
        remedy="the unit needs CAP_NET_ADMIN and AF_NETLINK; until then a look each half minute",
    )


def _generation() -> int:
    """Return the number of the ruleset's generation; each transaction counts it up."""
    return next(_origin(m)[0] for m in netlink.ask(netlink.NFTABLES, _GET_GENERATION, 0, 0))


def _origin(message: Message) -> tuple[int, str]:
    generation = int.from_bytes(message.attributes.get(1, b""), "big")
    return generation, netlink.text(message.attributes.get(3, b""))


def _change(message: Message) -> Optional[Change]:
    if message.kind not in _NAMED_BY:
        return None
    table = netlink.text(message.attributes.get(1, b""))
    name = netlink.text(message.attributes.get(_NAMED_BY[message.kind], b""))
    return Change(f"{_FAMILIES.get(message.family, '')} {table}", name, message.kind in _REMOVALS)
