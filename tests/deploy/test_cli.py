# SPDX-License-Identifier: MIT
"""Does the command line say what is wrong, and end with the right code?"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from stockade import __version__
from stockade.cli import actions
from stockade.cli import run as stockade
from stockade.cli.actions import CHANGES, FAILED, INTERRUPTED, OK, UNREACHABLE, WRONG
from stockade.model import Change, HostResult


CHANGE = Change("file", "/etc/x", "update", "-old\n+new\n")
HOSTS = """\
all:
  vars:
    stockade_roles: [base, sshd]
  hosts:
    web1: {ansible_host: 192.0.2.1, ansible_user: root}
    web2: {ansible_host: 192.0.2.2, ansible_become: true, ansible_become_password: s3cret}
"""


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """An inventory of two hosts, in the current folder."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "hosts.yml").write_text(HOSTS)
    return folder


@pytest.fixture
def answers(monkeypatch):
    """Let the hosts answer from a table instead of over ssh; returns it and what was asked."""
    table, asked = {}, []

    class Canned:
        def __init__(self, remote, *, settings, **options):
            self.under_way, self.not_begun = {}, []
            self._settings, self._options = settings, options

        def stop(self):
            self.not_begun = ["web2"]

        def run(self, jobs, mode):
            asked.append((mode, [host.name for host, _ in jobs], self._settings, self._options))
            for host, _ in jobs:
                answer = table.get(host.name, HostResult(host.name, "ok"))
                if callable(answer):
                    answer = answer(self)
                if answer is None:
                    return
                yield answer

    monkeypatch.setattr(actions, "Fleet", Canned)
    return table, asked


def changed(name):
    return HostResult(name, "changed", changes=(CHANGE,))


@pytest.mark.parametrize(
    "command, outcomes, code",
    [
        pytest.param("push", {}, OK, id="push-ok"),
        pytest.param("push", {"web1": changed("web1")}, OK, id="push-changed"),
        pytest.param("plan", {}, OK, id="plan-nothing"),
        pytest.param("plan", {"web1": changed("web1")}, CHANGES, id="plan-changes"),
        pytest.param(
            "push", {"web1": HostResult("web1", "failed", error="x")}, FAILED, id="failed"
        ),
        pytest.param(
            "plan", {"web1": HostResult("web1", "refused", error="x")}, FAILED, id="refused"
        ),
        pytest.param(
            "push",
            {"web1": HostResult("web1", "unreachable", error="x"), "web2": changed("web2")},
            UNREACHABLE,
            id="unreachable",
        ),
        pytest.param(
            "push",
            {
                "web1": HostResult("web1", "unreachable", error="x"),
                "web2": HostResult("web2", "failed", error="x"),
            },
            FAILED,
            id="failed-outweighs-unreachable",
        ),
        pytest.param(
            "plan",
            {"web1": HostResult("web1", "unreachable", error="x"), "web2": changed("web2")},
            UNREACHABLE,
            id="unreachable-outweighs-changes",
        ),
        pytest.param(
            "status", {"web1": HostResult("web1", "failed", error="x")}, FAILED, id="status"
        ),
    ],
)
def test_exit_codes(fleet, answers, command, outcomes, code):
    """Each outcome has its code; the worst one counts."""
    answers[0].update(outcomes)

    assert code == stockade([command])


@pytest.mark.parametrize(
    "words, expected",
    [
        pytest.param(["--json", "push"], "push", id="before"),
        pytest.param(["push", "--json"], "push", id="after"),
    ],
)
def test_options_stand_before_or_after_the_command(fleet, answers, capsys, words, expected):
    """--json, -i, -l, --parallel and --debug are taken in both places."""
    code = stockade(["-l", "web1", *words, "--parallel", "7", "--debug"])

    told = json.loads(capsys.readouterr().out)
    _, hosts, settings, options = answers[1][0]
    assert (0, expected, ["web1"], 7, True) == (
        code,
        told["command"],
        hosts,
        options["parallel"],
        settings.trace,
    )


