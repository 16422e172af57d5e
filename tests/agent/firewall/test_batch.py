# SPDX-License-Identifier: MIT
"""Do orders reach a tool once each, under names that never meet?"""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.batch import batch, closed, expiries, short, unscoped, warnings
from stockade_agent.model import Ban
from stockade_agent.specs import Shield


def test_of_two_bans_the_one_that_ends_later_counts(ban, now):
    """An address that is banned twice in a jail is refused until the later end."""
    bans = [ban("192.0.2.1", bantime=900), ban("192.0.2.1"), ban("192.0.2.1", "recidive")]

    assert {
        "sshd": {ip_address("192.0.2.1"): now + 900},
        "recidive": {ip_address("192.0.2.1"): now + 600},
    } == expiries(bans)


def test_a_permanent_ban_outlasts_any_other(ban, forever):
    """Permanent and timed bans of one address make a permanent one, in either order."""
    wanted = {"sshd": {ip_address("192.0.2.1"): None}}

    assert wanted == expiries([ban("192.0.2.1"), forever("192.0.2.1")])
    assert wanted == expiries([forever("192.0.2.1"), ban("192.0.2.1")])


def test_a_ban_wins_over_an_unban(ban):
    """An address in both lists stays banned."""
    orders = batch([ban("192.0.2.1")], [ban("192.0.2.1"), ban("192.0.2.2")], ["sshd"], "memory")

    assert {ip_address("192.0.2.1")} == set(orders.bans["sshd"])
    assert {"sshd": {ip_address("192.0.2.2")}} == orders.unbans


def test_a_ban_of_a_jail_that_was_not_started_is_refused(ban):
    """A ban that no rule would look at is an error; such an unban is done already."""
    assert {} == batch([], [ban("192.0.2.1", "vsftpd")], ["sshd"], "memory").unbans
    with pytest.raises(FirewallError, match="jail vsftpd has not been started"):
        batch([ban("192.0.2.1", "vsftpd")], [], ["sshd"], "memory")


def test_ids_that_are_no_addresses_are_left_out(now):
    """A ban without an address is nothing for a firewall."""
    assert {} == expiries([Ban("web", "session-7", None, now, 600)])


def test_the_interface_of_a_link_local_address_is_dropped():
    """No set of any tool holds ``%eth0``."""
    assert "fe80::1" == str(unscoped(ip_address("fe80::1%eth0")))
    assert ip_network("2001:db8::/64") == unscoped(ip_network("2001:db8::/64"))


@pytest.mark.parametrize(
    "shield, protocols, ranges",
    [
        pytest.param(Shield("j"), (), (), id="no-ports-is-everything"),
        pytest.param(Shield("j", ((22, 22),)), ("tcp",), ((22, 22),), id="one"),
        pytest.param(
            Shield("j", ((80, 90), (85, 95), (96, 96), (443, 443)), ("tcp", "udp", "tcp")),
            ("tcp", "udp"),
            ((80, 96), (443, 443)),
            id="overlaps-and-neighbours-merge",
        ),
        pytest.param(Shield("j", ((22, 22),), ("icmp",)), (), (), id="no-ports-in-icmp"),
    ],
)
def test_closed(shield, protocols, ranges):
    """What a shield closes has no overlaps, and is never less than it says."""
    assert (protocols, ranges) == closed(shield)


def test_a_protocol_without_ports_is_told():
    """An operator hears that more is closed than he wrote."""
    [line] = warnings([Shield("sshd", ((22, 22),), ("tcp", "icmp")), Shield("x", (), ("icmp",))])

    assert "jail sshd: protocol icmp has no ports" in line


@pytest.mark.parametrize(
    "name, expected",
    [
        pytest.param("sshd", "sshd", id="as-it-is"),
        pytest.param("a" * 20, "a" * 20, id="just-fits"),
        pytest.param("a" * 21, "aaaaaaaaaaa~67858b6d", id="too-long"),
        pytest.param("web shop", "web_shop~e8d6ea8e", id="foreign-character"),
        pytest.param("web_shop", "web_shop", id="what-the-former-looks-like"),
    ],
)
def test_short(name, expected):
    """A name that a tool takes stays as people know it."""
    shortened = short(name, 20, "~")

    assert expected.split("~")[0] == shortened.split("~")[0]
    assert len(shortened) <= 20
    assert ("~" in expected) == ("~" in shortened)


@given(st.lists(st.text(min_size=1), unique=True, max_size=50), st.sampled_from(["~", "--"]))
def test_short_names_never_meet(names, mark):
    """Different names have different short names, whatever they hold."""
    assert len(names) == len({short(name, 20, mark) for name in names})
