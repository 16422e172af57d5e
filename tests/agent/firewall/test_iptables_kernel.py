# SPDX-License-Identifier: MIT
"""Does a real kernel refuse whom iptables was told to, and nobody else, in both variants?"""

from ipaddress import ip_address

import pytest

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.iptables import Iptables
from stockade_agent.specs import Shield


pytestmark = pytest.mark.lab

SSHD = Shield("sshd", ((22, 22), (8000, 8010)))
FOREIGN = """*filter
:DOCKER-USER - [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-A INPUT -i lo -m comment --comment "not of stockade" -j ACCEPT
-A FORWARD -j DOCKER-USER
-A f2b-sshd -s 203.0.113.5/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
COMMIT
"""


@pytest.fixture(params=["-nft", "-legacy"])
def variant(request):
    """What the programs of the variant have in their names."""
    return request.param


@pytest.fixture
def make(namespace, variant):
    """Return a function that makes a backend in the namespace."""
    return lambda **options: Iptables(namespace.runner("iptables"), variant=variant, **options)


def rules(namespace, variant, version=""):
    """Return what is saved, without comments and counters."""
    saved = namespace.run(f"ip{version}tables{variant}-save", "-t", "filter")
    return [line.split(" [")[0] for line in saved.splitlines() if not line.startswith("#")]


def test_a_whole_life_leaves_the_rest_untouched(namespace, variant, make, ban, now):
    """From probe to stop a running fail2ban keeps its chain and everybody their rules."""
    namespace.run(f"iptables{variant}-restore", stdin=FOREIGN)
    namespace.run(f"ip6tables{variant}", "-A", "INPUT", "-p", "tcp", "-j", "ACCEPT")
    before = rules(namespace, variant), rules(namespace, variant, 6)
    firewall = make()

    firewall.probe()
    assert before == (rules(namespace, variant), rules(namespace, variant, 6))

    shields = [SSHD, Shield("web", ((80, 80),), chain="DOCKER-USER")]
    [theirs, missing] = firewall.start(shields, [ban("192.0.2.1"), ban("192.0.2.2", "web")], now)
    firewall.apply([ban("2001:db8::/64")], [], now)
    assert "f2b-sshd is somebody else's" in theirs
    assert "no chain DOCKER-USER in ip6tables" in missing
    assert {"sshd": {b.address for b in (ban("192.0.2.1"), ban("2001:db8::/64"))}} == {
        "sshd": firewall.banned()["sshd"]
    }
    kept = [line for line in rules(namespace, variant) if line in before[0]]
    assert before[0] == kept
    assert not [line for line in rules(namespace, variant, 6) if "f2b-sshd " in line]

    firewall.stop()
    firewall.stop()
    assert before == (rules(namespace, variant), rules(namespace, variant, 6))


def test_five_thousand_bans(make, ban, now):
    """Addresses and networks of both families by the thousand are held as they were told."""
    single = [f"10.{i >> 8}.{i & 255}.7" for i in range(2500)]
    single += [f"2001:db8::{i:x}" for i in range(1, 2301)]
    networks = ["198.18.0.0/16", "198.18.7.0/24"]
    networks += [f"2001:db8:{i:x}::/{48 + i % 3 * 8}" for i in range(1, 199)]
    bans = [ban(address) for address in (*single, *networks)]
    assert 5000 == len(bans)
    firewall = make()
    firewall.start([SSHD], bans[:1000], now)

    firewall.apply(bans, [], now)
    assert {"sshd": {b.address for b in bans}} == firewall.banned()

    firewall.apply([], bans[1:], now)
    assert {"sshd": {bans[0].address}} == firewall.banned()

    firewall.start([SSHD], bans, now)
    assert {"sshd": {b.address for b in bans}} == firewall.banned()


def test_start_takes_over_what_a_crash_left(namespace, variant, make, ban, now):
    """Jails, bans and another prefix of an agent that was killed are gone after the next start."""
    killed = make(prefix="old-")
    killed.start([SSHD, Shield("öld jail")], [ban("192.0.2.1"), ban("192.0.2.2", "öld jail")], now)
    firewall = make()

    for _ in range(2):
        assert [] == firewall.start([SSHD], [ban("192.0.2.3")], now)

    assert {"sshd": {ip_address("192.0.2.3")}} == firewall.banned()
    for version in ("", 6):
        saved = rules(namespace, variant, version)
        assert not [line for line in saved if "old-" in line]
        assert 1 == len([line for line in saved if line.startswith("-A INPUT")])


