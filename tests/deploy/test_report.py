# SPDX-License-Identifier: MIT
"""Can a person and a program read what became of the hosts?"""

import io
import json

import pytest
from rich.console import Console

from stockade.errors import InputError, Unreachable
from stockade.model import Change, Facts, Host, HostResult
from stockade.report import agents, keys, terminal
from stockade.report import json as report_json
from stockade.report.text import names, plain, span


HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold]x[/bold] \u202egnp\n"


def console(width=80, *, terminal_like=False):
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal_like, legacy_windows=False
    )


def shown(function, *words, width=80, **options):
    out = console(width)
    function(out, *words, **options)
    return out.file.getvalue()


def changed(host, *changes):
    return HostResult(host, "changed", changes=changes or (Change("file", "/etc/x", "create"),))


# ---- text


def test_hostile_text_cannot_drive_a_terminal():
    """Escapes, bells, bidirectional overrides and line ends are shown, not sent."""
    assert "\\x1b[31mred\\x1b]0;title\\x07 [bold]x[/bold] \\u202egnp\\n" == plain(HOSTILE)


@pytest.mark.parametrize("text", ["web1", "Zürich", "日本", "a b", "[sshd]"])
def test_harmless_text_stays(text):
    """Letters of any script, spaces and brackets are left as they are."""
    assert text == plain(text)


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0s"), (59, "59s"), (600, "10m"), (3661, "1h 1m"), (200_000, "2d 7h"), (-5, "0s")],
)
def test_spans(seconds, text):
    """Durations have their two largest units."""
    assert text == span(seconds)


def test_many_names_are_counted():
    """A thousand hosts fit into a line."""
    assert "h0, h1, h2, h3, h4, h5 and 994 more" == names([f"h{n}" for n in range(1000)])


# ---- the plan


def test_hosts_with_the_same_changes_are_told_once():
    """A thousand hosts with equal changes are one group; the odd one has its own."""
    alike = [changed(f"h{n}") for n in range(1000)]
    odd = changed("odd", Change("file", "/etc/x", "remove"))

    text = shown(terminal.show_changes, [*alike, odd, HostResult("same", "ok")], diff=False)

    assert text.splitlines() == [
        "h0, h1, h2, h3, h4, h5 and 994 more  (1000 hosts)",
        "  + file       /etc/x  create",
        "odd",
        "  - file       /etc/x  remove",
    ]


def test_diffs_are_shown_when_asked_for():
    """--diff adds the lines of each change, escaped."""
    change = Change("file", "/etc/x", "update", "--- /etc/x\n+++ /etc/x\n-old\n+new \x1b[2J\n")

    quiet = shown(terminal.show_changes, [changed("a", change)], diff=False)
    loud = shown(terminal.show_changes, [changed("a", change)], diff=True)

    assert "old" not in quiet
    assert "      -old\n      +new \\x1b[2J\n" in loud


def test_hostile_names_and_errors_are_escaped():
    """What a host sends reaches the terminal neither as escape nor as markup."""
    result = HostResult(
        HOSTILE, "failed", changes=(Change(HOSTILE, HOSTILE, HOSTILE, HOSTILE),), error=HOSTILE,
        remedy=HOSTILE, notes=(HOSTILE,),
    )  # fmt: skip

    text = shown(terminal.show_changes, [result], diff=True)
    for function in (terminal.show_notes, terminal.show_results, terminal.show_problems):
        text += shown(function, [result])

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]x[/bold]" in text


# ---- the push


def test_a_push_has_a_row_for_each_host_in_80_columns():
    """Outcome, what changed, jails, seconds; no line is wider than the terminal."""
    results = [
        HostResult("web1", "ok", agent={"jails": [{}, {}]}, seconds=0.42),
        changed("web2"),
        HostResult("web3", "unreachable", error="no route to 192.0.2.3", remedy="plug it in"),
    ]

    lines = shown(terminal.show_results, results).splitlines()

    assert [["web1", "ok", "2", "0.4"], ["web2", "changed", "1", "file"]] == [
        line.split() for line in lines[1:3]
    ]
    assert max(map(len, lines)) <= 80


def test_a_thousand_hosts_are_told_by_outcome():
    """A large fleet has a row an outcome, not a row a host."""
    results = [changed(f"h{n}") for n in range(998)]
    results += [HostResult("bad", "failed", error="x"), HostResult("fine", "ok")]

    lines = shown(terminal.show_results, results).splitlines()

    assert 4 <= len(lines) <= 6
    assert lines[-1].split() == ["failed", "1", "bad"]


