# SPDX-License-Identifier: MIT
"""Host names to addresses, off the loop: a slow name server delays no ban."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Callable, Optional

from stockade_agent.model import Address, target


KEPT = 300.0
"""Seconds that an answer is good for, as in fail2ban."""
WORKERS = 2
PATIENCE = 10.0
"""Seconds after which a name that was asked for counts as unknown, for as long as any answer."""
MOST = 1000
"""Names asked for at a time; more are answered with nothing."""
REMEMBERED = 10_000
"""Answers kept; a log full of made-up names must not fill the memory."""

Addresses = tuple[Address, ...]


def lookup(name: str) -> Addresses:
    """Return all addresses of a host name; none when it has none or nobody knows."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    addresses = (target(str(info[4][0]).partition("%")[0]) for info in found)
    return tuple(dict.fromkeys(a for a in addresses if a is not None))  # type: ignore[misc]


class HostNames:
    """Names of this host and of others; waits for name servers, so never asked by the loop."""

    def __init__(self) -> None:
        self._here = ""

    def fully_qualified(self) -> str:
        """Return this host's name with its domain."""
        if not self._here:
            self._here = socket.getfqdn()
        return self._here

    def short(self) -> str:
        """Return this host's name."""
        return socket.gethostname()

    def of(self, address: str, /) -> str:
        """Return the name of an address, or "" if it has none; whoever has it may choose it."""
        if target(address) is None:
            return ""
        try:
            return socket.gethostbyaddr(address)[0]
        except (OSError, UnicodeError):
            return ""


class Resolver:
    """Asks in threads of its own, which start with the first question.

    Args:
        ask: what a thread calls.
    """

    def __init__(self, ask: Callable[[str], Addresses] = lookup) -> None:
        self._ask = ask
        self._known: dict[str, tuple[float, Addresses]] = {}
        self._asked: dict[str, float] = {}
        self._questions: queue.PriorityQueue[tuple[int, int, Optional[str]]] = queue.PriorityQueue()
        self._number = 0
        self._answers: deque[tuple[str, Addresses]] = deque()
        self._threads: list[threading.Thread] = []
        self.fileno, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def addresses(self, name: str, now: float, *, first: bool = False) -> Optional[Addresses]:
        """Return what is known of a name, or None: it is being asked, see ``answers``.

        Args:
            name: a host's.
            now: seconds, UTC.
            first: it is one of the configuration, and goes before all that logs name.
        """
        known = self._known.get(name)
        if known is not None and now - KEPT <= known[0] <= now:
            return known[1]
        if name not in self._asked:
            if len(self._asked) >= MOST and not first:
                return ()
            self._asked[name] = now
            self._put(0 if first else 1, name)
            self._start()
        return None

    def answers(self, now: float) -> list[tuple[str, Addresses]]:
        """Return the names whose answers have come, and those that were waited for in vain.

        Call when ``fileno`` is readable, and when ``wait`` is over.
        """
        with suppress(BlockingIOError):
            os.read(self.fileno, 4096)
        came = []
        while self._answers:
            name, addresses = self._answers.popleft()
            came.append((name, addresses))
            self._know(name, addresses, now)
        for name in [name for name, at in self._asked.items() if not 0 <= now - at < PATIENCE]:
            came.append((name, ()))
            self._know(name, (), now)
        return came

    def wait(self, now: float) -> Optional[float]:
        """Return seconds until ``answers`` must be called though nothing came, or None."""
        if not self._asked:
            return None
        longest_ago = next(iter(self._asked.values()))
        return max(0.0, min(PATIENCE, longest_ago + PATIENCE - now))

    def _know(self, name: str, addresses: Addresses, now: float) -> None:
        self._asked.pop(name, None)
        self._known.pop(name, None)
        self._known[name] = (now, addresses)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]

    def _put(self, rank: int, name: Optional[str]) -> None:
        self._number += 1
        self._questions.put((rank, self._number, name))

    def close(self) -> None:
        """End the threads once they come back; wait for none."""
        for _ in self._threads:
            self._put(-1, None)
        if not self._threads:
            os.close(self.fileno)
            os.close(self._wake)

    def _start(self) -> None:
        if len(self._threads) < min(WORKERS, len(self._asked)):
            # Daemons: a lookup that hangs must not keep the agent from ending.
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (name := self._questions.get()[2]) is not None:
            if name not in self._asked:
                continue  # it was waited for in vain already
            self._answers.append((name, self._ask(name)))
            with suppress(BlockingIOError):
                os.write(self._wake, b"\0")
