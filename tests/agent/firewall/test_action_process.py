# SPDX-License-Identifier: MIT
"""Does a command run as it should, and end when it must?"""

import os
import subprocess
import threading
import time

import pytest

from stockade_agent.firewall.process import Ended, Shell


@pytest.fixture
def shell():
    """Return a shell that is left with nothing running."""
    shell = Shell(time.monotonic)
    yield shell
    shell.kill()


def gone(path):
    """Return whether the process ends whose number is in a file, within a generous time."""
    pid, deadline = int(path.read_text()), time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    "text, problem",
    [
        pytest.param("true", "", id="well"),
        pytest.param("exit 3", "status 3", id="status"),
        pytest.param("echo out; echo err >&2; exit 1", "status 1: out\nerr", id="printed"),
        pytest.param("kill -9 $$", "killed by SIGKILL", id="signal"),
        pytest.param("head -c 200000 /dev/zero | tr '\\0' x; false", "x" * 2000, id="much"),
        pytest.param("exec 1>&- 2>&-; sleep 0.1; false", "status 1", id="silent"),
    ],
)
def test_how_a_command_ends(shell, text, problem):
    """Status 0 is success; of a failure the status and the end of its output are told."""
    ended = shell.run(text, {}, 60)

    assert (problem == "") == ended.ok
    assert ended.problem.endswith(problem)


def test_what_a_command_finds(shell, tmp_path):
    """A command has its variables, no input, and leaves files that only their owner reads."""
    out = tmp_path / "out"

    ended = shell.run('cat; printf "%s" "$x" > "$out"', {"x": b"\xff'", "out": bytes(out)}, 60)

    assert Ended(ok=True) == ended
    assert b"\xff'" == out.read_bytes()
    assert 0o600 == out.stat().st_mode & 0o777


def test_what_a_command_does_not_find():
    """The socket on which systemd hears the agent is not handed on."""
    shell = Shell(time.monotonic, environment={"NOTIFY_SOCKET": "/x", "HOME": "/y"})

    assert Ended(ok=True) == shell.run('[ "$NOTIFY_SOCKET$HOME" = /y ]', {}, 60)


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["obeys", "ignores"])
def test_a_command_that_takes_too_long(shell, tmp_path, trap):
    """After its timeout a command is killed with all that it has started."""
    child = tmp_path / "child"
    text = f"{trap}sh -c '{trap}echo $$ > \"$child\"; sleep 600; :' & echo begun; wait; sleep 600"

    ended = shell.run(text, {"child": bytes(child)}, 0.3)

    assert Ended(ok=False, problem="killed after 0.3 s: begun") == ended
    assert gone(child)


def test_what_is_left_in_the_background(shell, tmp_path):
    """A command that has ended is not waited for because of a child that it left behind."""
    child = tmp_path / "child"
    text = 'sleep 600 & echo $! > "$child"'
    began = time.monotonic()

    ended = shell.run(text, {"child": bytes(child)}, 300)

    assert Ended(ok=True) == ended
    assert time.monotonic() - began < 100
    os.kill(int(child.read_text()), 9)


def test_a_slow_command_is_told_of(shell):
    """Whoever waits for a slow command learns that it is one, once."""
    told = []

    shell.run("sleep 1.2", {}, 60, lambda: told.append("slow"))
    shell.run("true", {}, 60, lambda: told.append("quick"))

    assert ["slow"] == told


def test_more_than_an_environment_holds(shell):
    """Where the kernel refuses to start a command, that is its problem."""
    ended = shell.run("true", {"x": b"x" * 300_000}, 60)

    assert Ended(ok=False, problem="/bin/sh cannot be started: Argument list too long") == ended


def test_echo(shell):
    """It is known what this machine's echo does to backslashes."""
    shell_is = os.path.basename(os.path.realpath("/bin/sh"))

    assert {"dash": True, "bash": False}.get(shell_is, shell.echo_escapes) == shell.echo_escapes


def test_a_command_that_is_just_being_started_is_killed(shell, monkeypatch):
    """Who ends while another thread starts a command leaves nothing of it behind."""
    killer, popen = threading.Thread(target=shell.kill), subprocess.Popen

    def started(*words, **options):
        killer.start()
        killer.join(0.3)  # long enough to kill all that is known, were it not held up
        return popen(*words, **options)

    monkeypatch.setattr(subprocess, "Popen", started)
    ended = shell.run("sleep 30", {}, 20)
    killer.join()

    assert Ended(ok=False, problem="killed by SIGKILL") == ended
