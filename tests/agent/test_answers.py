# SPDX-License-Identifier: MIT
"""Does the agent do what is asked of it over the socket, and say so?"""

import pytest

from agent.piped import NOW, Agent
from stockade_agent import answers
from stockade_agent.control.protocol import Request
from stockade_agent.errors import ControlError, NoJailError


JAIL_CONF = """\
[DEFAULT]
maxretry = 3
bantime = 600
findtime = 300
ignoreself = false
action = nftables[port=22]
failregex = ^failed from <HOST>$

[sshd]
enabled = true
logpath = {folder}/auth.log
ignoreip = 198.51.100.0/24 203.0.113.9

[web]
enabled = true
logpath = {folder}/web.log
"""


@pytest.fixture
def agent(tmp_path, alone):
    agent = Agent(tmp_path, JAIL_CONF)
    agent.write("", "web.log")
    yield agent.start()
    agent.end()


def test_unban_counts_each_jail_and_names_the_absent(agent):
    """An address that two jails ban is two bans; one that nobody bans is told."""
    for jail in ("sshd", "web"):
        agent.ask("ban", jail=jail, ids=("192.0.2.1", "192.0.2.2"))
    told = agent.ask("unban", ids=("192.0.2.1", "192.0.2.77"))

    assert {"changed": ["192.0.2.1"], "count": 2, "absent": ["192.0.2.77"], "within": {}} == told
    assert ["192.0.2.2"] == agent.banned("sshd") == agent.banned("web")


def test_a_network_frees_what_is_inside(agent):
    """An address is itself alone; a network is all that is banned inside of it."""
    agent.ask("ban", jail="sshd", ids=("192.0.2.1", "192.0.2.130", "192.0.2.0/25", "2001:db8::1"))

    assert ["192.0.2.130"] == agent.ask("unban", jail="sshd", ids=("192.0.2.128/25",))["changed"]
    assert 2 == agent.ask("unban", ids=("192.0.2.0/24",))["count"]
    assert ["2001:db8::1"] == agent.banned()
    assert 1 == agent.ask("unban", ids=("2001:DB8:0::1",))["count"]


def test_who_is_inside_of_a_banned_network_is_told(agent):
    """It is not freed by itself; what holds it is said, of each jail."""
    agent.ask("ban", jail="sshd", ids=("2001:db8::/56", "2001:db8::/64", "192.0.2.1"))
    agent.ask("ban", jail="web", ids=("2001:db8::/48",))
    ids = ("2001:db8::7", "2001:db8:0:1::/64", "192.0.2.2")
    sshd, web = ("sshd", "2001:db8::/56"), ("web", "2001:db8::/48")

    told = agent.ask("unban", ids=ids)
    assert {"2001:db8::7", "2001:db8:0:1::/64"} == set(told["within"])
    assert [sshd, ("sshd", "2001:db8::/64"), web] == told["within"]["2001:db8::7"]
    assert [sshd, web] == told["within"]["2001:db8:0:1::/64"]
    assert list(ids) == told["absent"]
    assert {} == agent.ask("unban", jail="web", ids=("2001:db8::/48",))["within"]


def test_who_is_freed_begins_anew(agent):
    """Failures are forgotten with the ban, and where there is none yet."""
    for _ in range(2):
        agent.ask("attempt", "a", "b", jail="sshd", ids=("192.0.2.1",))
        told = agent.ask("unban", ids=("192.0.2.1",))

    assert {"changed": [], "count": 0, "absent": ["192.0.2.1"], "within": {}} == told
    assert [] == agent.banned()
    assert 0 == agent.pipe.guards["sshd"].jail.failed_now


def test_one_jail_of_all_that_are_paused(agent):
    """It cannot be resumed by itself, and that is said rather than that nothing is paused."""
    agent.ask("panic")

    with pytest.raises(ControlError, match="all jails are paused"):
        agent.ask("resume", ids=("sshd",))
    assert {"changed": ["all"]} == agent.ask("resume")
    assert {"changed": []} == agent.ask("resume", ids=("sshd",))
    agent.ask("panic", "60")
    agent.now += 60
    assert {"changed": []} == agent.ask("resume", ids=("sshd",))


def test_a_panic_counts_and_is_told_in_the_status(agent):
    """Each jail's ban is one; since when, until when and by whom stands in the status."""
    for jail in ("sshd", "web"):
        agent.ask("ban", jail=jail, ids=("192.0.2.1",))
    request = Request("panic", words=("60",), by="anna\x1b[2J" + "x" * 200)
    told = answers.answer(agent.pipe, request, NOW)
    (pause,) = agent.ask("status")["pauses"]

    assert {"changed": ["192.0.2.1"], "count": 2, "until": NOW + 60} == told
    assert ("", NOW, NOW + 60) == (pause["jail"], pause["since"], pause["until"])
    assert 100 == len(pause["by"])
    assert "nobody is banned any more (anna\\x1b[2J" in agent.said.getvalue()
    agent.now = NOW + 60
    assert () == agent.ask("status")["pauses"]


