# SPDX-License-Identifier: MIT
"""Is a ban in the ledger before it is in the kernel, and there before it is called enforced?"""

import io

import pytest

from stockade_agent.enforcement import BACKOFF, GAP, Enforcement
from stockade_agent.errors import FirewallError
from stockade_agent.firewall.memory import Memory
from stockade_agent.log import Log
from stockade_agent.model import Ban, target
from stockade_agent.records import Records
from stockade_agent.specs import Shield


NOW = 1000.0
SHIELDS = (Shield("sshd", ((22, 22),)), Shield("vnc", ((5901, 5901),)))


def ban(id_, jail="sshd"):
    return Ban(jail, id_, target(id_), at=NOW, bantime=600, failures=3)


class Scene:
    """An enforcement, its firewall, its ledger and its log."""

    made = []  # noqa: RUF012 - closed after each test

    def __init__(self, firewall=None):
        self.made.append(self)
        self.said = io.StringIO()
        log = Log(self.said)
        self.records = Records(":memory:", log)
        self.firewall, self.in_force = firewall or Memory(), []
        self.refusals, self.swept = 0, []
        self.enforcement = Enforcement(
            self.choose, self.sweep, lambda: self.in_force, self.records, log
        )

    def choose(self):
        if self.refusals:
            self.refusals -= 1
            raise FirewallError("no tool", backend="auto")
        return self.firewall

    def sweep(self, chosen):
        self.swept.append((chosen.name, self.held()))

    def ban(self, *bans):
        self.in_force += bans
        for each in bans:
            self.enforcement.order(each)
        self.enforcement.carry_out(NOW, at_once=True)

    def held(self):
        return {jail: {str(t) for t in held} for jail, held in self.firewall.banned().items()}


@pytest.fixture(autouse=True)
def closed():
    yield
    while Scene.made:
        Scene.made.pop().records.close(NOW)


@pytest.fixture
def scene():
    scene = Scene()
    scene.enforcement.start(NOW, SHIELDS)
    return scene


def test_start_makes_the_kernel_hold_what_is_in_force():
    """Bans of the ledger are made in one batch, before anything else."""
    scene = Scene()
    scene.in_force = [ban("192.0.2.7"), ban("192.0.2.8", "vnc")]

    assert scene.enforcement.start(NOW, SHIELDS)
    assert {"sshd": {"192.0.2.7"}, "vnc": {"192.0.2.8"}} == scene.held()
    assert ["start"] == [call.method for call in scene.firewall.calls]
    assert NOW == scene.enforcement.proved_at


def test_bans_ordered_together_are_one_batch(scene):
    """A flood goes to the firewall at once, and is enforced afterwards."""
    bans = [ban(f"2001:db8::{n:x}") for n in range(500)]
    scene.ban(*bans)

    assert ["start", "apply"] == [call.method for call in scene.firewall.calls]
    assert all(scene.enforcement.is_enforced(each) for each in bans)


def test_a_flood_waits_for_the_next_batch(scene):
    """The first ban goes out at once; those that follow close upon it share a process."""

    def order(number, now):
        each = ban(f"192.0.2.{number}")
        scene.in_force.append(each)
        scene.enforcement.order(each)
        scene.enforcement.carry_out(now)
        return scene.enforcement.wait

    waits = [order(number, NOW + number * GAP / 8) for number in range(8)]
    assert waits[0] is None
    assert [GAP * left / 8 for left in range(7, 0, -1)] == pytest.approx(waits[1:])
    assert {"192.0.2.0"} == scene.held()["sshd"]
    assert 8 == len(list(scene.records.bans()))
    scene.enforcement.carry_out(NOW + 2 * GAP)

    assert 8 == len(scene.held()["sshd"])
    assert ["start", "apply", "apply"] == [call.method for call in scene.firewall.calls]
    assert scene.enforcement.wait is None
    assert order(9, NOW + 4 * GAP) is None


