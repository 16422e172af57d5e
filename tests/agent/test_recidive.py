# SPDX-License-Identifier: MIT
"""Do bans of other jails earn one of a jail that counts them, without reading any log?"""

import io
from dataclasses import replace

import pytest

from stockade_agent import answers, config
from stockade_agent.control.protocol import Request
from stockade_agent.ledger import Ledger
from stockade_agent.log import Log
from stockade_agent.model import Ban, target
from stockade_agent.pipe import Pipe


NOW = 1_700_000_000.0
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


class Agent:
    """An agent without a process around it."""

    def __init__(self, folder, more="", local=JAIL_LOCAL):
        self.folder, self.said, self.now = folder, io.StringIO(), NOW
        (folder / "jail.conf").write_text((JAIL_CONF + more).format(folder=folder))
        (folder / "jail.local").write_text(local.format(folder=folder))
        (folder / "filter.d").mkdir(exist_ok=True)
        for name in ("sshd", "web", "recidive"):
            regex = rf"\[(?!{name}\]).*\] Ban <HOST>" if name == "recidive" else f"{name} <ADDR>$"
            text = f"[Definition]\nfailregex = {regex}\njournalmatch = _COMM=x\n"
            (folder / f"filter.d/{name}.conf").write_text(text)
        (folder / "stockade.conf").write_text(
            f"[Definition]\ndbfile = {folder}/l\ncontrollers = {folder}/c\n"
        )
        (folder / "auth.log").touch()
        self.pipe = None
        self.start()

    def start(self):
        log = Log(self.said, prefixed=False)
        read = config.read(str(self.folder))
        assert () == read.faults
        self.pipe = Pipe(
            read, self.now, log, "memory", ("/nowhere/journalctl",), clock=lambda: self.now
        )
        self.pipe.start(self.now)

    def ban(self, jail, address, after=100):
        """Have a jail ban an address, once the last ban of it is over."""
        self.now += after
        self.pipe.unban_due(self.now)
        self.ask("attempt", jail=jail, ids=(address,))
        return self.held()

    def ask(self, command, **words):
        return answers.answer(self.pipe, Request(command, **words), self.now)

    def held(self, jail="recidive"):
        return list(self.pipe.guards[jail].jail.banned)


@pytest.fixture
def make(tmp_path):
    """Return a function that makes an agent."""
    made = []

    def make(*args, **more):
        made.append(Agent(tmp_path, *args, **more))
        return made[-1]

    yield make
    for agent in made:
        agent.pipe.close(agent.now)


@pytest.fixture
def agent(make):
    return make()


def test_the_stock_jail_counts_bans_of_all_jails(agent):
    """Three bans, in whatever jail, are one by recidive, for a week; nothing is read for it."""
    assert [] == agent.ban("sshd", "192.0.2.7")
    assert [] == agent.ban("sshd", "192.0.2.8")
    assert [] == agent.ban("web", "192.0.2.7")
    assert ["192.0.2.7"] == agent.ban("sshd", "192.0.2.7")

    [ban] = agent.pipe.guards["recidive"].jail.banned.values()
    assert (agent.now, 604800, 3) == (ban.at, ban.bantime, ban.failures)
    assert ("[sshd] Ban 192.0.2.7",) == agent.pipe.records.whole(ban).matches[-1:]
    assert ["192.0.2.7"] == [
        str(target) for target in agent.pipe.enforcement.firewall.banned()["recidive"]
    ]
    jail = next(j for j in agent.pipe.status(agent.now).jails if j.name == "recidive")
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
        agent.ban("sshd", "192.0.2.7")
    assert [] == agent.held()


