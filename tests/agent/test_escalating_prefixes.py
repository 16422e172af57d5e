# SPDX-License-Identifier: MIT
"""Do bans grow for who comes back when prefixes are banned, and from whichever address he comes?"""

from ipaddress import ip_address, ip_network

import pytest

from agent.escalating import BASE, MOST, SSHD, WEB, Agent, grown
from stockade_agent.escalation import kin
from stockade_agent.model import target


@pytest.fixture
def make(tmp_path):
    """Return a function that makes an agent with such jails."""
    made = []

    def make(jails=SSHD):
        made.append(Agent(tmp_path, jails))
        return made[-1]

    yield make
    for agent in made:
        agent.end()


@pytest.fixture
def agent(make):
    return make()


# ---- exact cases


def test_a_prefix_that_comes_back(agent):
    """From another address each time, its ban is twice as long each time."""
    for times in range(4):
        assert {"2001:db8:1:1::/64": (times + 1, grown(times))} == agent.again(
            f"2001:db8:1:1::{times + 1}"
        )


@pytest.mark.parametrize(
    "options, lasts",
    [
        ("bantime.factor = 0.5", [600, 600, 1200]),
        ("bantime.multipliers = 1 5 30", [600, 3000, 18000]),
        ("bantime.formula = ban.Time * (1 + ban.Count)", [600, 1200, 1800]),
        ("bantime.maxtime = 900", [600, 900, 900]),
    ],
)
def test_every_way_to_grow(make, options, lasts):
    """Prefixes grow as addresses do, whatever the options; so do those that they are widened to."""
    agent = make(f"{SSHD}{options}\n")
    for times, seconds in enumerate(lasts):
        assert {"2001:db8:1:1::/64": (times + 1, seconds)} == agent.again("2001:db8:1:1::1")

    [(id_, (count, left))] = agent.fail("2001:db8:1:2::1").items()
    assert ("2001:db8:1::/56", 3, lasts[-1]) == (id_, count, left)


def test_a_spread_is_added_once(make):
    """``bantime.rndtime`` goes beyond ``maxtime``, by no more than itself."""
    agent = make(f"{SSHD}bantime.rndtime = 60\n")
    for _ in range(8):
        [(_, left)] = agent.again("2001:db8:1:1::1").values()
    assert MOST <= left <= MOST + 60

    assert ["2001:db8:1::/56"] == list(agent.fail("2001:db8:1:2::1"))
    assert MOST <= agent.held()["2001:db8:1::/56"][1] <= MOST + 60


def test_widening_goes_on_where_the_worst_was(agent):
    """It neither begins anew nor adds up what its members have done."""
    agent.fail("2001:db8:1:1::1")
    agent.again("2001:db8:1:1::1")
    assert {"2001:db8:1:1::/64": (3, grown(2))} == agent.again("2001:db8:1:1::1")
    assert {"2001:db8:1::/56": (3, grown(2))} == agent.fail("2001:db8:1:2::1")

    # Whoever is in it comes back as one who was banned three times.
    for times, address in enumerate(("2001:db8:1:1::9", "2001:db8:1:2::9", "2001:db8:1:33::9"), 3):
        [(_, last)] = agent.again(address).items()
        assert (times + 1, grown(times)) == last or times > 3
        assert (4, grown(3)) == last
    assert {"2001:db8:1::/56": (4, grown(3))} == agent.again("2001:db8:1:4::1", "2001:db8:1:5::1")


def test_a_larger_one_that_was_banned_before_takes_over_more(agent):
    """What its members have done since then is its own after the next widening."""
    agent.fail("2001:db8:1:1::1", "2001:db8:1:2::1")
    for times in range(1, 4):
        assert {"2001:db8:1:1::/64": (times + 1, grown(times))} == agent.again("2001:db8:1:1::1")
    assert {"2001:db8:1::/56": (4, grown(3))} == agent.fail("2001:db8:1:2::1")
    assert {"2001:db8:1:77::/64": (5, grown(4))} == agent.again("2001:db8:1:77::1")


