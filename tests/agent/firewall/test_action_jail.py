# SPDX-License-Identifier: MIT
"""What do a jail's actions do together, and what becomes of an order that fails?"""

import threading
import time

import pytest

from agent.firewall.names import Names
from stockade_agent.errors import FirewallError
from stockade_agent.firewall import actions as module
from stockade_agent.firewall.actions import Actions
from stockade_agent.firewall.pool import Pool
from stockade_agent.firewall.process import Ended, Shell
from stockade_agent.firewall.runs import Result, in_shell
from stockade_agent.firewall.tags import Facts
from stockade_agent.model import FOREVER, Ban, target
from stockade_agent.specs import ActionSpec


FACTS = Facts(jail="sshd", now=1000.0)
ONE = {
    "actionstart": "start",
    "actionstop": "stop",
    "actioncheck": "check",
    "actionban": "ban <ip>",
    "actionunban": "unban <ip>",
}


class Commands:
    """Runs nothing: writes down each command, and lets those fail that it is told to."""

    def __init__(self):
        self.lines, self.failing, self.hold = [], set(), threading.Event()
        self.hold.set()

    def __call__(self, step, slow):
        self.hold.wait(60)
        line = f"{step.script.text.split(' ')[0]} {step.values.ip}".strip()
        self.lines.append(line)
        return Ended(ok=False, problem="status 1") if line in self.failing else Ended(ok=True)


def spec(name, definition=None, **parameters):
    definition = {**ONE, **(definition or {})}
    for key, text in definition.items():
        if text and key != "norestored":
            definition[key] = f"{name}-{text}"
    return ActionSpec(name, name, parameters=parameters, definition=definition)


def ban(id_="192.0.2.1", **facts):
    facts = {"at": 990.0, "bantime": 600, "failures": 3, **facts}
    return Ban("sshd", id_, target(id_), **facts)


class Jail:
    """A jail's actions with all that they need."""

    def __init__(self, *specs):
        self.pool, self.commands = Pool(time.monotonic), Commands()
        self.actions = Actions("sshd", specs, self.pool, self.commands, Names(), seconds=float)

    def done(self):
        """Return the commands that were run since the last time, and the results."""
        assert self.pool.drain(60)
        lines, self.commands.lines = self.commands.lines, []
        return lines, self.pool.results()

    def lines(self):
        return self.done()[0]


@pytest.fixture
def jail():
    """Return a function that makes a jail with some actions."""
    made = []

    def make(*specs):
        made.append(Jail(*specs))
        return made[-1]

    yield make
    for one in made:
        one.commands.hold.set()
        one.pool.close()


def test_a_life(jail):
    """Orders become commands, and each is answered with its result."""
    one = jail(spec("a"))

    one.actions.start(FACTS)
    one.actions.ban(ban(), FACTS)
    one.actions.unban(ban(), FACTS)
    one.actions.stop((), FACTS)

    lines, results = one.done()
    assert ["a-start", "a-ban 192.0.2.1", "a-unban 192.0.2.1", "a-stop"] == lines
    orders = [
        ("start", ""),
        ("ban", "192.0.2.1"),
        ("unban", "192.0.2.1"),
        ("flush", ""),
        ("stop", ""),
    ]
    assert [Result("sshd", "a", order, id_, ok=True) for order, id_ in orders] == results


def test_the_last_action_stops_first(jail):
    """Actions are stopped in reverse, each when the one behind it is done."""
    one = jail(spec("a"), spec("b", {"actionflush": "flush"}), spec("c"))
    one.actions.start(FACTS)
    one.actions.ban(ban(), FACTS)
    one.done()

    one.actions.stop([ban()], FACTS)

    lines = one.lines()
    assert {"a-unban 192.0.2.1", "b-flush", "c-unban 192.0.2.1"} == {*lines} - {*lines[-3:]}
    assert ["c-stop", "b-stop", "a-stop"] == [line for line in lines if line.endswith("stop")]


