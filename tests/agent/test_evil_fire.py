# SPDX-License-Identifier: MIT
"""Does the agent, as a process, protect all else while somebody sends lines that hang a filter?"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

import stockade_agent
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import AgentStatus, Request
from stockade_agent.errors import NoAgentError


AGENT = str(Path(stockade_agent.__file__).parents[1])
DEADLINE = 60.0
JAIL_CONF = """\
[DEFAULT]
enabled = true
filter = %(__name__)s
maxretry = 3
filtertime = 0.2
backend = auto
port = 22
action = nftables-multiport[port="%(port)s"]

[mail]
logpath = {folder}/mail.log

[sshd]
logpath = {folder}/auth.log
"""
FILTERS = {
    "mail": "^\\s*\\S+ mail: (?:\\w+ ?)+: denied to <HOST>$",
    "sshd": "^\\s*\\S+ sshd: Failed password from <HOST>$",
}


class Host:
    """A directory that is a host for the agent, with a jail that can be hung."""

    def __init__(self, folder):
        self.folder, self.socket = folder, str(folder / "agent.sock")
        (folder / "filter.d").mkdir()
        for name, regex in FILTERS.items():
            (folder / f"filter.d/{name}.conf").write_text(f"[Definition]\nfailregex = {regex}\n")
        files = {"dbfile": "ledger", "socket": "agent.sock", "controllers": "controllers"}
        text = "".join(f"{key} = {folder}/{name}\n" for key, name in files.items())
        (folder / "stockade.conf").write_text(f"[Definition]\n{text}")
        (folder / "jail.conf").write_text(JAIL_CONF.format(folder=folder))
        for name in ("mail.log", "auth.log"):
            (folder / name).touch()
        command = [sys.executable, "-m", "stockade_agent", "run", "-c", str(folder)]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--firewall", "memory"],
                stderr=log,
                env={**os.environ, "PYTHONPATH": AGENT, "PYTHONWARNINGS": "error"},
            )
        self.until(self.answers)

    def answers(self):
        with contextlib.suppress(NoAgentError):
            return ask(self.socket, Request("ping")) == "pong"

    def until(self, condition):
        end = time.monotonic() + DEADLINE
        while not (found := condition()):
            assert time.monotonic() < end, f"not in time; the log: {self.log()}"
            assert self.process.poll() is None, self.log()
            time.sleep(0.01)
        return found

    def write(self, name, *texts):
        """Append lines to a log: ``mail`` or ``auth``."""
        stamp = datetime.now().strftime("%b %d %H:%M:%S")  # noqa: DTZ005 - as syslog writes it
        with (self.folder / f"{name}.log").open("a") as log:
            log.write("".join(f"{stamp} host {text}\n" for text in texts))

    def jail(self, name):
        status = AgentStatus.from_json(ask(self.socket, Request("status"), 60))
        return next(jail for jail in status.jails if jail.name == name)

    def banned(self, name):
        return {ban.id for ban in self.jail(name).bans}

    def log(self):
        return (self.folder / "log").read_text()


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    yield host
    host.process.kill()
    host.process.wait()


def evil(escape=""):
    return f"mail: {'word ' * 40}{escape}! denied to 203.0.113.66"


def denied(address):
    return f"mail: for some reason: denied to {address}"


def failed(address):
    return f"sshd: Failed password from {address}"


def test_the_lines_around_an_evil_one_count_once(host):
    """A jail counts what stands before and behind a line that hangs it, and goes on."""
    host.write("mail", denied("203.0.113.1"), denied("203.0.113.1"), evil(), denied("203.0.113.1"))
    host.until(lambda: host.banned("mail") == {"203.0.113.1"})
    jail = host.jail("mail")

    assert (3, "1 line was given up after 0.2 s each") == (jail.failed_total, jail.problem)
    assert 1 == host.log().count("a line took more than 0.2 s of CPU time and was given up, in '^")


def test_other_jails_go_on_under_fire(host):
    """A jail whose filter is hung again and again is suspended; each attacker of another is banned.

    The log has each line that was given up, with its escapes made harmless.
    """
    for number in range(1, 6):
        host.write("mail", *[evil("\033[2J")] * 20)
        host.write("auth", *[failed(f"198.51.100.{number}")] * 3)
        host.until(lambda last=number: f"198.51.100.{last}" in host.banned("sshd"))
    problem = host.until(lambda: host.jail("mail").problem)

    assert {f"198.51.100.{number}" for number in range(1, 6)} == host.banned("sshd")
    assert 15 == host.jail("sshd").failed_total
    assert problem.startswith("filter suspended, as it took too much CPU time, last in '^")
    assert "; 2 lines were given up after 0.2 s each" in problem
    assert "[mail] filter: suspended" in host.log()
    assert "\033" not in host.log()
    assert 0 == host.jail("mail").failed_total


def test_a_stop_in_the_midst_of_an_evil_line(host):
    """SIGTERM is heeded, and the agent ends well."""
    host.write("mail", *[evil()] * 3)
    host.process.send_signal(signal.SIGTERM)

    assert 0 == host.process.wait(DEADLINE)
