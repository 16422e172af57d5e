# SPDX-License-Identifier: MIT
"""Do the words of fail2ban-client mean the same to our agent?"""

import re
from pathlib import Path

import pytest

from conformance import client
from conformance.fetch import SUITES, fetch


pytestmark = pytest.mark.conformance
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("version", [pytest.param("1.0.2", marks=pytest.mark.slow), "1.1.0"])
def test_few_words(version):
    """What is printed and the exit code are the same, but for what is listed."""
    answers = list(client.differences(fetch(version), 1, 20, step=3))

    assert len(answers) > 120
    assert [] == [answer for answer in answers if answer]


@pytest.mark.parametrize("version", SUITES)
def test_dump(version):
    """Every jail of the stock tree is told by the same commands in the same order."""
    answers = list(client.dumped(fetch(version)))

    assert len(answers) > 90
    assert [] == [answer for answer in answers if answer]


def test_the_list_of_differences_is_that_of_the_docs():
    """Each difference is used by some case, and told to people."""
    cases = [*client.before("newer"), *client.during("newer"), *client.during(""), *client.BY_HAND]
    cases += [*client.REFUSED, *client.LAST]
    told = re.findall(r"(?m)^\| `([\w-]+)` \|", (DOCS / "fail2ban-client.md").read_text())

    used = {case.differs for case in cases if case.differs} | {"parameter"}
    assert set(client.DIFFERENCES) == used
    assert set(client.DIFFERENCES) == set(told)


@pytest.mark.parametrize(
    "text",
    [
        "198.51.100.1 \t2026-01-01 00:00:00 + 600 = 2026-01-01 00:20:00\n",
        "198.51.100.1 \t2026-01-01 00:00:00 + -1 = 2026-01-01 00:00:00\n",
    ],
)
def test_a_wrong_end_is_no_moment(text):
    """Only ends that are those of the ban are taken for the same."""
    assert (text, 0) == client.plainly((text, 0))
