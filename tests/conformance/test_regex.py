# SPDX-License-Identifier: MIT
"""Does our ``regex`` print what fail2ban-regex prints?"""

import pytest

from conformance import regex
from conformance.fetch import SUITES, fetch


pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("version", SUITES)
def test_random_runs(version):
    """Filters, logs and options at random: the same numbers, lists, and output of ``-o``."""
    assert (150, 150, []) == regex.compared(fetch(version), range(150))