def test_widening_twice(agent):
    """The /48 has the history of the /56 that it takes the place of."""
    agent.fail("2001:db8:1:1::1", "2001:db8:1:2::1")
    assert {"2001:db8:1::/56": (2, grown(1))} == agent.again("2001:db8:1:1::1", "2001:db8:1:2::1")
    assert {"2001:db8:1::/48": (2, grown(1))} == agent.fail("2001:db8:1:100::1")
    assert {"2001:db8:1:7700::/64": (3, grown(2))} == agent.again("2001:db8:1:7700::1")


def test_who_was_banned_needs_fewer_failures(make):
    """Also as an address of a prefix that was banned, from within one that was widened to."""
    agent = make(SSHD.replace("[sshd]", "[sshd]\nmaxretry = 5"))
    agent.fail(*["2001:db8:1:1::1"] * 5, *["2001:db8:1:2::1"] * 5)
    assert {"2001:db8:1::/56": (1, BASE)} == agent.held()
    agent.outwait()

    assert {} == agent.fail("2001:db8:2:9::1", "2001:db8:1:9::1", "2001:db8:1:9::2")
    assert {"2001:db8:1:9::/64": (2, grown(1))} == agent.fail("2001:db8:1:9::3")
    assert {"2001:db8:1:9::/64"} == set(agent.fail("2001:db8:2:9::2", "2001:db8:2:9::3"))


@pytest.mark.parametrize("before", ["prefix", "wider"])
def test_a_crash_between_any_two_failures(agent, before):
    """What was banned, and how often, is as if nothing had happened."""
    agent.fail("2001:db8:1:1::1")
    agent.kill()
    agent.again("2001:db8:1:1::2")
    agent.kill()
    if before == "wider":
        agent.fail("2001:db8:1:2::1")
        agent.kill()
        assert {"2001:db8:1::/56": (2, grown(1))} == agent.held()
    assert {"2001:db8:1:1::/64": (3, grown(2))} == agent.again("2001:db8:1:1::3")
    agent.kill()
    assert {"2001:db8:1:1::/64": (3, grown(2))} == agent.held()
    assert {"2001:db8:1::/56": (3, grown(2))} == agent.fail("2001:db8:1:2::1")


def test_by_hand_all_begins_anew(agent):
    """A larger ban that is lifted takes the history with it that it has of who was within."""
    for _ in range(2):
        agent.again("2001:db8:1:1::1")
    agent.fail("2001:db8:1:2::1")
    told = agent.ask("unban", jail="", ids=("2001:db8:1:1::1",))
    assert {"2001:db8:1:1::1": [("sshd", "2001:db8:1::/56")]} == told["within"]
    agent.ask("unban", jail="", ids=("2001:db8:1::/56",))

    assert {"2001:db8:1:1::/64": (1, BASE)} == agent.fail("2001:db8:1:1::1")


def test_a_ban_by_hand_of_another_length(agent):
    """What is within stays beside it, and has its own history."""
    agent.fail("2001:db8:1:1::1")
    agent.ask("ban", jail="sshd", ids=("2001:db8:1::/60",))
    assert {"2001:db8:1:1::/64", "2001:db8:1::/60"} == set(agent.held())

    assert {"2001:db8:1:1::/64": (2, grown(1))} == agent.again("2001:db8:1:1::1")


def test_by_hand_within_what_is_banned(agent):
    """An address in a /64 that is banned is refused already."""
    agent.fail("2001:db8:1:1::1")

    assert [] == agent.ask("ban", jail="sshd", ids=("2001:db8:1:1::7",))["changed"]
    assert {"2001:db8:1:1::/64": (1, BASE)} == agent.held()
    assert {"2001:db8:1:1::/64": (2, grown(1))} == agent.again("2001:db8:1:1::7")


