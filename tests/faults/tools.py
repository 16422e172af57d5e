# SPDX-License-Identifier: MIT
"""Firewall tools that take or move rules: firewalld, nftables' service, ufw, docker."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from bench import peers
from bench.cost import TIED, Failed, until
from faults.flushes import DEADLINE, IN_TIME, IPTABLES, NFT, Struck, timed
from faults.host import Host
from faults.rows import Broken, Row
from lab import CommandError, Lab
from system.guarded import FAULTS, HOSTS, RELOADS, Guarded


UFW = ("ufw --force enable", "ufw reload", "ufw disable", "systemctl restart ufw")
DOCKER = ("docker.io", "containerd", "runc", "libdevmapper1.02.1")


class Watched:
    """Asks all the time whether all are refused; afterwards ``longest`` is the longest gap."""

    def __init__(self, refuses: Callable[[], bool]) -> None:
        self.refuses, self.longest, self.looks = refuses, 0.0, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                time.sleep(0.5)  # a tool may do the rest behind its command
                until(self.refuses, DEADLINE, "bans in force again")
        finally:
            self.over.set()
            self.thread.join()

    def _look(self) -> None:
        since = None
        while not self.over.is_set():
            began = time.monotonic()
            refused = self.refuses()
            self.looks += 1
            since = None if refused else since or began
            if since:
                self.longest = max(self.longest, time.monotonic() - since)


def watched(name: str, refuses: Callable[[], bool], command: Callable[[], object]) -> Row:
    """Return the row of a command: for how long not all were refused meanwhile."""
    wrong, one = "", Watched(refuses)
    try:
        with one:
            command()
    except (AssertionError, Broken, CommandError, Failed) as error:
        wrong = str(error) or type(error).__name__
    row = timed(name, [one.longest], wrong, IN_TIME)
    row.seen = "; ".join(filter(None, (f"{one.looks} looks", wrong)))
    return row


def tools(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield, for each tool on a host of the lab, for how long bans are out of force."""
    backends = ("nftables",) if small else ("firewalld", "nftables", "iptables")
    with Lab() as lab:
        for backend in backends:
            one = Guarded(lab, folder / backend, backend)
            if backend == "firewalld":
                for reload in RELOADS:
                    yield watched(_name(backend, reload), one.refuses, _runs(one, reload))
            for fault in FAULTS[backend]:
                yield _struck(one, backend, fault)
            if backend == "firewalld":
                stop = "systemctl stop firewalld"
                yield watched(_name(backend, stop), one.refuses, _runs(one, stop))
            else:
                yield from _ufw(one, backend)
            one.host.stop()


def _name(backend: str, command: str) -> str:
    return f"`{command}` ({backend}, {HOSTS[backend]}): bans out of force"


def _runs(one: Guarded, command: str) -> Callable[[], object]:
    return lambda: one.host.run(command)


def _struck(one: Guarded, backend: str, fault: str) -> Row:
    """Return the row of a fault that takes something: until all were refused again."""
    taken, wrong = [], ""
    try:
        taken.append(one.strike(fault))
        found = one.firewall()
        wrong = found["problem"] or "; ".join(found["warnings"])
        # Who takes again and again is answered more slowly: not what is measured here.
        one.host.run("systemctl restart stockade-agent")
    except (AssertionError, CommandError) as error:
        wrong = str(error) or type(error).__name__
    return timed(_name(backend, fault), taken, wrong, IN_TIME)


def _ufw(one: Guarded, backend: str) -> Iterator[Row]:
    """Yield what Debian's ufw does to bans, installed on the host for this."""
    packages = [peers.package(name) for name in ("ufw", "ucf")]
    for package in packages:
        shutil.copy(package, one.host.root / "opt" / package.name)
    names = " ".join(f"/opt/{package.name}" for package in packages)
    one.host.run(f"DEBIAN_FRONTEND=noninteractive dpkg -i {names}", timeout=120)
    refuses = one.holds
    for command in UFW:
        yield watched(_name(backend, command), refuses, _runs(one, command))


def docker(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield for how long bans are out of force while a real dockerd starts, and starts again."""
    for backend, look in (("nftables", NFT), ("iptables", IPTABLES)):
        with Host(folder / backend, firewall=backend) as host:
            struck = Struck(host, look)
            place = folder / f"{backend}-docker"
            place.mkdir()

            def restarted(place: Path = place) -> None:
                for _ in range(1 if small else 3):
                    with _dockerd(place):
                        pass

            yield watched(f"dockerd restarted ({backend}): bans out of force", struck.refuses,
                          restarted)  # fmt: skip
            host.stop()
        subprocess.run(("nft", "flush", "ruleset"), check=True)


@contextmanager
def _dockerd(place: Path) -> Iterator[None]:
    """Run a real dockerd in this namespace, until its rules are there."""
    roots = [peers.unpacked(package) for package in DOCKER]
    programs = [str(root / "usr" / part) for root in roots for part in ("sbin", "bin")]
    libraries = [str(path.parent) for root in roots for path in root.rglob("libdevmapper*")]
    env = {
        "PATH": ":".join([*programs, os.environ["PATH"]]),
        "LD_LIBRARY_PATH": ":".join(libraries),
    }
    words = ["--data-root", place / "data", "--exec-root", place / "exec", "-p", place / "pid"]
    words += ["-H", f"unix://{place}/socket", "--storage-driver", "vfs"]
    said = place / "said"
    said.write_bytes(b"")
    with said.open("ab") as said_to:
        one = subprocess.Popen(
            (*TIED, "dockerd", *map(str, words)), env=env, stdout=said_to, stderr=said_to
        )
    try:
        until(lambda: _serves(one, said), 60, "dockerd serves")
        yield
    finally:
        one.terminate()
        one.wait(60)


def _serves(one: subprocess.Popen[bytes], said: Path) -> bool:
    """Return whether it has made its rules, which it does before it serves."""
    if one.poll() is not None:
        raise Broken(f"dockerd ended with {one.returncode}: {said.read_text()[-200:]}")
    if "API listen on" not in said.read_text():
        return False
    done = subprocess.run(("iptables-save",), capture_output=True, text=True, check=True)
    return "-A FORWARD -j DOCKER-USER" in done.stdout
