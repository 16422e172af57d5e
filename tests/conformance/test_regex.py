# SPDX-License-Identifier: MIT
"""Does our ``regex`` print what fail2ban-regex prints?"""

import pytest

from conformance import regex
from conformance.fetch import SUITES, fetch


pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("version", SUITES)
def test_random_runs(version):
    """Every filter on its samples, and runs at random: the same numbers, lists, and ``-o``."""
    passed, total, found = regex.compared(fetch(version), range(100))

    assert [] == found
    assert passed == total > 100 + 80
