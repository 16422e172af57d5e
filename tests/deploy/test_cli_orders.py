# SPDX-License-Identifier: MIT
"""Do panic, resume, release, ban and unban reach the agents, and ask before they reach many?"""

import json
import os
import pty

import pytest

from stockade.cli import actions
from stockade.cli import run as stockade
from stockade.cli.actions import FAILED, OK, UNREACHABLE, WRONG
from stockade.model import HostResult


HOSTS = """\
all:
  hosts:
    web1: {ansible_host: 192.0.2.1}
    web2: {ansible_host: 192.0.2.2}
"""
DONE = {"ok": True, "result": {"changed": ["192.0.2.7"], "count": 1, "held": 0, "until": None}}
NO_JAIL = {"ok": False, "error": "no jail named webb (did you mean web?)", "code": "no jail"}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """An inventory of two hosts whose agents do as asked; returns that, and their replies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts.yml").write_text(HOSTS)
    monkeypatch.setattr(actions, "person", lambda: "anna@desk")
    requests, replies = [], {}

    class Canned:
        def __init__(self, remote, *, settings, **options):
            self._request, self.under_way = settings.ask, {}

        def run(self, jobs, mode):
            names = [host.name for host, _ in jobs]
            requests.append((mode, names, self._request))
            for name in names:
                yield replies.get(name, HostResult(name, "ok", answer=DONE))

    monkeypatch.setattr(actions, "Fleet", Canned)
    return requests, replies


@pytest.mark.parametrize(
    "words, command, jail, ids, more",
    [
        (["panic", "--yes"], "panic", "", (), ()),
        (["panic", "-y", "--for", "2h"], "panic", "", (), ("7200.0",)),
        (["panic", "-y", "-j", "a", "--jail", "b"], "panic", "", ("a", "b"), ()),
        (["resume"], "resume", "", (), ()),
        (["resume", "--jail", "a"], "resume", "", ("a",), ()),
        (["release"], "release", "", (), ()),
        (["release", "--jail", "a", "--drop"], "release", "a", (), ("drop",)),
        (["ban", "192.0.2.7", "2001:db8::/64", "--jail", "a"], "ban", "a", None, ()),
        (["unban", "192.0.2.7", "2001:db8::/64"], "unban", "", None, ()),
        (["unban", "--all", "--jail", "a"], "unban", "a", ("all",), ()),
    ],
)
def test_what_the_agents_are_asked(asked, capsys, words, command, jail, ids, more):
    """The words become one request, the same for all hosts; each has a line, and all a last."""
    assert OK == stockade(words)

    ((mode, names, request),) = asked[0]
    ids = ("192.0.2.7", "2001:db8::/64") if ids is None else ids
    assert ("ask", ["web1", "web2"]) == (mode, names)
    assert (command, jail, ids, more) == (
        request.command, request.jail, request.ids, request.words
    )  # fmt: skip
    assert ("anna@desk" if command == "panic" else "") == request.by
    lines = capsys.readouterr().out.splitlines()
    assert ["web1", "web2", "2"] == [line.split()[0] for line in lines]


def test_json_is_one_document(asked, capsys):
    """The agents' own replies are in it."""
    assert OK == stockade(["resume", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert ("resume", OK, [DONE, DONE]) == (
        told["command"], told["exit"], [host["answer"] for host in told["hosts"]]
    )  # fmt: skip


@pytest.mark.parametrize(
    "replies, code",
    [
        pytest.param({"web1": HostResult("web1", "ok", answer=NO_JAIL)}, OK, id="one-has-no-jail"),
        pytest.param(
            {name: HostResult(name, "ok", answer=NO_JAIL) for name in ("web1", "web2")},
            FAILED,
            id="none-has-that-jail",
        ),
        pytest.param(
            {"web1": HostResult("web1", "refused", error="x")}, FAILED, id="too-old-an-agent"
        ),
        pytest.param(
            {"web1": HostResult("web1", "unreachable", error="x")}, UNREACHABLE, id="unreachable"
        ),
    ],
)
def test_exit_codes(asked, replies, code):
    """They are those of every command; a jail that no host has is a mistake."""
    asked[1].update(replies)

    assert code == stockade(["panic", "--yes", "--jail", "webb"])


def test_many_hosts_and_nobody_to_ask(asked, capsys, monkeypatch):
    """Without a terminal panic wants --yes, and names how many hosts it is about."""
    with open(os.devnull) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert WRONG == stockade(["panic"])
    assert [] == asked[0]
    assert (
        "stockade: panic would be for 2 hosts (web1, web2), and there is no terminal to ask "
        "(--yes does it, --limit names fewer)\n"
    ) == capsys.readouterr().err
    assert OK == stockade(["panic", "--limit", "web1"])


@pytest.mark.parametrize("answer, code", [("y", OK), ("n", WRONG), ("", WRONG)])
def test_many_hosts_and_somebody_to_ask(asked, capsys, monkeypatch, answer, code):
    """He is told how many hosts, and of which jails; anything but yes does nothing."""
    controller, terminal = pty.openpty()
    os.write(controller, f"{answer}\n".encode())
    with open(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert code == stockade(["panic", "--jail", "a"])
    os.close(controller)

    said = capsys.readouterr()
    assert "Lift all bans in a on 2 hosts (web1, web2) and make no more? [y/N]" in said.err
    assert ("nothing was done" in said.err) is (code == WRONG)
    assert bool(asked[0]) is (code == OK)


@pytest.mark.parametrize(
    "words, text",
    [
        (["panic", "--for", "soon"], "--for"),
        (["panic", "--for", "0"], "'0' is no time to pause for"),
        (["panic", "--for", "-1"], "'-1' is no time to pause for"),
        (["ban", "192.0.2.7"], "--jail"),
        (["unban"], "give addresses, or --all"),
        (["unban", "--all", "192.0.2.7"], "give addresses, or --all"),
    ],
)
def test_wrong_usage_asks_nobody(asked, capsys, words, text):
    """It is one line and code 1."""
    assert WRONG == stockade(words)
    assert [] == asked[0]
    error = capsys.readouterr().err
    assert (1, True) == (error.count("\n"), text in error)


@pytest.mark.parametrize("command", ["panic", "resume", "release", "ban", "unban"])
def test_help_has_examples(capsys, command):
    """Every command's help shows how it is used, in 80 columns."""
    assert OK == stockade([command, "--help"])

    out = capsys.readouterr().out
    assert f"    stockade {command}" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("sudo", ["anna", ""])
def test_who_sits_here(monkeypatch, sudo):
    """Whoever became root by sudo is named as himself, with the machine."""
    monkeypatch.setenv("SUDO_USER", sudo)
    user, _, machine = actions.person().partition("@")

    assert user == (sudo or user)
    assert user
    assert machine == os.uname().nodename
