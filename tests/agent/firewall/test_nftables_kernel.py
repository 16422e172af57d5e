# SPDX-License-Identifier: MIT
"""Does a real kernel refuse whom nftables was told to, and nobody else?"""

import time
from ipaddress import ip_address, ip_network

import pytest

from stockade_agent.firewall.nftables import Nftables
from stockade_agent.specs import Shield


pytestmark = pytest.mark.lab

SSHD = Shield("sshd", ((22, 22),))
FOREIGN = """
table inet filter {
    set allowed { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
    chain input { type filter hook input priority 0; policy accept; ip saddr @allowed accept; }
}
table ip stockades {
    chain x { }
}
table inet firewalld {
    chain filter_INPUT { type filter hook input priority 10; }
}
"""


STRANGE = """
table inet stockade {
    set theirs { type ipv4_addr; elements = { 192.0.2.8 } }
    map marks { type ipv4_addr : verdict; elements = { 192.0.2.9 : jump other } }
    chain other { drop; }
    chain hooked { type filter hook input priority 7; policy drop; ip saddr vmap @marks; }
}
"""


@pytest.fixture
def foreign(namespace):
    """The words of a firewall that others have set up."""
    namespace.run("nft", "-f", "-", stdin=FOREIGN)
    namespace.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT")
    return namespace.run("nft", "list", "ruleset")


def table(namespace):
    """Return our table as the kernel has it."""
    return namespace.run("nft", "list", "table", "inet", "stockade")


def test_a_whole_life_leaves_the_rest_untouched(namespace, foreign, ban, forever, now):
    """From probe to stop no word of anybody else's rules changes, and nothing of ours stays."""
    firewall = Nftables(namespace.runner("nftables"))

    firewall.probe()
    assert foreign == namespace.run("nft", "list", "ruleset")

    firewall.start([SSHD, Shield("recidive")], [ban("192.0.2.1")], now)
    firewall.apply([forever("2001:db8::/64", "recidive")], [ban("192.0.2.1")], now)
    listing = table(namespace)
    assert "2001:db8::" in listing
    assert foreign == namespace.run("nft", "list", "ruleset").replace(listing, "")

    firewall.stop()
    firewall.stop()
    assert foreign == namespace.run("nft", "list", "ruleset")


def test_five_thousand_bans(namespace, ban, now):
    """Addresses and networks of both families by the thousand are held as they were told."""
    single = [f"10.{i >> 8}.{i & 255}.7" for i in range(2500)]
    single += [f"2001:db8::{i:x}" for i in range(1, 2301)]
    networks = [f"198.{18 + i}.0.0/{16 + i % 9}" for i in range(2)]
    networks += [f"2001:db8:{i:x}::/{48 + i % 3 * 8}" for i in range(1, 199)]
    bans = [ban(address) for address in (*single, *networks)]
    assert 5000 == len(bans)
    firewall = Nftables(namespace.runner("nftables"))
    firewall.start([SSHD], bans[:1000], now)

    firewall.apply(bans, [], now)
    assert {"sshd": {b.address for b in bans}} == firewall.banned()

    firewall.apply([], bans[1:], now)
    assert {"sshd": {bans[0].address}} == firewall.banned()

    firewall.start([SSHD], bans, now)
    assert {"sshd": {b.address for b in bans}} == firewall.banned()


def test_networks_may_overlap(namespace, ban, now):
    """A network, a wider one and an address within both come and go on their own."""
    firewall = Nftables(namespace.runner("nftables"))
    firewall.start([SSHD], [ban("192.0.2.7")], now)

    firewall.apply([ban("192.0.2.0/24"), ban("192.0.0.0/16"), ban("0.0.0.0/0")], [], now)
    firewall.apply([], [ban("192.0.2.0/24")], now)

    assert {
        "sshd": {ip_address("192.0.2.7"), ip_network("192.0.0.0/16"), ip_network("0.0.0.0/0")}
    } == firewall.banned()


