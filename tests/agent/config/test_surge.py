# SPDX-License-Identifier: MIT
"""Is ``surge`` read as it is meant, and refused in words?"""

import pytest

from stockade_agent.config.surge import surge
from stockade_agent.config.values import BadValue
from stockade_agent.specs import Surge


@pytest.mark.parametrize(
    "text, meant",
    [
        ("alert", Surge()),
        ("off", Surge("off")),
        ("false", Surge("off")),
        ("Hold[floor=50]", Surge("hold", 50)),
        ("hold[floor=50, ratio=2.5, share=30%]", Surge("hold", 50, 2.5, 30.0)),
    ],
)
def test_what_is_meant(text, meant):
    """A word, and limits in brackets."""
    assert meant == surge(text)


@pytest.mark.parametrize(
    "text, said",
    [
        ("hodl", "unknown word 'hodl'"),
        ("hold[flor=5]", "unknown limit 'flor'"),
        ("hold[floor=x]", "x"),
        ("hold[floor=0]", "1 at least"),
        ("hold[ratio=0.5]", "1 at least"),
        ("hold[ratio=nan]", "'nan' is no number"),
        ("hold[share=101]", "can never be reached"),
        ("hold[share=-1]", "'-1' is no number"),
        ("hold[", "]"),
    ],
)
def test_what_means_nothing(text, said):
    """One line says what is wrong."""
    with pytest.raises(BadValue, match=said.replace("[", r"\[")) as caught:
        surge(text)

    assert "\n" not in str(caught.value)
