# SPDX-License-Identifier: MIT
"""A folder that is a host for the agent: configuration, logs, ledger, socket."""

import itertools
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

from bench.cost import TIED, rss, until
from conformance.fetch import ROOT
from faults.rows import Broken
from stockade_agent.control import client
from stockade_agent.control.protocol import AgentStatus, JailStatus, Request
from stockade_agent.errors import StockadeError


SEED = int(os.environ.get("FAULTS_SEED", "20261125"))
DAY = 86400
TABLE = ("inet", "stockade")


def seeded(name: str) -> random.Random:
    """Return a source of chance of a case's own."""
    return random.Random(f"{SEED} {name}")


class Host:
    """An agent and what it works on; a context manager, which ends it by kill -9.

    Args:
        folder: made if it is not there.
        firewall: a backend.
        options: of jail sshd.
        settings: of stockade.conf.
        prefix: words before the agent's command.
        env: more of its environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        firewall: str = "memory",
        options: dict[str, object] | None = None,
        settings: dict[str, object] | None = None,
        prefix: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        self.folder, self.firewall = folder, firewall
        self.etc, self.state, self.log = folder / "etc", folder / "state", folder / "auth.log"
        self.ledger, self.socket = self.state / "ledger.sqlite3", str(folder / "agent.sock")
        self.prefix, self.env = prefix, env or {}
        self.process: subprocess.Popen[bytes] | None = None
        for path in (self.etc / "filter.d", self.state):
            path.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "roles/sshd/filter.d/sshd.conf", self.etc / "filter.d")
        self.log.touch()
        known = {
            "dbfile": self.ledger,
            "socket": self.socket,
            "controllers": folder / "controllers",
        }
        self._write("stockade.conf", {"Definition": {**known, **(settings or {})}})
        usual: dict[str, object] = {
            "enabled": "true",
            "filter": "sshd",
            "backend": "auto",
            "logpath": self.log,
            "usedns": "no",
            "maxretry": 5,
            "findtime": "1d",
            "bantime": "7d",
            "port": "22",
            "ignoreself": "false",
            "banaction": "nftables-multiport",
            "action": '%(banaction)s[port="%(port)s"]',
        }
        self.configure(sshd={**usual, **(options or {})})

    def configure(self, **jails: dict[str, object]) -> None:
        """Write the jails."""
        self._write("jail.conf", jails)

    def _write(self, name: str, sections: dict[str, dict[str, object]]) -> None:
        lines = []
        for section, options in sections.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in options.items())]
        (self.etc / name).write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # ---- the process

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def start(self, *, ready: bool = True) -> Self:
        """Start it, and wait until it says that it is ready."""
        notify = self.folder / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(notify))
            env = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "agent"),
                "NOTIFY_SOCKET": str(notify),
                "TZ": "UTC",
                **self.env,
            }
            agent = (sys.executable, "-m", "stockade_agent", "run", "-c", str(self.etc))
            with (self.folder / "said").open("ab") as said:
                self.process = subprocess.Popen(
                    (*TIED, *self.prefix, *agent, "--firewall", self.firewall),
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                )
            if ready:
                self._await_ready(manager)
        return self

    def _await_ready(self, manager: socket.socket) -> None:
        assert self.process is not None
        manager.settimeout(0.2)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(TimeoutError):
                if manager.recv(4096).startswith(b"READY=1"):
                    return
        raise Broken(f"the agent is not ready ({self.process.poll()}): {self.tail()}")

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it as systemd does.

        Raises:
            Broken: it does not end well.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        if code:
            raise Broken(f"the agent ended with {code}: {self.tail()}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def alive(self) -> bool:
        """Return whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def rss(self) -> float:
        """Return its resident size, MiB."""
        return rss(self.pid)

    # ---- what it knows

    def ask(self, command: str, jail: str = "", *ids: str) -> Any:
        """Ask over the control socket."""
        try:
            return client.ask(self.socket, Request(command, jail, ids), 60)
        except StockadeError as error:
            raise Broken(f"{command}: {error}; {self.tail()}") from error

    def status(self) -> AgentStatus:
        """Return how it is."""
        return AgentStatus.from_json(self.ask("status"))

    def jail(self, name: str = "sshd") -> JailStatus:
        """Return how a jail of it is."""
        return next(jail for jail in self.status().jails if jail.name == name)

    def banned(self) -> set[str]:
        """Return who is banned, as it says."""
        return {ban.id for ban in self.jail().bans}

    def until_read(self, lines: int, seconds: float = 120) -> AgentStatus:
        """Wait until it has read so many lines since its start; return its status."""

        def read() -> AgentStatus | None:
            status = self.status()
            return status if status.lines >= lines else None

        found: AgentStatus = until(read, seconds, f"{lines} lines read")
        return found

    def until_quiet(self, seconds: float = 120) -> AgentStatus:
        """Wait until the saved position is the end of the log; return its status."""
        size = self.log.stat().st_size
        found: AgentStatus = until(lambda: self._at(size), seconds, f"{self.log} read")
        return found

    def _at(self, size: int) -> AgentStatus | None:
        status = self.status()
        place = self.position()
        return status if place >= size else None

    def position(self) -> int:
        """Return how far the ledger says that the log was dealt with."""
        try:
            with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as db:
                query = "SELECT position FROM positions WHERE log = ?"
                found = db.execute(query, (str(self.log),)).fetchone()
        except sqlite3.Error:
            return 0
        return int(found[0].split(":")[2]) if found else 0

    def said(self) -> str:
        """Return all that it has written."""
        return (self.folder / "said").read_text(errors="replace")

    def tail(self) -> str:
        """Return the end of what it has written."""
        return self.said()[-300:].replace("\n", " / ")

    # ---- what happens to it

    def write(self, *lines: str) -> None:
        """Append lines to its log."""
        with self.log.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))


_connections = itertools.count(1000)


def failure(address: str, at: float | None = None, user: str = "root", pid: int = 0) -> str:
    """Return a line of sshd of a failed login, in a connection of its own unless ``pid`` is one."""
    pid = pid or next(_connections)
    return (
        f"{stamp(at)} host sshd[{pid}]: Failed password for {user} from {address} port 40022 ssh2"
    )


def stamp(at: float | None = None) -> str:
    """Return a time as logs have it, a whole second.

    A fraction is rounded, perhaps to a time that is not yet; such a line is of when it is read.
    """
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at))


def kernel(jail: str = "sshd") -> set[str]:
    """Return the addresses that the kernel refuses for a jail."""
    found: set[str] = set()
    for family in ("v4", "v6"):
        command = ("nft", "-j", "list", "set", *TABLE, f"{family}-{jail}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            continue
        for entry in json.loads(done.stdout)["nftables"]:
            for element in entry.get("set", {}).get("elem", ()):
                value = element["elem"]["val"] if isinstance(element, dict) else element
                found.add(value if isinstance(value, str) else str(value))
    return found
