# SPDX-License-Identifier: MIT
"""Are formulas computed as Python would, and nothing else than formulas?"""

import math

import pytest

from stockade_agent.errors import RegexError
from stockade_agent.formula import Formula


NAMES = frozenset({"ban.Time", "ban.Count", "banFactor"})
VALUES = {"ban.Time": 600, "ban.Count": 3, "banFactor": 2}


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("1", 1, id="number"),
        pytest.param(" 3.0 / 2 ", 1.5, id="arithmetic"),
        pytest.param("-2 ** 2 + 7 // 2 % 2", -3, id="precedence"),
        pytest.param(
            "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor", 9600, id="default"
        ),
        pytest.param(
            "ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)",
            600 * math.exp(8.0) / math.exp(2),
            id="exponential",
        ),
        pytest.param("max(ban.Count, min(10, banFactor)) >> 1", 1, id="functions"),
        pytest.param("1 < ban.Count <= 3 and not 0 or 5", True, id="logic"),
    ],
)
def test_computed(text, expected):
    """The value is Python's."""
    assert expected == Formula(text, option="bantime.formula", names=NAMES).compute(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("__import__('os').system('true')", id="call-of-anything"),
        pytest.param("().__class__", id="attribute-of-anything"),
        pytest.param("ban.__class__", id="attribute-of-a-name"),
        pytest.param("'a' * 9", id="text"),
        pytest.param("[1] * 9", id="list"),
        pytest.param("lambda: 1", id="lambda"),
        pytest.param("(x := 1)", id="assignment"),
        pytest.param("other", id="unknown-name"),
        pytest.param("max(*[1])", id="star"),
        pytest.param("int(x=1)", id="keyword"),
        pytest.param("1 +", id="no-expression"),
        pytest.param("", id="empty"),
        pytest.param("(" * 900, id="deep"),
        pytest.param("1" * 1001, id="long"),
    ],
)
def test_refused(text):
    """Whatever is not in the list is refused before anything is computed."""
    with pytest.raises(RegexError):
        Formula(text, option="bantime.formula", names=NAMES)


@pytest.mark.parametrize("text", ["1/0", "2 ** 100", "1 << 100", "10.0 ** 64 ** 9", "1.5 << 1"])
def test_not_computable(text):
    """What has no value, or would take for ever, is an error with the formula in it."""
    with pytest.raises(RegexError, match=r"\d"):
        Formula(text, option="bantime.factor").compute({})
