# SPDX-License-Identifier: MIT
"""Does the double behave as the contract says, so that tests with it mean something?"""

from ipaddress import ip_address, ip_network

import pytest

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.memory import Call, Memory
from stockade_agent.specs import Shield


SSHD = Shield("sshd", ((22, 22),))


def test_bans_come_and_go(ban, now):
    """What was banned and not unbanned is held, per jail."""
    firewall = Memory(warnings=["a warning"])

    assert ("a warning",) == firewall.start([SSHD, Shield("x")], [ban("192.0.2.1")], now)
    firewall.apply([ban("192.0.2.0/24"), ban("192.0.2.9")], [ban("192.0.2.1")], now)

    assert {
        "sshd": {ip_network("192.0.2.0/24"), ip_address("192.0.2.9")},
        "x": set(),
    } == firewall.banned()
    firewall.stop()
    assert {} == firewall.banned()


def test_start_forgets_what_was(ban, now):
    """A start holds its own bans and jails only, and none of other jails."""
    firewall = Memory()
    firewall.start([SSHD, Shield("x")], [ban("192.0.2.1", "x")], now)

    firewall.start([SSHD], [ban("192.0.2.2"), ban("192.0.2.3", "x")], now)

    assert {"sshd": {ip_address("192.0.2.2")}} == firewall.banned()


def test_calls_are_remembered(ban, now):
    """A test can read what was asked, in order."""
    firewall = Memory()
    firewall.probe()
    firewall.start([SSHD], [], now)
    firewall.apply([ban("192.0.2.1")], [ban("192.0.2.2")], now + 1)

    assert [
        Call("probe"),
        Call("start", (SSHD,), now=now),
        Call("apply", bans=(ban("192.0.2.1"),), unbans=(ban("192.0.2.2"),), now=now + 1),
    ] == firewall.calls


def test_it_fails_when_told(ban, now):
    """A call that fails raises, is remembered, and changes nothing."""
    firewall = Memory()
    firewall.start([SSHD], [], now)
    firewall.fail(2, "no more room")

    for _ in range(2):
        with pytest.raises(FirewallError, match="memory: no more room"):
            firewall.apply([ban("192.0.2.1")], [], now)

    assert {"sshd": set()} == firewall.banned()
    firewall.apply([ban("192.0.2.1")], [], now)
    assert {"sshd": {ip_address("192.0.2.1")}} == firewall.banned()
    assert ["start", "apply", "apply", "apply"] == [call.method for call in firewall.calls]


def test_it_can_lose_everything(ban, now):
    """A flush by somebody else leaves the jails without bans."""
    firewall = Memory()
    firewall.start([SSHD], [ban("192.0.2.1")], now)

    firewall.lose()

    assert {"sshd": set()} == firewall.banned()