def test_the_kernel_ends_bans_by_itself(namespace, ban, forever, now):
    """Without an agent a ban ends on time, and an unban that comes too late is no error."""
    firewall = Nftables(namespace.runner("nftables"), grace=1)
    late = ban("192.0.2.1", bantime=1)
    firewall.start([SSHD], [late, forever("192.0.2.2"), ban("192.0.2.3")], now)

    deadline = time.monotonic() + 20
    while late.address in firewall.banned()["sshd"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    firewall.apply([ban("192.0.2.4")], [late], now)
    left = {ip_address(f"192.0.2.{last}") for last in (2, 3, 4)}
    assert {"sshd": left} == firewall.banned()


def test_prolonging_renews_the_timeout(namespace, ban, now):
    """A ban that is given again with a later end has that end in the kernel."""
    firewall = Nftables(namespace.runner("nftables"))
    firewall.start([SSHD], [ban("192.0.2.1", bantime=600)], now)

    firewall.apply([ban("192.0.2.1", bantime=7200)], [], now)
    assert "192.0.2.1 timeout 2h1m " in table(namespace)

    firewall.apply([ban("192.0.2.1", bantime=-1)], [], now)
    assert "192.0.2.1 timeout" not in table(namespace)
    assert "192.0.2.1" in table(namespace)


def test_start_takes_over_what_somebody_made_of_our_table(namespace, ban, now):
    """A chain of our name at another place is replaced."""
    other = "table inet stockade { chain input { type filter hook input priority 5; drop; }; }"
    namespace.run("nft", "-f", "-", stdin=other)
    firewall = Nftables(namespace.runner("nftables"))

    firewall.start([SSHD], [ban("192.0.2.3")], now)

    assert "hook input priority filter - 10" in table(namespace)
    assert {"sshd": {ip_address("192.0.2.3")}} == firewall.banned()


def test_start_takes_over_what_a_crash_left(namespace, ban, forever, now):
    """Jails, bans and probes of an agent that was killed are gone after the next start."""
    run = namespace.runner("nftables")
    killed = Nftables(run)
    killed.start([SSHD, Shield("öld jail")], [ban("192.0.2.1"), ban("192.0.2.2", "öld jail")], now)
    namespace.run("nft", "add", "table", "inet", "stockade-probe")

    firewall = Nftables(run)
    for _ in range(2):
        firewall.start([SSHD], [forever("192.0.2.3")], now)

    assert {"sshd": {ip_address("192.0.2.3")}} == firewall.banned()
    ruleset = namespace.run("nft", "list", "ruleset")
    assert table(namespace) == ruleset
    assert "ld" not in ruleset.replace("inet stockade", "")
    assert 2 == ruleset.count("@")


def test_start_keeps_nothing_that_somebody_put_into_our_table(namespace, foreign, forever, now):
    """Sets, maps and chains beside ours go, those of other tables stay."""
    run = namespace.runner("nftables")
    Nftables(run).start([SSHD], [forever("192.0.2.1")], now)
    own = table(namespace)
    namespace.run("nft", "-f", "-", stdin=STRANGE)
    firewall = Nftables(run)
    firewall.start([SSHD], [forever("192.0.2.1")], now)

    assert own == table(namespace)
    assert foreign == namespace.run("nft", "list", "ruleset").replace(own, "")


@pytest.mark.parametrize(
    "ports, blocktype, answer",
    [
        pytest.param(((22, 22), (8000, 8010)), "reject", "refused", id="reject-ports"),
        pytest.param((), "reject", "refused", id="reject-everything"),
        pytest.param(((22, 22), (8000, 8010)), "drop", "silence", id="drop-ports"),
    ],
)
def test_connections(network, ban, now, ports, blocktype, answer):
    """A banned address is refused the jail's ports, others are not, until the unban."""
    network.listen(22, 8005, 9000)
    firewall = Nftables(network.server.runner("nftables"))
    firewall.start([Shield("sshd", ports, blocktype=blocktype)], [ban("10.77.1.2")], now)
    elsewhere = "open" if ports else answer

    assert [answer, answer, elsewhere, "open", "open"] == network.connect(
        (2, 22), (2, 8005), (2, 9000), (3, 22), ("fd77:1::2", 22)
    )

    firewall.apply([ban("fd77:1::2"), ban("10.77.1.4/31")], [ban("10.77.1.2")], now)
    assert ["open", answer, answer, answer, "open"] == network.connect(
        (2, 22), ("fd77:1::2", 22), (4, 22), (5, 22), (6, 22)
    )


def test_established_connections_are_cut(network, ban, now):
    """A ban ends what its address has open, not only what it opens next."""
    network.listen(22)
    firewall = Nftables(network.server.runner("nftables"))
    firewall.start([SSHD], [], now)
    line = network.dial(2, 22)
    assert "open\n" == line.stdout.readline()
    line.stdin.write("one\n")
    line.stdin.flush()
    assert "answer\n" == line.stdout.readline()

    firewall.apply([ban("10.77.1.2")], [], now)

    line.stdin.write("two\n")
    line.stdin.flush()
    assert "reset\n" == line.stdout.readline()


SEND = """
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind(("10.77.1.2", 0))
print("sending", flush=True)
while True:
    try:
        sender.sendto(b"x", ("10.77.1.1", 5353))
    except ConnectionRefusedError:
        pass
    time.sleep(0.0002)
"""
COUNT = """
import socket, sys
counter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
counter.bind(("10.77.1.1", 5353))
print("counting", flush=True)
sys.stdin.readline()
counter.setblocking(False)
count = 0
try:
    while counter.recv(10):
        count += 1
except BlockingIOError:
    print(count, flush=True)
"""


@pytest.mark.parametrize("stays", [True, False], ids=["banned", "not-banned"])
def test_no_packet_slips_through_a_start(network, ban, now, stays):
    """While everything is made anew, again and again, a banned address stays banned."""
    firewall = Nftables(network.server.runner("nftables"))
    shield = Shield("dns", ((5353, 5353),), ("udp",), blocktype="drop")
    bans = [ban(f"192.0.2.{last}", "dns") for last in range(200)]
    bans += [ban("10.77.1.2", "dns")] if stays else []
    firewall.start([shield], bans, now)
    counter, sender = network.server.python(COUNT), network.client.python(SEND)
    for process in (counter, sender):
        network.stack.enter_context(process)
        network.stack.callback(process.kill)
        assert process.stdout.readline()

    for _ in range(40):
        firewall.start([shield], bans, now)
    firewall.apply(bans, [], now)

    counter.stdin.write("\n")
    counter.stdin.flush()
    assert (int(counter.stdout.readline()) == 0) == stays
