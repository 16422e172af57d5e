# SPDX-License-Identifier: MIT
"""Can a person read, at three in the morning, what the agents did and where nobody is banned?"""

import io
from datetime import datetime

import pytest
from rich.console import Console

from deploy.test_report import agent
from stockade.model import HostResult
from stockade.report import agents, answers
from stockade.report import json as report_json
from stockade_agent.control.protocol import Request


AT = 1_700_000_000.0
WHEN = datetime.fromtimestamp(AT).astimezone().strftime("%Y-%m-%d %H:%M")
PAUSE = {"jail": "", "since": AT, "until": None, "by": "anna@desk"}


def shown(function, *words, styled=False):
    file = io.StringIO()
    function(Console(file=file, width=80, force_terminal=styled, legacy_windows=False), *words)
    return file.getvalue()


def did(host="web1", **result):
    return HostResult(host, "ok", answer={"ok": True, "result": {"changed": [], **result}})


@pytest.mark.parametrize(
    "request_, result, words",
    [
        (
            Request("panic"),
            {"changed": ["192.0.2.7"], "count": 2, "until": None},
            "paused until stockade resume, 2 bans lifted",
        ),
        (
            Request("panic", ids=("web",), words=("60",)),
            {"count": 0, "until": AT},
            f"jail web paused until {WHEN}, nobody was banned",
        ),
        (
            Request("panic"),
            {"changed": ["192.0.2.7"]},
            "paused until stockade resume, 1 ban lifted",
        ),
        (Request("panic", words=("1e18",)), {"until": 1e18}, "paused until 1e+18, nobody"),
        (Request("resume"), {"changed": ["all", "web"]}, "resumed: all jails, web"),
        (Request("resume"), {}, "nothing was paused"),
        (Request("release"), {"changed": ["192.0.2.7"], "held": 1}, "banned: 192.0.2.7"),
        (Request("release"), {"held": 0}, "none was held back"),
        (Request("release", words=("drop",)), {"held": 3}, "3 held bans dropped"),
        (Request("ban", "sshd"), {"changed": ["192.0.2.7"]}, "banned: 192.0.2.7"),
        (Request("ban", "sshd"), {}, "banned already"),
        (Request("unban"), {"changed": list("abcdef")}, "unbanned: a, b, c and 3 more"),
        (
            Request("unban"),
            {"within": {"192.0.2.7": [["sshd", "192.0.2.0/24"]]}},
            "not banned; 192.0.2.7 is within 192.0.2.0/24, which sshd bans",
        ),
    ],
)
def test_each_host_has_a_line(request_, result, words):
    """What was done there; hostile names and words are escaped, and nothing is coloured."""
    text = shown(answers.show_answers, request_, [did("web1\x1b", **result)])

    assert text.startswith(f"web1\\x1b  {words}")
    assert 1 == text.count("\n")


def test_a_host_that_did_nothing_is_told_why():
    """Its own trouble with the remedy; a jail that is not there is none."""
    results = [
        did("web1", count=1, changed=["192.0.2.7"]),
        HostResult("db1", "ok", answer={"ok": False, "error": "no jail named web"}),
        HostResult("old1", "refused", error="the agent is too old for panic", remedy="push"),
    ]

    assert [
        "web1  paused until stockade resume, 1 ban lifted",
        "db1   no jail named web",
        "old1 refused: the agent is too old for panic (push)",
    ] == shown(answers.show_answers, Request("panic"), results).splitlines()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"ok": True},
        {"ok": True, "result": 3},
        {"ok": True, "result": {"changed": 1}},
        {"ok": True, "result": {"changed": [], "within": {"a": [1]}}},
    ],
)
def test_an_answer_that_is_none(answer):
    """A host may answer anything."""
    text = shown(answers.show_answers, Request("panic"), [HostResult("web1", "ok", answer=answer)])

    assert "web1  its agent's answer is not understood\n" == text


def test_a_thousand_hosts_are_told_by_their_answers():
    """A large fleet has a line an answer."""
    results = [did(f"h{n}", count=2) for n in range(999)] + [did("odd")]

    lines = shown(answers.show_answers, Request("panic"), results).splitlines()

    assert 2 == len(lines)
    assert lines[0].startswith("h0, h1, h2, h3, h4, h5 and 993 more  paused")


@pytest.mark.parametrize(
    "request_, results, words",
    [
        (Request("panic"), [did(count=2), did(count=3)], "2 of 3 hosts paused, 5 bans lifted"),
        (Request("resume"), [did(changed=["all"]), did()], "2 of 3 hosts asked, 1 resumed"),
        (Request("ban"), [did(changed=["a", "b"])], "1 of 2 hosts asked, 2 bans made"),
        (Request("unban"), [did(count=1)], "1 of 2 hosts asked, 1 ban lifted"),
        (Request("release"), [did(changed=["a"], held=2)], "1 of 2 hosts asked, 1 ban made"),
        (
            Request("release", words=("drop",)),
            [did(held=2)],
            "1 of 2 hosts asked, 2 bans dropped",
        ),
    ],
)
def test_the_last_line_counts(request_, results, words):
    """Hosts on which it was done, and bans."""
    lost = HostResult("lost", "unreachable", error="no route")

    assert words == answers.summary(request_, [*results, lost])


def test_pauses_are_told_with_whom_to_ask():
    """Hosts that were paused together are told together, whatever command looked there."""
    jail = {"jail": "web", "since": None, "until": AT, "by": ""}
    results = [
        HostResult("web1", "ok", agent=agent(pauses=[PAUSE])),
        HostResult("web2", "changed", agent=agent(pauses=[{**PAUSE, "since": AT + 1}, jail])),
        HostResult("web3", "ok", agent=agent()),
        HostResult("lost", "unreachable", error="no route"),
    ]

    assert [
        f"web1, web2 (2 hosts): PAUSED since {WHEN} by anna@desk, until stockade resume",
        f"web2: web PAUSED, until {WHEN} or stockade resume",
    ] == shown(answers.show_pauses, results).splitlines()


def test_a_status_says_before_all_that_jails_do_not_ban():
    """PAUSED and HELD stand where running would, and are coloured on a terminal only."""
    jails = [{**agent()["jails"][0], **values} for values in ({"paused": True}, {"held": 12})]
    told = HostResult("web1", "ok", agent=agent(jails=jails))

    plain = shown(agents.show_status, [told], None)
    assert [["PAUSED"], ["HELD", "12"]] == [row.split()[2:-4] for row in plain.splitlines()[1:3]]
    assert "\x1b[1;31mPAUSED" in shown(agents.show_status, [told], None, styled=True)
    assert "web1: HELD: 12 bans of sshd: stockade release [--drop]" in shown(
        answers.show_pauses, [told]
    )
    assert "jail sshd PAUSED" in shown(agents.show_host, told, None)


def test_the_document_names_pauses_and_held_bans():
    """A program finds them at the top, host by host."""
    jails = [{**agent()["jails"][0], "held": 12}]
    results = [
        HostResult("web1", "ok", agent=agent(pauses=[PAUSE])),
        HostResult("web2", "ok", agent=agent(jails=jails)),
    ]
    text = report_json.document("status", results, 0)

    told = report_json.json.loads(text)
    assert ({"web1": [PAUSE]}, {"web2": {"sshd": 12}}) == (told["paused"], told["held"])
