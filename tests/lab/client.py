# SPDX-License-Identifier: MIT
"""What tests use: ``Lab`` and its ``Host``s.

with Lab() as lab:
    host = lab.boot("debian12-1")
    host.run("systemctl is-active ssh")
    lab.run("controller", lab.ssh(host) + ["id"])
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from lab import command as commands
from lab import kinds, rootfs
from lab.command import Result
from lab.errors import LabError
from lab.host import Host
from lab.network import PLACES
from lab.paths import DEFAULT_LAB, PACKAGE, RUNTIME
from lab.progress import step


_FEW = 4
_count = itertools.count(1)


class Lab:
    """One lab: a network, its places (controller, attacker, attacker2) and its hosts.

    As a context manager it begins a lab that ends with the block, and with this process however
    that ends. ``Lab.attach`` and ``Lab.detached`` give the one that outlives its maker.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"{os.getpid()}-{next(_count)}"
        self.folder = RUNTIME / self.name
        self.hosts: dict[str, Host] = {}
        self.pid = 0
        self._places: Mapping[str, int] = {}
        self._process: subprocess.Popen[str] | None = None

    @property
    def key(self) -> Path:
        """The private ssh key that root, operator and passworder of every host accept."""
        return self.folder / "key"

    @classmethod
    def attach(cls, name: str = DEFAULT_LAB) -> Lab:
        """The running lab of this name.

        Raises:
            LabError: there is none.
        """
        lab = cls(name)
        lab.adopt(lab.request("status"))
        return lab

    @classmethod
    def detached(cls, name: str = DEFAULT_LAB) -> Lab:
        """The lab of this name, begun if it does not run, that outlives this process."""
        lab = cls(name)
        try:
            lab.adopt(lab.request("status"))
        except LabError:
            lab._begin("detached")
        return lab

    def __enter__(self) -> Self:
        self._begin("tied")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    def _begin(self, mode: str) -> None:
        if os.geteuid() != 0:
            raise LabError("the lab needs root")
        RUNTIME.mkdir(parents=True, exist_ok=True)
        log = RUNTIME / f".{self.name}.log"
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        try:
            with log.open("w") as errors:
                process = subprocess.Popen(
                    [*unshare, sys.executable, "-m", "lab.supervisor", self.name, mode],
                    env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
                    stdin=subprocess.PIPE if mode == "tied" else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise LabError(f"{error.filename}: not here; run: python -m lab packages") from None
        with _pipe(process.stdout) as stdout:
            said = stdout.readline()
        answer = json.loads(said) if said else {"error": _tail(log)}
        if "error" in answer:
            _close(process)
            raise LabError(f"the lab did not begin: {answer['error']}")
        if mode == "tied":
            self._process = process
        else:
            # Not this process's to wait for: it is adopted by the machine's PID 1.
            process.returncode = 0
        self.adopt(self.request("status"))

    def request(self, op: str, **words: Any) -> dict[str, Any]:
        """Ask the supervisor for something and return its answer.

        Raises:
            LabError: it cannot, or there is no supervisor.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(str(self.folder / "control"))
            except OSError:
                raise LabError(f"no lab {self.name!r} runs; begin one: python -m lab up") from None
            with connection.makefile("rw") as stream:
                print(json.dumps({"op": op, **words}), file=stream, flush=True)
                try:
                    said = stream.readline()
                except ConnectionResetError:
                    said = ""
        answer: dict[str, Any] = json.loads(said) if said else {}
        if "error" in answer:
            raise LabError(answer["error"])
        if not said and op != "down":
            raise LabError(f"lab {self.name!r} ended: {_tail(RUNTIME / f'.{self.name}.log')}")
        return answer

    def adopt(self, status: Mapping[str, Any]) -> None:
        """Take over the supervisor's account of what runs; known hosts stay the same objects."""
        self.pid, self._places = status["pid"], status["places"]
        for facts in status["hosts"]:
            known = self.hosts.setdefault(facts["name"], Host(self, facts))
            known.leader = facts["leader"]

    def refresh(self) -> None:
        """Ask what runs, after a host was rebooted from inside."""
        self.adopt(self.request("status"))

    def boot(self, name: str, *, without: Iterable[str] = ()) -> Host:
        """Boot one host and return it once its units are started and ssh answers.

        Packages named in ``without`` are taken away before, as if never installed.
        """
        return self.boot_all([name], without=without)[0]

    def boot_all(self, names: Sequence[str], *, without: Iterable[str] = ()) -> list[Host]:
        """Boot several hosts side by side."""
        missing = list(without)
        hosts = [
            {"name": name, "lower": str(rootfs.path_of(kinds.kind_of(name))), "without": missing}
            for name in names
        ]
        rootfs.ensure([kinds.kind_of(name) for name in names])
        with step(f"booting {', '.join(names) if len(names) <= _FEW else f'{len(names)} hosts'}"):
            self.adopt(self.request("boot", hosts=hosts))
        return [self.hosts[name] for name in names]

    def host(self, name: str) -> Host:
        """The running host of this name.

        Raises:
            LabError: there is none.
        """
        try:
            return self.hosts[name]
        except KeyError:
            there = ", ".join(self.hosts) or "none"
            raise LabError(f"{name}: no such host is up (up: {there})") from None

    def address(self, place: str) -> str:
        """The IPv4 address of a place."""
        return PLACES[place][0]

    def address6(self, place: str) -> str:
        """The IPv6 address of a place."""
        return PLACES[place][1]

    def prefix(self, place: str) -> list[str]:
        """Words that put a command into the network of a place, and nothing else of it.

        The command becomes the process itself, so signals to a Popen of it arrive.
        """
        try:
            descriptor = self._places[place]
        except KeyError:
            raise LabError(f"{place}: no such place; there are {', '.join(PLACES)}") from None
        return ["nsenter", f"--net=/proc/{self.pid}/fd/{descriptor}", "--"]

    def run(
        self,
        place: str,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 120,
        input: str | None = None,  # noqa: A002, the word that subprocess uses
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a command in a place; killed after ``timeout`` seconds, its rc is then 124.

        Raises:
            CommandError: it ended with a status other than 0, unless ``check`` is off.
        """
        return commands.run(
            [*self.prefix(place), *argv], argv, check=check, timeout=timeout, text=input, env=env
        )

    def popen(self, place: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command in a place; ``options`` are Popen's."""
        return subprocess.Popen([*self.prefix(place), *argv], **{"text": True, **options})

    def known_hosts(self, path: str | os.PathLike[str]) -> Path:
        """Write the keys of all hosts, by name and by both addresses, as known_hosts."""
        lines = [
            f"{host.name},{host.address},{host.address6} {key}"
            for host in self.hosts.values()
            for key in host.host_keys
        ]
        target = Path(path)
        target.write_text("".join(f"{line}\n" for line in lines))
        return target

    def ssh(self, host: Host, user: str = "root", *options: str) -> list[str]:
        """Words that log in to a host with the lab's key, host key checked; to run in a place."""
        known = self.known_hosts(self.folder / "known_hosts")
        strict = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"]
        own = ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", str(self.key)]
        return ["ssh", *own, *strict, *options, f"{user}@{host.address}"]

    def down(self) -> None:
        """End the lab and all that is in it."""
        with contextlib.suppress(LabError), step("ending the lab"):
            self.request("down")
        if self._process is not None:
            _close(self._process)
            self._process = None
        deadline = time.monotonic() + 10
        while self.folder.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        (RUNTIME / f".{self.name}.log").unlink(missing_ok=True)
        self.hosts.clear()


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise LabError("the supervisor has no standard output")
    return stream


def _close(process: subprocess.Popen[str]) -> None:
    """End what is tied to this process's pipe, and reap it."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        return " / ".join(log.read_text().strip().splitlines()[-3:]) or "it said nothing"
    return "it said nothing"
