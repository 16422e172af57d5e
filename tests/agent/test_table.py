# SPDX-License-Identifier: MIT
"""Does the status fit a terminal, whatever is in it?"""

from dataclasses import replace

import pytest

from stockade_agent.control.protocol import (
    ActionStatus,
    AgentStatus,
    BanStatus,
    FirewallStatus,
    JailStatus,
    PauseStatus,
)
from stockade_agent.table import WIDTH, duration, lines


def jail(**values):
    known = {
        "name": "sshd",
        "state": "running",
        "problem": "",
        "source": "journal",
        "logs": ("_SYSTEMD_UNIT=ssh.service",),
        "ports": "22",
        "maxretry": 5,
        "findtime": 600,
        "bantime": 600,
        "failed_now": 2,
        "failed_total": 12,
        "banned_now": 1,
        "banned_total": 3,
        "bans": (BanStatus("192.0.2.7", 900.0, 1500.0, 5, enforced=True),),
    }
    return JailStatus(**{**known, **values})


def answer(*jails, **values):
    known = {
        "version": "0.1.0",
        "python": "3.11.2",
        "pid": 4242,
        "started_at": 0.0,
        "now": 1000.0,
        "rss_bytes": 20 << 20,
        "lines": 12345,
        "firewall": FirewallStatus("nftables", "auto", 990.0, "", ()),
        "jails": jails,
    }
    return AgentStatus(**{**known, **values})


def test_what_a_person_sees():
    """One line for the agent, one for the firewall, one for each jail, then the bans."""
    shown = list(lines(answer(jail())))

    assert [
        "stockade-agent 0.1.0: pid 4242, up 16 min 40 s, 20.0 MiB, 12345 lines read",
        "firewall: nftables (configured: auto), worked 10 s ago",
        "",
        "JAIL  STATE    SOURCE   PORTS  FAILED  TOTAL  BANNED  TOTAL",
        "sshd  running  journal  22          2     12       1      3",
        "",
        "sshd:",
        "  192.0.2.7  8 min 20 s left, 5 failures",
    ] == shown


def test_bans_that_somebody_took():
    """It is told how often bans were put back, after whom, and when."""
    firewall = FirewallStatus("nftables", "nftables", None, "", (), 3, 990.0, "nft")

    assert "firewall: put back 3 times after being taken, by nft, 10 s ago" in list(
        lines(answer(firewall=firewall))
    )


def test_a_ban_that_is_not_enforced_says_so():
    """What the firewall has not taken is no ban yet."""
    bans = (BanStatus("192.0.2.7", 900.0, None, 0, enforced=False),)

    assert "  192.0.2.7  for ever, by hand, NOT ENFORCED" in list(lines(answer(jail(bans=bans))))


def test_actions_that_fail_are_shown():
    """All jails together show what is wrong; one jail shows all of its actions."""
    mail = ActionStatus("mail", "failed", 3, 2, "ban 192.0.2.7: actionban: status 1")
    actions = (mail, ActionStatus("own", "ready", 0, 0, ""))
    failed = "  action mail: failed, 3 queued, 2 not taken: ban 192.0.2.7: actionban: status 1"

    shown = list(lines(answer(jail(actions=actions))))
    assert [failed] == [line for line in shown if "action" in line]
    assert "  action own: ready" in list(lines(answer(jail(actions=actions)), detailed=True))


HOSTILE = "\x1b]0;owned\x07" + "very-long-name-" * 20


@pytest.mark.parametrize("detailed", [False, True], ids=["all", "one"])
def test_hostile_and_long_text_fits(detailed):
    """No line is longer than 80 columns or carries a control character."""
    bans = tuple(BanStatus(HOSTILE + str(n), 1.0, 1e12, 3, enforced=True) for n in range(30))
    bad = jail(name=HOSTILE, ports=HOSTILE, problem=HOSTILE, logs=(HOSTILE,), bans=bans)
    bad = replace(bad, actions=(ActionStatus(HOSTILE, "failed", 10**9, 10**9, HOSTILE),))
    firewall = FirewallStatus("nftables", "auto", None, HOSTILE, (HOSTILE,), 1, 990.0, HOSTILE)
    huge = {"failed_total": 10**9, "banned_total": 10**7, "failed_now": 10**5, "banned_now": 10**5}
    shown = list(
        lines(
            answer(bad, jail(**huge), firewall=firewall, faults=(HOSTILE,), lines=10**12),
            detailed=detailed,
        )
    )

    assert [] == [line for line in shown if len(line) > WIDTH or not line.isprintable()]


def test_many_bans_are_counted_not_listed():
    """All jails together show the newest few of each."""
    bans = tuple(BanStatus(f"192.0.2.{n}", 1.0, 2000.0, 3, enforced=True) for n in range(30))

    assert "  and 20 more: stockade-agent status sshd" in list(lines(answer(jail(bans=bans))))


def test_no_jail():
    """An agent without a jail says so."""
    assert "no jail is enabled" == list(lines(answer()))[-1]


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (90061, "1 d 1 h"),
        (-5, "0 s"),
        (None, "ever"),
    ],
)
def test_duration(seconds, text):
    """A time span is told in its two largest units."""
    assert text == duration(seconds)


@pytest.mark.parametrize(
    "pause, words",
    [
        (
            PauseStatus("", None, None, ""),
            "all jails: nobody is banned but by hand until stockade-agent resume",
        ),
        (
            PauseStatus("sshd", 939.0, 4600.0, "anna@desk\x1b"),
            (
                "jail sshd: nobody is banned but by hand for 1 h more, or until "
                "stockade-agent resume; paused 1 min 1 s ago by anna@desk\\x1b"
            ),
        ),
    ],
    ids=["nothing-known", "all-known"],
)
def test_a_pause_is_said_first(pause, words):
    """Who looks at three in the morning sees at once that nobody is banned, and whom to ask."""
    told = list(lines(replace(answer(jail(paused=True)), pauses=(pause,))))

    assert f"PAUSED: {words}" == " ".join(line.strip() for line in told[2 : told.index("")])