@pytest.mark.parametrize("after", [0.0, -3600.0], ids=["by-hand", "clock-set-back"])
def test_what_does_not_wait(scene, after):
    """Somebody who bans by hand is answered at once, and no clock can hold a ban back."""
    scene.ban(ban("192.0.2.7"))
    scene.enforcement.order(ban("192.0.2.8"))
    scene.enforcement.carry_out(NOW + after, at_once=after == 0)

    assert {"192.0.2.7", "192.0.2.8"} == scene.held()["sshd"]


def test_the_intent_is_in_the_ledger_before_the_firewall_is_told(scene):
    """What the kernel refuses was written down first."""
    known = []
    apply = scene.firewall.apply

    def watch(*args):
        known.extend(each.id for each in scene.records.bans())
        apply(*args)

    scene.firewall.apply = watch
    scene.ban(ban("192.0.2.7"))

    assert ["192.0.2.7"] == known


def test_unban(scene):
    """A lifted ban is no longer held, nor called enforced."""
    scene.ban(ban("192.0.2.7"))
    scene.enforcement.lift(ban("192.0.2.7"))
    scene.enforcement.carry_out(NOW, at_once=True)

    assert {"sshd": set(), "vnc": set()} == scene.held()
    assert not scene.enforcement.is_enforced(ban("192.0.2.7"))


def test_nothing_to_do_asks_nobody(scene):
    """Without orders no process runs."""
    scene.enforcement.carry_out(NOW)

    assert 1 == len(scene.firewall.calls)


def test_rules_that_somebody_flushed_are_made_anew_at_once(scene):
    """A refused batch is followed by a start with all bans, within the same call."""
    scene.ban(ban("192.0.2.7"))
    scene.firewall.lose()
    scene.firewall.fail(1)
    scene.ban(ban("192.0.2.8"))

    assert {"192.0.2.7", "192.0.2.8"} == scene.held()["sshd"]
    assert ("", None) == (scene.enforcement.problem, scene.enforcement.retry)
    assert "made anew after" in scene.said.getvalue()


def test_a_failed_ban_is_said_kept_and_tried_again(scene):
    """While the firewall fails, the problem stands, and each retry waits longer."""
    scene.firewall.fail(100, "kernel says no")
    scene.ban(ban("192.0.2.7"))
    assert "memory: kernel says no" == scene.enforcement.problem
    assert not scene.enforcement.is_enforced(ban("192.0.2.7"))
    waits = [scene.enforcement.retry]
    for _ in range(8):
        scene.enforcement.start(NOW)
        waits.append(scene.enforcement.retry)
    assert [*BACKOFF, BACKOFF[-1], BACKOFF[-1], BACKOFF[-1]] == waits
    scene.firewall.fail(0)

    assert scene.enforcement.start(NOW)
    assert scene.enforcement.is_enforced(ban("192.0.2.7"))
    assert ("", None) == (scene.enforcement.problem, scene.enforcement.retry)
    assert 1 == scene.said.getvalue().count("kernel says no")


def test_a_new_ban_is_tried_although_the_firewall_had_failed(scene):
    """Trouble with one batch keeps no later ban from the kernel."""
    scene.firewall.fail(2)
    scene.ban(ban("192.0.2.7"))
    assert scene.enforcement.problem
    scene.ban(ban("192.0.2.8"))

    assert scene.enforcement.is_enforced(ban("192.0.2.8"))
    assert scene.enforcement.retry is not None


def test_one_jails_trouble_is_its_own(scene):
    """When a batch of several jails is refused, each jail's bans are tried alone."""
    apply = scene.firewall.apply

    def broken(*args):
        if any(each.jail == "vnc" for each in args[0]):
            raise FirewallError("not vnc", backend="memory")
        apply(*args)

    def refused(*_):
        raise FirewallError("not vnc", backend="memory")

    scene.firewall.apply, scene.firewall.start = broken, refused
    scene.ban(ban("192.0.2.7"), ban("192.0.2.8", "vnc"))

    assert {"sshd": {"192.0.2.7"}, "vnc": set()} == scene.held()
    assert "[vnc] firewall: memory: not vnc" in scene.said.getvalue()


