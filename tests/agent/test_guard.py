# SPDX-License-Identifier: MIT
"""Does a jail at work ban whom its lines name, and nobody who is to be spared?"""

import io

import pytest

from stockade_agent.errors import ControlError, RegexError
from stockade_agent.filter import Filter
from stockade_agent.firewall.established import Connection
from stockade_agent.guard import Guard
from stockade_agent.log import Log
from stockade_agent.model import Block, target
from stockade_agent.protected import Protected
from stockade_agent.specs import ActionSpec, FilterSpec, JailSpec, Shield


NOW = 1_700_000_000.0


def action(name, **options):
    return ActionSpec(name, name, definition={"actionban": "x", **options})


class Names:
    """A resolver whose answers a test gives."""

    def __init__(self):
        self.known, self.asked = {}, []

    def addresses(self, name, now, *, first=False):
        self.asked.append(name)
        return self.known.get(name)

    def tell(self, name, *addresses):
        self.known[name] = tuple(target(address) for address in addresses)


class Scene:
    """A guard and what is around it."""

    def __init__(self, tmp_path, **options):
        self.names, self.said = Names(), io.StringIO()
        self.own = {target("127.0.0.1")}
        protected = Protected(str(tmp_path / "controllers"), lambda: self.own, lambda: ())
        self.peers = protected.peers
        regex = options.pop("failregex", ("failed from <HOST>$",))
        spec = {"maxretry": 2, "shield": Shield("sshd"), **options}
        self.guard = Guard(
            JailSpec("sshd", FilterSpec("f", failregex=regex, usedns="yes"), **spec),
            protected=protected,
            resolver=self.names,
            history=None,
            log=Log(self.said, prefixed=False),
            now=NOW,
        )

    def read(self, *hosts, now=NOW):
        return [ban.id for ban in self.guard.read(block(*hosts, now=now), now, live=True)]


def block(*hosts, now=NOW):
    """Return the lines of failures from these."""
    data = "".join(f"failed from {host}\n" for host in hosts).encode()
    return Block(("sshd",), "journal", data, "", (now,) * len(hosts))


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_failures_become_bans(scene):
    """Enough failures of one address are one ban of it."""
    assert ["192.0.2.7"] == scene.read("192.0.2.7", "192.0.2.8", "192.0.2.7")


def test_jails_with_one_filter_judge_once(tmp_path, monkeypatch):
    """Whichever reads a block first judges it for the others; each counts for itself."""
    first, second = Scene(tmp_path), Scene(tmp_path, maxretry=3)
    second.guard.join(first.guard)
    calls, failures = [], Filter.failures
    monkeypatch.setattr(
        Filter, "failures", lambda *a, **options: calls.append(a) or failures(*a, **options)
    )
    blocks = [block("192.0.2.7", "192.0.2.7"), block("192.0.2.7", "192.0.2.8")]
    bans = [
        [ban.id for ban in scene.guard.read(each, NOW, live=True)]
        for each in blocks
        for scene in (first, second)
    ]

    assert [["192.0.2.7"], [], [], ["192.0.2.7"]] == bans
    assert len(blocks) == len(calls)


def test_one_of_them_that_is_idle(tmp_path):
    """What one passes over the other judges for itself."""
    first, second = Scene(tmp_path), Scene(tmp_path)
    second.guard.join(first.guard)
    first.guard.idle = True
    data = block("192.0.2.7", "192.0.2.7")

    assert [] == first.guard.read(data, NOW, live=True)
    assert ["192.0.2.7"] == [ban.id for ban in second.guard.read(data, NOW, live=True)]


def test_lines_that_a_filter_passes_over_are_counted_once(tmp_path):
    """Jails that share a filter share its suspension too."""
    first, second = Scene(tmp_path), Scene(tmp_path)
    second.guard.join(first.guard)
    first.guard.budget._suspend(NOW)
    data = block("192.0.2.7", "192.0.2.7")

    assert [[], []] == [scene.guard.read(data, NOW, live=True) for scene in (first, second)]
    assert 2 == first.guard.budget.passed_over
    assert "suspended" in second.guard.problem


