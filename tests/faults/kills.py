# SPDX-License-Identifier: MIT
"""kill -9 at random moments while an attack is written, line by line."""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from bench.cost import until
from faults.host import Host, failure, kernel, seeded, stamp
from faults.rows import Row
from stockade_agent.control.protocol import JailStatus


MAXRETRY = 5
WHO = re.compile(r"\]: Failed password for \S+ from (\S+) port ")
PACE = 0.004
"""Seconds between two lines, on the average."""
Verdict = tuple[float, float, int]
"""Of a ban: since when, until when, after how many failures."""


def kill(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield what became of bans and counts over many kills.

    Another agent, which nobody kills, follows the same log: what it says is right.
    """
    times = 8 if small else 200
    chance = seeded("kill")
    lost: list[str] = []
    wrong: list[str] = []
    with (
        Host(folder / "whole") as whole,
        Host(folder / "killed", firewall="nftables", options={"logpath": whole.log}) as host,
    ):
        host.log = whole.log
        whole.start()
        host.start()
        over = threading.Event()
        writer = threading.Thread(
            target=attack, args=(host.log, chance.random(), over), daemon=True
        )
        writer.start()
        kills = looks = 0
        while kills < times:
            time.sleep(chance.uniform(0, 0.5))
            before = kernel()
            host.kill()
            kills += 1
            with Looking() as looking:
                if chance.random() < 0.25:  # in the midst of a start, too
                    host.start(ready=False)
                    time.sleep(chance.uniform(0, 0.3))
                    host.kill()
                    kills += 1
                host.start()
            during = looking.always
            looks += looking.looks
            after, said = kernel(), host.banned()
            for what, held in (
                ("before it was ready", during),
                ("when ready", after),
                ("said", said),
            ):
                lost += [f"kill {kills}: {who} lost {what}" for who in before - held]
            wrong += [f"kill {kills}: {who} in the kernel, not said" for who in after - said]
        over.set()
        writer.join()
        right, jail = (one.until_quiet().jails[0] for one in (whole, host))
        expected, got = verdict(right), verdict(jail)
        until(lambda: kernel() == got.keys(), 10, "the kernel agrees with the ledger")
    lost += [f"{who} is not banned" for who in expected.keys() - got.keys()]
    wrong += [f"{who} is banned" for who in got.keys() - expected.keys()]
    other = [
        f"{who}: {got[who]} instead of {expected[who]}"
        for who in got.keys() & expected.keys()
        if not same(got[who], expected[who])
    ]
    written = host.log.read_text().splitlines()
    tried = f"{kills} kills, {len(written):,} lines, {len(expected):,} bans, {looks:,} looks"
    yield Row.broken("kill -9 during an attack: bans lost", lost, tried)
    yield Row.broken("kill -9: wrong bans", wrong, tried)
    yield Row.broken("kill -9: bans with another time or count than without kills", other, tried)
    # What both would count wrongly is seen by who counts without an agent.
    failures = Counter(WHO.findall("\n".join(written)))
    earned = {who for who, times in failures.items() if times >= MAXRETRY}
    failing = sum(times % MAXRETRY > 0 for times in failures.values())
    want = (failures.total(), len(earned), failing)
    if (right.failed_total, right.banned_total, right.failed_now) != want or earned != {*expected}:
        other.append(f"without kills {right.failed_total}, {right.banned_total}; not {want}")
    counts = (jail.failed_total, jail.banned_total, jail.failed_now)
    names = ("failures", "bans", "addresses that failed, not banned")
    twice = [f"{b - a} {n} too many" for n, a, b in zip(names, want, counts, strict=True) if b > a]
    less = [f"{a - b} {n} too few" for n, a, b in zip(names, want, counts, strict=True) if b < a]
    tried = f"{want[0]:,} failures, {want[2]} addresses below maxretry"
    yield Row.broken("kill -9: counted twice", twice, tried)
    yield Row.broken("kill -9: forgotten", less, tried)


class Looking:
    """Looks into the kernel all the time; ``always`` is who was refused at each look."""

    def __init__(self) -> None:
        self.always, self.looks = kernel(), 1
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            self.always &= kernel()
            self.looks += 1


def attack(log: Path, seed: float, over: threading.Event, pace: float = PACE) -> None:
    """Append lines one by one, some in two halves, until it is over."""
    chance = random.Random(seed)
    crowd, number = 20, 0
    with log.open("ab", buffering=0) as file:
        while not over.is_set():
            number += 1
            # The crowd grows by one in five lines: about half of it earns a ban.
            crowd += chance.random() < 0.2
            data = line(chance, crowd, number).encode() + b"\n"
            cut = chance.randrange(len(data)) if chance.random() < 0.1 else 0
            for part in filter(None, (data[:cut], data[cut:])):
                file.write(part)
                time.sleep(chance.expovariate(1 / pace) / (2 if cut else 1))


def line(chance: random.Random, crowd: int, number: int) -> str:
    """Return a line of a failing login by one of the crowd, or one in five of another kind."""
    if chance.random() < 0.2:
        user = f"Accepted publickey for ann from 192.0.2.9 port {number % 60000} ssh2"
        return f"{stamp()} host sshd[{10_000_000 + number}]: {user}"
    who = chance.randrange(max(0, crowd - 60), crowd)
    return failure(f"2001:db8::{who:x}" if who % 5 == 0 else f"198.51.{who >> 8}.{who & 255}")


def same(one: Verdict, other: Verdict) -> bool:
    """Return whether two bans are alike, but for when their last line was read.

    A line that is written after the agent has asked the clock counts as of then.
    """
    times = zip(one[:2], other[:2], strict=True)
    return one[2] == other[2] and all(abs(a - b) < 1 for a, b in times)


def verdict(jail: JailStatus) -> dict[str, Verdict]:
    """Return a jail's bans as they can be compared."""
    return {ban.id: (ban.at, ban.expires_at or 0.0, ban.failures) for ban in jail.bans}
