# SPDX-License-Identifier: MIT
"""Who is banned by how many failures, for how long, and until when?"""

from ipaddress import ip_address

import pytest

from stockade_agent.errors import RegexError
from stockade_agent.jail import Jail
from stockade_agent.model import FOREVER, Ban, Failure, Tally
from stockade_agent.specs import Escalation, FilterSpec, JailSpec


WHO = "192.0.2.7"


def jail(history=None, rand=lambda: 0.5, **options):
    given = {"maxretry": 3, "findtime": 600, "bantime": 60, **options}
    spec = JailSpec(name="sshd", filter=FilterSpec("sshd", ()), **given)
    return Jail(spec, history=history, rand=rand)


def failure(at, who=WHO, line="x", **more):
    return Failure(at=at, id=who, address=ip_address(who), matches=(line,), **more)


class Remembered:
    def __init__(self, count, at=0.0):
        self._past = (count, at)
        self.asked = []

    def past(self, who, jail):
        self.asked.append(jail)
        return self._past


@pytest.mark.parametrize(
    "times, banned",
    [
        pytest.param([0, 1], [False, False], id="below-maxretry"),
        pytest.param([0, 1, 2], [False, False, True], id="third-bans"),
        pytest.param([2, 1, 0], [False, False, True], id="out-of-order-lines"),
        pytest.param([0, 300, 599], [False, False, True], id="within-findtime"),
        pytest.param([0, 2, 601], [False, False, True], id="rate-goes-on-past-findtime"),
        pytest.param([0, 599, 1198], [False, False, False], id="slow"),
        pytest.param([0, 500, 700, 800], [False, False, True, False], id="rounded-up-rate"),
    ],
)
def test_maxretry(times, banned):
    """So many failures within findtime earn a ban; past findtime the rate counts."""
    counting = jail()

    assert banned == [counting.add(failure(at), max(at, 0)) is not None for at in times]


def test_forgotten_after_findtime():
    """Failures older than findtime, as of now, do not count at all."""
    counting = jail()
    counting.add(failure(0), 0)
    counting.add(failure(1), 1)

    assert counting.add(failure(601), 601) is None
    assert 1 == counting.failed_now


def test_attempts_count_each():
    """A line that stands for several failures counts as many."""
    assert jail().add(failure(0, attempts=3), 0)


def test_ban():
    """A ban begins with the last failure, and carries lines, data and counts."""
    counting = jail(maxmatches=2)
    for at in (1, 3, 2):
        ban = counting.add(failure(at, line=f"line {at}", data={"user": f"u{at}"}), 5)

    assert (WHO, 3, 60, 3, 1) == (ban.id, ban.at, ban.bantime, ban.failures, ban.count)
    assert (("line 3", "line 2"), {"user": "u1"}) == (ban.matches, ban.data)
    assert (63, {WHO: ban.bare()}) == (ban.expires_at, counting.banned)
    assert ((), {}) == (ban.bare().matches, ban.bare().data)
    assert (3, 0, 1, 1) == (
        counting.failed_total,
        counting.failed_now,
        counting.banned_total,
        counting.banned_now,
    )


def test_ban_that_would_be_over():
    """Failures found too late earn no ban."""
    counting = jail(maxretry=1)

    assert counting.add(failure(0), 61) is None
    assert counting.add(failure(0), 60)


def test_due():
    """Bans end after bantime, not at it, in order; and are told once."""
    counting = jail(maxretry=1)
    counting.add(failure(10, "192.0.2.8"), 10)
    counting.add(failure(5, "192.0.2.7"), 10)

    assert 65 == counting.next_due()
    assert [] == counting.due(65)
    assert ["192.0.2.7", "192.0.2.8"] == [ban.id for ban in counting.due(100)]
    assert ([], None, 0) == (counting.due(1000), counting.next_due(), counting.banned_now)


def test_permanent():
    """A permanent ban is never due."""
    counting = jail(maxretry=1, bantime=FOREVER)
    ban = counting.add(failure(0), 10**9)

    assert (None, None) == (ban.expires_at, counting.next_due())


def test_banned_again():
    """Who fails on while banned is banned longer, from the same begin."""
    counting = jail(maxretry=1)
    first = counting.add(failure(0), 0)
    again = counting.add(failure(30), 30)

    assert (0, 90, True) == (again.at, again.bantime, again.prolonged)
    assert not first.prolonged
    assert counting.add(failure(29), 30) is None
    assert [] == counting.due(61)
    assert [again] == counting.due(91)
    assert 1 == counting.banned_total


def test_by_hand():
    """A ban by hand has no failures; an unban forgets those counted too."""
    counting = jail()
    counting.add(failure(0), 0)
    counting.add(failure(0), 0)
    ban = counting.ban(WHO, 10)

    assert (10, 0, ip_address(WHO)) == (ban.at, ban.failures, ban.address)
    assert ban == counting.unban(WHO)
    assert counting.unban(WHO) is None
    assert counting.add(failure(11), 11) is None