def test_release_of_all_jails(agent):
    """Without a jail it is all of them that make, or forget, what they held back."""
    agent.write(JAIL_CONF.replace("maxretry = 3", "maxretry = 1\nsurge = hold[floor=1]"))
    agent.reload()
    for jail in ("sshd", "web"):
        for number in range(1, 4):
            agent.ask("attempt", jail=jail, ids=(f"192.0.2.{number}",))
    assert ["192.0.2.1"] == agent.banned("sshd") == agent.banned("web")

    told = agent.ask("release", "drop", jail="sshd")
    assert {"changed": [], "held": 2} == told
    assert {"changed": ["192.0.2.2", "192.0.2.3"], "held": 2} == agent.ask("release")
    assert ["192.0.2.1"] == agent.banned("sshd")


@pytest.mark.parametrize("word", ["inf", "nan", "-1", "0", "x"])
def test_a_panic_of_no_length(agent, word):
    """A pause that the status could not tell is refused, and none begins."""
    agent.ask("ban", jail="sshd", ids=("192.0.2.1",))

    with pytest.raises(ControlError, match="is no number of seconds"):
        agent.ask("panic", word)
    assert ["192.0.2.1"] == agent.banned()
    assert not agent.ask("status")["jails"][0]["paused"]


def test_a_panic_that_the_firewall_does_not_heed(agent):
    """Who panics must know that the kernel still has the bans; the pause holds all the same."""
    agent.ask("ban", jail="sshd", ids=("192.0.2.1",))

    agent.pipe.enforcement.firewall.fail(9, "nft is gone")
    with pytest.raises(ControlError, match=r"paused, but the firewall has bans: .*nft is gone"):
        agent.ask("panic")
    assert [] == agent.banned()
    assert agent.ask("status")["jails"][0]["paused"]


def test_attempts_count_like_lines(agent):
    """Each line told by hand is a failure; none is one; enough of them are a ban."""
    agent.ask("attempt", jail="sshd", ids=("192.0.2.1",))
    agent.ask("attempt", "first", jail="sshd", ids=("192.0.2.1",))
    assert [] == agent.banned()
    agent.ask("attempt", "a", "b", "c", jail="sshd", ids=("192.0.2.2",))

    assert ["192.0.2.2"] == agent.banned()
    with pytest.raises(ControlError, match="never banned"):
        agent.ask("attempt", jail="sshd", ids=("198.51.100.1",))


@pytest.mark.parametrize(
    "option, value",
    [
        ("bantime", 600),
        ("findtime", 300),
        ("maxretry", 3),
        ("ignoreip", ["198.51.100.0/24", "203.0.113.9"]),
        ("ignoreself", False),
        ("prefix6", 128),
        ("usedns", "warn"),
        ("failregex", ("^failed from <HOST>$",)),
        ("ignoreregex", ()),
        ("journalmatch", []),
        ("actions", ["nftables"]),
    ],
)
def test_options_of_a_jail(agent, option, value):
    """An option is told as it works."""
    assert value == agent.get(option)


def test_options_of_the_agent(agent):
    """Settings are told as they work, not as somebody wrote them."""
    assert "INFO" == agent.get("loglevel", "")
    assert "STDERR" == agent.get("logtarget", "")
    assert f"{agent.folder}/l" == agent.get("dbfile", "")
    assert 86400 == agent.get("dbpurgeage", "")
    agent.pipe.take("file", NOW)
    assert [f"{agent.folder}/auth.log"] == agent.get("logpath")


@pytest.mark.parametrize(
    "option, words, value",
    [
        ("bantime", ["1h"], 3600),
        ("bantime", ["-1"], -1),
        ("findtime", ["10m"], 600),
        ("maxretry", ["1"], 1),
        ("maxmatches", ["0"], 0),
        ("ignoreself", ["yes"], True),
        ("idle", ["on"], True),
        ("addignoreip", ["192.0.2.1", "203.0.113.9"], "198.51.100.0/24 203.0.113.9 192.0.2.1"),
        ("delignoreip", ["198.51.100.0/24"], "203.0.113.9"),
    ],
)
def test_what_is_set_is_told(agent, option, words, value):
    """``set`` answers what ``get`` tells from now on."""
    expected = value.split() if isinstance(value, str) else value

    assert expected == agent.set(option, *words)