def test_json_keeps_standard_output_clean(fleet, answers, capsys):
    """With --json there is one document on standard output, and nothing else."""
    answers[0]["web1"] = HostResult("web1", "failed", error="x")

    code = stockade(["push", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert (FAILED, ["web1", "web2"]) == (code, [host["host"] for host in told["hosts"]])


def test_plan_shows_changes_and_diffs(fleet, answers, capsys):
    """The plan prints what would change; --diff line by line."""
    answers[0]["web1"] = changed("web1")

    stockade(["plan", "--diff"])

    out = capsys.readouterr().out
    assert "~ file       /etc/x  update" in out
    assert "      -old\n      +new\n" in out
    assert "2 hosts: 1 as they should be, 1 would change" in out


@pytest.mark.parametrize("command", ["plan", "push", "status", "hosts", "hostkeys"])
def test_no_inventory(tmp_path, monkeypatch, capsys, command):
    """Without an inventory the remedy names init and -i."""
    monkeypatch.chdir(tmp_path)

    code = stockade([command])

    error = capsys.readouterr().err
    assert WRONG == code
    assert "stockade: inventory: there is no inventory here (stockade init DIR" in error
    assert 1 == error.count("\n")


def test_all_faults_of_an_inventory_are_told(fleet, answers, capsys):
    """Each fault is a line with file, line and column, and no host is asked."""
    (fleet / "hosts.yml").write_text(
        HOSTS.replace("[base, sshd]", "[base, sshdd]") + "    web3: {ansible_prot: 22}\n"
    )

    code = stockade(["push"])

    lines = capsys.readouterr().err.splitlines()
    assert WRONG == code
    assert [] == answers[1]
    assert any(line.startswith("stockade: hosts.yml:3:") and "sshdd" in line for line in lines)
    assert any("ansible_prot" in line and "ansible_port" in line for line in lines)


def test_faults_in_json(fleet, answers, capsys):
    """With --json the faults are in the document too."""
    (fleet / "hosts.yml").write_text(HOSTS.replace("[base, sshd]", "[sshdd]"))

    code = stockade(["plan", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert (WRONG, 3) == (code, told["errors"][0]["line"])


@pytest.mark.parametrize(
    "words, text",
    [
        pytest.param(["psh"], "psh", id="unknown-command"),
        pytest.param(["push", "--limt", "x"], "--limt", id="unknown-option"),
        pytest.param(["push", "--parallel", "0"], "--parallel", id="out-of-range"),
        pytest.param(["init"], "DIR", id="missing-argument"),
    ],
)
def test_wrong_usage_is_code_1(fleet, capsys, words, text):
    """A slip on the command line is one line and code 1, never 2, which is plan's."""
    code = stockade(words)

    error = capsys.readouterr().err
    assert WRONG == code
    assert error.startswith("stockade: ")
    assert text in error


def test_no_words_at_all_show_the_help(capsys):
    """The bare command tells what there is."""
    assert WRONG == stockade([])
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["init", "plan", "push", "status", "hosts", "hostkeys"])
def test_help_has_examples(capsys, command):
    """Every command's help shows how it is used, in 80 columns."""
    assert OK == stockade([command, "--help"])

    out = capsys.readouterr().out
    assert "Example" in out
    assert f"stockade {command}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_version(capsys):
    """The version is printed."""
    assert OK == stockade(["version"])
    assert __version__ == capsys.readouterr().out.strip()


def test_init_writes_what_plan_can_read(tmp_path, monkeypatch, answers, capsys):
    """The example of init is an inventory that compiles."""
    monkeypatch.chdir(tmp_path)

    assert OK == stockade(["init", "fleet"])
    assert OK == stockade(["-i", "fleet", "plan"])


def test_hosts_lists_what_is_resolved(fleet, capsys):
    """Logins and roles are shown, in JSON too, and no password."""
    assert OK == stockade(["hosts"])
    table = capsys.readouterr().out
    assert OK == stockade(["hosts", "--json"])
    document = capsys.readouterr().out

    assert "root@192.0.2.1" in table
    told = json.loads(document)
    assert ["base", "sshd"] == told["hosts"][0]["roles"]
    assert "s3cret" not in table + document


def test_hostkeys_approve_only_when_told_to(fleet, sshd, capsys):
    """Keys are shown, appended with --approve, known then; a changed one is never taken."""
    sshd.start()
    (fleet / "hosts.yml").write_text(
        f"all:\n  hosts:\n    web1: {{ansible_host: 127.0.0.1, ansible_port: {sshd.port}}}\n"
    )
    known = fleet / "known_hosts"

    shown = stockade(["hostkeys"]), known.exists()
    approved = stockade(["hostkeys", "--approve"]), known.read_text()
    again = stockade(["hostkeys", "--json"])
    states = capsys.readouterr().out
    sshd.start(HostKey=sshd.folder / "other")
    changed = stockade(["hostkeys", "--approve"]), known.read_text()

    assert (OK, False) == shown
    assert (OK, sshd.known_line()) == approved
    assert OK == again
    assert '"state": "known"' in states
    assert (UNREACHABLE, sshd.known_line()) == changed


def test_the_first_interrupt_ends_after_the_hosts_under_way(fleet, answers, capsys):
    """Ctrl-C once: the host under way is told as done, the others as not begun; code 130."""

    def interrupt(run):
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 10
        while not run.not_begun:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return changed("web1")

    answers[0].update(web1=interrupt, web2=lambda run: None)

    code = stockade(["push", "--json"])

    streams = capsys.readouterr()
    told = json.loads(streams.out)
    assert (INTERRUPTED, True, ["web2"]) == (code, told["interrupted"], told["not_begun"])
    assert ["web1"] == [host["host"] for host in told["hosts"]]
    assert "interrupted: 1 host done" in streams.err
    assert "not begun: web2" in streams.err


def test_the_second_interrupt_leaves_at_once(fleet, answers, capsys):
    """Ctrl-C twice: the host under way is told apart, with what happened there."""

    def interrupt(run):
        run.under_way = {"web1": "switching"}
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            time.sleep(0.01)
        raise AssertionError("nothing interrupted")

    answers[0]["web1"] = interrupt

    code = stockade(["push"])

    error = capsys.readouterr().err
    assert INTERRUPTED == code
    assert "web1: left while switching" in error
    assert "not begun: web2" in error


def test_as_a_module():
    """As a module of Python it is the same command."""
    done = subprocess.run(
        [sys.executable, "-m", "stockade", "version"], capture_output=True, text=True, check=True
    )

    assert __version__ == done.stdout.strip()
