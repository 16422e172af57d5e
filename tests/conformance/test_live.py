# SPDX-License-Identifier: MIT
"""Does our agent ban and free whom a fail2ban server does, both alive on the same files?"""

import pytest

from conformance import live, livelogs, tally
from conformance.fetch import fetch


BAN, OTHER = ("Ban", "192.0.2.1"), ("Ban", "192.0.2.2")
FREE, FREE_OTHER = ("Unban", "192.0.2.1"), ("Unban", "192.0.2.2")


@pytest.mark.conformance
def test_few_logs():
    """A few short logs: in each jail the same sequence of bans and unbans."""
    came = live.compared(fetch("1.1.0"), range(6), tally.silent, margin=12, lines=300)

    assert [] == came.differences
    assert came.bans > 6 * len(live.MARKERS)
    assert came.unbans >= 6


@pytest.mark.parametrize(
    "ours",
    [
        [OTHER, BAN, FREE, FREE_OTHER, BAN],
        [BAN, OTHER, FREE, FREE_OTHER],
        [BAN, OTHER, FREE, BAN, FREE_OTHER],
        [],
    ],
    ids=["other order", "one less", "freed later", "nothing"],
)
def test_what_is_a_difference(ours):
    """Order, number and place of events count."""
    assert live.difference([BAN, OTHER, FREE, FREE_OTHER, BAN], ours)


def test_what_is_none():
    """Bans that end together may do so in any order."""
    assert not live.difference([BAN, OTHER, FREE, FREE_OTHER], [BAN, OTHER, FREE_OTHER, FREE])


@pytest.mark.parametrize(
    "date",
    [
        "Nov 25 14:00:01",
        "2026-11-25T14:00:01.000000+00:00",
        "25/Nov/2026:14:00:01 +0000",
        "1795615201",
    ],
)
def test_dates_are_written_as_they_were(date):
    """A date of a sample can be written again for another moment."""
    assert date == livelogs.written(livelogs.form_of(date), 1795615201)


def test_a_date_that_we_cannot_write():
    """A line with a date of another kind is no sample."""
    assert not livelogs.form_of("noon on Monday")