def test_prefixes_and_all_jails(make):
    """In a jail without prefixes, who comes from one that another jail banned, and the reverse."""
    agent = make(f"{SSHD}bantime.overalljails = true\n{WEB}")
    agent.fail("2001:db8:1:1::1")
    assert {"2001:db8:1:1::7": (2, grown(1))} == agent.fail("2001:db8:1:1::7", jail="web")
    assert {"2001:db8:2::7": (1, BASE)} == agent.again("2001:db8:2::7", jail="web")
    # This /64 was banned once, and the address that fails now twice.
    agent.again("2001:db8:1:1::7", jail="web")
    assert {"2001:db8:1:1::/64": (4, grown(3))} == agent.again("2001:db8:1:1::7")
    # Who is elsewhere in it has nothing to do with these two.
    assert {"2001:db8:1:1::/64": (3, grown(2))} == agent.again("2001:db8:1:1::8")

    # What a larger one takes over of this jail's is counted once.
    assert {"2001:db8:1::/56": (3, grown(2))} == agent.fail("2001:db8:1:2::1")
    assert {"2001:db8:1:3::/64": (4, grown(3))} == agent.again("2001:db8:1:3::1")


def test_without_increment_the_history_is_kept_all_the_same(make):
    """A jail that does not escalate notes what a larger ban takes over, for those that do."""
    agent = make(f"{SSHD}bantime.increment = false\n{WEB}")
    for _ in range(3):
        agent.again("2001:db8:1:1::1")
    assert {"2001:db8:1::/56": (1, BASE)} == agent.fail("2001:db8:1:2::1")
    agent.again("2001:db8:1:5::1")

    assert {"2001:db8:1:5::9": (5, grown(4))} == agent.fail("2001:db8:1:5::9", jail="web")


def test_recidive_counts_a_widening_once(make):
    """One that counts by prefixes as large takes a larger ban for what it is made of."""
    agent = make(
        f"{SSHD}[again]\nbackend = bans\nfilter =\nprefix6 = 48\nmaxretry = 3\nfindtime = 1d\n"
        "[larger]\nbackend = bans\nfilter =\nprefix6 = 64\nmaxretry = 2\nfindtime = 1d\n"
    )
    agent.fail("2001:db8:1:1::1", "2001:db8:1:2::1")
    assert {} == agent.held("again")
    assert {"2001:db8:1::/56"} == set(agent.held())

    agent.again("2001:db8:1:3::1")
    assert {} == agent.held("larger")
    agent.fail("2001:db8:1:4::1")
    assert {"2001:db8:1::/48"} == set(agent.held("again"))
    # The /56 as such was banned twice; it is no single /64.
    assert {"2001:db8:1::/56"} == set(agent.held("larger"))
    assert (1, BASE) == agent.held("larger")["2001:db8:1::/56"]


def test_nobody_to_spare_is_banned_for_his_prefixs_past(agent):
    """A history alone bans nobody; a prefix with an own address is not banned, however bad."""
    agent.fail("2001:db8:1:1::1")
    agent.again("2001:db8:1:1::1")
    agent.outwait()
    agent.own.add(ip_address("2001:db8:1:1::53"))
    agent.now += 2

    assert {"2001:db8:1:1::1": (3, grown(2))} == agent.fail("2001:db8:1:1::1")
    assert {("sshd", "2001:db8:1:1::1")} == agent.refused()


@pytest.mark.parametrize("length", [64, 56])
def test_somebody_to_spare_who_comes_while_it_is_banned(agent, length):
    """Then the ban is lifted, in the kernel, too, when next anybody fails there; he alone is."""
    banned = {64: ("2001:db8:1:1::1",), 56: ("2001:db8:1:1::1", "2001:db8:1:2::1")}[length]
    agent.fail(*banned)
    assert [length] == [ip_network(id_).prefixlen for _, id_ in agent.refused()]
    agent.own.add(ip_address("2001:db8:1:1::53"))
    agent.wait(2)

    agent.fail("2001:db8:1:1::1")
    assert {("sshd", "2001:db8:1:1::1")} == agent.refused()
    assert "is never banned as a whole, only what is in it: own address" in agent.said.getvalue()
    assert f"/{length} is lifted" in agent.said.getvalue()


