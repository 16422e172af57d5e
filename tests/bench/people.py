# SPDX-License-Identifier: MIT
"""Who appears in the logs, when, and how their lines are woven into one stream."""

import heapq
import time
from collections.abc import Callable, Iterator
from itertools import count
from random import Random


BEGIN = 1772432701
"""Seconds, UTC, of the first line: a second of March 2nd, 2026."""

USERS = [
    "alma",
    "bruno",
    "carla",
    "deploy",
    "edgar",
    "fatima",
    "gitmirror",
    "hanna",
    "ivo",
    "jonas",
    "katja",
    "lena",
    "marta",
    "nils",
    "olga",
    "pavel",
    "quentin",
    "rosa",
    "stefan",
    "tilde",
    "ulla",
    "vera",
    "wim",
    "yann",
    "zofia",
    "backup",
    "monitor",
]
GUESSED = [
    "root",
    "admin",
    "oracle",
    "test",
    "ubuntu",
    "guest",
    "pi",
    "postgres",
    "ftpuser",
    "git",
    "hadoop",
    "jenkins",
    "minecraft",
    "mysql",
    "nagios",
    "odoo",
    "support",
    "sysadmin",
    "teamspeak",
    "tomcat",
    "user",
    "vagrant",
    "webmaster",
    "www",
    "zabbix",
]

Activity = Callable[[float], Iterator[tuple[float, str]]]
"""Begin, in seconds, UTC -> (when, the line after the host's name) of all that it logs."""


class Stamps:
    """Renders times as rsyslog's traditional format does, one call of strftime a second."""

    def __init__(self, host: str) -> None:
        self._host, self._second, self._text = host, -1, ""

    def line(self, at: float, text: str) -> str:
        """Return a whole line."""
        second = int(at)
        if second != self._second:
            self._second = second
            now = time.gmtime(second)
            self._text = time.strftime("%b %d %H:%M:%S ", now) + self._host + " "
            if self._text[4] == "0":
                self._text = f"{self._text[:4]} {self._text[5:]}"
        return self._text + text


def woven(
    random: Random, host: str, rate: float, activities: list[tuple[float, Activity]]
) -> Iterator[str]:
    """Yield lines of activities that begin at random and overlap, in order of time, for ever.

    Args:
        random: decides all.
        host: its name.
        rate: activities begun a second.
        activities: how often each begins, beside the others, and what it logs.
    """
    stamps, order = Stamps(host), count()
    weights = [weight for weight, _ in activities]
    calls = [call for _, call in activities]
    waiting: list[tuple[float, int, str]] = []
    now = float(BEGIN)
    while True:
        for call in random.choices(calls, weights, k=1000):
            now += random.expovariate(rate)
            for at, text in call(now):
                heapq.heappush(waiting, (at, next(order), text))
            while waiting and waiting[0][0] <= now:
                at, _, text = heapq.heappop(waiting)
                yield stamps.line(at, text)


def user_address(random: Random) -> str:
    """Return an address that somebody with an account comes from."""
    return f"{random.choice(('192.0.2', '198.51.100', '203.0.113'))}.{random.randrange(1, 255)}"


def attackers(random: Random, number: int) -> list[str]:
    """Return distinct addresses, a fifth of them IPv6."""
    sixes = [
        f"2001:db8:{random.randrange(1, 0x10000):x}:{n + 1:x}::{random.randrange(1, 0x10000):x}"
        for n in range(number // 5)
    ]
    fours = random.sample(range(1 << 17), number - len(sixes))
    found = sixes + [f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in fours]
    random.shuffle(found)
    return found


def port(random: Random) -> int:
    """Return a client's port."""
    return random.randrange(32768, 61000)


def fingerprint(random: Random) -> str:
    """Return something as long and as odd as a key's fingerprint."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return "".join(random.choices(letters, k=43))