@pytest.mark.parametrize(
    "options, bantime, expected",
    [
        pytest.param({}, 60, 60, id="as-it-was"),
        pytest.param({}, 600, 60, id="bantime-is-shorter-now"),
        pytest.param({"bantime": FOREVER}, 600, 600, id="bantime-is-longer-now"),
        pytest.param({}, FOREVER, 60, id="no-longer-permanent"),
        pytest.param({"escalation": Escalation(enabled=True)}, 600, 600, id="escalated"),
        pytest.param(
            {"escalation": Escalation(enabled=True, maxtime=300)}, 600, 300, id="above-maxtime"
        ),
    ],
)
def test_restore(options, bantime, expected):
    """A ban of an earlier run keeps its end, but not beyond what the jail now allows."""
    counting = jail(**options)
    ban = counting.restore(Ban("sshd", WHO, ip_address(WHO), 100, bantime), 110)

    assert (100, expected, True) == (ban.at, ban.bantime, ban.restored)


def test_restore_what_was_prolonged():
    """An end that later failures have moved stays where it was."""
    counting = jail(maxretry=1, bantime=60)
    counting.add(failure(0), 0)
    prolonged = counting.add(failure(50), 50)

    assert 110 == prolonged.expires_at == jail(bantime=60).restore(prolonged, 51).expires_at


def test_counts_go_on_in_another_run():
    """Failures below maxretry that the ledger kept earn the ban that they would have earned."""
    counting, again = jail(), jail()
    for at in (0, 500, 1):
        counting.add(failure(at), 500)
    counting.add(failure(500, "192.0.2.8"), 500)
    kept = counting.changed()
    assert None is kept[WHO]  # banned
    assert {} == counting.changed()
    again.recount([kept["192.0.2.8"], *counting.tallies()], 600)

    assert 1 == again.failed_now
    assert None is again.add(failure(601, "192.0.2.8"), 601)
    assert again.add(failure(602, "192.0.2.8"), 602).at == 602


def test_counts_that_are_too_old_are_not_taken():
    """Time goes on while no agent runs."""
    again = jail()
    again.recount([Tally(WHO, 0, 1, 2, 2)], 601)

    assert 0 == again.failed_now


def test_an_unban_is_a_change_of_counts():
    """Who is let go starts from nothing in the next run too."""
    counting = jail()
    counting.add(failure(0), 0)
    counting.changed()
    counting.unban(WHO)

    assert {WHO: None} == counting.changed()


def test_restore_what_is_over():
    """A ban that ended meanwhile is not taken back."""
    assert jail().restore(Ban("sshd", WHO, ip_address(WHO), 100, 60), 160) is None


@pytest.mark.parametrize(
    "options, before, bantime",
    [
        pytest.param({}, 1, 120, id="doubles"),
        pytest.param({}, 3, 480, id="and-again"),
        pytest.param({}, 50, 60 << 20, id="up-to-a-limit"),
        pytest.param({"factor": "1.5"}, 1, 180, id="factor"),
        pytest.param({"formula": "ban.Time + ban.Count"}, 4, 64, id="formula"),
        pytest.param({"formula": "1"}, 4, 60, id="formula-never-shortens"),
        pytest.param({"multipliers": (1, 5, 30)}, 1, 300, id="multipliers"),
        pytest.param({"multipliers": (1, 5, 30)}, 9, 1800, id="last-multiplier-stays"),
        pytest.param({"maxtime": 100}, 3, 100, id="maxtime"),
        pytest.param({"maxtime": 100, "rndtime": 20}, 3, 110, id="rndtime-comes-on-top"),
    ],
)
def test_escalation(options, before, bantime):
    """Bans grow with the number of earlier ones."""
    counting = jail(Remembered(before), maxretry=1, escalation=Escalation(enabled=True, **options))
    ban = counting.add(failure(10), 10)

    assert (bantime, before + 1) == (ban.bantime, ban.count)


@pytest.mark.parametrize(
    "before, needed",
    [pytest.param(0, 5, id="first"), pytest.param(1, 3, id="second"), pytest.param(9, 1, id="old")],
)
def test_known_offenders_need_fewer_failures(before, needed):
    """A failure of someone banned before counts for several."""
    history = Remembered(before) if before else None
    counting = jail(history, maxretry=5, escalation=Escalation(enabled=True))
    bans = [counting.add(failure(at), at) for at in range(1, 6)]

    assert needed == next(n for n, ban in enumerate(bans, 1) if ban)


def test_lines_read_again_weigh_nothing_extra():
    """Failures from before the last ban count once."""
    counting = jail(Remembered(9, at=100.0), escalation=Escalation(enabled=True))

    assert counting.add(failure(100), 110) is None
    assert counting.add(failure(101), 110)


def test_overalljails():
    """With overalljails, bans of other jails make the next longer, not the count of failures."""
    history = Remembered(1)
    jail(history, maxretry=1, escalation=Escalation(enabled=True, overalljails=True)).add(
        failure(1), 1
    )

    assert [None] == history.asked


@pytest.mark.parametrize("options", [{"factor": "x"}, {"formula": "exit()"}, {"formula": "1/0"}])
def test_faulty_formula(options):
    """A formula that cannot be computed is refused at start."""
    with pytest.raises(RegexError):
        jail(escalation=Escalation(enabled=True, **options))


def test_counts_are_bounded_by_findtime():
    """Failures of many addresses are forgotten with findtime."""
    counting = jail()
    for number in range(1000):
        counting.add(failure(number, f"10.0.{number // 256}.{number % 256}"), number)
    counting.due(1500)

    assert 99 == counting.failed_now
