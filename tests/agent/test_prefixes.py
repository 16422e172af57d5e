# SPDX-License-Identifier: MIT
"""Whose failures count together, and which prefix of IPv6 is banned for them?"""

import io
from ipaddress import IPv6Address, ip_network

import pytest

from stockade_agent.guard import Guard
from stockade_agent.log import Log
from stockade_agent.model import FOREVER, Block, target
from stockade_agent.protected import Protected
from stockade_agent.specs import FilterSpec, JailSpec, Shield


NOW = 1_700_000_000.0
REGEX = ("failed from <HOST>$", "net <SUBNET>$", "user <F-ID>.*</F-ID> from <HOST>$")


class Names:
    """A resolver that knows what a test told it."""

    def __init__(self):
        self.known = {}

    def addresses(self, name, _now, **_order):
        return self.known.get(name)


class Scene:
    """A jail that counts by prefix, and what is around it."""

    def __init__(self, folder, prefix6=64, wider=(), members=3, **options):
        self.said, self.names, self.own, self.routers = io.StringIO(), Names(), set(), set()
        self.controllers = folder / "controllers"
        given = {"maxretry": 2, "findtime": 600, "bantime": 600, "shield": Shield("sshd")}
        self.guard = Guard(
            JailSpec(
                "sshd",
                FilterSpec("f", failregex=REGEX),
                prefix6=prefix6 and (prefix6, *wider),
                members=members,
                **{**given, **options},
            ),
            protected=Protected(
                str(self.controllers), lambda: self.own, lambda: tuple(self.routers)
            ),
            resolver=self.names,
            history=None,
            log=Log(self.said, prefixed=False),
            now=NOW,
        )

    def lines(self, *lines, now=NOW):
        data = "".join(f"{line}\n" for line in lines).encode()
        block = Block(("sshd",), "journal", data, "", (now,) * len(lines))
        bans = self.guard.read(block, now, live=True)
        return [one.id for ban in bans for one in self.guard.settled(ban, now)]

    def read(self, *hosts, now=NOW):
        return self.lines(*(f"failed from {host}" for host in hosts), now=now)

    @property
    def held(self):
        return set(self.guard.jail.banned)

    def over(self):
        return [ban.id for ban in self.guard.superseded()]


@pytest.fixture
def make(tmp_path):
    """Return a function that makes a scene."""
    return lambda **options: Scene(tmp_path, **options)


@pytest.fixture
def scene(make):
    return make()


@pytest.fixture
def wide(make):
    """A jail that bans a /56 for three prefixes in it, and a /48 likewise."""
    return make(wider=(56, 48))


def prefixes_of(count, start=0, fmt="2001:db8:0:{:x}::{}"):
    """Return two addresses each of some prefixes of a /56."""
    return [fmt.format(start + n, host) for n in range(count) for host in (1, 2)]


# ---- one length


def test_addresses_of_a_prefix_count_together(scene):
    """Two addresses of a /64 are one attacker; one of another /64 is another one."""
    assert [] == scene.read("2001:db8::1", "2001:db8:0:1::1")
    assert ["2001:db8::/64"] == scene.read("2001:db8::ffff:2")
    assert {"2001:db8::/64": target("2001:db8::/64")} == {
        id_: ban.address for id_, ban in scene.guard.jail.banned.items()
    }


def test_what_the_log_says_stays(scene):
    """The lines of a ban, and what is said of who was found, name the addresses."""
    scene.read("2001:db8::1", "2001:db8::2")

    assert "[sshd] Found 2001:db8::2\n" in scene.said.getvalue()
    assert [] == scene.read("192.0.2.1")


def test_off_each_address_counts_alone(make):
    """Without prefix6 it is as in fail2ban."""
    alone = make(prefix6=())
    assert [] == alone.read("2001:db8::1", "2001:db8::2")
    assert ["2001:db8::1"] == alone.read("2001:db8::1")


@pytest.mark.parametrize(
    "lines, banned",
    [
        pytest.param(["failed from 192.0.2.1", "failed from 192.0.2.2"], [], id="IPv4"),
        pytest.param(
            ["failed from ::ffff:192.0.2.1", "failed from 192.0.2.1"], ["192.0.2.1"], id="mapped"
        ),
        pytest.param(
            ["failed from ::ffff:192.0.2.1", "failed from ::ffff:192.0.2.2"], [], id="mapped-two"
        ),
        pytest.param(
            ["net 2001:db8::8/125", "failed from 2001:db8::1"], ["2001:db8::/64"], id="subnet-in-it"
        ),
        pytest.param(
            ["user x from 2001:db8::1", "user x from 2001:db9::1"], ["x"], id="not-an-address"
        ),
        pytest.param(["net 2001:db8::/48"] * 2, ["2001:db8::/48"], id="larger-subnet"),
        pytest.param(
            [*["net 2001:db8::/48"] * 2, *["failed from 2001:db8:0:9::1"] * 2],
            ["2001:db8::/48"],
            id="then-an-address-in-it",
        ),
    ],
)
def test_of_what(make, lines, banned):
    """IPv4 counts by address, mapped or not; a subnet by the prefix that holds it."""
    assert banned == make(bantime=FOREVER).lines(*lines)


