# SPDX-License-Identifier: MIT
"""Do our actions call the same tools with the same words and input as fail2ban's?"""

import pytest

from conformance import actions, fetch, listed


pytestmark = pytest.mark.conformance


def test_stock_actions_call_the_same_tools():
    """Every stock action does the same through a jail's whole life; a few of many parameters."""
    total, differences = actions.stock(fetch.fetch("1.1.0"), ("plain",))

    assert [] == listed.unlisted("actions", "1.1.0", differences)
    assert total > 0


def test_harmless_values_look_the_same_everywhere():
    """In every quoting context a harmless value becomes what fail2ban makes of it."""
    total, differences = actions.places(fetch.fetch("1.1.0"))

    assert [] == differences
    assert total > 0
