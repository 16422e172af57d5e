# SPDX-License-Identifier: MIT
"""Who is never banned?"""

import os
from ipaddress import ip_address, ip_network
from time import thread_time

import pytest

from stockade_agent.ignore import Ignore, Networks, own_addresses
from stockade_agent.model import Ban, Failure, target
from stockade_agent.specs import FilterSpec, JailSpec


def ignore(*entries, ignoreself=True, **more):
    spec = JailSpec("j", FilterSpec("f", ()), ignoreip=entries, ignoreself=ignoreself)
    return Ignore(spec, **more)


@pytest.mark.parametrize(
    "entry, who, reason",
    [
        pytest.param("192.0.2.7", "192.0.2.7", "ip", id="address"),
        pytest.param("192.0.2.7", "192.0.2.8", "", id="another"),
        pytest.param("192.0.2.0/24", "192.0.2.7", "ip", id="network"),
        pytest.param("192.0.2.7/24", "192.0.2.200", "ip", id="network-by-any-address"),
        pytest.param("192.0.2.0/255.255.255.128", "192.0.2.127", "ip", id="mask"),
        pytest.param("192.0.2.0/255.255.255.128", "192.0.2.128", "", id="outside-mask"),
        pytest.param("2001:db8::/32", "2001:db8:1::7", "ip", id="ipv6"),
        pytest.param("192.0.2.7", "::ffff:192.0.2.7", "ip", id="mapped"),
        pytest.param("::ffff:192.0.2.0/120", "192.0.2.9", "ip", id="mapped-network"),
        pytest.param("::ffff:192.0.2.0/120", "192.0.3.9", "", id="outside-mapped-network"),
        pytest.param("192.0.2.1, 192.0.2.2 192.0.2.3\n192.0.2.4", "192.0.2.3", "ip", id="list"),
        pytest.param("192.0.2.0/24", "192.0.2.0/25", "ip", id="network-in-network"),
        pytest.param("192.0.2.0/24", "192.0.2.0/23", "", id="network-around-network"),
        pytest.param("root", "root", "ip", id="any-id"),
        pytest.param("0.0.0.0/0", "203.0.113.9", "ip", id="everyone"),
    ],
)
def test_ignoreip(entry, who, reason):
    """An address is ignored if an entry covers all of it."""
    assert reason == ignore(entry).ignored(who)


@pytest.mark.parametrize(
    "entry, network, reason",
    [
        pytest.param("2001:db8::7", "2001:db8::/64", "ip", id="address-in-it"),
        pytest.param("2001:db8::7", "2001:db8:0:1::/64", "", id="address-beside-it"),
        pytest.param("2001:db8::/96", "2001:db8::/64", "ip", id="network-in-it"),
        pytest.param("2001:db8::/32", "2001:db8::/64", "ip", id="network-around-it"),
        pytest.param("2001:db8:1::/48", "2001:db8::/47", "ip", id="half-of-it"),
        pytest.param("192.0.2.7", "2001:db8::/32", "", id="other-family"),
        pytest.param("192.0.2.7", "192.0.2.0/24", "ip", id="ipv4"),
        pytest.param("2001:db8::7", "2001:db8::7", "ip", id="single"),
    ],
)
def test_within(entry, network, reason):
    """A network is to be spared if an entry covers any of it."""
    assert reason == ignore(entry).within(target(network))


def test_within_of_what_else():
    """Own addresses and resolved names are found within, too, and a set may grow."""
    own = ignore(own=[ip_address("2001:db8::1")])
    named = ignore("friend.example")
    named.resolved("friend.example", [ip_address("2001:db8::1"), ip_address("192.0.2.1")])
    networks = Networks([])

    assert "ignoreself" == own.within(ip_network("2001:db8::/64"))
    assert "controller" == ignore(always={"controller": [ip_address("2001:db8::1")]}).within(
        ip_network("2001:db8::/64")
    )
    assert ["dns", ""] == [named.within(ip_network(n)) for n in ("2001:db8::/64", "2001:db9::/64")]
    assert not networks.meets(ip_network("2001:db8::/64"))
    networks.add(ip_address("2001:db8::1"))
    assert networks.meets(ip_network("2001:db8::/64"))