def test_its_own_and_restored_bans_do_not_count(make, agent):
    """Neither do those that only last longer, or names of people."""
    for _ in range(2):
        agent.ban("sshd", "192.0.2.7", after=0)
        agent.ban("recidive", "192.0.2.9", after=0)
    agent.pipe.close(agent.now)
    agent.start()
    agent.ban("sshd", "192.0.2.7", after=1)
    assert "192.0.2.7" not in agent.held()
    assert "192.0.2.9" not in agent.held()

    agent.ban("sshd", "192.0.2.7")
    assert "192.0.2.7" not in agent.held()
    agent.ban("web", "192.0.2.7")
    assert "192.0.2.7" in agent.held()


def test_other_ids_count_as_their_addresses(agent):
    """What a jail bans under another id is its address to others."""
    ban = Ban("sshd", "root", target("192.0.2.7"), agent.now, 60)
    guard = agent.pipe.guards["recidive"]

    assert ["192.0.2.7"] == [one.id for one in guard.punished([ban] * 3, agent.now)]
    assert [] == list(agent.pipe.guards.counting([replace(ban, address=None)]))


def test_what_is_too_old_does_not_count(make):
    """Bans count within findtime."""
    agent = make(local=f"{JAIL_LOCAL}findtime = 250\n")
    for _ in range(4):
        agent.ban("sshd", "192.0.2.7", after=300)
    guard = agent.pipe.guards["recidive"]
    old = Ban("sshd", "192.0.2.8", target("192.0.2.8"), agent.now - 251, 60)

    assert [] == guard.punished([old] * 4, agent.now)
    assert [] == agent.held()
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
    assert ["192.0.2.8"] == agent.held()


def test_counts_survive_a_crash(agent):
    """A ban and that it counts are in the ledger together."""
    agent.ban("sshd", "192.0.2.7")
    agent.ban("web", "192.0.2.7")
    # Nothing is closed: what was not committed is lost.
    agent.start()
    assert ["192.0.2.7"] == agent.ban("sshd", "192.0.2.7")

    ledger = Ledger(f"{agent.folder}/l")
    assert {"sshd", "recidive"} <= {ban.jail for ban in ledger.bans()}
    ledger.close()


def test_who_is_ignored_there_is_not_counted(make):
    """A jail's own ignoreip holds for it."""
    agent = make("ignoreip = 192.0.2.7\n")
    for _ in range(4):
        agent.ban("sshd", "192.0.2.7")
    assert [] == agent.held()
    assert "[recidive] Ignore 192.0.2.7 by ip" in agent.said.getvalue()


def test_any_jail_can_count_bans(make):
    """``backend = bans`` needs no filter; two such jails count each other's bans, and end."""
    more = (
        "[again]\nenabled = true\nbackend = bans\nfilter =\nbantime = 1d\n"
        "[worse]\nenabled = true\nbackend = bans\nfilter =\n"
    )
    agent = make(more)
    agent.ban("sshd", "192.0.2.7")

    assert ["192.0.2.7"] == agent.held("again")
    assert ["192.0.2.7"] == agent.held("worse")
    problems = {jail.name: jail.problem for jail in agent.pipe.status(agent.now).jails}
    assert ("", "") == (problems["again"], problems["worse"])


def test_prefixes_count_as_what_they_are(make):
    """A /64 that is banned three times is banned by recidive; a jail may count by larger ones."""
    agent = make(
        "[prefixes]\nenabled = true\nbackend = bans\nfilter =\nprefix6 = 48\nmaxretry = 2\n",
        local=f"[sshd]\nprefix6 = 64\n{JAIL_LOCAL}",
    )
    agent.ban("sshd", "2001:db8:0:1::1")
    agent.ban("sshd", "2001:db8:0:1::2")
    assert ["2001:db8:0:1::/64"] == agent.ban("sshd", "2001:db8:0:1::3")
    assert ["2001:db8::/48"] == agent.held("prefixes")


def test_an_idle_one_counts_nothing(agent):
    """``set recidive idle on`` holds for bans as for lines."""
    agent.ask("set", jail="recidive", option="idle", words=("on",))
    for _ in range(4):
        agent.ban("sshd", "192.0.2.7")
    assert [] == agent.held()