def test_problems_are_one_line_with_the_remedy():
    """Host, outcome, cause and remedy, however long."""
    result = HostResult("web3", "unreachable", error="no route " * 20, remedy="plug it in")

    assert 1 == len(shown(terminal.show_problems, [result]).splitlines())
    assert "(plug it in)" in shown(terminal.show_problems, [result])


def test_notes_of_many_hosts_are_told_once():
    """The same note of several hosts is one line."""
    results = [HostResult(name, "ok", notes=("own.conf: left alone",)) for name in "abc"]

    assert "a, b, c: own.conf: left alone\n" == shown(terminal.show_notes, results)


@pytest.mark.parametrize(
    "planned, text",
    [
        (True, "3 hosts: 1 as they should be, 1 would change, 1 failed"),
        (False, "3 hosts: 1 as they should be, 1 changed, 1 failed"),
    ],
)
def test_the_last_line_counts(planned, text):
    """The summary counts hosts by outcome."""
    results = [HostResult("a", "ok"), changed("b"), HostResult("c", "failed", error="x")]

    assert text == terminal.summary(results, planned=planned)


def test_progress_without_a_terminal_is_a_line_a_host():
    """Into a file goes one plain line for each host as it ends."""
    out = console()

    with terminal.Progressing(out, "pushing", 2) as progress:
        progress.phase("a", "connecting")
        progress.done(changed("a"))
        progress.done(HostResult("b", "failed", error="x"))

    assert "a changed (1 change)\nb failed\n" == out.file.getvalue()


def test_progress_on_a_terminal_names_hosts_under_way():
    """The live display shows the count and what happens where, hostile names escaped."""
    out = console(terminal_like=True)

    with terminal.Progressing(out, "pushing", 2) as progress:
        for number in range(10):
            progress.phase(f"host{number}", "sending\x1b[2J")
        progress.done(changed("host0"))
        progress._live.refresh()
        text = out.file.getvalue()

    assert "1/2" in text
    assert "host1" in text
    assert "and 1 more" in text
    assert "sending\\x1b[2J" in text


def test_an_interrupted_run_tells_done_from_left():
    """Done, left under way with what happened there, not begun."""
    text = shown(terminal.show_interrupted, 3, {"web4": "switching"}, ["web5", "web6"])

    assert text.splitlines() == [
        "interrupted: 3 hosts done",
        "  web4: left while switching; the host ends or undoes that by itself",
        "  not begun: web5, web6",
    ]


# ---- hosts and keys


def test_hosts_as_resolved():
    """Login, sudo, roles and groups of each host; no password."""
    host = Host(
        "web1", "192.0.2.1", 2222, "operator", become=True, become_password="s3cret",
        groups=("web",), roles=("base", "sshd"),
    )  # fmt: skip

    text = shown(terminal.show_hosts, [host])

    assert "operator@192.0.2.1:2222 (sudo)" in text
    assert "s3cret" not in text


def test_keys_tell_what_to_do(tmp_path):
    """New keys ask for --approve, changed ones warn."""
    rows = [
        keys.Shown("web1", "192.0.2.1", 22, "ssh-ed25519", "SHA256:abc", "new"),
        keys.Shown("web2", "192.0.2.2", 22, "ssh-ed25519", "SHA256:def", "changed"),
    ]
    trouble = Unreachable("no route", host="web3", remedy="plug it in")

    text = shown(keys.show, rows, [trouble], tmp_path / "known_hosts", width=200)

    assert "1 key not in" in text
    assert "CHANGED keys may be somebody in between" in text
    assert "web3: no route (plug it in)" in text


# ---- agents


def agent(**changes):
    return {
        "version": "0.1.0", "python": "3.11.2", "pid": 42, "started_at": 1000.0, "now": 4661.0,
        "rss_bytes": 20 << 20, "lines": 12345,
        "firewall": {
            "backend": "nftables", "wanted": "auto", "proved_at": 1001.0, "problem": "",
            "warnings": [],
        },
        "jails": [
            {
                "name": "sshd", "state": "running", "problem": "", "source": "journal",
                "logs": ["_COMM=sshd"], "ports": "22", "maxretry": 5, "findtime": 600,
                "bantime": 600, "failed_now": 2, "failed_total": 9, "banned_now": 1,
                "banned_total": 3,
                "bans": [
                    {"id": "192.0.2.66", "at": 4600.0, "expires_at": 5200.0, "failures": 5,
                     "enforced": True},
                ],
            },
        ],
        "faults": [], "never_banned": ["192.0.2.9"],
        **changes,
    }  # fmt: skip


