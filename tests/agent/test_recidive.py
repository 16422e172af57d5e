# SPDX-License-Identifier: MIT
"""Do bans of other jails earn one of a jail that counts them, without reading any log?"""

from dataclasses import replace

import pytest

from agent.piped import Agent
from stockade_agent.model import Ban, target


# The jail and the filter are as fail2ban's users know them, whatever the filter says.
JAIL_CONF = """\
[DEFAULT]
maxretry = 1
bantime = 60
findtime = 300
ignoreself = false
backend = auto
filter = %(__name__)s
action = nftables[port=22]

[sshd]
enabled = true
logpath = {folder}/auth.log

[web]
enabled = true
logpath = {folder}/auth.log

[recidive]
logpath = {folder}/fail2ban.log
bantime = 1w
findtime = 1d
maxretry = 3
"""
JAIL_LOCAL = "[recidive]\nenabled = true\n"


@pytest.fixture
def make(tmp_path):
    """Return a function that makes an agent, of three jails or more."""
    made = []

    def make(more="", local=JAIL_LOCAL):
        agent = Agent(tmp_path, JAIL_CONF + more)
        agent.write(local, "jail.local")
        (tmp_path / "filter.d").mkdir()
        for name in ("sshd", "web", "recidive"):
            regex = rf"\[(?!{name}\]).*\] Ban <HOST>" if name == "recidive" else f"{name} <ADDR>$"
            text = f"[Definition]\nfailregex = {regex}\njournalmatch = _COMM=x\n"
            (tmp_path / f"filter.d/{name}.conf").write_text(text)
        made.append(agent)
        return agent.start()

    yield make
    for agent in made:
        agent.end()


@pytest.fixture
def agent(make):
    return make()


def bans(agent, jail, address, after=100):
    """Have a jail ban an address, once the last ban of it is over; return whom recidive bans."""
    agent.now += after
    agent.pipe.unban_due(agent.now)
    agent.fail(address, jail=jail)
    return agent.banned("recidive")


def test_the_stock_jail_counts_bans_of_all_jails(agent):
    """Three bans, in whatever jail, are one by recidive, for a week; nothing is read for it."""
    assert [] == bans(agent, "sshd", "192.0.2.7")
    assert [] == bans(agent, "sshd", "192.0.2.8")
    assert [] == bans(agent, "web", "192.0.2.7")
    assert ["192.0.2.7"] == bans(agent, "sshd", "192.0.2.7")

    [ban] = agent.pipe.guards["recidive"].jail.banned.values()
    assert (agent.now, 604800, 3) == (ban.at, ban.bantime, ban.failures)
    assert ("[sshd] Ban 192.0.2.7",) == agent.pipe.records.whole(ban).matches[-1:]
    assert {"192.0.2.7"} == agent.kernel("recidive")
    jail = agent.jail("recidive")
    assert ("running", "bans", "", ("bans of other jails",)) == (
        jail.state,
        jail.source,
        jail.problem,
        jail.logs,
    )
    assert "journal" not in agent.pipe.intake.sources


def test_one_with_another_log_reads_that(make):
    """What other hosts tell of their bans is no log of this agent's."""
    agent = make(local="[recidive]\nenabled = true\nlogpath = {folder}/hosts.log\n")
    spec = agent.pipe.guards["recidive"].spec

    assert "auto" == spec.backend
    for _ in range(3):
        bans(agent, "sshd", "192.0.2.7")
    assert [] == agent.banned("recidive")


def test_its_own_and_restored_bans_do_not_count(make, agent):
    """Neither do those that only last longer, or names of people."""
    for _ in range(2):
        bans(agent, "sshd", "192.0.2.7", after=0)
        bans(agent, "recidive", "192.0.2.9", after=0)
    agent.end()
    agent.start()
    bans(agent, "sshd", "192.0.2.7", after=1)
    assert "192.0.2.7" not in agent.banned("recidive")
    assert "192.0.2.9" not in agent.banned("recidive")

    bans(agent, "sshd", "192.0.2.7")
    assert "192.0.2.7" not in agent.banned("recidive")
    bans(agent, "web", "192.0.2.7")
    assert "192.0.2.7" in agent.banned("recidive")


