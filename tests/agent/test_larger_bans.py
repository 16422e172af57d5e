# SPDX-License-Identifier: MIT
"""Do kernel, ledger and actions agree when a prefix takes the place of bans within it?"""

import time

import pytest

from agent.piped import Agent


JAIL_CONF = """\
[sshd]
enabled = true
maxretry = 2
bantime = 600
findtime = 300
prefix6 = 64
prefix6.wider = 56
prefix6.members = 3
action = nftables[port=22]
failregex = ^failed from <HOST>$
logpath = {folder}/auth.log
"""


@pytest.fixture
def agent(tmp_path, alone):
    agent = Agent(tmp_path, JAIL_CONF).start()
    yield agent
    agent.end()


def fail_from(agent, *prefixes):
    """Have two addresses each of some /64 of a /56 fail."""
    agent.fail(*(f"2001:db8:0:{n:x}::{host}" for n in prefixes for host in (1, 2)))


def test_kernel_and_ledger_hold_the_larger_one_alone(agent):
    """Nothing is refused twice, and every ban is told as enforced."""
    fail_from(agent, 1, 2)
    assert {"2001:db8:0:1::/64", "2001:db8:0:2::/64"} == agent.kernel() == agent.noted()

    fail_from(agent, 3)
    assert {"2001:db8::/56"} == agent.kernel() == agent.noted()
    [ban] = agent.jail().bans
    assert ("2001:db8::/56", True, 6) == (ban.id, ban.enforced, ban.failures)
    assert "[sshd] 2001:db8:0:1::/64 is within a prefix that is banned now" in agent.said.getvalue()
    jail = agent.jail()
    assert (4, 64) == (jail.banned_total, jail.prefix6)


def test_a_restart_keeps_it(agent):
    """Also after a crash; failures from within count for it, and it ends whole."""
    fail_from(agent, 1, 2, 3)
    agent.start()
    assert {"2001:db8::/56"} == agent.kernel()

    agent.now += 100
    fail_from(agent, 9)
    assert {"2001:db8::/56"} == agent.kernel() == agent.noted()
    agent.now += 601
    agent.pipe.unban_due(agent.now)
    assert set() == agent.kernel() == agent.noted()


def test_failures_below_maxretry_survive_as_the_prefixs(agent):
    """One address failed before the crash, another one after it."""
    agent.fail("2001:db8:0:1::1")
    agent.start()
    agent.fail("2001:db8:0:1::2")
    assert {"2001:db8:0:1::/64"} == agent.kernel()


def test_a_crash_in_between_leaves_nobody_free(agent, monkeypatch):
    """Whatever was committed, who was banned is banned after the next start."""
    fail_from(agent, 1, 2)
    lifted = agent.pipe.records.lifted
    monkeypatch.setattr(
        agent.pipe.records, "lifted", lambda bans, **more: agent.pipe.records.commit(agent.now)
    )
    fail_from(agent, 3)
    assert {"2001:db8:0:1::/64", "2001:db8:0:2::/64", "2001:db8::/56"} == agent.noted()

    monkeypatch.setattr(agent.pipe.records, "lifted", lifted)
    agent.start()
    assert "2001:db8::/56" in agent.kernel()
    agent.now += 700
    agent.pipe.unban_due(agent.now)
    assert set() == agent.kernel() == agent.noted()


def test_by_hand(agent):
    """Who is within is told what holds him; the larger one can be lifted, and all begins anew."""
    fail_from(agent, 1, 2, 3)
    told = agent.ask("unban", ids=("2001:db8:0:1::1", "2001:db8:0:1::/64"))
    assert [] == told["changed"]
    assert [("sshd", "2001:db8::/56")] == told["within"]["2001:db8:0:1::1"]

    assert ["2001:db8::/56"] == agent.ask("unban", ids=("2001:db8::/56",))["changed"]
    assert set() == agent.kernel() == agent.noted()
    fail_from(agent, 1)
    assert {"2001:db8:0:1::/64"} == agent.kernel()


def test_a_reload_keeps_it(agent):
    """With other lengths, too: what is banned stays so, and holds who is within."""
    fail_from(agent, 1, 2, 3)
    agent.write(JAIL_CONF.replace("prefix6 = 64\n", "prefix6 = 120\n"))
    agent.reload()

    fail_from(agent, 1, 0x100)
    agent.fail("2001:db8:0:100::1")
    assert {"2001:db8::/56", "2001:db8:0:100::/120"} == agent.kernel()


def test_actions_are_told(tmp_path, agent):
    """A command that bans is told of the larger one, and that the others are over."""
    (tmp_path / "action.d").mkdir()
    (tmp_path / "action.d/notes.conf").write_text(
        "[Definition]\n"
        f"actionban = echo '+<ip>' >> {tmp_path}/notes\n"
        f"actionunban = echo '-<ip>' >> {tmp_path}/notes\n"
    )
    agent.write(JAIL_CONF.replace("nftables[port=22]", "notes"))
    agent.end()
    agent.start()

    fail_from(agent, 1, 2, 3)
    deadline = time.monotonic() + 20
    while {"2001:db8::/56"} != held(tmp_path / "notes"):
        assert time.monotonic() < deadline, held(tmp_path / "notes")
        agent.pipe.acted(agent.now)
        time.sleep(0.02)


def held(notes):
    """Return what an action has banned, by what it wrote down."""
    found = set()
    for line in notes.read_text().split() if notes.exists() else ():
        (found.add if line[0] == "+" else found.discard)(line[1:])
    return found


def test_a_surge_that_is_held_back_frees_nobody(agent):
    """A larger prefix takes the place of nothing as long as it is not banned itself."""
    fail_from(agent, 1, 2)
    agent.ask("panic", "100")
    agent.ask("ban", jail="sshd", ids=("2001:db8:0:1::/64", "2001:db8:0:2::/64"))
    fail_from(agent, 3)
    assert {"2001:db8:0:1::/64", "2001:db8:0:2::/64"} == agent.kernel()

    agent.ask("resume")
    fail_from(agent, 4)
    assert {"2001:db8::/56"} == agent.kernel() == agent.noted()


def test_by_hand_within_a_larger_ban(agent):
    """What is refused already is not banned again."""
    fail_from(agent, 1, 2, 3)

    assert [] == agent.ask("ban", jail="sshd", ids=("2001:db8:0:1::7",))["changed"]
    assert {"2001:db8::/56"} == agent.kernel() == agent.noted()


def test_by_hand_no_larger_one_is_earned(agent):
    """A ban by hand is what was said."""
    ids = tuple(f"2001:db8:0:{n}::/64" for n in range(5))
    assert 5 == len(agent.ask("ban", jail="sshd", ids=ids)["changed"])
    assert 5 == len(agent.kernel())
