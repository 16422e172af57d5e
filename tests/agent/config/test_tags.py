# SPDX-License-Identifier: MIT
"""What do tags become when the configuration knows them, and when not?"""

import pytest

from stockade_agent.config.tags import Unresolvable, resolve


def nothing(_):
    return None


@pytest.mark.parametrize(
    "options, expected",
    [
        pytest.param({"x": "<a> <a>", "a": "1"}, "1 1", id="everywhere"),
        pytest.param({"x": "<a>", "a": "<b>", "b": "1"}, "1", id="through-others"),
        pytest.param({"x": "<a-<m>>", "m": "z", "a-z": "1"}, "1", id="made-by-a-tag"),
        pytest.param({"x": "<HOST> < /dev/null <ip>"}, "<HOST> < /dev/null <ip>", id="unknown"),
        pytest.param({"x": "<later>", "a": "1"}, "further", id="asked-for"),
        pytest.param({"x": "<F-<m>>", "m": "ID"}, "<F-ID>", id="unknown-made-by-a-tag"),
    ],
)
def test_resolve(options, expected):
    """Tags are replaced until nothing known is left."""
    assert expected == resolve(options, {"later": "further"}.get)["x"]


def test_left_alone():
    """Tags that belong to another time are neither replaced nor looked into."""
    options = {"x": "<a> <b>", "a": "1", "b": "<a>"}

    assert {"x": "<a> <a>", "a": "1", "b": "<a>"} == resolve(options, nothing, leave={"a"})


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"x": "<x>"}, id="itself"),
        pytest.param({"x": "<y>", "y": "<x>"}, id="two"),
        pytest.param({"x": "a<y>", "y": "b<z>", "z": "c<y>"}, id="elsewhere"),
    ],
)
def test_circle(options):
    """A value that would contain itself is refused."""
    with pytest.raises(Unresolvable, match="refers to itself"):
        resolve(options, nothing)


def test_growth_is_bounded():
    """Tags that multiply each other end in a fault, not in all memory."""
    options = {f"a{n}": f"<a{n + 1}>" * 20 for n in range(20)}

    with pytest.raises(Unresolvable, match="longer than"):
        resolve(options, {"a20": "laugh"}.get)