def test_hooks_come_first(namespace, variant, make, now):
    """After a start no rule of the base chain is asked before ours."""
    firewall = make()
    firewall.start([SSHD, Shield("all")], [], now)
    namespace.run(f"iptables{variant}", "-I", "INPUT", "1", "-j", "ACCEPT")

    firewall.start([SSHD, Shield("all")], [], now)

    assert ["f2b-sshd", "f2b-all", "ACCEPT"] == [
        line.split()[-1] for line in rules(namespace, variant) if line.startswith("-A INPUT")
    ]


def test_more_ports_than_a_rule_takes(namespace, variant, make, now):
    """Forty ports and ranges take more than one rule."""
    ports = tuple((port, port + port % 3) for port in range(100, 500, 10))

    make().start([Shield("many", ports)], [], now)

    hooks = [line for line in rules(namespace, variant) if line.startswith("-A INPUT")]
    found = ",".join(line.split("--dports ")[1].split()[0] for line in hooks)
    assert ports == tuple(
        (int(word.split(":")[0]), int(word.split(":")[-1])) for word in found.split(",")
    )


def test_somebody_interferes(namespace, variant, make, ban, now):
    """A rule that somebody deleted is no error; a chain that is gone is, until the next start."""
    firewall = make()
    firewall.start([SSHD], [ban("192.0.2.1"), ban("192.0.2.2")], now)
    namespace.run(f"iptables{variant}", "-D", "f2b-sshd", "1")

    firewall.apply([ban("192.0.2.3")], [ban("192.0.2.1"), ban("192.0.2.2")], now)
    assert {"sshd": {ip_address("192.0.2.3")}} == firewall.banned()

    namespace.run(f"iptables{variant}", "-F")
    namespace.run(f"iptables{variant}", "-X")
    assert {"sshd": set()} == firewall.banned()
    with pytest.raises(FirewallError, match="somebody removed chain f2b-sshd"):
        firewall.apply([ban("192.0.2.4")], [], now)

    firewall.start([SSHD], [ban("192.0.2.4")], now)
    assert {"sshd": {ip_address("192.0.2.4")}} == firewall.banned()


@pytest.mark.parametrize(
    "ports, blocktype, answer",
    [
        pytest.param(((22, 22), (8000, 8010)), "reject", "refused", id="reject-ports"),
        pytest.param((), "reject", "refused", id="reject-everything"),
        pytest.param(((22, 22), (8000, 8010)), "drop", "silence", id="drop-ports"),
    ],
)
def test_connections(network, variant, ban, now, ports, blocktype, answer):
    """A banned address is refused the jail's ports, others are not, until the unban."""
    network.listen(22, 8005, 9000)
    firewall = Iptables(network.server.runner("iptables"), variant=variant)
    shield = Shield("sshd", ports, blocktype=blocktype)
    firewall.start([shield], [ban("10.77.1.2")], now)
    elsewhere = "open" if ports else answer

    assert [answer, answer, elsewhere, "open", "open"] == network.connect(
        (2, 22), (2, 8005), (2, 9000), (3, 22), ("fd77:1::2", 22)
    )

    firewall.apply([ban("fd77:1::2"), ban("10.77.1.4/31")], [ban("10.77.1.2")], now)
    assert ["open", answer, answer, answer, "open"] == network.connect(
        (2, 22), ("fd77:1::2", 22), (4, 22), (5, 22), (6, 22)
    )


def test_established_connections_are_cut(network, variant, ban, now):
    """Nothing more comes through a connection that a banned address has open."""
    network.listen(22)
    firewall = Iptables(network.server.runner("iptables"), variant=variant)
    firewall.start([SSHD], [], now)
    line = network.dial(2, 22)
    assert "open\n" == line.stdout.readline()

    firewall.apply([ban("10.77.1.2")], [], now)

    line.stdin.write("one\n")
    line.stdin.flush()
    assert line.stdout.readline() in ("silence\n", "reset\n")
