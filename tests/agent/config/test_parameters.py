# SPDX-License-Identifier: MIT
"""Is name[key=value] read as fail2ban reads it?"""

import pytest

from stockade_agent.config.parameters import BadParameters, parse, split


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("a", {}, id="bare"),
        pytest.param("a[]", {}, id="empty"),
        pytest.param("a[x=1]", {"x": "1"}, id="one"),
        pytest.param("a[x=1, y=2,]", {"x": "1", "y": "2"}, id="trailing-comma"),
        pytest.param("a[x=1][y=2]", {"x": "1", "y": "2"}, id="groups"),
        pytest.param("a[x=1]\n[y=2]", {"x": "1", "y": "2"}, id="groups-on-lines"),
        pytest.param("a[x=1][x=2]", {"x": "2"}, id="last-wins"),
        pytest.param('a[x="1, ]2", y=\'"\']', {"x": "1, ]2", "y": '"'}, id="quotes"),
        pytest.param("a[x=one two]", {"x": "one two"}, id="bare-with-space"),
        pytest.param('a[x="1\n2"]', {"x": "1\n2"}, id="newline-in-quotes"),
        pytest.param("a[x=]", {"x": ""}, id="empty-value"),
        pytest.param("a[x-y.z_=1]", {"x-y.z_": "1"}, id="key-characters"),
        pytest.param("a[x?family=inet6=1]", {"x?family=inet6": "1"}, id="conditional"),
        pytest.param("a[x=' 1 ']", {"x": "1"}, id="stripped-even-in-quotes"),
    ],
)
def test_parse(text, expected):
    """Quotes, commas, groups and white space mean what fail2ban takes them for."""
    assert ("a", expected) == parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "[x=1]", "a[x=1", "a[x =1]", "a[x]", 'a[x="1" , y=2]', 'a[x="1"2]', "a[x=1,,y=2]", "a[]b"],
)
def test_refused(text):
    """What fail2ban does not understand is not guessed at either."""
    with pytest.raises(BadParameters):
        parse(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("a b", ["a", "b"], id="spaces"),
        pytest.param("\na\n  b\n\n", ["a", "b"], id="lines"),
        pytest.param('a[x="1 2"] b', ['a[x="1 2"]', "b"], id="space-in-brackets"),
        pytest.param('a[x="]", y=1\n, z=2] b', ['a[x="]", y=1\n, z=2]', "b"], id="bracket-quoted"),
        pytest.param("a[x=1] [y=2] b", ["a[x=1] [y=2]", "b"], id="two-groups"),
        pytest.param("", [], id="none"),
    ],
)
def test_split(text, expected):
    """A list is parted by white space outside of brackets, and each call knows its place."""
    calls = split(text)

    assert expected == [call for call, _ in calls]
    assert all(text.startswith(call, at) for call, at in calls)


def test_unbalanced_quotes_take_no_time():
    """Brackets and quotes that never close are passed over at once."""
    assert [("a" + '[x="' * 5000, 0)] == split("a" + '[x="' * 5000)