def test_what_is_set_works_until_the_next_reload(agent):
    """A jail bans by what was set; the files hold again after a reload, counts go on."""
    agent.set("maxretry", "1")
    agent.set("bantime", "60")
    agent.set("loglevel", "ERROR", jail="")
    agent.ask("attempt", jail="sshd", ids=("192.0.2.1",))
    assert 60 == agent.pipe.guards["sshd"].jail.banned["192.0.2.1"].bantime
    assert "maxretry" in agent.pipe.guards["sshd"].problem
    agent.reload()

    assert (3, 600) == (agent.get("maxretry"), agent.get("bantime"))
    assert "INFO" == agent.get("loglevel", "")
    assert "set by hand" not in agent.pipe.guards["sshd"].problem
    assert ["192.0.2.1"] == agent.banned()
    assert 1 == agent.ask("status", jail="sshd")["jails"][0]["failed_run"]


def test_an_ignored_address_is_not_counted(agent):
    """``addignoreip`` holds at once, ``delignoreip`` too."""
    agent.set("addignoreip", "192.0.2.0/24")
    with pytest.raises(ControlError, match="never banned"):
        agent.ask("ban", jail="sshd", ids=("192.0.2.1",))
    agent.set("delignoreip", "192.0.2.0/24")

    assert ["192.0.2.1"] == agent.ask("ban", jail="sshd", ids=("192.0.2.1",))["changed"]


@pytest.mark.parametrize(
    "option, words, why",
    [
        ("maxretry", ["0"], "greater than 0"),
        ("maxretry", ["three"], "no whole number"),
        ("maxretry", [], "one value"),
        ("bantime", ["0"], "greater than 0"),
        ("bantime", ["__import__('os')"], "no duration"),
        ("idle", ["perhaps"], "neither on nor off"),
        ("delignoreip", ["192.0.2.1"], "not in the list"),
        ("addfailregex", ["<HOST>"], "at run time"),
    ],
)
def test_what_cannot_be_set(agent, option, words, why):
    """A value without meaning changes nothing, and says why."""
    before = agent.pipe.guards["sshd"].spec
    with pytest.raises(ControlError, match=f"{option}: .*{why}"):
        agent.set(option, *words)

    assert before is agent.pipe.guards["sshd"].spec


@pytest.mark.parametrize(
    "command, option", [("get", "colour"), ("get", "bantime"), ("set", "bantime"), ("odd", "")]
)
def test_unknown_words(agent, command, option):
    """Neither options nor commands that nobody knows, nor jail options without a jail."""
    with pytest.raises(ControlError):
        agent.ask(command, "1", option=option)


@pytest.mark.parametrize("command", ["get", "set", "ban", "unban", "attempt", "status"])
def test_no_such_jail(agent, command):
    """The refusal is of its own kind, so that a client can tell it."""
    with pytest.raises(NoJailError, match="sshdd"):
        agent.ask(command, "1", jail="sshdd", option="bantime", ids=("192.0.2.1",))


def test_one_jail_is_reloaded_alone(agent):
    """The other jails stay as they are, whatever their files say now."""
    agent.write(JAIL_CONF.replace("bantime = 600", "bantime = 900"))
    agent.reload(jail="web")

    assert (600, 900) == (agent.get("bantime", "sshd"), agent.get("bantime", "web"))


def test_a_jail_is_taken_out_alone(agent):
    """A jail that is no longer enabled ends; its bans end with it."""
    agent.ask("ban", jail="web", ids=("192.0.2.1",))
    agent.write(JAIL_CONF.replace("[web]\nenabled = true", "[web]\nenabled = false"))
    agent.reload(jail="web")

    assert ["sshd"] == list(agent.pipe.guards)
    assert {"sshd": set()} == agent.pipe.enforcement.firewall.banned()


def test_restart_forgets_failures_and_keeps_bans(agent):
    """``restart`` begins a jail afresh; without it even its counts go on."""
    agent.ask("ban", jail="sshd", ids=("192.0.2.1",))
    agent.ask("attempt", jail="sshd", ids=("192.0.2.2",))
    agent.reload()
    assert 1 == agent.pipe.guards["sshd"].jail.failed_now
    agent.reload("restart", jail="sshd")

    assert 0 == agent.pipe.guards["sshd"].jail.failed_now
    assert ["192.0.2.1"] == agent.banned()


def test_words_of_a_reload(agent):
    """An unknown jail is refused unless ``if-exists`` allows for it; unknown words always."""
    agent.reload("if-exists", jail="sshdd")
    with pytest.raises(NoJailError, match="sshdd"):
        agent.reload(jail="sshdd")
    with pytest.raises(ControlError, match="unknown word 'hard'"):
        agent.reload("hard")


def test_an_idle_jail_passes_lines_over(agent):
    """What is said meanwhile is never counted, and status tells."""
    guard = agent.pipe.guards["sshd"]
    agent.set("idle", "on")
    (agent.folder / "auth.log").write_text("failed from 192.0.2.1\n" * 3)

    assert "idle" in guard.problem
    assert [] == guard.read(None, NOW, live=True)
    assert False is agent.set("idle", "off")
    assert "idle" not in guard.problem
