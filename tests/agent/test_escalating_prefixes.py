# SPDX-License-Identifier: MIT
"""Do bans grow for who comes back when prefixes are banned, and from whichever address he comes?"""

import tempfile
from ipaddress import IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import piped
from stockade_agent.escalation import kin
from stockade_agent.model import target


BASE, MOST = 600, 20_000
HEAD = f"""\
[DEFAULT]
enabled = true
maxretry = 1
findtime = 300
bantime = {BASE}
bantime.increment = true
bantime.maxtime = {MOST}
failregex = ^failed from <HOST>$
logpath = {{folder}}/auth.log
action = nftables[port=22]
"""
SSHD = "[sshd]\nprefix6 = 64\nprefix6.wider = 56 48\nprefix6.members = 2\n"
WEB = "[web]\nbantime.overalljails = true\n"


class Agent(piped.Agent):
    """An agent of which a test says what addresses its host has, and that can be killed."""

    def __init__(self, folder, jails):
        super().__init__(Path(folder), HEAD + jails)
        self.own = set()
        self.start()

    def start(self):
        super().start()
        # Whatever addresses and gateways the machine has.
        self.pipe._protected._own, self.pipe._protected._routers = (lambda: self.own), tuple
        self.pipe._protected.move(str(self.folder / "c"))

    def kill(self):
        """Begin anew, as after kill -9: what was not committed before is lost."""
        self.pipe.records._ledger._db.close()
        self.pipe.intake.close()
        self.pipe.resolver.close()
        self.start()

    def fail(self, *addresses, jail="sshd"):
        super().fail(*addresses, jail=jail)
        return self.held(jail)

    def wait(self, seconds):
        self.now += seconds
        self.pipe.unban_due(self.now)

    def outwait(self):
        """Wait until every ban is over."""
        while (end := self.pipe.guards.next_due()) is not None:
            self.wait(end - self.now + 1)

    def again(self, *addresses, jail="sshd"):
        """Return the bans that addresses earn once all others are over."""
        self.outwait()
        return self.fail(*addresses, jail=jail)

    def held(self, jail="sshd"):
        """Return the bans in force: how many there were of each id, and how long it lasts."""
        return {
            ban.id: (ban.count, ban.expires_at - self.now)
            for ban in self.pipe.guards[jail].jail.banned.values()
        }

    def refused(self):
        """Return what the kernel refuses, and see that the ledger has the same."""
        jails = self.pipe.guards
        kernel = {(jail, id_) for jail in jails for id_ in self.kernel(jail)}
        assert kernel == {(jail, id_) for jail in jails for id_ in self.noted(jail)}
        return kernel


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


def grown(times):
    """Return the bantime of who was banned so many times before."""
    return min(MOST, BASE * 2**times)


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


# ---- against a plain model of the rules


class Model:
    """The rules of docs/agent.md, as plainly as they can be said."""

    def __init__(self, *, overall):
        self.lengths = {"sshd": (64, 56, 48), "web": ()}
        self.overall = {"web"} | ({"sshd"} if overall else set())
        self.held = {"sshd": {}, "web": {}}  # jail -> network -> (count, end)
        self.past = {}  # (jail, network) -> bans

    def here(self, jail, whom, lengths=None):
        """Return how often who is in all of ``whom`` was banned by a jail."""
        lengths = self.lengths[jail] if lengths is None else lengths
        prefixes = {w.supernet(new_prefix=n) for w in whom for n in lengths if n < w.prefixlen}
        return max(self.past.get((jail, network), 0) for network in {*whom, *prefixes})

    def before(self, jail, whom):
        if jail not in self.overall:
            return self.here(jail, whom)
        return sum(self.here(each, whom, self.lengths["sshd"]) for each in self.held)

    def fail(self, jail, address, now, *, by_hand=False):
        who, held = IPv6Network(address), self.held[jail]
        lengths = self.lengths[jail]
        whose = who.supernet(new_prefix=64) if lengths and not by_hand else who
        holding = [network for network in held if whose.subnet_of(network)]
        if holding:
            largest = min(holding, key=lambda network: network.prefixlen)
            if not by_hand or largest == who:
                count, end = held[largest]
                held[largest] = (count, max(end, now + BASE))
            return
        whom = {who, whose} if not by_hand else {who}
        self.make(jail, whose, self.before(jail, whom), self.here(jail, whom), now)
        for wider in lengths[1:] if not by_hand else ():
            network = who.supernet(new_prefix=wider)
            inside = [each for each in held if each.subnet_of(network)]
            owners = {n.supernet(new_prefix=64) if n.prefixlen > 64 else n for n in inside}
            if len(owners) >= 2:
                count = max(held[each][0] for each in inside) - 1
                before = max(count, self.before(jail, {network}))
                self.make(jail, network, before, self.here(jail, {network}), now)

    def make(self, jail, network, before, here, now):
        held = self.held[jail]
        inside = [each for each in held if each != network and each.subnet_of(network)]
        ends = [held[each][1] for each in inside]
        count = max([before + 1, *(held[each][0] for each in inside)])
        past = [self.past.get((jail, each), 0) for each in (*inside,)]
        self.past[jail, network] = max(here + 1, *past) if past else here + 1
        for each in inside:
            del held[each]
            self.past.pop((jail, each), None)
        held[network] = (count, max([now + grown(before), *ends]))

    def unban(self, jail, network):
        del self.held[jail][network]
        self.past.pop((jail, network), None)

    def wait(self, now):
        for held in self.held.values():
            for network in [each for each, (_, end) in held.items() if end < now]:
                del held[network]


ADDRESSES = st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2), st.integers(1, 2))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fail"), st.sampled_from(["sshd", "sshd", "web"]), ADDRESSES),
        st.tuples(st.just("ban"), st.sampled_from(["sshd", "web"]), ADDRESSES),
        st.tuples(st.just("wait"), st.sampled_from([7, 601, 1201, 30_001]), st.none()),
        st.tuples(st.just("unban"), st.sampled_from(["sshd", "web"]), st.integers(0, 9)),
        st.tuples(st.just("kill"), st.none(), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(STEPS, st.booleans())
def test_as_the_rules_say(steps, overall):
    """Whatever fails, is banned by hand, lifted, ends, or dies: kernel, ledger, rules agree."""
    with tempfile.TemporaryDirectory() as folder:
        word = "true" if overall else "false"
        agent = Agent(folder, f"{SSHD}bantime.overalljails = {word}\n{WEB}")
        model = Model(overall=overall)
        for kind, what, more in steps:
            if kind in ("fail", "ban"):
                large, middle, small, host = more
                address = ip_address(f"2001:db8:1{large}:{middle}0{small}::{host}")
                word = {"fail": "attempt", "ban": "ban"}[kind]
                agent.ask(word, jail=what, ids=(str(address),))
                model.fail(what, address, agent.now, by_hand=kind == "ban")
            elif kind == "wait":
                agent.wait(what)
                model.wait(agent.now)
            elif kind == "unban" and model.held[what]:
                held = sorted(model.held[what])
                network = held[more % len(held)]
                agent.ask("unban", jail=what, ids=(str(network),))
                model.unban(what, network)
            elif kind == "kill":
                agent.kill()
                model.wait(agent.now)
            told = {
                (jail, IPv6Network(id_)): (count, agent.now + left)
                for jail in model.held
                for id_, (count, left) in agent.held(jail).items()
            }
            expected = {
                (jail, n): ban for jail in model.held for n, ban in model.held[jail].items()
            }
            assert expected == told
            assert {(jail, str(target(str(n)))) for jail, n in expected} == agent.refused()
        agent.end()
