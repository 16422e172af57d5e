# SPDX-License-Identifier: MIT
"""Do we say of fail2ban's own sample lines what fail2ban says?"""

import re
from pathlib import Path

import pytest

from conformance.fetch import SUITES, fetch
from conformance.samples import ZONE, Tree, judge, read
from conformance.zone import zone


pytestmark = pytest.mark.conformance

SAMPLES = {"1.0.2": 1067, "1.1.0": 1101}
ROLES = Path(__file__).parent.parent.parent / "roles"

# What OpenSSH wrote before 8.0, and what only other systems' syslog daemons write: our own
# filter leaves it to fail2ban's.
OLD = re.compile(
    r"ssh1|kernel: ?\[|\[ID \d+ |\[sshd\]|for invalid user ROOT from \S+(?: port \d+)?$"
    r"|Disconnecting: Too many authentication failures|Read from socket failed"
    r"|Connection closed by \S+ \[preauth\]$|fatal: (?:Unable to negotiate a|no matching mac)"
    r"|^<38>1 "
    # A password has no such suffix: here the name of the user goes up to the last address.
    r"|ssh2: from 10\.10\.1\.2 "
)


@pytest.fixture(scope="module", params=list(SUITES))
def root(request):
    """Return an unpacked fail2ban."""
    return fetch(request.param)


def test_every_sample(root):
    """Every sample line gets verdict, host, user, time and attempts that stand above it."""
    tally = judge(root)

    assert {} == tally.wrong
    assert set() == tally.unjudged - tally.judged
    assert SAMPLES.get(root.name, tally.total) == tally.passed
    assert {"asterisk", "murmur", "mysqld-auth", "sshd"} <= tally.journal.keys()
    assert len(tally.journal["sshd"]) > 100


def test_our_sshd_filter(root):
    """Our sshd filter agrees with fail2ban's on what OpenSSH writes since 8.0, in all modes."""
    tree = Tree(root)
    with zone(ZONE):
        tally = read(tree, "sshd", ROLES / "sshd")
    differ = []
    for place in tally.wrong:
        path, number = place.rsplit(":", 1)
        line = Path(path).read_text(errors="replace").split("\n")[int(number) - 1]
        differ += [f"{place}: {line}"] if not OLD.search(line) else []

    assert [] == differ
    assert tally.passed > 200
