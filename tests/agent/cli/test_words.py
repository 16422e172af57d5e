# SPDX-License-Identifier: MIT
"""Do scripts that read fail2ban-client go on, with our agent behind it?"""

import re
from dataclasses import replace

import pytest

from stockade_agent.cli import words
from stockade_agent.control.protocol import (
    AgentStatus,
    BanStatus,
    FirewallStatus,
    JailStatus,
    Request,
)
from stockade_agent.errors import NoJailError


SSHD = JailStatus(
    name="sshd",
    state="running",
    problem="",
    source="file",
    logs=("/var/log/auth.log", "/var/log/secure"),
    ports="22",
    maxretry=5,
    findtime=600,
    bantime=600,
    failed_now=3,
    failed_total=500,
    banned_now=2,
    banned_total=100,
    bans=(
        BanStatus("192.0.2.7", 1000.0, None, 5, enforced=True),
        BanStatus("2001:db8::7", 1001.0, 1601.0, 5, enforced=True),
    ),
    failed_run=50,
    banned_run=10,
    backend="auto",
)
WEB = replace(
    SSHD,
    name="a-long-jail-name",
    source="journal",
    logs=("_SYSTEMD_UNIT=web.service", "_COMM=web"),
    bans=(SSHD.bans[0],),
    banned_now=1,
    failed_run=12345,
)
BROKEN = replace(SSHD, name="broken", source="", bans=())


