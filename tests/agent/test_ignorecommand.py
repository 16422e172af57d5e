# SPDX-License-Identifier: MIT
"""Does an ignorecommand spare whom it names, and nobody else when it fails?"""

import time

import pytest

from stockade_agent import ignorecommand as module
from stockade_agent.audit import audit
from stockade_agent.firewall.process import Ended
from stockade_agent.ignorecommand import HANGS, LANES, MOST, PAUSE, IgnoreCommand
from stockade_agent.model import Failure, target
from stockade_agent.resolver import HostNames
from stockade_agent.specs import FilterSpec, IgnoreCache, JailSpec


NOW = 1_700_000_000.0


class Program:
    """A shell and a pool in one: says what it is told to when a test lets it."""

    echo_escapes = True

    def __init__(self):
        self.works, self.asked, self.answer = [], [], Ended(ok=True, code=0)

    def put(self, lane, work):
        self.works.append((lane, work))

    def run(self, text, variables, timeout, slow):
        self.asked.append((text, variables, timeout))
        return self.answer

    def work(self, count=None):
        """Do what was put, all of it or so many; return how many times a program was run."""
        before = len(self.asked)
        for _ in range(len(self.works) if count is None else count):
            _, work = self.works.pop(0)
            done = work(lambda: None)
            if done is not None:
                done(NOW)
        return len(self.asked) - before


NO = Ended(ok=False, problem="status 1", code=1)
BROKEN = Ended(ok=False, problem="status 127: not found", code=127)
HUNG = Ended(ok=False, problem="killed after 10 s")


@pytest.fixture
def program():
    return Program()


def command(program, text="check <ip>", cache=None):
    spec = JailSpec("sshd", FilterSpec("f", ()), ignorecommand=text, ignorecache=cache)
    return IgnoreCommand(spec, program.put, program, HostNames())


def failure(id_="192.0.2.7", at=NOW, **data):
    return Failure(at=at, id=id_, address=target(id_), data=data)


@pytest.mark.parametrize(
    "answer, ignored, problem",
    [
        pytest.param(Ended(ok=True, code=0), True, "", id="yes"),
        pytest.param(NO, False, "", id="no"),
        pytest.param(BROKEN, False, "status 127: not found", id="broken"),
        pytest.param(HUNG, False, "killed after 10 s", id="hangs"),
    ],
)
def test_what_an_answer_means(program, answer, ignored, problem):
    """Status 0 spares; whatever else it says, or does not, the failure counts."""
    asked, program.answer = command(program), answer
    one = failure()

    assert asked.ask(one, NOW) is None
    assert [] == asked.decided()
    program.work()
    assert [(one, ignored)] == asked.decided()
    assert [] == asked.decided()
    assert problem == asked.problem


def test_the_same_question_is_asked_once_at_a_time(program):
    """Failures that would be asked about in the same words share the answer."""
    asked = command(program, "check <ip> <F-USER>")
    for user in ("a", "b", "a"):
        asked.ask(failure(user=user), NOW)

    assert 2 == program.work()
    assert ["a", "a", "b"] == sorted(f.data["user"] for f, _ in asked.decided())
    asked.ask(failure(user="a"), NOW)
    assert 1 == program.work()


def test_values_are_data(program):
    """What an attacker writes is in a variable, not in the command."""
    asked = command(program, 'check "<F-USER>"')
    asked.ask(failure(user="$(x)"), NOW)
    program.work()
    (text, variables, _) = program.asked[0]

    assert "$(x)" not in text
    assert b"$(x)" in variables.values()


def test_answers_are_kept(program):
    """With an ignorecache a key is asked about once in max-time, and the oldest make room."""
    asked = command(program, cache=IgnoreCache("<ip>|<F-USER>", 2, 60.0))
    one = failure(user="a")
    asked.ask(one, NOW)
    program.work()

    assert asked.ask(one, NOW + 59) is True
    assert asked.ask(one, NOW + 60) is None
    program.work()
    for user in ("b", "c"):
        asked.ask(failure(user=user), NOW)
        program.work()
    assert asked.ask(one, NOW) is None
    assert asked.ask(failure(user="c"), NOW) is True


def test_no_answer_is_kept_of_a_program_that_gave_none(program):
    """What is broken now may be well for the next failure."""
    asked, program.answer = command(program, cache=IgnoreCache("<ip>")), BROKEN
    asked.ask(failure(), NOW)
    program.work()

    assert asked.ask(failure(), NOW) is None


