# SPDX-License-Identifier: MIT
"""Is what a syntax tree proves of a regex true of every text that it matches?"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade_agent.syntax import Syntax


def syntax(regex):
    return Syntax(re.compile(regex))


@pytest.mark.parametrize(
    "regex, begins",
    [
        pytest.param("^a", True, id="caret"),
        pytest.param(r"\Aa", True, id="begin-of-text"),
        pytest.param("(?:^a|^b)", True, id="all-branches"),
        pytest.param("(?:^a|b)", False, id="one-branch"),
        pytest.param("a^", False, id="later"),
        pytest.param("(?m)^a", False, id="at-each-line"),
    ],
)
def test_begins(regex, begins):
    """A regex that can match at the begin only need not be tried elsewhere."""
    assert begins == syntax(regex).begins


@pytest.mark.parametrize(
    "regex, heads",
    [
        pytest.param("^Failed", "F", id="letter"),
        pytest.param("^[aA]uth", "aA", id="one-of"),
        pytest.param("^(?:User|Connection )", "UC", id="branches"),
        pytest.param(r"^(?:error: )?Failed", "eF", id="optional"),
        pytest.param("^(?i:sk)", "sS\u017fkK\u212a"[:3], id="any-case"),
        pytest.param(r"^\s*x", None, id="category"),
        pytest.param("^[^a]", None, id="all-but"),
        pytest.param("^x*$", None, id="empty"),
    ],
)
def test_heads(regex, heads):
    """What a match can begin with is known, or nothing is said."""
    assert (None if heads is None else set(heads)) == syntax(regex).heads


@pytest.mark.parametrize(
    "regex, takes_part",
    [
        pytest.param("(?P<x>a)b", True, id="plain"),
        pytest.param("(?:(?P<x>a)b)+", True, id="repeated"),
        pytest.param("(?P<x>a)?b", False, id="optional"),
        pytest.param("(?P<x>a)|b", False, id="one-branch"),
        pytest.param("(?P<x>a*)b", False, id="empty"),
        pytest.param("(?P<y>a)b", False, id="another"),
    ],
)
def test_takes_part(regex, takes_part):
    """Whether a group captures something in each match is not guessed."""
    assert takes_part == syntax(regex).takes_part("x")


ATOMS = (
    "a",
    "b",
    "K",
    "[ab]",
    r"\w",
    "[^a]",
    "a?",
    "b*",
    "(?:a|bK)",
    "(?i:k)",
    "(?=a)",
    "(?P<x>a)",
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(ATOMS), min_size=1, max_size=4), st.text("abkKs \u212a", max_size=6)
)
def test_what_is_proved_is_true(atoms, text):
    """Heads, groups and begin agree with what the regex does."""
    if atoms.count("(?P<x>a)") > 1:
        return
    regex = re.compile("^" + "".join(atoms))
    found, proved = regex.search(text), Syntax(regex)
    assert proved.begins
    assert (found is None) == (regex.match(text) is None)
    if found:
        assert proved.heads is None or text[:1] in proved.heads
        assert not proved.takes_part("x") or found["x"]
