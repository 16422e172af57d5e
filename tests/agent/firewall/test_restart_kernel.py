# SPDX-License-Identifier: MIT
"""Are all bans in the kernel before the agent says that it is ready, and at every moment after?"""

import signal
import subprocess

import pytest


COUNT = 2000
DEADLINE = 30.0
WATCH = """
while :; do
    nft list table inet stockade | grep -o " timeout " | wc -l
    [ ! -e "$1" ] || exit 0
done
"""


@pytest.fixture
def full(service):
    """An agent with bans in its ledger, not started yet."""
    ids = [f"10.1.{n // 250}.{n % 250 + 1}" if n % 5 else f"2001:db8::{n:x}" for n in range(COUNT)]
    service.fill(ids)
    return service


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill-9"])
def test_ready_means_that_all_bans_are_in_force(full, number):
    """With the word READY the kernel holds the whole ledger; so it does at the next start."""
    for _ in range(2):
        full.start()
        assert COUNT == full.held()
        full.end(number)

    assert COUNT == full.held()


def test_no_moment_without_bans(full):
    """Whoever looks while the agent starts again sees all bans, each time."""
    full.start()
    full.end()
    watcher = subprocess.Popen(
        (*full.namespace.prefix, "sh", "-c", WATCH, "sh", str(full.folder / "end")),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert str(COUNT) == watcher.stdout.readline().strip()
    full.start()
    full.end()
    (full.folder / "end").touch()
    seen = watcher.communicate(timeout=DEADLINE)[0].split()

    assert {str(COUNT)} == set(seen)
    assert len(seen) > 3