def test_a_program_that_hangs_is_left_alone(program):
    """After some hangs all who wait are counted, and for a while nobody is asked about."""
    asked, program.answer = command(program), HUNG
    for number in range(20):
        asked.ask(failure(f"192.0.2.{number}"), NOW)
    program.work(HANGS)

    assert [False] * 20 == [ignored for _, ignored in asked.decided()]
    assert "killed after 10 s; not asked for 60 s" == asked.problem
    assert 0 == program.work()
    assert asked.ask(failure(), NOW + PAUSE - 1) is False
    assert asked.ask(failure(), NOW + PAUSE) is None
    program.answer = NO
    program.work()
    assert "" == asked.problem


def test_who_is_too_much_is_counted(program):
    """No more wait than may; the others count at once."""
    asked = command(program, "check <time>")
    answers = [asked.ask(failure(at=NOW + number), NOW) for number in range(MOST + 5)]

    assert [None] * MOST + [False] * 5 == answers
    assert LANES == len({lane for lane, _ in program.works})


def test_names_are_asked_by_the_worker_alone(program, monkeypatch):
    """The loop waits for no name server, whatever the command and its cache say."""
    names = HostNames()
    monkeypatch.setattr(names, "of", lambda _: pytest.fail("the loop asked"))
    spec = JailSpec(
        "sshd",
        FilterSpec("f", ()),
        ignorecommand="check <ip-host>",
        ignorecache=IgnoreCache("<F-USER>@<ip-host>"),
    )
    asked = IgnoreCommand(spec, program.put, program, names)
    asked.ask(failure(user="a"), NOW)
    monkeypatch.setattr(names, "of", lambda address: f"name-of-{address}")
    program.work()

    assert [b"name-of-192.0.2.7"] == [*program.asked[0][1].values()]
    assert asked.ask(failure(user="a"), NOW) is True
    assert asked.ask(failure("192.0.2.8", user="a"), NOW) is None


# ---- in the agent


def test_whom_a_command_names(host):
    """A real command spares an address, and the others are banned."""
    host.configure("auto", 'ignorecommand = test "<ip>" = 192.0.2.7 || exit 1').start()
    host.fail("192.0.2.7")
    host.fail("192.0.2.8")

    host.until(lambda: host.enforced() == {"192.0.2.8"})
    host.until(lambda: host.said.getvalue().count("Ignore 192.0.2.7 by command") == 3)
    assert 3 == host.jail().failed_total
    assert "" == host.jail().problem


def test_a_command_that_hangs_stops_nothing(host, monkeypatch):
    """Other jails ban at once, and its own when it has been killed; the status says so."""
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    other = "[other]\nenabled = true\naction = auto\n"
    host.configure("auto", f"ignorecommand = sleep 300\n{other}").start()
    host.fail("192.0.2.7")
    banned = {ban.id for ban in host.jail("other").bans}, host.enforced()

    host.until(lambda: host.enforced() == {"192.0.2.7"})
    assert ({"192.0.2.7"}, set()) == banned
    assert "ignorecommand: killed after 0.5 s" == host.jail().problem
    assert "[sshd] ignorecommand: killed after 0.5 s" in host.said.getvalue()


def test_a_command_that_cannot_be_asked(host):
    """It takes its own jail out, with file and line."""
    bad = "[bad]\nenabled = true\naction = auto\nignorecommand = x $<ip>\n"
    host.configure("auto", bad).start()
    number = (host.folder / "jail.conf").read_text().splitlines().index("ignorecommand = x $<ip>")

    assert f"jail.conf:{number + 1}: [bad] ignorecommand: " in host.jail("bad").problem
    assert "failed" == host.jail("bad").state
    assert "failed" != host.jail().state
    faults = audit(str(host.folder), time.time()).faults
    assert any("[bad] ignorecommand: " in str(fault) for fault in faults)


@pytest.mark.parametrize(
    "text, said",
    [
        pytest.param("max-count=10", "no key", id="no-key"),
        pytest.param('key="<ip>", max-count=few', "few", id="count"),
        pytest.param('key="<ip>", max-time=soon', "soon", id="time"),
        pytest.param("<ip>", "key=value", id="no-pairs"),
    ],
)
def test_a_cache_without_meaning(host, text, said):
    """It is a fault of its jail, at its place."""
    host.configure("auto", f"[bad]\nenabled = true\naction = auto\nignorecache = {text}\n").start()

    assert "jail.conf:" in host.jail("bad").problem
    assert said in host.jail("bad").problem
