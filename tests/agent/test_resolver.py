# SPDX-License-Identifier: MIT
"""Are names resolved beside the loop, once, and forgotten in time?"""

import select
import threading

import pytest

from stockade_agent import resolver as module
from stockade_agent.model import target
from stockade_agent.resolver import KEPT, PATIENCE, WORKERS, Resolver, lookup


NOW = 1000.0
ANSWER = (target("192.0.2.7"), target("2001:db8::7"))


@pytest.fixture
def asked():
    return []


@pytest.fixture
def resolver(asked):
    resolver = Resolver(lambda name: asked.append(name) or ANSWER)
    yield resolver
    resolver.close()


def answers(resolver, now=NOW):
    assert select.select([resolver.fileno], [], [], 10.0)[0]
    return resolver.answers(now)


def test_an_answer_comes_later_and_is_kept(resolver, asked):
    """The first question finds nothing yet, later ones find the answer."""
    assert resolver.addresses("a.example", NOW) is None
    assert [("a.example", ANSWER)] == answers(resolver)

    assert ANSWER == resolver.addresses("a.example", NOW + KEPT)
    assert ["a.example"] == asked


def test_answers_age(resolver, asked):
    """After five minutes a name is asked for again."""
    resolver.addresses("a.example", NOW)
    answers(resolver)
    assert resolver.addresses("a.example", NOW + KEPT + 1) is None
    answers(resolver, NOW + KEPT + 1)

    assert ["a.example", "a.example"] == asked


def test_a_slow_name_server_is_waited_for_by_nobody(asked):
    """While lookups hang the caller goes on, and one name is asked for once."""
    release = threading.Event()
    resolver = Resolver(lambda name: (release.wait(10) and asked.append(name)) or ())
    for _ in range(100):
        assert resolver.addresses("slow.example", NOW) is None
    release.set()

    assert [("slow.example", ())] == answers(resolver)
    assert ["slow.example"] == asked
    resolver.close()


def test_too_many_names_at_a_time(monkeypatch):
    """Beyond the budget a name counts as unknown, rather than filling the memory."""
    monkeypatch.setattr(module, "MOST", 5)
    release = threading.Event()
    resolver = Resolver(lambda _: release.wait(10) and ())
    found = [resolver.addresses(f"{n}.example", NOW) for n in range(7)]
    release.set()

    assert [None] * 5 + [(), ()] == found
    resolver.close()


def test_no_answer_is_an_answer(asked):
    """A name that has no address is not asked for again within five minutes."""
    resolver = Resolver(lambda name: asked.append(name) or ())
    assert resolver.addresses("none.example", NOW) is None
    assert [("none.example", ())] == answers(resolver)

    assert () == resolver.addresses("none.example", NOW + KEPT)
    assert ["none.example"] == asked
    resolver.close()


def test_a_name_is_waited_for_so_long():
    """Then it counts as unknown, one still in the queue is not asked; a late answer is taken."""
    release, asked = threading.Event(), []
    resolver = Resolver(lambda name: asked.append(name) or (release.wait(10) and ANSWER))
    assert resolver.wait(NOW) is None
    names = [f"{n}.example" for n in range(WORKERS + 2)]
    for name in names:
        assert resolver.addresses(name, NOW) is None
    assert PATIENCE - 1 == resolver.wait(NOW + 1)
    assert [] == resolver.answers(NOW + PATIENCE - 1)
    assert [(name, ()) for name in names] == resolver.answers(NOW + PATIENCE)
    assert [(), None] == [resolver.addresses(names[0], NOW + PATIENCE), resolver.wait(NOW)]
    release.set()
    late = dict(answers(resolver, NOW + PATIENCE + 1))
    while len(late) < WORKERS:
        late.update(answers(resolver, NOW + PATIENCE + 1))

    assert dict.fromkeys(names[:WORKERS], ANSWER) == late
    assert ANSWER == resolver.addresses(names[0], NOW + PATIENCE + 2)
    assert names[:WORKERS] == sorted(asked)
    resolver.close()


def test_a_clock_that_jumps_back_keeps_nobody_waiting(resolver):
    """Seconds until the next look are never more than the patience itself."""
    release = threading.Event()
    resolver = Resolver(lambda _: release.wait(10) and ())
    resolver.addresses("slow.example", NOW)
    assert PATIENCE == resolver.wait(NOW - 86400)
    found = resolver.answers(NOW - 86400)
    release.set()

    assert [("slow.example", ())] == found
    resolver.close()


def test_names_of_the_configuration_go_first(monkeypatch):
    """A log full of names whose servers are slow keeps no name in ignoreip from being known."""
    monkeypatch.setattr(module, "MOST", 8)
    release, asked, running = threading.Event(), [], threading.Semaphore(0)

    def ask(name):
        asked.append(name)
        running.release()
        return release.wait(10) and ANSWER

    resolver = Resolver(ask)
    for n in range(20):
        resolver.addresses(f"{n}.example", NOW)
    for _ in range(WORKERS):
        assert running.acquire(timeout=10)
    assert WORKERS == len(asked)
    assert resolver.addresses("friend.example", NOW, first=True) is None
    release.set()
    for _ in range(8 - WORKERS + 1):
        assert running.acquire(timeout=10)

    assert "friend.example" in asked[WORKERS : 2 * WORKERS]
    resolver.close()


def test_old_answers_make_room(resolver, monkeypatch):
    """A log full of made-up names is remembered only so far."""
    monkeypatch.setattr(module, "REMEMBERED", 10)
    for n in range(30):
        resolver.addresses(f"{n}.example", NOW)
        answers(resolver)

    assert 10 == len(resolver._known)


def test_lookup_knows_the_local_host():
    """The system's own resolver is asked; a name that is none has no address."""
    assert target("127.0.0.1") in lookup("localhost")
    assert () == lookup("no..such..name")
    assert () == lookup("x" * 300)
