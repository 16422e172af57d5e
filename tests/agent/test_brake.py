# SPDX-License-Identifier: MIT
"""Does a pause pause, and is a surge of bans told from what is usual, without helping attackers?"""

import io
import json
import random
from dataclasses import replace

import pytest

from stockade_agent.brake import HALF_LIFE, MOST_HELD, WINDOW, Brake
from stockade_agent.guard import Guard
from stockade_agent.log import Log
from stockade_agent.model import target
from stockade_agent.pauses import EVERY, Pause
from stockade_agent.protected import Protected
from stockade_agent.records import Records
from stockade_agent.specs import FilterSpec, JailSpec, Shield, Surge


NOW = 1_700_000_000.0


class Scene:
    """A jail that bans at the first failure, and its brake."""

    def __init__(self, folder, **surge):
        self.said, self.folder, self.now, self.peers = io.StringIO(), folder, NOW, set()
        self.own = set()
        self.spec = JailSpec(
            "web",
            FilterSpec("f", failregex=("from <HOST>$",)),
            maxretry=1,
            bantime=600,
            shield=Shield("web", ((80, 80),)),
            surge=Surge(**{"floor": 5, **surge}),
        )
        self.begin()

    def begin(self):
        log = Log(self.said, prefixed=False)
        self.records = Records(str(self.folder / "ledger"), log)
        self.guard = Guard(
            self.spec,
            protected=Protected(str(self.folder / "controllers"), lambda: self.own, lambda: ()),
            resolver=None,
            history=None,
            log=log,
            now=self.now,
        )
        self.brake = Brake(self.records, log, self.connected)

    def connected(self, shield):
        assert self.spec.shield == shield
        if self.peers is None:
            raise OSError("no netlink here")
        return self.peers

    def restart(self):
        self.records.close(self.now)
        self.begin()

    def ban(self, *addresses):
        """Let each fail once and return who is banned for it."""
        bans = []
        for address in addresses:
            bans += self.guard.attempt(address, (), self.now)
        return [ban.id for ban in self.brake.passed(self.guard, bans, self.now)]

    def many(self, count, network=0):
        return self.ban(*(f"10.{network}.{n // 250}.{n % 250 + 1}" for n in range(count)))

    @property
    def problem(self):
        return self.brake.problem("web", self.now)

    def free(self):
        """Let bans end, as time does."""
        self.guard.jail.due(self.now)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_nothing_goes_on_in_a_pause(scene):
    """Failures are counted, and whoever would be banned is told; no ban is left anywhere."""
    scene.brake.pause(["web"], None, NOW)

    assert [] == scene.ban("192.0.2.7", "192.0.2.8")
    assert {} == scene.guard.jail.banned
    assert (2, 0) == (scene.guard.jail.failed_total, scene.guard.jail.banned_total)
    assert "192.0.2.7 would be banned, but bans are paused" in scene.said.getvalue()
    assert scene.brake.is_paused("web", NOW)
    assert ["web"] == scene.brake.resume(["web"])
    assert ["192.0.2.7"] == scene.ban("192.0.2.7")
    assert "" == scene.problem


def test_bans_by_hand_go_on_in_a_pause(scene):
    """Who bans by hand in a pause means it."""
    scene.brake.pause([EVERY], None, NOW)
    ban = scene.guard.jail.ban("192.0.2.7", NOW)

    assert [ban] == scene.brake.passed(scene.guard, [ban], NOW)


@pytest.mark.parametrize("jail", [EVERY, "web"])
def test_a_pause_ends_by_itself(scene, jail):
    """At its time bans go on, and it is said."""
    scene.brake.pause([jail], NOW + 60, NOW)
    assert [] == scene.ban("192.0.2.7")
    scene.now = NOW + 60

    assert ["192.0.2.7"] == scene.ban("192.0.2.7")
    assert "the pause is over" in scene.said.getvalue()
    assert [] == scene.brake.resume([EVERY])


def test_a_pause_of_another_jail(scene):
    """It concerns that one alone."""
    scene.brake.pause(["sshd"], None, NOW)

    assert ["192.0.2.7"] == scene.ban("192.0.2.7")
    assert [] == scene.brake.resume(["web"])
    assert ["sshd"] == scene.brake.resume([EVERY])


def test_a_pause_survives_a_restart(scene):
    """Whoever panicked wants no bans after a reboot either."""
    scene.brake.pause([EVERY], NOW + 60, NOW)
    scene.restart()

    assert [] == scene.ban("192.0.2.7")


def test_who_paused_and_since_when_is_kept(scene):
    """Over a restart, too; who pauses once more only says until when."""
    scene.brake.pause([EVERY], NOW + 60, NOW, "anna@desk")
    scene.restart()
    scene.brake.pause([EVERY], None, NOW + 5, "bob")

    assert {EVERY: Pause(None, NOW, "anna@desk")} == scene.brake.pauses(NOW + 5)


