# SPDX-License-Identifier: MIT
"""Is work done in order within its lane, and without waiting for another's?"""

import select
import threading
import time

import pytest

from stockade_agent.firewall.pool import Pool


@pytest.fixture
def pool():
    """Return a pool of two threads; it is closed in the end."""
    pool = Pool(time.monotonic, workers=2)
    yield pool
    pool.close()


def quick(value):
    return lambda _: value


def collected(pool, count):
    """Return so many results, once they have come through the descriptor."""
    results = []
    while len(results) < count:
        assert select.select((pool.fileno,), (), (), 30)[0], f"only {results} of {count}"
        results += pool.results()
    return results


def test_order_within_a_lane(pool):
    """What is put into one lane is done in its order."""
    for number in range(200):
        pool.put("a", quick(number))

    assert [*range(200)] == collected(pool, 200)


def test_nothing_is_told_of_nothing(pool):
    """Work without a result is not told of."""
    pool.put("a", quick(None))
    pool.put("a", quick(1))

    assert [1] == collected(pool, 1)
    assert pool.drain(30)
    assert [] == pool.results()


def test_slow_lanes_delay_no_other(pool):
    """However many lanes hang, the others go on."""
    stuck = threading.Event()

    def hang(slow):
        slow()
        slow()
        stuck.wait(60)
        return "late"

    for lane in range(10):
        pool.put(lane, hang)
        pool.put(lane, quick("behind"))
    pool.put("quick", quick("in time"))

    assert ["in time"] == collected(pool, 1)
    assert not pool.drain(0.01)
    stuck.set()
    assert ["behind"] * 10 + ["late"] * 10 == sorted(collected(pool, 20))
    assert pool.drain(30)


def test_only_a_few_at_a_time(pool):
    """Work that is not slow runs on a few threads."""
    running, most, lock = set(), [], threading.Lock()

    def work(_):
        with lock:
            running.add(threading.get_ident())
            most.append(len(running))
        time.sleep(0.002)
        with lock:
            running.discard(threading.get_ident())

    for lane in range(40):
        pool.put(lane, work)

    assert pool.drain(30)
    assert 40 == len(most)
    assert max(most) <= 2


def test_work_for_later(pool):
    """Work is put off, and does not hold up what comes after it."""
    pool.put("a", quick("later"), after=0.2)
    pool.put("a", quick("last"), after=0.4)
    pool.put("a", quick("now"))

    assert ["now", "later", "last"] == collected(pool, 3)


def test_drain_does_not_wait_for_later(pool):
    """What is put off does not keep anyone waiting."""
    pool.put("a", quick("later"), after=600)
    pool.put("a", quick("now"))

    assert pool.drain(30)
    assert ["now"] == pool.results()


def test_work_that_raises(pool):
    """What work raises comes to the loop, and its lane goes on."""

    def fail(_):
        raise ValueError("x")

    pool.put("a", fail)
    pool.put("a", quick(1))

    error, one = collected(pool, 2)
    assert (ValueError, 1) == (type(error), one)


def test_work_may_bring_more(pool):
    """Work put into lanes by work is waited for, too."""

    def work(_):
        pool.put("b", quick("more"))
        return "some"

    pool.put("a", work)

    assert pool.drain(30)
    assert ["some", "more"] == pool.results()


def test_a_closed_pool_takes_nothing():
    """After its end a pool does nothing more, and its threads and descriptors are gone."""
    pool = Pool(time.monotonic)
    pool.put("a", quick(1))
    assert pool.drain(30)
    pool.close()
    pool.put("a", quick(2))

    deadline = time.monotonic() + 30
    while pool._threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (0, -1) == (pool._threads, pool._wake)
    assert pool.drain(0)