def test_it_is_lifted_before_anybody_is_banned_instead(make):
    """A failure that earns no ban yet is enough, and the ledger has it at once."""
    agent = make(SSHD.replace("[sshd]", "[sshd]\nmaxretry = 2\nbantime.increment = false"))
    agent.fail("2001:db8:1:1::1", "2001:db8:1:1::2")
    agent.own.add(ip_address("2001:db8:1:1::53"))
    agent.wait(2)

    assert {} == agent.fail("2001:db8:1:1::1")
    assert set() == agent.refused()


def test_a_controller_in_what_is_banned(agent):
    """A push tells of its controller, and reloads: his network is free."""
    agent.fail("2001:db8:1:1::1", "2001:db8:1:2::1", "2001:db8:2:1::1")
    (agent.folder / "c").write_text("2001:db8:1:1::53\n")
    agent.wait(2)
    agent.reload()

    assert {("sshd", "2001:db8:2:1::/64")} == agent.refused()


# ---- whose a prefix is


@pytest.mark.parametrize(
    "address, banned",
    [
        ("64:ff9b::c000:201", "64:ff9b::c000:201"),
        ("64:ff9b:1:fffe::c000:201", "64:ff9b:1:fffe::c000:201"),
        ("fe80::1", "fe80::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:0:c000:201::1", "2001:0:c000:201::1"),
        ("2002:c000:201:1::1", "2002:c000:201:1::/64"),
    ],
)
def test_addresses_that_stand_for_others(agent, address, banned):
    """Each of IPv4 behind a translator, and each neighbour, is banned alone, and grows alone."""
    for times in range(3):
        assert {banned: (times + 1, grown(times))} == agent.again(address)
    assert {("sshd", banned)} == agent.refused()


@pytest.mark.parametrize(
    "fmt, banned",
    [
        ("64:ff9b::c000:{}01", 4),
        ("64:ff9b:1:{}::1", 4),
        ("fe80::{}", 4),
        ("2001:0:c000:{}::1", 4),
        # A /48 of 6to4 is one address of IPv4; four are four.
        ("2002:c000:201:{}::1", 1),
        ("2002:c000:{}::1", 4),
    ],
)
def test_no_larger_one_of_many_owners(make, fmt, banned):
    """No crowd behind a translator gets all of it banned."""
    agent = make(SSHD.replace("56 48", "56 48 40 32"))
    assert banned == len(agent.fail(*(fmt.format(n + 1) for n in range(4))))


def test_a_short_prefix_of_6to4(make):
    """By /40, addresses of 6to4 count alone: it would be 256 hosts of IPv4."""
    agent = make("[sshd]\nprefix6 = 40\nmaxretry = 2\n")
    assert {} == agent.fail("2002:c000:201::1", "2002:c000:202::1")
    assert {"2002:c000:201::1": (1, BASE)} == agent.fail("2002:c000:201::1")


def test_a_zone_is_no_part_of_an_address():
    """Nor is it text that may go on to a firewall."""
    assert ip_address("fe80::1") == target("fe80::1%eth0")
    assert "fe80::1" == str(target("fe80::1% } ; flush ruleset"))
    assert ip_network("fe80::/64") == target("fe80::1%eth0/64")
    assert ip_address("192.0.2.1") == target("::ffff:192.0.2.1%x")


def test_kin():
    """An address's are itself and the prefixes that hold it; IPv4 has none."""
    assert ("2001:db8::1", "2001:db8::/64", "2001:db8::/48") == kin(
        ip_address("2001:db8::1"), (64, 48)
    )
    assert ("2001:db8::/56", "2001:db8::/48") == kin(ip_network("2001:db8::/56"), (64, 56, 48))
    assert () == kin(ip_address("192.0.2.1"), (64,))
    assert () == kin(None, (64,))