def test_status_has_a_row_for_each_jail():
    """Host, jail, state, failures, bans, firewall and who is banned."""
    rows = shown(agents.show_status, [HostResult("web1", "ok", agent=agent())], None).splitlines()

    assert ["web1", "sshd", "running", "2/9", "1/3", "nftables", "192.0.2.66"] == rows[1].split()
    assert max(map(len, rows)) <= 80


def test_status_of_one_jail_only():
    """--jail leaves the others out."""
    assert "" == shown(agents.show_status, [HostResult("web1", "ok", agent=agent())], "vnc")


def test_status_tells_troubles():
    """What is wrong in a jail, in the firewall or the configuration is told below the table."""
    firewall = {**agent()["firewall"], "problem": "nft: no permission", "warnings": ["a chain"]}
    told = agent(firewall=firewall, faults=["/etc/stockade/jail.local:3: unknown option"])
    mail = {"name": "mail", "state": "failed", "queued": 1, "failed": 1, "problem": "ban: status 1"}
    told["jails"] = [{**jail, "actions": [mail]} for jail in told["jails"]]
    lost = HostResult("web2", "failed", error="no agent is installed", remedy="stockade push")

    text = shown(agents.show_status, [HostResult("web1", "ok", agent=told), lost], None)

    assert "web1: firewall nftables: nft: no permission\n" in text
    assert "web1: jail sshd, action mail: ban: status 1\n" in text
    assert "web1: a chain\n" in text
    assert "web1: /etc/stockade/jail.local:3: unknown option\n" in text
    assert "web2 failed: no agent is installed (stockade push)\n" in text


@pytest.mark.parametrize(
    "answer", [{}, {"jails": 1}, {**agent(), "jails": [{"name": "x"}]}, {**agent(), "firewall": 3}]
)
def test_an_answer_that_is_none_is_said_to_be(answer):
    """A host may answer anything; status says that it is not understood."""
    text = shown(agents.show_status, [HostResult("web1", "ok", agent=answer)], None)

    assert "web1: its agent's answer is not understood\n" == text


def test_one_host_in_full():
    """With a host named, everything that its agent says is shown."""
    text = shown(agents.show_host, HostResult("web1", "ok", agent=agent()), None)

    for words in (
        "0.1.0, Python 3.11.2, process 42",
        "1h 1m",
        "20.0 MiB",
        "nftables (asked for: auto), proved 1h 1m ago",
        "192.0.2.9",
        "ports 22, 5 failures in 10m earn 10m",
        "2 failing now, 9 since the start; 1 ban now, 3 since the start",
        "in 8m 59s",
    ):
        assert words in text


# ---- json


def test_the_document_is_stable():
    """Schema 1: these keys, hosts as HostResult, changed as molecule reads it."""
    results = [
        HostResult("a", "ok", facts=Facts(family="debian"), agent={"version": "0.1.0"}),
        changed("b"),
    ]

    told = json.loads(report_json.document("push", results, 0))

    assert {
        "schema", "command", "changed", "exit", "interrupted", "hosts", "summary", "under_way",
        "not_begun", "errors", "paused", "held",
    } == told.keys()  # fmt: skip
    assert (1, "push", True, 0) == (told["schema"], told["command"], told["changed"], told["exit"])
    assert {"ok": 1, "changed": 1, "failed": 0, "refused": 0, "unreachable": 0} == told["summary"]
    assert {
        "host", "outcome", "changes", "facts", "agent", "answer", "error", "remedy", "notes",
        "seconds",
    } == told["hosts"][0].keys()  # fmt: skip


def test_nothing_changed_is_false():
    """A second push says changed: false, which is what molecule's idempotence step reads."""
    assert json.loads(report_json.document("push", [HostResult("a", "ok")], 0))["changed"] is False


def test_errors_of_input_are_in_the_document():
    """Each fault has its place."""
    error = InputError("unknown variable", path="hosts.yml", line=3, column=7, remedy="did you …")

    (told,) = json.loads(report_json.document("plan", (), 1, errors=[error]))["errors"]

    assert ("hosts.yml", 3, 7, "did you …") == (
        told["path"],
        told["line"],
        told["column"],
        told["remedy"],
    )
