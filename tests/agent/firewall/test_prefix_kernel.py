# SPDX-License-Identifier: MIT
"""Does a real kernel refuse all of a prefix of IPv6, and stop at its edge, with each backend?"""

import json
import signal
import time
from ipaddress import ip_network

import pytest

from stockade_agent.firewall.iptables import Iptables
from stockade_agent.firewall.nftables import GRACE, Nftables
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


ESCALATES = """\
[sshd]
bantime = 4
bantime.increment = true
maxretry = 1
prefix6 = 64
prefix6.wider = 48
prefix6.members = 2
"""


def lasts(service):
    """Return what the kernel refuses, and for how many seconds it was told to."""
    listed = service.namespace.run("nft", "-j", "list", "table", "inet", "stockade")
    sets = [one["set"] for one in json.loads(listed)["nftables"] if "set" in one]
    # A set of prefixes has their first addresses, and their length in its name: v6.64-sshd.
    return {
        f"{elem['elem']['val']}/{of['name'].partition('-')[0][3:]}": elem["elem"]["timeout"]
        for of in sets
        for elem in of.get("elem", ())
    }


def fail_once_free(service, address):
    """Fail from an address once nothing is banned any more."""
    deadline = time.monotonic() + 30
    while lasts(service):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    service.ask("attempt", "sshd", (address,))
    return lasts(service)


def test_escalation_reaches_the_kernel(service):
    """It refuses a prefix twice as long each time, also what it is widened to and after kill -9."""
    (service.folder / "jail.local").write_text(ESCALATES)
    service.start()
    service.ask("attempt", "sshd", ("2001:db8:1:1::1",))
    assert {"2001:db8:1:1::/64": 4 + GRACE} == lasts(service)
    assert {"2001:db8:1:1::/64": 8 + GRACE} == fail_once_free(service, "2001:db8:1:1::2")

    service.end(signal.SIGKILL)
    service.start()
    service.ask("attempt", "sshd", ("2001:db8:1:2::1",))
    assert {"2001:db8:1::/48": 8 + GRACE} == lasts(service)
    service.end(signal.SIGKILL)
    service.start()
    assert {"2001:db8:1:3::/64": 16 + GRACE} == fail_once_free(service, "2001:db8:1:3::1")
