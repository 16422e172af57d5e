# SPDX-License-Identifier: MIT
"""Are many bans told of in few messages, and none forgotten?"""

import pytest

from stockade_agent.firewall.digest import LISTED, Digest
from stockade_agent.model import FOREVER


@pytest.fixture
def digest():
    """One that tells of two bans within 60 s by themselves."""
    return Digest(2, 60.0)


def takes(digest, ban, *times):
    return [digest.takes(ban(f"192.0.2.{number}"), at) for number, at in enumerate(times)]


def test_the_first_few_are_told_by_themselves(digest, ban, now):
    """As many as it says; the next ones are collected."""
    assert [False, False, True, True] == takes(digest, ban, now, now + 1, now + 2, now + 3)
    assert 2 == digest.collected


@pytest.mark.parametrize(
    "times, collected",
    [
        pytest.param((0, 1, 60), [False, False, False], id="the-first-is-long-ago"),
        pytest.param((0, 1, 59.9), [False, False, True], id="just-not"),
        pytest.param((0, 1, 2, 200), [False, False, True, True], id="until-it-is-told"),
        pytest.param((0, 1, -100), [False, False, False], id="the-clock-went-back"),
    ],
)
def test_when_bans_are_collected(digest, ban, now, times, collected):
    """It is the number within the time that counts, and what is begun goes on until it is told."""
    assert collected == takes(digest, ban, *(now + at for at in times))


def test_what_is_told_of_all(digest, ban, now):
    """One ban stands for them: how many, whose, and their failures together."""
    takes(digest, ban, now, now, now, now)
    told = digest.close()

    assert ("2 addresses", 6, 2, FOREVER) == (told.id, told.failures, told.count, told.bantime)
    assert ("192.0.2.2  3 failures", "192.0.2.3  3 failures") == told.matches
    assert (0, None) == (digest.collected, digest.close())


def test_one_alone_keeps_its_name(ban, now):
    """A collection of one is that one."""
    digest = Digest(0, 60.0)
    digest.takes(ban("192.0.2.7"), now)

    assert "192.0.2.7" == digest.close().id


def test_a_flood_takes_no_memory(ban, now):
    """Not all are named, all are counted."""
    digest = Digest(0, 60.0)
    for _ in range(LISTED + 300):
        digest.takes(ban("192.0.2.7"), now)
    told = digest.close()

    assert (f"{LISTED + 300} addresses", "and 300 more") == (told.id, told.matches[-1])
    assert LISTED + 1 == len(told.matches)
