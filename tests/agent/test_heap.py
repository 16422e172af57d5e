# SPDX-License-Identifier: MIT
"""Does memory that is free go back to the kernel?"""

import subprocess
import sys
from pathlib import Path

import pytest

import stockade_agent
from stockade_agent import heap


AGENT = Path(stockade_agent.__file__).parents[1]
BURST = """
import sys
sys.path.insert(0, sys.argv[1])
from stockade_agent.heap import trim
def size():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096
before = size()
burst = [bytes(2000) for _ in range(20_000)]
kept = bytes(2000)  # above all of it, so that the heap cannot shrink
most = size()
del burst
trim()
print((most - before) >> 20, (size() - before) >> 20)
"""


@pytest.mark.skipif(heap._trim is None, reason="this C library cannot be asked")
def test_what_a_burst_left_goes_back():
    """Nearly all of 40 MB that were in use for a moment is the kernel's again."""
    command = [sys.executable, "-I", "-S", "-c", BURST, str(AGENT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used, left = map(int, done.stdout.split())

    assert used >= 35
    assert left <= 4
