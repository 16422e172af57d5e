# SPDX-License-Identifier: MIT
"""Is it told what a jail makes of a line, and why?"""

from ipaddress import ip_address

import pytest

from stockade_agent import config
from stockade_agent.judgement import Judge
from stockade_agent.protected import Protected
from stockade_agent.specs import Origin


NOW = 1714557600.0  # 2024-05-01 10:00:00 UTC
JAIL = """\
[app]
filter = app
usedns = yes
ignoreip = 192.0.2.0/28 198.51.100.1
    friend.example
failregex = %(known/failregex)s
    ^gone <HOST>$
"""
FILTER = """\
[Definition]
prefregex = ^ (?:app|other): <F-CONTENT>.+</F-CONTENT>$
failregex = ^bad login of <F-USER>\\S+</F-USER> from <HOST>$
    ^slow <F-MLFID>\\d+</F-MLFID> <F-NOFAIL>start</F-NOFAIL> of <F-USER>\\S+</F-USER>$
    ^slow <F-MLFID>\\d+</F-MLFID> denied to <F-USER>\\S+</F-USER>$
    ^slow <F-MLFID>\\d+</F-MLFID> <F-NOFAIL>end</F-NOFAIL> from <HOST>$
ignoreregex = of root from
"""
NAMES = {"friend.example": ["203.0.113.9"], "many.example": ["203.0.113.1", "203.0.113.9"]}


@pytest.fixture(autouse=True)
def utc(zone):
    zone("UTC")


@pytest.fixture
def judge(tmp_path):
    (tmp_path / "filter.d").mkdir()
    (tmp_path / "jail.conf").write_text(JAIL)
    (tmp_path / "filter.d/app.conf").write_text(FILTER)
    return Judge(
        str(tmp_path),
        config.jail_spec(str(tmp_path), "app"),
        protected=Protected("", own=lambda: [ip_address("203.0.113.77")], routers=list),
        look_up=lambda name: [ip_address(text) for text in NAMES.get(name, ())],
        now=NOW,
    )


def line(text, date="May  1 09:59:58"):
    return f"{date} app: {text}"


def place(regex):
    return regex.number, regex.origin


def test_failure(judge, tmp_path):
    """Date, regexes with their places, what was captured, who counts."""
    told = judge.line(line("bad login of joe from 203.0.113.7"), NOW)

    assert ("app", "failure") == (told.jail, told.verdict)
    assert ("May  1 09:59:58", NOW - 2, False) == (told.date.text, told.date.at, told.date.late)
    assert "%b %d" in told.date.template
    assert (True, Origin(f"{tmp_path}/filter.d/app.conf", 2)) == (
        told.agrees,
        told.prefregex.origin,
    )
    assert (1, Origin(f"{tmp_path}/filter.d/app.conf", 3)) == place(told.failregex)
    assert [("203.0.113.7", None, "")] == [
        (count.id, count.host, count.ignored) for count in told.counts
    ]
    assert "joe" == told.counts[0].data["user"]
    assert None is told.nearest


def test_regex_of_the_jail_itself(judge, tmp_path):
    """Each regex has the place where it was written."""
    told = judge.line(line("gone 203.0.113.7"), NOW)

    assert (5, Origin(f"{tmp_path}/jail.conf", 7)) == place(told.failregex)


@pytest.mark.parametrize(
    "date, at, late",
    [
        ("May  1 08:00:00 ", NOW - 7200, True),
        ("May  1 10:00:30 ", NOW + 30, False),
        ("", None, None),
    ],
)
def test_date(judge, date, at, late):
    """A date far from now is told, and that there is none."""
    found = judge.line(f"{date} app: gone 203.0.113.7".replace("  app", " app"), NOW).date

    assert (at, late) == ((found.at, found.late) if found else (None, None))


@pytest.mark.parametrize(
    "text, option, number, agreed, wanted",
    [
        ("bad login by joe from 203.0.113.7", "failregex", 1, "bad login ", "'of '"),
        ("gone with the wind", "failregex", 5, "gone with", "the end of the line"),
    ],
)
def test_nearest(judge, text, option, number, agreed, wanted):
    """Where no regex matches, the one that comes nearest is told, and where they part."""
    told = judge.line(line(text), NOW)
    regex, got = told.nearest

    assert ("missed", None, option, number) == (
        told.verdict,
        told.failregex,
        regex.option,
        regex.number,
    )
    assert (agreed, wanted) == (told.searched[: got.end], got.wanted)


def test_prefregex_that_does_not_match(judge):
    """Then no failregex was asked; it is told how far prefregex got."""
    told = judge.line("May  1 09:59:58 abc: bad login", NOW)
    regex, got = told.nearest

    assert ("missed", False, "prefregex") == (told.verdict, told.agrees, regex.option)
    assert (" a", "'pp'") == (told.searched[: got.end], got.wanted)


def test_ignoreregex(judge, tmp_path):
    """A line that is ignored is told with the regex that does it."""
    told = judge.line(line("bad login of root from 203.0.113.7"), NOW)

    assert "ignored" == told.verdict
    assert [(1, Origin(f"{tmp_path}/filter.d/app.conf", 7))] == [
        place(regex) for regex in told.ignoreregex
    ]
    assert None is told.nearest


@pytest.mark.parametrize(
    "address, why, at",
    [
        ("192.0.2.7", "192.0.2.0/28", 4),
        ("198.51.100.1", "198.51.100.1", 4),
        ("203.0.113.9", "friend.example", 5),
        ("203.0.113.77", "own address", None),
    ],
)
def test_never_banned(judge, address, why, at):
    """Who is never banned is told with the entry that says so."""
    told = judge.line(line(f"gone {address}"), NOW)
    (count,) = told.counts

    assert ("ignored", why) == (told.verdict, count.ignored)
    assert at == (count.origin.line if count.origin else None)


def test_host_name(judge):
    """A name counts against each of its addresses that is not ignored."""
    told = judge.line(line("gone many.example"), NOW)

    assert "failure" == told.verdict
    assert [
        ("203.0.113.1", "many.example", ""),
        ("203.0.113.9", "many.example", "friend.example"),
    ] == [(count.id, count.host, count.ignored) for count in told.counts]


def test_session(judge):
    """Lines of one session: context, a failure of nobody yet, and then of whom it is."""
    lines = ("slow 7 start of joe", "slow 7 denied to joe", "slow 7 end from 203.0.113.7")
    told = [judge.line(line(text), NOW) for text in lines]

    assert ["context", "pending", "failure"] == [one.verdict for one in told]
    assert "203.0.113.7" == told[2].counts[0].id