def test_subjects():
    """Failures, bans and texts are judged alike."""
    deciding, address = ignore("192.0.2.0/24"), ip_address("192.0.2.7")

    assert "ip" == deciding.ignored(Failure(0, "192.0.2.7", address))
    assert "ip" == deciding.ignored(Ban("j", "192.0.2.7", address, 0, 1))
    assert "ip" == deciding.ignored(Failure(0, "root", address))


def test_ignoreself():
    """Own addresses are ignored unless the jail says no."""
    own = [ip_address("192.0.2.7")]

    assert "ignoreself" == ignore(own=own).ignored("192.0.2.7")
    assert "" == ignore(own=own, ignoreself=False).ignored("192.0.2.7")


def test_controllers():
    """Who pushes to the host is never banned, whatever the jail says."""
    controllers = [ip_network("198.51.100.0/24")]

    gateways = [ip_address("192.0.2.1")]
    always = {"controller": controllers, "gateway": gateways}
    spared = ignore(always=always, ignoreself=False)
    asked = ("198.51.100.9", "192.0.2.1", "192.0.2.2")
    assert ["controller", "gateway", ""] == [spared.ignored(address) for address in asked]


def test_names():
    """Names are handed out to be resolved; their addresses are ignored from then on."""
    deciding = ignore("192.0.2.7 admin.example.com")
    assert {"admin.example.com"} == deciding.names
    assert "" == deciding.ignored("203.0.113.5")
    deciding.resolved("admin.example.com", [ip_address("203.0.113.5")])

    assert "dns" == deciding.ignored("203.0.113.5")
    deciding.resolved("admin.example.com", [ip_address("203.0.113.6")])
    assert "" == deciding.ignored("203.0.113.5")


def test_file(tmp_path):
    """A file of entries is read again when it changes; none is no entry."""
    path = tmp_path / "ignored"
    deciding = ignore(f"file:{path}")
    assert "" == deciding.ignored("192.0.2.7")
    path.write_text("# ours\n192.0.2.7  # the office\n2001:db8::/32\nadmin.example.com\n")

    assert ["ip", "ip", ""] == [deciding.ignored(x) for x in ("192.0.2.7", "2001:db8::1", "::2")]
    assert {"admin.example.com"} == deciding.names
    path.write_text("192.0.2.8\n")
    os.utime(path, ns=(1, 1))
    assert ["", "ip"] == [deciding.ignored(x) for x in ("192.0.2.7", "192.0.2.8")]


def test_thousand_networks_cost_no_more_than_ten():
    """The cost of a lookup does not grow with the number of entries."""
    networks = [ip_network(f"10.{n // 250}.{n % 250}.0/24") for n in range(1000)]
    few, many, who = Networks(networks[:10]), Networks(networks), target("192.0.2.7")

    def cost(members):
        return min(_timed(members, who) for _ in range(20))

    assert cost(many) < 3 * cost(few)
    assert target("10.3.249.9") in many
    assert target("10.4.0.9") not in many


def _timed(members, who):
    begin = thread_time()
    for _ in range(500):
        assert who not in members
    return thread_time() - begin


def test_own_addresses():
    """The loopback addresses are always among them, and addresses are all they are."""
    found = own_addresses()

    assert {ip_address("127.0.0.1"), ip_address("::1")} <= found
    assert all(address.max_prefixlen in (32, 128) for address in found)


def test_who_passed_is_asked_about_again_when_a_name_moves():
    """An address that was nobody's is ignored as soon as a name in ignoreip has it."""
    jail = ignore("good.example")
    failure = Failure(at=0.0, id="192.0.2.7", address=ip_address("192.0.2.7"))
    assert ["", ""] == [jail.ignored(failure), jail.ignored(failure)]
    jail.resolved("good.example", [failure.address])

    assert "dns" == jail.ignored(failure)


def test_an_id_that_passed_does_not_vouch_for_another_address():
    """What stands beside an id is what is asked about."""
    jail = ignore("192.0.2.0/24")
    outside, inside = (
        Failure(at=0.0, id="somebody", address=ip_address(text))
        for text in ("198.51.100.1", "192.0.2.1")
    )

    assert ["", "ip", ""] == [jail.ignored(one) for one in (outside, inside, outside)]
