# SPDX-License-Identifier: MIT
"""Do we find the dates that fail2ban finds, and read them alike?"""

import pytest

from conformance import dates, listed
from conformance.fetch import SUITES, fetch


pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("version", SUITES)
def test_random_logs(version):
    """In random logs, by default and with patterns of all kinds, every date is the same."""
    found = dates.differences(fetch(version), range(150))

    assert [] == listed.unlisted("dates", version, found)
