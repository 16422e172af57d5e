# SPDX-License-Identifier: MIT
"""Do we find the failures that fail2ban finds in logs that nobody has annotated?"""

import pytest

from conformance import listed, verdicts
from conformance.fetch import SUITES, fetch


pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("version", SUITES)
def test_random_logs(version):
    """Sample lines mixed, torn and damaged: each failure has the same id, time and lines."""
    found = verdicts.differences(fetch(version), range(200))

    assert [] == listed.unlisted("verdicts", version, found)