@pytest.mark.parametrize("prefix", ["fe80:", "64:ff9b::c000:", "64:ff9b:1:", "2001:0:1:1:"])
def test_prefixes_of_everybody(make, prefix):
    """Neighbours on a link, and IPv4 behind a translator, share no more than a prefix."""
    everyone = make(ignoreself=False)
    end = prefix if "::" in prefix else f"{prefix}:"
    assert [] == everyone.read(f"{end}1", f"{end}2")
    assert [f"{IPv6Address(f'{end}1')}"] == everyone.read(f"{end}1")


# ---- who is never banned


@pytest.mark.parametrize("who", ["own", "gateway", "controller", "ignoreip", "file", "name"])
def test_a_prefix_with_somebody_to_spare(make, tmp_path, who):
    """Then each address counts by itself, nobody else's prefix does, and it is said once."""
    spared = target("2001:db8::53")
    options = {"ignoreip": ("2001:db8::50/125",)} if who == "ignoreip" else {}
    if who == "file":
        (tmp_path / "list").write_text("2001:db8::53 # a friend\n")
        options = {"ignoreip": (f"file:{tmp_path}/list",)}
    if who == "name":
        options = {"ignoreip": ("friend.example",)}
    scene = make(**options)
    scene.names.known["friend.example"] = (spared,)
    if who == "own":
        scene.own.add(spared)
    if who == "gateway":
        scene.routers.add(spared)
    if who == "controller":
        scene.controllers.write_text("2001:db8::53\n")

    assert [] == scene.read(
        "2001:db8::1", "2001:db8::2", "2001:db8::53", "2001:db8::53", now=NOW + 2
    )
    assert ["2001:db8::1", "2001:db8:0:1::/64"] == scene.read(
        "2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:1::2", now=NOW + 2
    )
    assert 1 == scene.said.getvalue().count("2001:db8::/64 is never banned as a whole")


def test_somebody_to_spare_who_comes_later(scene):
    """A prefix is not banned that has got one since its first failure; its addresses are."""
    scene.read("2001:db8::1")
    scene.own.add(target("2001:db8::53"))

    assert [] == scene.read("2001:db8::2", now=NOW + 2)
    assert set() == scene.held
    assert ["2001:db8::2"] == scene.read("2001:db8::2", "2001:db8::2", now=NOW + 2)


def test_a_subnet_with_somebody_in_ignoreip(make):
    """Neither a log nor a hand bans a network that holds one who is to be ignored."""
    scene = make(ignoreip=("2001:db8::53",))
    assert [] == scene.lines("net 2001:db8::/48", "net 2001:db8::/48")
    assert "2001:db8::/48 would be banned, but is never: ip" in scene.said.getvalue()


def test_a_peer_in_the_prefix(wide, monkeypatch):
    """Who attacks from where an operator is logged in is banned alone, as long as he is."""
    operator = target("2001:db8:0:1::53")
    monkeypatch.setattr(
        wide.guard.shelter,
        "peer",
        lambda address, _now: (
            "peer" if str(address) != str(operator) and operator in ip_network(address) else ""
        ),
    )
    monkeypatch.setattr(wide.guard._prefixes, "_peer", wide.guard.shelter.peer)

    assert [] == wide.read("2001:db8:0:1::1", "2001:db8:0:1::2")
    assert ["2001:db8:0:1::2"] == wide.read("2001:db8:0:1::2", "2001:db8:0:1::2")
    wide.read(*prefixes_of(5, 2))
    assert "2001:db8::/56" not in wide.held

    monkeypatch.setattr(wide.guard.shelter, "peer", lambda _address, _now: "")
    assert ["2001:db8:0:1::/64"] == wide.read("2001:db8:0:1::1", now=NOW + 61)


# ---- larger prefixes


def test_many_prefixes_earn_a_larger_one(wide):
    """It takes their place, and further failures from within it count for it."""
    assert ["2001:db8::/64", "2001:db8:0:1::/64"] == wide.read(*prefixes_of(2))
    assert [] == wide.over()

    assert ["2001:db8:0:2::/64", "2001:db8::/56"] == wide.read(*prefixes_of(1, 2))
    assert {"2001:db8::/56"} == wide.held
    assert {"2001:db8::/64", "2001:db8:0:1::/64", "2001:db8:0:2::/64"} == set(wide.over())
    assert 6 == wide.guard.jail.banned["2001:db8::/56"].failures

    assert ["2001:db8::/56"] == wide.read(*prefixes_of(1, 9), now=NOW + 5)
    assert wide.guard.jail.banned["2001:db8::/56"].prolonged
    assert {"2001:db8::/56"} == wide.held


