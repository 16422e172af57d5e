# SPDX-License-Identifier: MIT
"""Do the same failures earn the same bans as in fail2ban, until the same second?"""

import pytest

from conformance import bans
from conformance.fetch import SUITES, fetch


pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("version", SUITES)
def test_random_failures(version):
    """Bans, prolonged and growing ones too, and unbans come at the same events."""
    assert [] == list(bans.differences(fetch(version), range(100)))
