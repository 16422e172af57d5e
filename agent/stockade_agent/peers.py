# SPDX-License-Identifier: MIT
"""Who is logged in by a public key: most likely an operator, whom a ban would cut off.

    peers.read(block, specs)                # remembers logins that sshd and dropbear tell of
    why = peers.why(address, shield, now)   # before a ban: "" or who is connected from there

A log only tells that somebody came, and with which key; and who may write to it can make that
up. So the kernel has the last word, asked only where somebody did log in from the address: the
very connection must be established, to a port that the ban would close, on a socket of root's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Callable, NamedTuple, Optional

from stockade_agent.firewall.established import Connection, established
from stockade_agent.model import Block, Target, target
from stockade_agent.plain import plain
from stockade_agent.specs import JailSpec, Shield


MANY = 4096
"""Logins remembered since the kernel was last asked which of them are still connected."""
FEW = 32
"""Logins that are kept without asking, and connections that are looked for one by one."""
CROWD = 100
"""Logins in a block, past which the kernel is asked first who is there."""
FRESH = 1.0
"""Seconds for which an address that is spared is spared without asking again."""
QUIET = 600.0
"""Seconds between two warnings of the same address."""
_MOST_SAID = 1000
_ROOT = 0
_LONGEST_NAME = 64

# A login name may hold anything, and so may a line of another program: what counts stands right
# behind date and host, or, as the journal has it, behind the host.
_HEAD = (
    rb"(?:(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[0-9:.,+Z-]{8,24}) +)?[^\s\[]+ "
)
_ADDRESS = rb"([0-9a-fA-F.:]{2,45})(?:%[^\s:]{1,16})?"


class _Words(NamedTuple):
    """How a server tells of a login: what each such line has, who came, and the whole of it."""

    needle: bytes
    end: bytes
    line: re.Pattern[bytes]


_SERVERS: Mapping[str, _Words] = {
    "sshd": _Words(
        b": Accepted publickey for ",
        b"%b port %d ssh2",
        re.compile(
            _HEAD + rb"sshd(?:-session)?\[\d+\]: Accepted publickey for ([^\n]{1,256}?) from "
            + _ADDRESS + rb" port (\d{1,5}) ssh2(?=[:\s]|$)"
        ),
    ),
    "dropbear": _Words(
        b"Pubkey auth succeeded for '",
        b"%b:%d\n",
        re.compile(
            _HEAD + rb"dropbear\[\d+\]: (?:\[\d+\] [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )?"
            rb"Pubkey auth succeeded for '([^\n]{1,256}?)' with [^\n]{1,300} from "
            + _ADDRESS + rb":(\d{1,5})\s*?$", re.MULTILINE
        ),
    ),
}  # fmt: skip


class Peers:
    """Public-key logins that may still be connected.

    Args:
        ask: yields the established connections with an address or network, or all.
    """

    def __init__(
        self, ask: Callable[[Optional[Target]], Iterable[Connection]] = established
    ) -> None:
        self._ask = ask
        # address -> port -> who logged in
        self._logins: dict[str, dict[int, str]] = {}
        self._new = 0
        self._spared: dict[tuple[Target, Optional[Shield]], tuple[float, str]] = {}
        self._said: dict[str, float] = {}
        self._kept = ""
        self._changed = False
        self.problem = ""

    def read(self, block: Block, specs: Iterable[JailSpec]) -> None:
        """Remember the logins of a block, if one of the jails that read it wants them."""
        for name in {spec.filter.name for spec in specs if spec.ignorepeers}:
            words = _SERVERS.get(name)
            if words is not None:
                self._read(block.data, words)

    def _read(self, data: bytes, words: _Words) -> None:
        needles = [words.needle]
        if data.count(words.needle) > CROWD:
            # An old log of a busy host: of its logins those count whose connection is still there.
            here = [one for one in self._asked(None) or () if one.owner == _ROOT]
            if not self.problem and len(here) <= FEW:
                needles = [words.end % (str(one.address).encode(), one.port) for one in here]
        for needle in needles:
            at = data.find(needle)
            while at >= 0:
                found = words.line.match(data, data.rfind(b"\n", 0, at) + 1)
                if found is not None:
                    self._login(*found.groups())
                at = data.find(needle, at + len(needle))
        if self._new > MANY:
            self._prune()

    def _login(self, user: bytes, address: bytes, port: bytes) -> None:
        self._new += 1
        self._changed = True
        text = address.decode()
        known = target(text) if ":" in text else None
        ports = self._logins.setdefault(text if known is None else str(known), {})
        ports[int(port)] = user[:_LONGEST_NAME].decode(errors="replace")

    def why(self, wanted: Optional[Target], shield: Optional[Shield], now: float) -> str:
        """Return who is logged in by a key from an address or a network, or "".

        Args:
            wanted: whom to ban.
            shield: what the ban would close; None: who knows.
            now: seconds, UTC.
        """
        if wanted is None or not self._logins:
            return ""
        since, why = self._spared.get((wanted, shield), (now - FRESH, ""))
        if since <= now < since + FRESH:
            return why
        self._spared.pop((wanted, shield), None)
        addresses = list(self._from(wanted))
        if not addresses:
            return ""
        connections = self._asked(wanted)
        if connections is None:
            return ""
        self._keep(connections, addresses)
        for connection in connections:
            user = self._user(connection)
            if user and _closes(shield, connection.here):
                why = f"{plain(user)} is logged in by public key from {connection.address}"
                if len(self._spared) >= _MOST_SAID:
                    self._spared.clear()
                self._spared[wanted, shield] = (now, why)
                return why
        return ""

    def is_news(self, id_: str, now: float) -> bool:
        """Return whether it is time to say that an id is spared, and take it as said."""
        said = self._said.get(id_)
        if said is not None and 0 <= now - said < QUIET:
            return False
        if len(self._said) >= _MOST_SAID:
            self._said.clear()
        self._said[id_] = now
        return True

    def present(self) -> tuple[str, ...]:
        """Return the addresses from where somebody is logged in by a key now, and who."""
        self._prune()
        return tuple(
            f"{address} ({plain(user)}, by public key)"
            for address, ports in sorted(self._logins.items())
            for user in sorted(set(ports.values()))
        )

    # ---- over a restart

    def kept(self) -> Optional[str]:
        """Return what ``restore`` must be told after a restart, or None: the same as last time."""
        if not self._changed:
            return None
        self._changed = False
        if sum(map(len, self._logins.values())) > FEW:
            self._prune()
        text = json.dumps(self._logins)
        if text == self._kept:
            return None
        self._kept = text
        return text

    def restore(self, text: str) -> None:
        """Remember what ``kept`` returned."""
        with suppress(ValueError, AttributeError, TypeError):
            for address, ports in json.loads(text or "{}").items():
                known = {int(port): str(user) for port, user in ports.items()}
                if target(address) is not None and known:
                    self._logins[address] = known
        self._kept = text

    # ---- what the kernel knows

    def _from(self, wanted: Target) -> Iterator[str]:
        """Yield the addresses of logins that are within an address or network."""
        if str(wanted) in self._logins:
            yield str(wanted)
        if "/" not in str(wanted):
            return
        for address in self._logins:
            known = target(address)
            if known is not None and known.version == wanted.version and known in wanted:  # type: ignore[operator]
                yield address

    def _user(self, connection: Connection) -> str:
        """Return who logged in by a connection, or "" if nobody did by a key."""
        if connection.owner != _ROOT:
            return ""
        return self._logins.get(str(connection.address), {}).get(connection.port, "")

    def _prune(self) -> None:
        """Forget the logins that are over."""
        if not self._logins:
            return
        connections = self._asked(None)
        if connections is not None:
            self._keep(connections, tuple(self._logins))
        else:
            while sum(map(len, self._logins.values())) > MANY:
                del self._logins[next(iter(self._logins))]
        self._new = 0

    def _keep(self, connections: Iterable[Connection], addresses: Collection[str]) -> None:
        """Forget the logins from these addresses that have no connection."""
        alive: dict[str, dict[int, str]] = {}
        for connection in connections:
            user = self._user(connection)
            if user:
                alive.setdefault(str(connection.address), {})[connection.port] = user
        for address in addresses:
            ports = alive.get(address)
            if ports != self._logins[address]:
                self._changed = True
                if ports:
                    self._logins[address] = ports
                else:
                    del self._logins[address]

    def _asked(self, wanted: Optional[Target]) -> Optional[list[Connection]]:
        try:
            found = list(self._ask(wanted))
        except OSError as error:
            self.problem = f"the kernel does not tell who is connected: {error.strerror or error}"
            return None
        self.problem = ""
        return found


def _closes(shield: Optional[Shield], port: int) -> bool:
    """Return whether a ban may end a connection to a port."""
    if shield is None or not shield.ports:
        return True
    return "tcp" in shield.protocols and any(low <= port <= high for low, high in shield.ports)