def test_restored_bans_are_not_for_all(jail):
    """An action with norestored is told neither of a restored ban nor of its new end."""
    both = jail(spec("a", {"actionprolong": "prolong"}), spec("b", {"actionprolong": "prolong"}))
    quiet = jail(spec("q", {"norestored": "1", "actionprolong": "prolong"}))
    for one in (both, quiet):
        one.actions.start(FACTS)
        one.done()
        one.actions.ban(ban(restored=True), FACTS)
        one.actions.ban(ban(restored=True, prolonged=True), FACTS)

    assert ["a-ban 192.0.2.1", "a-prolong 192.0.2.1"] == [x for x in both.lines() if x[0] == "a"]
    assert ([], []) == quiet.done()


def test_prolonging_where_there_is_no_command_for_it(jail):
    """An action that cannot prolong is left alone."""
    one = jail(spec("a"))

    one.actions.ban(ban(prolonged=True), FACTS)

    assert ([], []) == one.done()


def test_a_failed_ban_is_tried_again(jail, monkeypatch):
    """A ban that failed is tried again after a while, until it works."""
    monkeypatch.setattr(module, "BACKOFF", (0.05, 0.1))
    one = jail(spec("a"))
    one.commands.failing = {"a-ban 192.0.2.1", "a-check"}

    one.actions.ban(ban(bantime=FOREVER), FACTS)

    results, deadline = [], time.monotonic() + 60
    while len(results) < 4 and time.monotonic() < deadline:
        results += one.done()[1]
        if len(results) == 3:
            one.commands.failing = set()
        time.sleep(0.005)
    assert [0.05, 0.1, 0.1, None] == [result.again for result in results]
    assert [False, False, False, True] == [result.ok for result in results]
    assert "actionstart" not in results[0].problem


@pytest.mark.parametrize("order", ["unban", "flush", "stop", "end"])
def test_a_failed_ban_is_given_up(jail, monkeypatch, order):
    """A ban that was lifted, or is over, is not tried again."""
    monkeypatch.setattr(module, "BACKOFF", (0.1,))
    one = jail(spec("a", {"actioncheck": "", "actionflush": "flush"}))
    one.commands.failing = {"a-ban 192.0.2.1"}

    one.actions.ban(ban(at=990.0, bantime=10 if order == "end" else 600), FACTS)
    lines, (result,) = one.done()
    assert ["a-ban 192.0.2.1"] * 2 == lines
    assert (None if order == "end" else 0.1) == result.again
    if order == "unban":
        one.actions.unban(ban(), FACTS)
    elif order != "end":
        getattr(one.actions, order)((), FACTS)
    # What is put off later is done later: behind it no further try can be.
    one.pool.put("x", lambda _: "over", after=0.5)
    results, deadline = [], time.monotonic() + 60
    while "over" not in results and time.monotonic() < deadline:
        results += one.done()[1]
        time.sleep(0.005)

    assert not any(getattr(r, "order", "") == "ban" for r in results)


def test_a_hanging_action_delays_no_other(jail):
    """What one action does is nothing to the others, of its jail or of another."""
    one = jail(spec("a"), spec("b"))
    release = threading.Event()
    hanging = one.commands

    def run(step, slow):
        if step.script.text.startswith("a-"):
            slow()
            release.wait(60)
        return hanging(step, slow)

    one.actions._run = run
    one.actions.start(FACTS)
    one.actions.ban(ban(), FACTS)

    deadline = time.monotonic() + 60
    while len(hanging.lines) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert ["b-start", "b-ban 192.0.2.1"] == hanging.lines
    release.set()
    assert ["a-start", "a-ban 192.0.2.1"] == one.lines()[2:]


