# SPDX-License-Identifier: MIT
"""Where does a regex part from a line?"""

import pytest

from stockade_agent.failregex import compile_pattern
from stockade_agent.reach import reach


LINE = " app: bad login of root from 192.0.2.7 port 22\n"


@pytest.mark.parametrize(
    "regex, agrees, wanted",
    [
        pytest.param("^ app: bad login at <HOST>", " app: bad login ", "'at '", id="literal"),
        pytest.param(
            "^ app: bad login of <F-USER>\\S+</F-USER> by", " app: bad login of root ", "'by'"
        ),
        pytest.param("^ app: (?:good|best) login", " app: b", "'est'", id="branch"),
        pytest.param("^ app: (?:good|well) login", " app: ", "'good' or 'well'", id="no-branch"),
        pytest.param(
            "^ app: bad login of <HOST>$", " app: bad login of root", "the end of the line"
        ),
        pytest.param(
            "from \\S+ port \\d\\d\\d", " app: bad login of root from 192.0.2.7 port 22", "a digit"
        ),
        pytest.param(
            "^ app: bad login of <ADDR>", " app: bad login of ", "an address", id="address"
        ),
        pytest.param("^app", "", "'app'", id="nothing"),
        pytest.param("^(?:  app|: )", " ", "' app'", id="into-a-group"),
        pytest.param("^(?P<a> )app: (?(a)x|y)", " app: ", "", id="conditional"),
        pytest.param("^ app: (?:bad ){2}", " app: ", "'bad '", id="repeat"),
        pytest.param("(?i)^ APP: GOOD", " app: ", "'GOOD'", id="ignorecase"),
    ],
)
def test_where_they_part(regex, agrees, wanted):
    """The part of the line that agrees, and what would have to follow."""
    got = reach(compile_pattern(regex, option="failregex").regex, LINE)

    assert (agrees, wanted) == (LINE[: got.end], got.wanted)
    assert got.share < 1


def test_the_nearest_gets_furthest():
    """Of several regexes, the share that agrees tells which is most like the line."""
    regexes = ("^ app: bad login of \\S+ by <HOST>", "^ app: good login", "^ other")
    shares = [
        reach(compile_pattern(regex, option="failregex").regex, LINE).share for regex in regexes
    ]

    assert sorted(shares, reverse=True) == shares


def test_one_that_matches():
    """Its share is all of it."""
    assert 1 == reach(compile_pattern("bad.* from <HOST>", option="failregex").regex, LINE).share