def test_no_backend_at_the_start_is_tried_again():
    """Without a firewall the agent says so, counts on, and takes one when it comes."""
    scene = Scene()
    scene.refusals = 1
    assert not scene.enforcement.start(NOW, SHIELDS)
    assert "auto: no tool" == scene.enforcement.problem
    scene.ban(ban("192.0.2.7"))
    assert not scene.enforcement.is_enforced(ban("192.0.2.7"))
    assert ["192.0.2.7"] == [each.id for each in scene.records.bans()]

    assert scene.enforcement.start(NOW)
    assert {"192.0.2.7"} == scene.held()["sshd"]


def test_ids_without_an_address_never_reach_the_firewall(scene):
    """A ban of a user name is for actions, not for packets."""
    named = Ban("sshd", "root", None, at=NOW, bantime=600)
    scene.ban(named)

    assert ["start"] == [call.method for call in scene.firewall.calls]
    assert not scene.enforcement.is_enforced(named)


def test_another_backend_leaves_nothing_of_the_old_one():
    """What an earlier backend left is swept once the new one holds the bans, and only then."""
    scene = Scene()
    scene.in_force = [ban("192.0.2.7")]
    scene.records.held_by("iptables")
    scene.enforcement.start(NOW, SHIELDS)
    scene.enforcement.start(NOW, SHIELDS)

    assert [("memory", {"sshd": {"192.0.2.7"}, "vnc": set()})] == scene.swept
    assert "memory" == scene.records.backend


def test_objects_of_other_names():
    """Before the same backend starts under other names, what has the old ones is removed."""
    former, later = Memory(), Memory()
    scene = Scene(former)
    scene.in_force = [ban("192.0.2.7")]
    scene.enforcement.start(NOW, SHIELDS)
    scene.enforcement.use(lambda: later, renamed=True)
    scene.enforcement.start(NOW)

    assert "stop" == former.calls[-1].method
    assert {target("192.0.2.7")} == later.banned()["sshd"]


def test_what_somebody_took_is_put_back(scene):
    """Bans that the kernel lost are made again, and only these; what is to come waits no longer."""
    scene.ban(ban("192.0.2.7"), ban("192.0.2.8"))
    assert "" == scene.enforcement.mend(NOW)
    scene.firewall.lose()
    late = ban("192.0.2.9")
    scene.in_force.append(late)
    scene.enforcement.order(late)

    assert "2 bans" == scene.enforcement.mend(NOW)
    assert {"192.0.2.7", "192.0.2.8", "192.0.2.9"} == scene.held()["sshd"]
    assert "" == scene.enforcement.mend(NOW)


def test_what_only_a_start_can_mend(scene):
    """Where a backend cannot put bans back one by one, all is made anew; a failure is a problem."""
    scene.ban(ban("192.0.2.7"))
    scene.firewall.lose()
    scene.firewall.fail()
    assert "told to fail" in scene.enforcement.mend(NOW)
    assert {"192.0.2.7"} == scene.held()["sshd"]

    scene.firewall.lose()
    scene.firewall.fail(2)
    scene.enforcement.mend(NOW)
    assert "told to fail" in scene.enforcement.problem
    assert scene.enforcement.retry is not None


def test_a_backend_that_is_gone(scene):
    """One that keeps failing is replaced by another that works, if there is one."""
    gone, scene.firewall = scene.firewall, Memory()
    gone.fail(10)
    scene.refusals = 1
    tries = 0
    while not scene.enforcement.start(NOW):
        tries += 1
        assert tries < 10

    assert 4 == tries
    assert scene.firewall is scene.enforcement.firewall
