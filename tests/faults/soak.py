# SPDX-License-Identifier: MIT
"""A day of attacks by fed time, and a crowd of a million: does memory stay, is each counted?"""

import gc
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.cost import rss
from faults.clock import SUMMER, Clocked, clocked
from faults.host import Host, failure
from faults.rows import Row
from stockade_agent.firewall.memory import Memory


HOURS = 24


def soak(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield how a day of attacks grows the pipe, hour by hour, and what is left of it after that.

    The same addresses come again every six hours, so that what is known of addresses does not
    grow: what grows is kept for nothing.
    """
    an_hour = 200 if small else 5000
    sizes, blocks, lines, earned = [], [], 0, 0
    with clocked(folder, SUMMER) as one:
        for hour in range(HOURS):
            for part in range(10):
                one.now += 360
                number = (hour % 6 * 10 + part) * an_hour // 10
                once = [_nth(number + n) for n in range(an_hour * 6 // 100)]
                often = [_nth(number + n) for n in range(len(once), an_hour * 7 // 100)]
                written = [*once, *often * 4]
                one.host.write(*[failure(who, one.now) for who in written])
                one.take()
                lines, earned = lines + len(written), earned + len(often)
            one.pipe.records.commit(one.now)
            one.pipe.purge(one.now)
            one.forget_calls()
            gc.collect()
            sizes.append(rss(os.getpid()))
            blocks.append(sys.getallocatedblocks())
            one.host.log.write_bytes(b"")
            one.take()
        jail = one.pipe.status(one.now).jails[0]
        wrong = [] if jail.failed_total == lines else [f"{jail.failed_total:,} failures counted"]
        wrong += [] if jail.banned_total == earned else [f"{jail.banned_total:,} bans made"]
        one.now += 3601
        one.take()
        one.pipe.purge(one.now)
        wrong += _left(one)
    growth, more = sizes[-1] - sizes[HOURS // 4], min(blocks[-6:]) - min(blocks[6:12])
    if more > lines // 20:
        wrong.append("too many")
    yield Row(
        "a day of attacks by fed time: growth from the 6th hour to the 24th",
        growth,
        "MiB",
        "<= 4, all counted, nothing left of what is over",
        growth <= 4 and not wrong,
        "; ".join(
            [
                f"{lines:,} lines, {earned:,} bans, {sizes[-1]:.0f} MiB at the end",
                f"{more:,} objects more",
                *wrong,
            ]
        ),
    )


def _nth(number: int) -> str:
    """Return an address of its own for a number."""
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def _left(one: Clocked) -> Iterator[str]:
    """Yield what is still there when all bans are over, and all failures too long ago."""
    jail = one.pipe.status(one.now).jails[0]
    firewall = one.pipe.enforcement.firewall
    assert isinstance(firewall, Memory)
    kept = {
        "banned": jail.banned_now,
        "failing": jail.failed_now,
        "in the firewall": len(firewall.banned()[jail.name]),
        "taken for enforced": sum(map(len, one.pipe.enforcement._enforced.values())),
    }
    with closing(sqlite3.connect(one.host.ledger)) as db:
        for table in ("bans", "counts"):
            (kept[f"in the ledger's {table}"],) = db.execute(
                f"SELECT count(*) FROM {table}"
            ).fetchone()
    yield from (f"{number:,} are left {where}" for where, number in kept.items() if number)


def crowd(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield what an agent holds when a million addresses have failed once."""
    number, limit = (20_000, 30) if small else (1_000_000, 64)
    with Host(folder) as host:
        host.start()
        host.status()
        before = host.rss()
        for begin in range(0, number, 20_000):
            host.write(*[failure(_nth(n)) for n in range(begin, begin + 20_000)])
            host.until_read(begin + 20_000, 600)
        size = host.rss()
        jail = host.jail()
        host.write(*[failure("10.0.0.0")] * 4, *[failure(_nth(number // 2))] * 5)
        host.until_quiet()
        banned, expected = host.banned(), {"10.0.0.0", _nth(number // 2)}
        all_there = jail.failed_total == jail.failed_now == number
        passed = size <= limit and all_there and banned == expected
        seen = (
            f"from {before:.0f} MiB; {jail.failed_now:,} remembered; then banned {sorted(banned)}"
        )
        disk = host.ledger.stat().st_size / (1 << 20)
        host.stop()
    yield Row(
        f"{number:,} addresses fail once each",
        size,
        "MiB",
        f"<= {limit}, all counted and remembered",
        passed,
        f"{seen}; ledger {disk:.0f} MiB",
    )
