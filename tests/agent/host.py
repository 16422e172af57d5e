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
DEADLINE = 60.0

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
FILTERS = {"sshd": "^\\s*\\S+ sshd\\[\\d+\\]: Failed password for .* from <HOST> port \\d+"}


class Host:
    """A directory that is a host for the agent: configuration, logs, ledger, socket.

    Args:
        folder: where all of it is.
        jails: the text of jail.conf; ``{folder}`` stands for the folder.
        filters: the failregex of each.
        prefix: words before the agent's command.
    """

    def __init__(self, folder, jails=JAIL_CONF, filters=FILTERS, prefix=()):
        self.folder, self.jails, self.prefix, self.process = folder, jails, prefix, None
        self.environment = {**os.environ, "PYTHONPATH": AGENT, "PYTHONWARNINGS": "error"}
        (folder / "filter.d").mkdir()
        for name, regex in filters.items():
            (folder / f"filter.d/{name}.conf").write_text(f"[Definition]\nfailregex = {regex}\n")
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
        text = self.jails.format(folder=self.folder, more=more, bantime=bantime)
        (self.folder / "jail.conf").write_text(text)

    def command(self, *words):
        return [sys.executable, "-m", "stockade_agent", *words]

    def start(self, *, ready=True):
        command = self.command("run", "-c", str(self.folder), "--firewall", "memory")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *command], stderr=log, env=self.environment
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

    def write(self, name, *texts):
        """Append lines of now to a log."""
        stamp = datetime.now().strftime("%b %d %H:%M:%S")  # noqa: DTZ005 - as syslog writes it
        with (self.folder / name).open("a") as log:
            log.write("".join(f"{stamp} host {text}\n" for text in texts))

    def fail(self, address, times=3, name="auth.log"):
        text = f"sshd[7]: Failed password for root from {address} port 22 ssh2"
        self.write(name, *[text] * times)

    def status(self, jail=""):
        return AgentStatus.from_json(ask(self.socket, Request("status", jail), DEADLINE))

    def jail(self, name="sshd"):
        return next(jail for jail in self.status().jails if jail.name == name)

    def banned(self, name="sshd"):
        return {ban.id for ban in self.jail(name).bans if ban.enforced}

    def log(self):
        return (self.folder / "log").read_text()

    def run(self, *words):
        return self._run(*words, "-c", str(self.folder))

    def check(self):
        return self._run("check", str(self.folder))

    def _run(self, *words):
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env=self.environment,
            timeout=DEADLINE,
            check=False,
        )