def test_a_pause_after_one_that_is_over_is_another(scene):
    """It began when it was asked for, by who asked."""
    scene.brake.pause(["web"], NOW + 60, NOW, "anna")
    assert {} == scene.brake.pauses(NOW + 60)
    scene.brake.pause(["web"], NOW + 120, NOW + 60, "bob")

    assert {"web": Pause(NOW + 120, NOW + 60, "bob")} == scene.brake.pauses(NOW + 60)


def test_a_pause_of_an_agent_that_knew_no_beginning(scene):
    """A push that brings a newer agent ends no pause, and neither does going back."""
    scene.records.note("brake", '{"paused": {"": null}, "surges": {}}')
    scene.restart()
    assert [] == scene.ban("192.0.2.7")
    assert {"": Pause(None)} == scene.brake.pauses(NOW)
    scene.brake.pause(["web"], NOW + 60, NOW, "anna")

    assert {"": None, "web": NOW + 60} == json.loads(scene.records.noted("brake"))["paused"]


def test_a_surge_is_said_and_bans_go_on(scene):
    """With ``alert`` each of them is banned: many addresses do not switch banning off."""
    assert 500 == len(scene.many(500))
    assert "surge: 6 bans within an hour, none before" == scene.problem
    assert 1 == scene.said.getvalue().count("surge:")


def test_a_surge_is_over_after_an_hour(scene):
    """Nobody need answer where nothing waits."""
    scene.many(6)
    scene.now += WINDOW

    assert "" == scene.problem


def test_what_is_usual_is_learnt(scene):
    """Ten times the most that was ever banned within an hour is a surge, less is not."""
    scene.many(5)
    scene.now += WINDOW
    scene.free()
    scene.many(49, 1)
    assert "" == scene.problem
    scene.many(1, 2)

    assert "surge: 50 bans within an hour, never more than 5 before" == scene.problem


def test_what_was_usual_long_ago_counts_less(scene):
    """After a month the most counts half."""
    scene.many(5)
    scene.now += WINDOW
    scene.many(1, 1)  # the first window is over: five are usual
    scene.now += HALF_LIFE
    scene.free()
    scene.many(26, 2)

    assert "surge: 25 bans within an hour, never more than 2 before" == scene.problem


def test_held_bans_wait_for_an_answer(tmp_path):
    """With ``hold`` those past the limit are no bans until they are released."""
    scene = Scene(tmp_path, mode="hold")
    assert 5 == len(scene.many(8))
    assert 5 == len(scene.guard.jail.banned)
    assert [] == scene.ban("10.0.0.8")  # again
    assert "surge: 6 bans within an hour, none before; 3 held back: " in scene.problem
    scene.now += WINDOW
    assert [] == scene.ban("192.0.2.1")
    scene.restart()
    assert 4 == scene.brake.held("web")
    scene.own = {target("10.0.0.7")}
    released = scene.brake.release(scene.guard, scene.now)

    assert ["10.0.0.6", "10.0.0.8", "192.0.2.1"] == [ban.id for ban in released]
    assert "10.0.0.7 stays free, though it was held back" in scene.said.getvalue()
    assert "" == scene.problem
    assert 0 == scene.brake.held("web")
    assert "10.0.0.7" not in scene.guard.jail.banned


def test_dropped_bans_are_forgotten(tmp_path):
    """They were wrong: nobody is banned, and nothing is usual by them."""
    scene = Scene(tmp_path, mode="hold")
    scene.many(8)
    assert [] == scene.brake.release(scene.guard, NOW, drop=True)
    assert ("", 0) == (scene.problem, scene.brake.held("web"))
    scene.many(6, 1)

    assert "surge: 6 bans within an hour, none before; 1 held back" in scene.problem


def test_no_more_is_held_than_memory_bears(tmp_path):
    """Past that, only their number is known."""
    scene = Scene(tmp_path, mode="hold")
    scene.many(MOST_HELD + 15)

    assert MOST_HELD + 10 == scene.brake.held("web")
    assert MOST_HELD == len(scene.brake.release(scene.guard, NOW))


def test_off_asks_nothing(tmp_path):
    """A jail may be told never to mind."""
    scene = Scene(tmp_path, mode="off", share=1.0)
    scene.peers = None

    assert 50 == len(scene.many(50))
    assert "" == scene.problem


def test_most_of_who_is_connected(tmp_path):
    """A jail that bans more than the share of those who are connected is held."""
    scene = Scene(tmp_path, mode="hold", floor=1000, share=50.0)
    scene.peers = {target(f"198.51.100.{n}") for n in range(20)}
    passed = []
    for n in range(20):
        banned = scene.ban(f"198.51.100.{n}")
        passed += banned
        # The firewall cuts the connections of whom it bans.
        scene.peers -= {target(id_) for id_ in banned}

    assert 10 == len(passed)
    assert "11 of 20 who were connected would be banned within an hour; 10 held" in scene.problem


