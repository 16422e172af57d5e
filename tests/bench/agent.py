# SPDX-License-Identifier: MIT
"""The agent as a contender: the zipapp that hosts get, run as a service runs it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from bench import cost
from bench.cost import Cost, Failed
from bench.peers import PYTHON, fail2ban
from conformance.fetch import ROOT
from stockade import bundle
from stockade.converge import bytecode
from stockade.converge.host import Host
from stockade_agent.control import client
from stockade_agent.control.protocol import Request
from stockade_agent.errors import StockadeError


ALWAYS = "36500d"
"""A findtime in which every line of a log falls."""


def tree(folder: Path, jails: Mapping[str, Mapping[str, object]]) -> Path:
    """Write fail2ban's stock configuration with these jails, for it and for us; return where.

    Args:
        folder: an empty one.
        jails: name -> its options.
    """
    stock = fail2ban() / "etc/fail2ban"
    etc = folder / "etc"
    etc.mkdir()
    shutil.copytree(stock / "filter.d", etc / "filter.d")
    (etc / "action.d").symlink_to(stock / "action.d")
    for name in ("jail.conf", "paths-common.conf", "paths-debian.conf", "fail2ban.conf"):
        shutil.copy(stock / name, etc / name)
    for path in (ROOT / "roles").glob("*/filter.d/tightvnc*.conf"):
        shutil.copy(path, etc / "filter.d" / path.name)
    lines = [
        "[DEFAULT]",
        "banaction = nftables-multiport",
        "ignoreip =",
        "ignorecommand =",
        "ignoreself = false",
        "usedns = no",
    ]
    for name, options in jails.items():
        lines += [f"[{name}]", "enabled = true", *(f"{k} = {v}" for k, v in options.items())]
    (etc / "jail.local").write_text("\n".join(lines) + "\n")
    own = {
        "dbfile": folder / "ledger.sqlite3",
        "socket": folder / "agent.sock",
        "controllers": folder / "controllers",
    }
    (etc / "stockade.conf").write_text(
        "[Definition]\n" + "".join(f"{k} = {v}\n" for k, v in own.items())
    )
    return etc


class Agent:
    """One run of the agent; a context manager, which ends it.

    Args:
        folder: where ``tree`` has written.
        firewall: a backend.
    """

    def __init__(self, folder: Path, firewall: str) -> None:
        self._folder = folder
        pyz = ROOT / "build" / "bench" / "stockade-agent.pyz"
        pyz.parent.mkdir(parents=True, exist_ok=True)
        if not pyz.exists() or pyz.read_bytes() != bundle.build():
            pyz.write_bytes(bundle.build())
        compiled = bytecode.place(str(pyz), bundle.build())
        if compiled and not Path(compiled).exists():  # as a push leaves them
            bytecode.write(Host("/"), compiled, bundle.build())
        notify = folder / "notify"
        with suppress(FileNotFoundError):
            notify.unlink()
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(notify))
        # As its unit starts it.
        command: Sequence[str] = (*cost.TIED, PYTHON, "-I", "-S", str(pyz), "run")
        env = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(notify), "TZ": "UTC"}
        self._said = (folder / "agent.log").open("ab")
        self._began = time.monotonic()
        self._child = subprocess.Popen(
            (*command, "-c", f"{folder}/etc", "--firewall", firewall),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )
        self.pid = self._child.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.returncode is None:
            self._child.kill()
            cost.waited(self._child, self._began)
        self._manager.close()
        self._said.close()

    def ready(self, seconds: float = 120) -> float:
        """Wait until it says that it is ready; return the seconds since its start."""
        self._manager.settimeout(seconds)
        try:
            while not self._manager.recv(4096).startswith(b"READY=1"):
                pass
        except TimeoutError as error:
            raise Failed(f"the agent is not ready: {self._tail()}") from error
        return time.monotonic() - self._began

    def stop(self) -> Cost:
        """End it as systemd does; return what it cost from its start."""
        self._child.send_signal(signal.SIGTERM)
        found = cost.waited(self._child, self._began)
        if self._child.returncode:
            raise Failed(f"the agent ended with {self._child.returncode}: {self._tail()}")
        return found

    def ask(self, command: str, jail: str = "", ids: Sequence[str] = ()) -> Any:
        """Ask over the control socket."""
        request = Request(command, jail, tuple(ids))
        try:
            return client.ask(str(self._folder / "agent.sock"), request, 300)
        except StockadeError as error:
            raise Failed(f"{command}: {error}; {self._tail()}") from error

    def caught_up(self, lines: int, seconds: float = 900) -> dict[str, Any]:
        """Wait until it has read so many lines; return its status.

        It is asked only when it sleeps: an answer costs it time.
        """
        return dict(cost.until(lambda: self._at(lines), seconds, f"{lines} lines read"))

    def _at(self, lines: int) -> dict[str, Any]:
        before = self.cpu()
        time.sleep(0.2)
        if self.cpu() != before:
            return {}
        status: dict[str, Any] = self.ask("status")
        return status if status["lines"] >= lines else {}

    def cpu(self) -> float:
        """Return CPU seconds so far, of children that ended included."""
        return cost.cpu(self.pid)

    def rss(self) -> float:
        """Return its resident size, MiB."""
        return cost.rss(self.pid)

    def switches(self) -> int:
        """Return how often its threads have gone to sleep, or been put aside."""
        files = Path(f"/proc/{self.pid}/task").glob("*/status")
        return sum(
            int(line.split()[1])
            for file in files
            for line in file.read_text().splitlines()
            if "ctxt_switches" in line
        )

    def _tail(self) -> str:
        return (self._folder / "agent.log").read_text(errors="replace")[-300:]
