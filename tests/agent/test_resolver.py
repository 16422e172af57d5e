# SPDX-License-Identifier: MIT
"""Are names resolved beside the loop, once, and forgotten in time?"""

import select
import threading

import pytest

from stockade_agent import resolver as module
from stockade_agent.model import target
from stockade_agent.resolver import KEPT, Resolver, lookup


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
