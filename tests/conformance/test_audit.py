# SPDX-License-Identifier: MIT
"""Does ``check`` find in fail2ban's own filters what is known to be dangerous, and nothing else?"""

import os

import pytest

from conformance.fetch import SUITES, fetch
from stockade_agent.audit import audit


pytestmark = pytest.mark.conformance

NOW = 1714557600.0
# GHSA-33wh-ccjc-p397 names the first two; a row of quotes takes the third as long.
ENDLESS = {"domino-smtp.conf", "dovecot.conf", "exim.conf"}
# What comes from the client stands before the address: ``ruser``, and the name that is logged in.
FORGEABLE = {"pam-generic.conf", "pure-ftpd.conf"}


@pytest.mark.parametrize("version", SUITES)
def test_stock_filters(version):
    """Five of ninety filters deserve a warning, and all are usable."""
    found = audit(str(fetch(version) / "etc/fail2ban"), NOW)

    def warned(words):
        return {os.path.basename(one.path) for one in found.warnings if words in one.message}

    assert () == found.faults
    assert (ENDLESS, FORGEABLE) == (warned("a repeat within"), warned("a catch-all"))
    assert ENDLESS | FORGEABLE == warned("regex: ")
