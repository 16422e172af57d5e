# SPDX-License-Identifier: MIT
"""Do our actions call the same tools with the same words and input as fail2ban's?"""

import pytest

from conformance import actions, courses, fetch


pytestmark = pytest.mark.conformance


@pytest.mark.parametrize(
    "version, variants",
    [
        pytest.param("1.1.0", ("plain",), id="1.1.0-plain"),
        pytest.param("1.0.2", ("plain",), id="1.0.2-plain", marks=pytest.mark.slow),
        pytest.param("1.1.0", tuple(courses.VARIANTS), id="1.1.0", marks=pytest.mark.slow),
    ],
)
def test_stock_actions_call_the_same_tools(version, variants):
    """Every stock action does the same through a jail's whole life, with several parameters."""
    total, differences = actions.stock(fetch.fetch(version), variants)

    assert [] == differences
    assert total > 0


@pytest.mark.slow
def test_failing_commands_are_met_alike():
    """After failures, actions of every kind are checked, repaired and tried again alike."""
    total, differences = actions.kinds(fetch.fetch("1.1.0"))

    assert [] == differences
    assert total > 0


def test_harmless_values_look_the_same_everywhere():
    """In every quoting context a harmless value becomes what fail2ban makes of it."""
    total, differences = actions.places(fetch.fetch("1.1.0"))

    assert [] == differences
    assert total > 0