class Agent:
    """Answers as the agent would, and remembers what it was asked."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def __call__(self, request):
        self.asked.append(request)
        if request.jail == "nojail":
            raise NoJailError("no jail named nojail")
        if request.command == "status":
            jails = [j for j in (SSHD, WEB, BROKEN) if request.jail in ("", j.name)]
            return status(jails).to_json()
        return self.answers.get(request.command, "pong")


def status(jails):
    return AgentStatus(
        version="1",
        python="3",
        pid=1,
        started_at=0.0,
        now=2000.0,
        rss_bytes=1,
        lines=0,
        firewall=FirewallStatus("memory", "auto", 1.0, "", ()),
        jails=tuple(jails),
        faults=(),
        never_banned=(),
    )


def say(text, **answers):
    return words.answer(text.split(), Agent(**answers))


@pytest.mark.parametrize(
    "expression, values",
    [
        pytest.param(r"Currently failed:\s+(\d+)", ["3"], id="munin"),
        pytest.param(r"Currently banned:\s+(\d+)", ["2"], id="munin-banned"),
        pytest.param(r"\|- Total failed:\t(\d+)", ["50"], id="prometheus"),
        pytest.param(r"(?m)^\s+\|- Total banned:\s*(\d+)$", ["10"], id="total"),
        pytest.param(r"(?m)Banned IP list:\t(.*)$", ["192.0.2.7 2001:db8::7"], id="addresses"),
        pytest.param(r"(?m)^\|  `- File list:\t(.*)$", ["/var/log/auth.log /var/log/secure"]),
        pytest.param(r"Status for the jail: (\S+)", ["sshd"], id="name"),
        pytest.param(r"(\S+ \S+):\t\d+", ["Currently failed", "Total failed"], id="tree"),
    ],
)
def test_how_scripts_read_a_jail(expression, values):
    """What monitoring looks for is where it looks."""
    assert values == re.findall(expression, say("status sshd"))[: len(values)]


def test_how_scripts_read_the_list():
    """The jails are found as exporters find them; one that does not run is none."""
    text = say("status")

    assert ["a-long-jail-name", "sshd"] == re.search(r"Jail list:\s+(.*)$", text)[1].split(", ")
    assert "2" == re.search(r"Number of jail:\s+(\d+)", text)[1]


def test_all_jails_in_a_tree():
    """The last jail hangs from nothing, the others from a line."""
    lines = say("status --all short").splitlines()

    assert "`- Status for the jails:" == lines[3]
    assert "   |- Jail: a-long-jail-name" == lines[4]
    assert "   |  |- Filter" == lines[5]
    journal = "   |  |  `- Journal matches:\t_SYSTEMD_UNIT=web.service + _COMM=web"
    assert journal == lines[8]
    assert "   `- Jail: sshd" in lines
    assert "         `- Total banned:\t10" == lines[-1]


def test_the_table_is_as_wide_as_what_it_holds():
    """All lines of ``stats`` are of one length, numbers to the right."""
    lines = say("stats").splitlines()

    assert len(lines) == 7
    assert 1 == len({len(line) for line in (lines[0], lines[2], lines[4], lines[5])})
    assert {len(lines[0]) + 1} == {len(line) for line in (lines[1], lines[3], lines[6])}
    assert "a-long-jail-name ║ systemd   ║   3 │ 12345 ║   1 │  10" == lines[4]
    assert "sshd             ║ pyinotify ║   3 │    50 ║   2 │  10" == lines[5]


@pytest.mark.parametrize(
    "text, said",
    [
        ("get sshd banip", "2001:db8::7 192.0.2.7"),
        ("get sshd banip ,", "2001:db8::7,192.0.2.7"),
        ("get sshd banned", "['192.0.2.7', '2001:db8::7']"),
        ("get sshd banned 2001:DB8::7", "1"),
        ("get sshd banned 192.0.2.8", "0"),
        ("get sshd banned 192.0.2.8 192.0.2.7", "[0, 1]"),
        (
            "banned",
            "[{'sshd': ['192.0.2.7', '2001:db8::7']}, {'a-long-jail-name': ['192.0.2.7']}]",
        ),
        ("banned 192.0.2.7 2001:db8::7 x", "[['sshd', 'a-long-jail-name'], ['sshd'], []]"),
    ],
)
def test_who_is_banned(text, said):
    """Bans in the forms that scripts evaluate."""
    assert said == say(text)


def test_when_bans_end(zone):
    """Those that end first come first; one without end ends on the last day there is."""
    zone("UTC")

    assert (
        "2001:db8::7 \t1970-01-01 00:16:41 + 600 = 1970-01-01 00:26:41\n"
        "192.0.2.7 \t1970-01-01 00:16:40 + -1 = 9999-12-31 23:59:59"
    ) == say("get sshd banip --with-time")


@pytest.mark.parametrize(
    "text, request_",
    [
        ("set sshd banip 192.0.2.1 192.0.2.2", ("ban", "sshd", ("192.0.2.1", "192.0.2.2"))),
        ("set sshd unbanip 192.0.2.1", ("unban", "sshd", ("192.0.2.1",))),
        ("set sshd unbanip --report-absent 192.0.2.1", ("unban", "sshd", ("192.0.2.1",))),
        ("unban --all", ("unban", "", ("all",))),
        ("unban 192.0.2.1", ("unban", "", ("192.0.2.1",))),
        ("set sshd attempt 192.0.2.1 a b", ("attempt", "sshd", ("192.0.2.1",), "", ("a", "b"))),
        ("set sshd bantime 1h", ("set", "sshd", (), "bantime", ("1h",))),
        (
            "set sshd addignoreip 192.0.2.1 ::1",
            ("set", "sshd", (), "addignoreip", ("192.0.2.1", "::1")),
        ),
        ("set loglevel DEBUG", ("set", "", (), "loglevel", ("DEBUG",))),
        ("get loglevel", ("get", "", (), "loglevel")),
        ("get sshd maxretry", ("get", "sshd", (), "maxretry")),
        ("reload", ("reload",)),
        ("reload --all", ("reload",)),
        ("reload --restart --unban sshd", ("reload", "sshd", (), "", ("restart", "unban"))),
        ("restart sshd", ("reload", "sshd", (), "", ("restart",))),
        ("ping", ("ping",)),
        ("flushlogs", ("ping",)),
    ],
)
def test_what_the_agent_is_asked(text, request_):
    """The words become one request."""
    told = {"changed": ["192.0.2.1"], "count": 1, "absent": [], "within": {}}
    value = {"value": []}
    agent = Agent(ban=told, unban=told, attempt=told, set=value, get=value)
    words.answer(text.split(), agent)

    assert [Request(*request_)] == agent.asked


@pytest.mark.parametrize(
    "text, said",
    [
        ("nonsense", "Invalid command"),
        ("get sshd", words.INVALID),
        ("get sshd nonsense", "Invalid command (no get action or not yet implemented)"),
        ("set sshd banip", None),
        ("set sshd unbanip", words.INVALID),
        ("set sshd maxretry", words.INVALID),
        ("unban", "Invalid command"),
        ("status a b c", "Invalid command (no status)"),
        ("status nojail", "Sorry but the jail 'nojail' does not exist"),
        ("get nojail bantime", "Sorry but the jail 'nojail' does not exist"),
        ("set nojail banip 192.0.2.1", "Sorry but the jail 'nojail' does not exist"),
    ],
)
def test_what_is_refused(text, said):
    """Nonsense is answered in the words that scripts know."""
    if said is None:
        assert "0" == say(text, ban={"changed": []})
        return
    with pytest.raises(words.Refusal) as refusal:
        say(text)

    assert (said, False) == (str(refusal.value), refusal.value.aside)


@pytest.mark.parametrize("text", ["start sshd", "stop", "stop sshd", "restart", "reload a b"])
def test_what_is_for_systemd(text):
    """Nothing on stdout claims that it was done; a person is told how it is."""
    with pytest.raises(words.Refusal) as refusal:
        say(text)

    assert refusal.value.aside
    assert re.search("systemctl|reload", str(refusal.value))


def test_reported_absent():
    """Each word that is not banned is told, however often it was said."""
    told = {"changed": [], "count": 1, "absent": ["192.0.2.9"]}
    with pytest.raises(words.Refusal, match=r"not banned: \['192.0.2.9', '192.0.2.9'\]"):
        say("set sshd unbanip --report-absent 192.0.2.9 192.0.2.1 192.0.2.9", unban=told)


@pytest.mark.parametrize(
    "text",
    ["status sshd", "get sshd banip", "get sshd banip --with-time", "get sshd banned", "banned"],
)
def test_an_id_from_a_log_cannot_write_to_the_terminal(text, monkeypatch):
    """Whatever an attacker made an id of is told escaped, on its line."""
    evil = BanStatus("\x1b[2J\nBanned IP list:\t", 1000.0, 1600.0, 5, enforced=True)
    monkeypatch.setattr(f"{__name__}.SSHD", replace(SSHD, bans=(evil,)))
    monkeypatch.setattr(f"{__name__}.WEB", replace(WEB, bans=()))
    said = say(text)

    assert "\x1b" not in said
    assert "\\x1b[2J\\nBanned" in said


@pytest.mark.parametrize("word", ["$(touch x)", "'; rm -rf x", "\x1b[2J", "-1", "\udcff", ""])
def test_odd_words_stay_words(word):
    """Whatever stands in the place of an address is put to the agent as it is, once."""
    agent = Agent(ban={"changed": []})
    words.answer(["set", "sshd", "banip", word], agent)

    assert [Request("ban", "sshd", (word,))] == agent.asked
    with pytest.raises(words.Refusal) as refusal:
        words.answer(["set", "sshd", word], agent)
    assert "\x1b" not in str(refusal.value)