def test_most_of_who_is_connected_by_prefix(tmp_path):
    """A prefix is as many as are connected from it."""
    scene = Scene(tmp_path, mode="alert", floor=1000, share=50.0)
    scene.spec = replace(scene.spec, prefix6=(64,))
    scene.begin()
    scene.peers = {target(f"2001:db8:0:{n // 3}::{n % 3 + 1}") for n in range(21)}

    assert 3 == len(scene.ban(*(f"2001:db8:0:{n}::99" for n in range(3))))
    assert "" == scene.problem
    scene.ban("2001:db8:0:3::99")
    assert "12 of 21 who were connected would be banned within an hour" in scene.problem


def test_a_flood_asks_rarely_who_is_connected(tmp_path):
    """Once a second, whatever number of bans: an attacker must not make the agent slow by it."""
    scene, asked = Scene(tmp_path, floor=10_000, share=50.0), []
    scene.peers = {target(f"198.51.100.{n}") for n in range(20)}
    connected = scene.brake._connected
    scene.brake._connected = lambda shield: asked.append(shield) or connected(shield)
    for network in range(3):
        scene.many(500, network)
        scene.now += 1

    assert 3 == len(asked)
    assert "" == scene.problem
    scene.ban("198.51.100.19")
    scene.ban(*(f"198.51.100.{n}" for n in range(10)))
    assert "surge: 11 of 20 who were connected would be banned within an hour" == scene.problem


def test_few_who_are_connected(tmp_path):
    """Of one who is connected, and is banned, no share tells anything."""
    scene = Scene(tmp_path, mode="hold", floor=1000, share=50.0)
    scene.peers = {target("198.51.100.1")}

    assert ["198.51.100.1"] == scene.ban("198.51.100.1")


def test_nobody_can_tell_who_is_connected(tmp_path):
    """Bans go on, and it is said."""
    scene = Scene(tmp_path, share=50.0)
    scene.peers = None

    assert ["198.51.100.1"] == scene.ban("198.51.100.1")
    assert "who is connected cannot be told: no netlink here" in scene.said.getvalue()


@pytest.mark.parametrize(
    "surge",
    ['{"odd": 1}', '{"since": "x"}', '{"peak": Infinity}', '{"held": 3}', '{"count": null}', "7"],
)
def test_a_damaged_surge_stops_nothing(scene, surge):
    """What is unreadable is said, and the pause beside it holds: whoever panicked wants no bans."""
    scene.records.note("brake", f'{{"paused": {{"web": null}}, "surges": {{"web": {surge}}}}}')
    scene.restart()

    assert "what it says of pauses and surges is damaged" in scene.said.getvalue()
    assert [] == scene.ban("192.0.2.7")
    scene.brake.resume(["web"])
    assert 20 == len(scene.many(20))
    assert "surge: 6 bans within an hour, none before" == scene.problem


@pytest.mark.parametrize("paused", ['{"web": "x"}', '{"web": NaN}', "3", '{"web": []}'])
def test_a_damaged_pause_is_none(scene, paused):
    """Nobody can tell how long it was to last: it is said, and bans go on."""
    scene.records.note("brake", f'{{"paused": {paused}, "surges": {{}}}}')
    scene.restart()

    assert "what it says of pauses and surges is damaged" in scene.said.getvalue()
    assert ["192.0.2.7"] == scene.ban("192.0.2.7")


def test_a_clock_that_was_set_back(tmp_path):
    """A window that began in what is the future now is over: it would collect for ever."""
    scene = Scene(tmp_path, mode="hold")
    scene.now = NOW + 10 * 365 * 86400
    scene.many(5)
    scene.now = NOW
    scene.free()
    for hour in range(1, 9):
        assert 4 == len(scene.many(4, hour))
        scene.now += WINDOW

    assert "" == scene.problem


@pytest.mark.parametrize("seed", range(5))
def test_every_ban_is_passed_or_held(tmp_path, seed):
    """Whatever comes when, no ban is lost, none is made twice, and only ``hold`` holds."""
    rng = random.Random(seed)
    mode = rng.choice(["alert", "hold", "off"])
    scene = Scene(tmp_path, mode=mode, floor=rng.randint(1, 20), ratio=rng.uniform(1, 3))
    passed, failed = set(), set()
    for number in range(300):
        if rng.random() < 0.02:
            scene.now += rng.choice([1.0, WINDOW / 2, WINDOW, 3 * WINDOW])
        address = f"10.{seed}.{number // 200}.{number % 200 + 1}"
        failed.add(address)
        passed.update(scene.ban(address))
    held = {ban.id for ban in scene.brake.release(scene.guard, scene.now)}

    assert failed == passed | held
    assert set() == passed & held
    assert mode == "hold" or not held
