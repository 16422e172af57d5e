# SPDX-License-Identifier: MIT
"""Are all bans in the kernel before the agent says that it is ready, and at every moment after?"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import stockade_agent
from stockade_agent.ledger import Ledger
from stockade_agent.model import Ban, target


COUNT = 2000
DEADLINE = 30.0
JAIL = """\
[DEFAULT]
banaction = nftables-multiport
action = %(banaction)s[port="%(port)s"]

[sshd]
enabled = true
port = 22
backend = polling
logpath = /nowhere/auth.log
filter = sshd
bantime = 3600
"""
WATCH = """
while :; do
    nft list table inet stockade | grep -o " timeout " | wc -l
    [ ! -e "$1" ] || exit 0
done
"""


class Service:
    """The agent in a network namespace, started as systemd starts it."""

    def __init__(self, folder, namespace):
        self.folder, self.namespace = folder, namespace
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.settimeout(DEADLINE)
        self.process = None
        (folder / "filter.d").mkdir()
        (folder / "filter.d/sshd.conf").write_text("[Definition]\nfailregex = from <HOST>$\n")
        (folder / "jail.conf").write_text(JAIL)
        settings = {"dbfile": "ledger", "socket": "socket", "controllers": "controllers"}
        text = "".join(f"{key} = {folder}/{name}\n" for key, name in settings.items())
        (folder / "stockade.conf").write_text(f"[Definition]\n{text}")

    def start(self):
        """Start, and return once it has said that it is ready."""
        agent = Path(stockade_agent.__file__).parents[1]
        environment = {
            **os.environ,
            "PYTHONPATH": str(agent),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
        }
        command = ("-m", "stockade_agent", "run", "-c", str(self.folder), "--firewall", "nftables")
        self.process = subprocess.Popen(
            (*self.namespace.prefix, sys.executable, *command),
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        while b"READY=1" not in self.manager.recv(4096):
            pass

    def end(self, number=signal.SIGTERM):
        """End it, and wait until it has."""
        self.process.send_signal(number)
        self.process.wait(DEADLINE)

    def held(self):
        """Return how many addresses the kernel refuses."""
        listed = self.namespace.run("nft", "list", "table", "inet", "stockade", check=False)
        return listed.count(" timeout ")


@pytest.fixture
def service(tmp_path, namespace):
    """An agent with bans in its ledger, not started yet."""
    ledger = Ledger(str(tmp_path / "ledger"))
    ids = [f"10.1.{n // 250}.{n % 250 + 1}" if n % 5 else f"2001:db8::{n:x}" for n in range(COUNT)]
    now = time.time()
    ledger.ban([Ban("sshd", id_, target(id_), now, 3600, 5) for id_ in ids])
    ledger.close()
    with ExitStack() as stack:
        service = Service(tmp_path, namespace)
        stack.callback(service.manager.close)
        yield service
        if service.process is not None and service.process.poll() is None:
            service.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill-9"])
def test_ready_means_that_all_bans_are_in_force(service, number):
    """With the word READY the kernel holds the whole ledger; so it does at the next start."""
    for _ in range(2):
        service.start()
        assert COUNT == service.held()
        service.end(number)

    assert COUNT == service.held()


def test_no_moment_without_bans(service):
    """Whoever looks while the agent starts again sees all bans, each time."""
    service.start()
    service.end()
    watcher = subprocess.Popen(
        (*service.namespace.prefix, "sh", "-c", WATCH, "sh", str(service.folder / "end")),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert str(COUNT) == watcher.stdout.readline().strip()
    service.start()
    service.end()
    (service.folder / "end").touch()
    seen = watcher.communicate(timeout=DEADLINE)[0].split()

    assert {str(COUNT)} == set(seen)
    assert len(seen) > 3
