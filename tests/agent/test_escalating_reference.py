# SPDX-License-Identifier: MIT
"""Do bans of prefixes grow as a plain model of the rules says, whatever happens?"""

import tempfile
from ipaddress import IPv6Network, ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.escalating import BASE, SSHD, WEB, Agent, grown
from stockade_agent.model import target


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