def test_larger_ones_earn_the_largest(wide):
    """A /48 takes the place of the /56 and /64 in it."""
    wide.read(*prefixes_of(3), *prefixes_of(1, 0x100))
    assert {"2001:db8::/56", "2001:db8:0:100::/64"} == wide.held

    assert "2001:db8::/48" == wide.read(*prefixes_of(1, 0x200))[-1]
    assert {"2001:db8::/48"} == wide.held


def test_a_larger_one_with_somebody_to_spare(wide):
    """The smaller ones stay, and it is said once."""
    wide.own.add(target("2001:db8:0:ff::1"))
    wide.read(*prefixes_of(5), now=NOW + 2)

    assert {f"2001:db8:0:{n:x}::/64" if n else "2001:db8::/64" for n in range(5)} == wide.held
    assert [] == wide.over()
    assert 1 == wide.said.getvalue().count("2001:db8::/56 is never banned as a whole")


def test_it_lasts_as_long_as_the_longest_within(wide):
    """Nobody gets out sooner for having had company."""
    wide.read(*prefixes_of(2))
    held = wide.guard.jail.banned
    wide.guard.jail.replacing(held["2001:db8::/64"], [held["2001:db8::/64"]])
    wide.guard.change(bantime=86400)
    wide.guard.jail.ban("2001:db8:0:7::7", NOW)
    wide.guard.change(bantime=60)

    wide.read(*prefixes_of(1, 2))
    assert {"2001:db8::/56"} == set(held)
    assert NOW + 86400 == held["2001:db8::/56"].expires_at
    assert [] == wide.guard.jail.due(NOW + 86400 - 1)
    assert ["2001:db8::/56"] == [ban.id for ban in wide.guard.jail.due(NOW + 86401)]


def test_bans_for_ever_within(wide):
    """What takes the place of one for ever is for ever."""
    wide.guard.change(bantime=FOREVER)
    wide.guard.jail.ban("2001:db8:0:7::7", NOW)
    wide.guard.change(bantime=60)
    wide.read(*prefixes_of(2))

    assert wide.guard.jail.banned["2001:db8::/56"].expires_at is None


def test_addresses_of_one_prefix_are_no_crowd(wide):
    """Ten addresses of a /64 banned by hand count as one towards a /56."""
    for number in range(10):
        wide.guard.jail.ban(f"2001:db8::{number:x}", NOW)

    wide.read(*prefixes_of(1, 1))
    assert 11 == len(wide.held)
    wide.read(*prefixes_of(1, 2))
    assert {"2001:db8::/56"} == wide.held


def test_a_prefix_takes_the_place_of_addresses_in_it(scene):
    """As after the option was turned on."""
    scene.guard.jail.ban("2001:db8::7", NOW)

    assert ["2001:db8::/64"] == scene.read("2001:db8::1", "2001:db8::2")
    assert {"2001:db8::/64"} == scene.held
    assert ["2001:db8::7"] == scene.over()


def test_what_was_lifted_counts_no_more(wide):
    """A crowd is of bans in force."""
    wide.read(*prefixes_of(2))
    wide.guard.jail.unban("2001:db8::/64")
    wide.read(*prefixes_of(1, 2))
    assert {"2001:db8:0:1::/64", "2001:db8:0:2::/64"} == wide.held

    assert 2 == len(wide.guard.jail.due(NOW + 601))
    later = NOW + 700
    wide.read(*prefixes_of(2, 8), now=later)
    assert 2 == len(wide.held)


def test_restored_bans_count(make, wide):
    """After a restart the crowd goes on where it was, and who is in a larger ban is found."""
    wide.read(*prefixes_of(2))
    again = make(wider=(56, 48))
    for ban in wide.guard.jail.banned.values():
        again.guard.jail.restore(ban, NOW)
    assert "2001:db8::/56" == again.read(*prefixes_of(1, 2))[-1]

    third = make(wider=(56, 48))
    for ban in again.guard.jail.banned.values():
        third.guard.jail.restore(ban, NOW)
    third.read(*prefixes_of(1, 9))
    assert {"2001:db8::/56"} == third.held


def test_the_index_does_not_grow(monkeypatch, wide):
    """What has ended leaves it, however many come and go."""
    monkeypatch.setattr("stockade_agent.prefixes._SLACK", 20)
    for round_ in range(30):
        at = NOW + round_ * 1000
        wide.guard.jail.due(at)
        wide.read(*prefixes_of(2, round_ * 2, "2001:db8:{:x}::{}"), now=at)
    prefixes = wide.guard._prefixes

    assert sum(map(len, prefixes._inside.values())) < 60
