# SPDX-License-Identifier: MIT
"""A directory that is a host for the whole agent, which runs as a process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import stockade_agent
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import AgentStatus, Request
from stockade_agent.errors import NoAgentError


AGENT = str(Path(stockade_agent.__file__).parents[1])
DEADLINE = 20.0

JAIL_CONF = """\
[DEFAULT]
filter = sshd
maxretry = 3
findtime = 600
bantime = {bantime}
banaction = nftables-multiport
action = %(banaction)s[port="%(port)s"]
backend = auto

[sshd]
enabled = true
port = 22
logpath = {folder}/auth.log
{more}
"""
FILTER = """\
[Definition]
failregex = ^\\s*\\S+ sshd\\[\\d+\\]: Failed password for .* from <HOST> port \\d+
"""


class Host:
    """A directory that is a host for the agent: configuration, log, ledger, socket."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        self.environment = {**os.environ, "PYTHONPATH": AGENT, "PYTHONWARNINGS": "error"}
        (folder / "filter.d").mkdir()
        (folder / "filter.d/sshd.conf").write_text(FILTER)
        self.socket = str(folder / "agent.sock")
        self.settings()
        self.configure()

    def settings(self, **options):
        known = {
            "dbfile": f"{self.folder}/ledger.sqlite3",
            "socket": self.socket,
            "controllers": f"{self.folder}/controllers",
            **options,
        }
        text = "".join(f"{key} = {value}\n" for key, value in known.items())
        (self.folder / "stockade.conf").write_text(f"[Definition]\n{text}")

    def configure(self, more="", bantime=600):
        text = JAIL_CONF.format(folder=self.folder, more=more, bantime=bantime)
        (self.folder / "jail.conf").write_text(text)

    def command(self, *words):
        return [sys.executable, "-m", "stockade_agent", *words]

    def start(self, *, ready=True):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("run", "-c", str(self.folder), "--firewall", "memory"),
                stderr=log,
                env=self.environment,
            )
        if ready:
            self.until(self.answers)
        return self

    def answers(self):
        with contextlib.suppress(NoAgentError):
            return ask(self.socket, Request("ping")) == "pong"

    def end(self, number=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE) if self.process else None

    def until(self, condition):
        end = time.monotonic() + DEADLINE
        while not (found := condition()):
            assert time.monotonic() < end, f"not in time; the log: {self.log()}"
            assert self.process is None or self.process.poll() is None, self.log()
            time.sleep(0.01)
        return found

    def fail(self, address, times=3, name="auth.log"):
        stamp = datetime.now().strftime("%b %d %H:%M:%S")  # noqa: DTZ005 - as syslog writes it
        line = f"{stamp} host sshd[7]: Failed password for root from {address} port 22 ssh2\n"
        with (self.folder / name).open("a") as log:
            log.write(line * times)

    def status(self):
        return AgentStatus.from_json(ask(self.socket, Request("status")))

    def jail(self, name="sshd"):
        return next(jail for jail in self.status().jails if jail.name == name)

    def banned(self, name="sshd"):
        return {ban.id for ban in self.jail(name).bans if ban.enforced}

    def log(self):
        return (self.folder / "log").read_text()

    def run(self, *words):
        return subprocess.run(
            self.command(*words, "-c", str(self.folder)),
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=DEADLINE,
            check=False,
        )