def test_a_lost_action_is_told_of(jail):
    """When a repair has cost the earlier bans, the result says that they must be made again."""
    one = jail(spec("a"), spec("b"))
    one.actions.start(FACTS)
    one.actions.ban(ban(), FACTS)
    one.done()
    one.commands.failing = {"a-check"}
    one.actions.check(FACTS)

    results = {result.action: result for result in one.done()[1]}
    assert (True, False) == (results["a"].lost, results["b"].lost)
    one.commands.failing = set()
    one.actions.reban([ban()], FACTS, "a")
    assert ["a-start", "a-ban 192.0.2.1"][1:] == one.lines()


def test_flush_without_a_command_for_it(jail):
    """Without actionflush each ban is lifted by itself."""
    one = jail(spec("a"))
    one.actions.start(FACTS)
    one.actions.ban(ban(), FACTS)
    one.done()

    one.actions.flush([ban(), ban("192.0.2.2")], FACTS)

    assert ["a-unban 192.0.2.1", "a-unban 192.0.2.2"] == one.lines()


def test_a_failed_flush_is_looked_into(jail):
    """After a failed actionflush the action is checked; single unbans would do no better."""
    one = jail(spec("a", {"actionflush": "flush"}))
    one.actions.start(FACTS)
    one.actions.ban(ban(), FACTS)
    one.done()
    one.commands.failing = {"a-flush"}

    one.actions.flush([ban()], FACTS)

    lines, (result,) = one.done()
    assert ["a-flush", "a-check"] == list(dict.fromkeys(lines))
    assert (False, "actionflush: status 1") == (result.ok, result.problem)


def test_reload(jail):
    """Actions that are gone stop, new ones start with the bans in force, others reload."""
    one = jail(spec("gone"), spec("kept", {"actionreload": "reload"}))
    one.actions.start(FACTS)
    one.actions.ban(ban(), FACTS)
    one.done()

    new = (
        spec("kept", {"actionreload": "again"}),
        spec("new"),
        spec("quiet", {"norestored": "yes"}),
    )
    one.actions.reload(new, [ban()], FACTS)

    lines = one.lines()
    assert ["gone-unban 192.0.2.1", "gone-stop"] == [line for line in lines if line[0] == "g"]
    assert ["kept-again"] == [line for line in lines if line[0] == "k"]
    assert ["new-start", "new-ban 192.0.2.1"] == [line for line in lines if line[0] == "n"]
    assert ["quiet-start"] == [line for line in lines if line[0] == "q"]


def test_a_reload_that_cannot_be(jail):
    """Where a new action is wrong, the old ones stay as they are."""
    one = jail(spec("a"))
    one.actions.start(FACTS)
    one.done()

    with pytest.raises(FirewallError):
        one.actions.reload([spec("b", {"actionban": "x $<ip>"})], (), FACTS)

    one.actions.ban(ban(), FACTS)
    assert ["a-ban 192.0.2.1"] == one.lines()


def test_what_actions_need_to_know(jail):
    """The tags of all their commands are known, so that nobody collects facts in vain."""
    one = jail(spec("a"), spec("b", {"actionban": "x <ipmatches>"}))

    assert {"ip", "ipmatches"} == one.actions.tags
    one.actions.reload([spec("a")], (), FACTS)
    assert {"ip"} == one.actions.tags


def test_real_commands(tmp_path):
    """Commands run in a shell, with the values in their environment."""
    out = tmp_path / "out"
    text = f'printf "%s|" "<ip-host>" "<matches>" "<F-USER>" >> {out}; exit <failures>'
    pool = Pool(time.monotonic)
    specs = [ActionSpec("a", "a", parameters={"timeout": "30"}, definition={"actionban": text})]
    actions = Actions("sshd", specs, pool, in_shell(Shell(time.monotonic)), Names(), seconds=float)

    actions.ban(ban(matches=("a'b", '$(x) "'), data={"user": "~!"}, bantime=1), FACTS)

    assert pool.drain(60)
    (result,) = pool.results()
    assert (False, "actionban: status 3") == (result.ok, result.problem)
    assert "host-of-192.0.2.1|a'b\n$(x) \"|~!|" * 2 == out.read_text()
    pool.close()
