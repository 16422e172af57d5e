# SPDX-License-Identifier: MIT
"""Does nobody but root get more than his share of the agent's time?"""

from stockade_agent.control.allowance import (
    CONNECTION,
    MOST_AT_ONCE,
    MOST_KNOWN,
    REQUEST,
    SHARE,
    SHARE_OF_ALL,
    SPAN,
    Allowance,
    Allowances,
)


def taken(allowances, uids, seconds, piece):
    """Return the work done for users who always want more, a clock going by."""
    now, done = 0.0, dict.fromkeys(uids, 0.0)
    while now < seconds:
        for uid in uids:
            if not allowances.wait(uid, now):
                allowances.spend(uid, piece, now)
                done[uid] += piece
        now += 0.001
    return done


def test_share_of_one():
    """Who never rests gets what he may have at once, and his share of the time after that."""
    done = taken(Allowances(0.0), [7], 20.0, REQUEST)[7]

    assert SPAN + 20 * SHARE <= done + REQUEST
    assert done <= SPAN + 20 * SHARE + 2 * REQUEST


def test_share_of_all():
    """A crowd gets no more than all of them together may have."""
    done = taken(Allowances(0.0), range(50), 20.0, REQUEST)

    assert sum(done.values()) <= 2.0 + 20 * SHARE_OF_ALL + 2 * REQUEST
    assert min(done.values()) > 0


def test_a_long_piece_is_waited_for():
    """Who got more than was left waits until that is made good, and no longer."""
    allowance = Allowance(0.1, 1.0, 0.0)
    allowance.spend(3.0, 0.0)

    assert allowance.wait(0.0) > 20.0
    assert allowance.wait(10.0) > 10.0
    assert 0.0 == allowance.wait(0.01 + 20.0)


def test_the_door():
    """So many connections at once and no more, then so many a second."""
    allowances, now, count = Allowances(0.0), 0.0, 0
    while now < 2.0:
        if not allowances.wait_at_door(now):
            allowances.came(now)
            count += 1
        now += 0.0001

    most = MOST_AT_ONCE + 2.0 * SHARE_OF_ALL / CONNECTION
    assert most * 0.9 < count <= most + 1


def test_a_clock_that_stands_still_gives_nothing():
    """What was spent stays spent while no time goes by."""
    allowance = Allowance(0.1, 1.0, 5.0)
    allowance.spend(1.5, 5.0)

    assert allowance.wait(5.0) > 0
    assert allowance.wait(4.0) > 0


def test_users_are_forgotten():
    """Any number of users takes the memory of so many."""
    allowances = Allowances(0.0)
    for uid in range(3 * MOST_KNOWN):
        allowances.spend(uid, 0.0001, uid / 1000)

    assert len(allowances._of) <= MOST_KNOWN