def test_a_name_waits_for_its_addresses(scene):
    """A host name is resolved beside the loop; each address that it has counts."""
    assert [] == scene.read("bad.example", "bad.example")
    scene.names.tell("bad.example", "192.0.2.7", "2001:db8::7")

    found = [ban.id for ban in scene.guard.answered("bad.example", NOW)]
    assert ["192.0.2.7", "2001:db8::7"] == sorted(found)
    assert [] == scene.guard.answered("bad.example", NOW)


def test_a_name_without_an_address_is_no_failure(scene):
    """Who cannot be resolved cannot be banned, and it is said."""
    scene.names.tell("bad.example")

    assert [] == scene.read("bad.example", "bad.example")
    assert "[sshd] no address of bad.example is known" in scene.said.getvalue()


def test_waiting_failures_are_bounded(scene, monkeypatch):
    """A flood of names drops the oldest rather than filling the memory."""
    monkeypatch.setattr("stockade_agent.guard.MOST_WAITING", 3)
    scene.read(*[f"{n}.example" for n in range(5)])

    assert 3 == len(scene.guard._waiting)
    assert "0.example is not counted" in scene.said.getvalue()


def test_nobody_is_banned_before_the_ignore_list_is_known(tmp_path):
    """While a name in ignoreip is being resolved, failures wait; then the named one is spared."""
    scene = Scene(tmp_path, ignoreip=("friend.example",))
    assert [] == scene.read("192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.8")
    scene.names.tell("friend.example", "192.0.2.7")

    assert ["192.0.2.8"] == [ban.id for ban in scene.guard.answered("friend.example", NOW)]
    assert "[sshd] Ignore 192.0.2.7 by dns" in scene.said.getvalue()


def test_a_name_server_that_fails_takes_no_shelter(tmp_path):
    """A name in ignoreip that is not known any more stands for the addresses that it had."""
    scene = Scene(tmp_path, ignoreip=("friend.example",))
    scene.names.tell("friend.example", "192.0.2.7")
    assert [] == scene.read("192.0.2.7", "192.0.2.7")
    scene.names.tell("friend.example")
    assert [] == scene.read("192.0.2.7", "192.0.2.7")
    scene.names.tell("friend.example", "192.0.2.8")

    assert ["192.0.2.7"] == scene.read("192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.8")


def test_an_address_that_becomes_ours_is_spared(scene):
    """Own addresses are looked up again before a ban is made."""
    assert [] == scene.read("192.0.2.7")
    scene.own.add(target("192.0.2.7"))

    assert [] == scene.read("192.0.2.7", now=NOW + 5)
    assert [] == scene.read("192.0.2.7", "192.0.2.7", now=NOW + 5)
    assert {} == scene.guard.jail.banned


def test_by_hand_nobody_is_banned_who_is_spared(scene):
    """A person gets the reason."""
    assert target("192.0.2.0/24") == scene.guard.shelter.check("192.0.2.9/24", NOW)
    scene.guard.change(ignoreip=("203.0.113.9",))
    spared = (("127.0.0.1", "own address"), ("203.0.113.9", "ip"), ("203.0.113.0/24", "ip"))
    for id_, why in (*spared, ("sshd", "no address")):
        with pytest.raises(ControlError, match=why):
            scene.guard.shelter.check(id_, NOW)


def test_an_error_of_ours_stops_one_jail_only(scene, monkeypatch):
    """Whatever happens while a line is judged is said, and ends that jail's work."""
    monkeypatch.setattr(scene.guard.filter, "failures", lambda *_, **__: 1 / 0)
    assert [] == scene.read("192.0.2.7")
    assert [] == scene.read("192.0.2.7")

    assert "stopped by ZeroDivisionError: division by zero" == scene.guard.problem
    assert 1 == scene.said.getvalue().count("ZeroDivisionError")


