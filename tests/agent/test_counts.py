# SPDX-License-Identifier: MIT
"""Does a count go on as it would have, however many others there are?"""

import tracemalloc
from random import Random

import pytest

from stockade_agent.counts import Count, Counts
from stockade_agent.jail import Jail
from stockade_agent.model import Failure
from stockade_agent.specs import JailSpec


FINDTIME = 600


def count(at=0.0, retry=1):
    found = Count(at, 1, ("a line",), {"user": "root"})
    found.retry = found.failures = retry
    return found


def numbers(found):
    return found and (found.first, found.last, found.retry, found.failures)


@pytest.mark.parametrize("seed", range(20))
def test_as_a_plain_table(seed):
    """Rows hold what a dict would, until it is over."""
    random, plain = Random(seed), {}
    counts = Counts(full=seed % 4, shards=4)
    for now in range(400):
        id_ = f"id{random.randrange(40)}"
        found, expected = counts.take(id_), plain.pop(id_, None)
        if expected is not None and expected[1] > now - 300:
            assert expected == numbers(found)
        first = random.randrange(max(0, now - 100), now + 1)
        new = count(first, random.randrange(1, 4))
        new.last = float(now)
        counts.put(id_, new, now - 300.0)
        plain[id_] = numbers(new)
        assert numbers(new) == numbers(counts.get(id_)) == numbers(counts.get(id_))
        assert len(counts) <= len(plain)


def test_what_is_over_goes():
    """Counts end with findtime, in full or as rows, without being asked for."""
    counts = Counts(full=10, shards=64)
    for number in range(1000):
        counts.put(f"old{number}", count(0.0), -FINDTIME)
    assert 1000 == len(counts)
    for number in range(8):
        counts.put(f"new{number}", count(700.0), 100.0)
    counts.forget(100.0)
    counts.forget(100.0)

    assert 8 == len(counts)
    assert {None} == {counts.get(f"old{number}") for number in range(1000)}


def test_rows_that_are_over_go_as_others_come():
    """Nobody has to ask for the end of rows: adding further ones sweeps."""
    counts = Counts(full=0, shards=64)
    for number in range(1000):
        counts.put(f"old{number}", count(0.0), -FINDTIME)
    for number in range(64 * 32):
        counts.put(f"new{number}", count(700.0), 100.0)

    assert 64 * 32 == len(counts)


def test_a_flood_does_not_push_out_the_worst():
    """Of too many rows those with the fewest failures go first, of these the oldest."""
    counts = Counts(full=1, most=1 << 12, shards=16)
    for number in range(100):
        counts.put(f"worst{number}", count(0.0, 4), -FINDTIME)
    for number in range(1 << 15):
        counts.put(f"once{number}", count(1.0 + number), -FINDTIME)
        counts.put(f"twice{number}", count(1.0 + number, 2), -FINDTIME)

    assert {4} == {counts.get(f"worst{number}").retry for number in range(100)}
    assert len(counts) <= 4 * (1 << 12) + 1
    kept = [n for n in range(1 << 15) if counts.get(f"once{n}")]
    assert sum(kept) / len(kept) > (1 << 15) * 0.7


def test_rows_are_small():
    """An id that failed once takes some twenty bytes."""
    counts = Counts(full=100, shards=256)
    for number in range(5000):
        counts.put(str(number), count(), -FINDTIME)
    tracemalloc.start()
    for number in range(5000, 45_000):
        counts.put(str(number), count(), -FINDTIME)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown / 40_000 < 30


@pytest.mark.parametrize("seed", range(20))
def test_same_bans_as_in_full(seed):
    """Whoever is pushed out of the full table is banned at the same failure."""
    random = Random(seed)
    spec = JailSpec(name="j", filter=None, maxretry=4, findtime=FINDTIME, bantime=300)
    full, rows = Jail(spec), Jail(spec)
    rows._counts = Counts(full=2, shards=4)
    now = 1e9
    for _ in range(3000):
        now += random.choice((0, 0, 1, 20, 90))
        failure = Failure(
            at=now - random.choice((0, 0, 0, 5, 700)), id=f"192.0.2.{random.randrange(30)}"
        )
        bans = [jail.add(failure, now) for jail in (full, rows)]
        assert bans[0] == bans[1]
        if random.random() < 0.02:
            assert full.due(now) == rows.due(now)