def test_other_ids_count_as_their_addresses(agent):
    """What a jail bans under another id is its address to others."""
    ban = Ban("sshd", "root", target("192.0.2.7"), agent.now, 60)
    guard = agent.pipe.guards["recidive"]

    assert ["192.0.2.7"] == [one.id for one in guard.punished([ban] * 3, agent.now)]
    assert [] == list(agent.pipe.guards.counting([replace(ban, address=None)], []))


def test_what_is_too_old_does_not_count(make):
    """Bans count within findtime."""
    agent = make(local=f"{JAIL_LOCAL}findtime = 250\n")
    for _ in range(4):
        bans(agent, "sshd", "192.0.2.7", after=300)
    guard = agent.pipe.guards["recidive"]
    old = Ban("sshd", "192.0.2.8", target("192.0.2.8"), agent.now - 251, 60)

    assert [] == guard.punished([old] * 4, agent.now)
    assert [] == agent.banned("recidive")
    assert [old.id] == [
        ban.id for ban in guard.punished([replace(old, at=agent.now)] * 3, agent.now)
    ]


def test_bans_by_hand_count(agent):
    """As fail2ban's log tells of them, too."""
    for jail in ("sshd", "web"):
        agent.ask("ban", jail=jail, ids=("192.0.2.7", "192.0.2.8"))
    agent.now += 100
    agent.pipe.unban_due(agent.now)
    agent.ask("ban", jail="sshd", ids=("192.0.2.8",))
    assert ["192.0.2.8"] == agent.banned("recidive")


def test_counts_survive_a_crash(agent):
    """A ban and that it counts are in the ledger together."""
    bans(agent, "sshd", "192.0.2.7")
    bans(agent, "web", "192.0.2.7")
    # Nothing is closed: what was not committed is lost.
    agent.start()
    assert ["192.0.2.7"] == bans(agent, "sshd", "192.0.2.7")

    assert {"192.0.2.7"} == agent.noted("sshd") == agent.noted("recidive")


def test_who_is_ignored_there_is_not_counted(make):
    """A jail's own ignoreip holds for it."""
    agent = make("ignoreip = 192.0.2.7\n")
    for _ in range(4):
        bans(agent, "sshd", "192.0.2.7")
    assert [] == agent.banned("recidive")
    assert "[recidive] Ignore 192.0.2.7 by ip" in agent.said.getvalue()


def test_any_jail_can_count_bans(make):
    """``backend = bans`` needs no filter; two such jails count each other's bans, and end."""
    more = (
        "[again]\nenabled = true\nbackend = bans\nfilter =\nbantime = 1d\n"
        "[worse]\nenabled = true\nbackend = bans\nfilter =\n"
    )
    agent = make(more)
    bans(agent, "sshd", "192.0.2.7")

    assert ["192.0.2.7"] == agent.banned("again")
    assert ["192.0.2.7"] == agent.banned("worse")
    assert "" == agent.jail("again").problem == agent.jail("worse").problem


def test_prefixes_count_as_what_they_are(make):
    """A /64 that is banned three times is banned by recidive; a jail may count by larger ones."""
    agent = make(
        "[prefixes]\nenabled = true\nbackend = bans\nfilter =\nprefix6 = 48\nmaxretry = 2\n",
        local=f"[sshd]\nprefix6 = 64\n{JAIL_LOCAL}",
    )
    bans(agent, "sshd", "2001:db8:0:1::1")
    bans(agent, "sshd", "2001:db8:0:1::2")
    assert ["2001:db8:0:1::/64"] == bans(agent, "sshd", "2001:db8:0:1::3")
    assert ["2001:db8::/48"] == agent.banned("prefixes")


def test_an_idle_one_counts_nothing(agent):
    """``set recidive idle on`` holds for bans as for lines."""
    agent.set("idle", "on", jail="recidive")
    for _ in range(4):
        bans(agent, "sshd", "192.0.2.7")
    assert [] == agent.banned("recidive")