def test_a_regex_that_does_not_compile_is_said_at_the_start(tmp_path):
    """A broken jail is refused when it is made."""
    with pytest.raises(RegexError):
        Scene(tmp_path, failregex=("(<HOST>",))


def logged_in(scene, *, connected=True):
    """Alice logs in by a key from 192.0.2.7, and stays."""
    there = [Connection(target("192.0.2.7"), 40000, 22, 0)]
    scene.peers._ask = lambda _: iter(there if connected else [])
    line = b"web1 sshd[7]: Accepted publickey for alice from 192.0.2.7 port 40000 ssh2: RSA x\n"
    spec = JailSpec("sshd", FilterSpec("sshd", ()), ignorepeers=True)
    scene.peers.read(Block((), "journal", line, ""), [spec])


def test_who_is_logged_in_by_a_key_is_not_banned(tmp_path):
    """While he is there his failures count, but no ban cuts him off; it comes once he is gone."""
    scene = Scene(tmp_path, ignorepeers=True)
    logged_in(scene)
    assert [] == scene.read(*["192.0.2.7"] * 5)
    assert ({}, 1, 0) == (
        scene.guard.jail.banned,
        scene.guard.jail.failed_now,
        scene.guard.jail.banned_total,
    )
    assert {"192.0.2.7"} == set(scene.guard.jail.changed())
    assert ["192.0.2.8"] == scene.read("192.0.2.8", "192.0.2.8")
    said = "[sshd] 192.0.2.7 would be banned, but is spared: alice is logged in by public key"
    assert 1 == scene.said.getvalue().count(said)
    logged_in(scene, connected=False)

    assert ["192.0.2.7"] == scene.read("192.0.2.7", now=NOW + 2)
    assert 6 == scene.guard.jail.banned["192.0.2.7"].failures


def test_failures_of_who_was_spared_grow_old(tmp_path):
    """They count no longer than any others."""
    scene = Scene(tmp_path, ignorepeers=True, findtime=600)
    logged_in(scene)
    assert [] == scene.read(*["192.0.2.7"] * 5)
    logged_in(scene, connected=False)

    assert [] == scene.read("192.0.2.7", now=NOW + 601)


def test_a_jail_that_does_not_ask_bans_him(tmp_path):
    """Without ``ignorepeers`` the verdict is fail2ban's."""
    scene = Scene(tmp_path)
    logged_in(scene)

    assert ["192.0.2.7"] == scene.read("192.0.2.7", "192.0.2.7")


@pytest.mark.parametrize("id_", ["192.0.2.7", "192.0.2.0/24"])
def test_by_hand_he_is_not_banned_either(tmp_path, id_):
    """Nor is his network; failures told by hand are taken, and earn no ban."""
    scene = Scene(tmp_path, ignorepeers=True)
    logged_in(scene)
    with pytest.raises(ControlError, match="alice is logged in by public key"):
        scene.guard.shelter.check(id_, NOW)
    scene.guard.change(ignorepeers=False)
    assert target(id_) == scene.guard.shelter.check(id_, NOW)
    scene.guard.revert()

    assert [] == scene.guard.attempt("192.0.2.7", ["a", "b", "c"], NOW)
    assert 1 == scene.guard.jail.failed_now


@pytest.mark.parametrize(
    "options, problem",
    [
        pytest.param({}, "", id="none"),
        pytest.param({"failregex": ()}, "no failregex: nothing can match", id="no-failregex"),
        pytest.param({"shield": None}, "no action of it bans", id="no-firewall"),
        pytest.param(
            {"shield": None, "actions": (action("mail", norestored="1"),)},
            "no action of it bans",
            id="mail",
        ),
        pytest.param({"shield": None, "actions": (action("own"),)}, "", id="own-action"),
    ],
)
def test_what_a_jail_does_not_do_is_its_problem(tmp_path, options, problem):
    """What the configuration asks for and is not done is said in the status."""
    assert problem == Scene(tmp_path, **options).guard.problem
