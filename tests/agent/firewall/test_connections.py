# SPDX-License-Identifier: MIT
"""Does what a banned address has open end, behind a firewall that lets established ones through?"""

import subprocess
import sys
from pathlib import Path

import pytest

import stockade_agent


pytestmark = pytest.mark.lab

AGENT = str(Path(stockade_agent.__file__).parents[1])
# As firewalld does it: established connections first, then whoever asks the sets.
RULES = """
table inet like-firewalld {
    set banned4 { type ipv4_addr; flags interval; }
    set banned6 { type ipv6_addr; flags interval; }
    chain input {
        type filter hook input priority 10; policy accept;
        ct state established,related accept
        ct state invalid drop
        ip saddr @banned4 reject
        ip6 saddr @banned6 reject
    }
}
"""
CUT = """
import sys
from stockade_agent.firewall.connections import cut
from stockade_agent.model import target
from stockade_agent.specs import Shield
port, *addresses = sys.argv[1:]
ports = ((int(port), int(port)),) if port != "0" else ()
shield = Shield("jail", ports, protocols=("tcp", "udp"))
print(cut({"jail": [target(address) for address in addresses]}, {"jail": shield}))
"""
UDP_SERVER = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 5060))
print("ready", flush=True)
while True:
    server.sendto(*server.recvfrom(100))
"""
UDP_CLIENT = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind((sys.argv[1], 0))
client.connect(("10.77.1.1", 5060))
client.settimeout(1.0)
while sys.stdin.readline():
    try:
        client.send(b"x")
        client.recv(100)
        print("answer", flush=True)
    except OSError:
        print("none", flush=True)
"""


class Scene:
    """A server behind rules like firewalld's, and its clients."""

    def __init__(self, network):
        self.network, self.server = network, network.server
        self.server.run("nft", "-f", "-", stdin=RULES)
        network.listen(22, 80)

    def ban(self, *addresses, port=22):
        """Refuse addresses, end what they have open, and return how many that was."""
        for address in addresses:
            family = 6 if ":" in address else 4
            self.server.run(
                "nft",
                "add",
                "element",
                "inet",
                "like-firewalld",
                f"banned{family}",
                f"{{ {address} }}",
            )
        done = subprocess.run(
            (*self.server.prefix, sys.executable, "-c", CUT, str(port), *addresses),
            env={"PYTHONPATH": AGENT},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)


@pytest.fixture
def scene(network):
    return Scene(network)


def says(client):
    client.stdin.write("x\n")
    client.stdin.flush()
    return client.stdout.readline().strip()


def opened(scene, host, port=22):
    client = scene.network.dial(host, port)
    assert "open" == client.stdout.readline().strip()
    assert "answer" == says(client)
    return client


@pytest.mark.parametrize("host, address", [(2, "10.77.1.2"), ("fd77:1::2", "fd77:1::2")])
def test_tcp(scene, host, address):
    """The connection of the banned address ends with a reset, at its port and no other's."""
    banned, elsewhere = opened(scene, host), opened(scene, host, 80)
    others = [opened(scene, 3), opened(scene, "fd77:1::3")]

    assert 1 == scene.ban(address)
    assert "reset" == says(banned)
    assert ["answer"] * 3 == [says(client) for client in (elsewhere, *others)]
    assert 0 == scene.ban(address)


@pytest.mark.parametrize("host, address", [(2, "10.77.1.2"), ("fd77:1::2", "fd77:1::2")])
def test_a_connection_that_is_over(scene, host, address):
    """The kernel still tracks it; who listens at its port goes on listening."""
    over = opened(scene, host)
    over.stdin.close()
    over.wait()
    assert 1 == scene.ban(address)

    assert "answer" == says(opened(scene, 3))
    assert "answer" == says(opened(scene, "fd77:1::3"))


def test_all_ports_and_many(scene):
    """More than a few addresses, and a network, are found among all connections."""
    clients = [opened(scene, number) for number in range(2, 8)]
    other = opened(scene, 8)
    absent = [f"10.88.0.{number}" for number in range(20)]

    assert 2 == scene.ban("10.77.1.2", "10.77.1.3", *absent, port=0)
    assert 4 == scene.ban("10.77.1.4/30", port=0)
    assert ["reset"] * 6 == [says(client) for client in clients]
    assert "answer" == says(other)


def test_a_prefix_of_ipv6(scene):
    """Whoever has an address in a banned prefix loses his connections; its neighbours do not."""
    within = [opened(scene, f"fd77:1::{number}") for number in (4, 5)]
    beside = [opened(scene, f"fd77:1::{number}") for number in (3, 6)]

    assert 2 == scene.ban("fd77:1::4/127")
    assert ["reset"] * 2 == [says(client) for client in within]
    assert ["answer"] * 2 == [says(client) for client in beside]


def test_udp(scene):
    """A flow of datagrams is forgotten, and its next one meets the ban."""
    server = scene.server.python(UDP_SERVER)
    clients = [scene.network.client.python(UDP_CLIENT, f"10.77.1.{n}") for n in (2, 3)]
    for process in (server, *clients):
        scene.network.stack.enter_context(process)
        scene.network.stack.callback(process.kill)
    assert "ready" == server.stdout.readline().strip()
    assert ["answer", "answer"] == [says(client) for client in clients]

    assert 1 == scene.ban("10.77.1.2", port=5060)
    assert ["none", "answer"] == [says(client) for client in clients]
