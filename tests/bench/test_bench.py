# SPDX-License-Identifier: MIT
"""Do the logs have the shape that the table claims, and do all rows come out?"""

import os
import re
import subprocess
import sys
from itertools import islice

import pytest

from bench import auth, host, logs, table
from bench.rows import Row


FOLLOWED = re.compile(r" sshd\[\d+\]: (Accepted|Received disconnect|Disconnected from|Connection )")
FAILED = re.compile(r" sshd\[\d+\]: (Failed password|Invalid user)")
LINES = 100_000


@pytest.mark.parametrize("kind", logs.KINDS)
def test_the_same_seed_gives_the_same_lines(kind):
    """And another seed gives other lines."""
    make, _ = logs.KINDS[kind]
    first, second, other = (list(islice(make(seed), 3000)) for seed in (1, 1, 2))

    assert first == second
    assert first != other


@pytest.mark.parametrize(
    "lines, sshd, followed",
    [
        pytest.param(auth.busy, 0.33, 0.20, id="busy"),
        pytest.param(host.lines, 0.02, 0.01, id="host"),
    ],
)
def test_shares(lines, sshd, followed):
    """Shares of sshd's lines, of sessions' and of failures are what the table says."""
    found = list(islice(lines(7), LINES))

    assert sum(" sshd[" in line for line in found) / LINES == pytest.approx(sshd, rel=0.2)
    assert sum(map(bool, map(FOLLOWED.search, found))) / LINES == pytest.approx(followed, rel=0.2)
    assert sum(map(bool, map(FAILED.search, found))) / LINES == pytest.approx(0.001, rel=0.35)


def test_every_attacker_comes():
    """5,000 addresses, a fifth of them IPv6, appear in the attack log."""
    found = set(
        re.findall(
            r"(?:from|by|user \S+) ([0-9a-f.:]+) port", "\n".join(islice(auth.attack(7), 200_000))
        )
    )

    assert len(found) == 5000
    assert sum(":" in address for address in found) == 1000


def test_ratio_says_how_much_better():
    """More lines a second are better, and less of anything else."""
    fast = Row("scan", 300.0, "lines/CPU-s", peers={"slow": 100.0})
    short = Row("wait", 5.0, "ms", peers={"slow": 15.0})

    assert "3x" in table.text([fast]).split()
    assert "3x" in table.text([short]).split()


@pytest.mark.lab
@pytest.mark.conformance
def test_all_rows_come_out():
    """A small run succeeds: every contender works, and fail2ban's verdicts are ours."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    command = (sys.executable, "-m", "bench", "--quick")
    env = {**os.environ, "PYTHONPATH": str(logs.BUILD.parent.parent / "tests")}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=300, check=False
    )

    assert "" == done.stderr
    assert 0 == done.returncode
    counts = re.findall(r"agent ([\d,]*\d), fail2ban-regex ([\d,]*\d)", done.stdout)
    assert [ours for ours, _ in counts[:4]] == [theirs for _, theirs in counts[:4]]
    for work in ("busy", "host", "attack", "web", "without date", "10 jails", "ready", "line to"):
        assert work in done.stdout
