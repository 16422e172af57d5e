# SPDX-License-Identifier: MIT
"""Does the kernel's list of who is connected name each of them, and nobody else?"""

import subprocess
import sys
from pathlib import Path

import pytest

import stockade_agent


pytestmark = pytest.mark.lab

AGENT = str(Path(stockade_agent.__file__).parents[1])
PEERS = """
import sys
from stockade_agent.firewall.peers import peers
from stockade_agent.specs import Shield
ports = tuple((int(port), int(port)) for port in sys.argv[1:])
print(*sorted(map(str, peers(Shield("jail", ports)))))
"""


def peers(network, *ports):
    command = [*network.server.prefix, sys.executable, "-c", PEERS, *map(str, ports)]
    told = subprocess.run(
        command, env={"PYTHONPATH": AGENT}, capture_output=True, text=True, check=True
    )
    return told.stdout.split()


def test_who_is_connected(network):
    """By IPv4 and IPv6, at the ports that are asked for, as long as they are."""
    network.listen(22, 80)
    assert ["open"] * 3 == network.connect((2, 22), (3, 80), ("fd77:1::4", 22))

    assert ["10.77.1.2", "fd77:1::4"] == peers(network, 22)
    assert ["10.77.1.3"] == peers(network, 80)
    assert ["10.77.1.2", "10.77.1.3", "fd77:1::4"] == peers(network)
    assert [] == peers(network, 443)
