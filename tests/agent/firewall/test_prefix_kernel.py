# SPDX-License-Identifier: MIT
"""Does a real kernel refuse all of a prefix of IPv6, and stop at its edge, with each backend?"""

from ipaddress import ip_network

import pytest

from stockade_agent.firewall.iptables import Iptables
from stockade_agent.firewall.nftables import Nftables
from stockade_agent.specs import Shield


pytestmark = pytest.mark.lab

SSHD = Shield("sshd", ((22, 22),))
# The namespace's clients have fd77:1::2 and up.
SMALL, LARGE = "fd77:1::4/127", "fd77:1::4/126"


@pytest.fixture(params=["nftables", "iptables-nft", "iptables-legacy"])
def firewall(request, network):
    """A backend that works where the server is, started without a ban."""
    network.listen(22, 80)
    tool, _, variant = request.param.partition("-")
    run = network.server.runner(tool)
    made = Iptables(run, variant=f"-{variant}") if variant else Nftables(run)
    made.start([SSHD], [], 0.0)
    return made


def answers(network, *hosts, port=22):
    return network.connect(*((f"fd77:1::{host}", port) for host in hosts))


def test_all_of_a_prefix_is_refused(network, firewall, ban, now):
    """Each address within it is, at the jail's ports alone; its neighbours are not."""
    firewall.apply([ban(SMALL)], [], now)

    assert ["open", "refused", "refused", "open"] == answers(network, 3, 4, 5, 6)
    assert ["open"] == answers(network, 4, port=80)


def test_a_larger_prefix_takes_the_place_of_smaller_ones(network, firewall, ban, now):
    """One batch does both; then the kernel holds it alone, and its end frees all of it."""
    smaller = [ban(SMALL), ban("fd77:1::6")]
    firewall.apply(smaller, [], now)
    firewall.apply([ban(LARGE)], smaller, now)

    assert {"sshd": {ip_network(LARGE)}} == firewall.banned()
    assert ["open", *["refused"] * 4, "open"] == answers(network, 3, 4, 5, 6, 7, 8)
    firewall.apply([], [ban(LARGE)], now)
    assert ["open"] * 4 == answers(network, 4, 5, 6, 7)


def test_a_restart_keeps_prefixes(network, firewall, ban, now):
    """A start finds them, and mends what somebody took."""
    firewall.apply([ban(SMALL)], [], now)
    firewall.start([SSHD], [ban(SMALL), ban(LARGE)], now)
    assert {"sshd": {ip_network(SMALL), ip_network(LARGE)}} == firewall.banned()
    assert "" == firewall.mend([ban(SMALL), ban(LARGE)], now)


def test_open_connections_from_a_prefix_end(network, firewall, ban, now):
    """Nothing more comes through those of its addresses; others go on."""
    within, beside = network.dial("fd77:1::5", 22), network.dial("fd77:1::6", 22)
    assert ["open\n"] * 2 == [client.stdout.readline() for client in (within, beside)]

    firewall.apply([ban(SMALL)], [], now)
    said = []
    for client in (within, beside):
        client.stdin.write("x\n")
        client.stdin.flush()
        said.append(client.stdout.readline().strip())
    assert said[0] in ("reset", "silence")
    assert "answer" == said[1]
