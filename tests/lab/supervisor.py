# SPDX-License-Identifier: MIT
"""Holds one lab: PID 1 of a PID namespace, with mount and network namespaces of its own.

However it ends, even by ``kill -9``, the kernel ends every process in its PID namespace, and with
them go the mounts and the network namespaces. Only empty control groups and the runtime folder can
be left over; whoever starts next, or ``python -m lab down``, removes them.

Spoken to in JSON, one line a request and one line an answer, on a unix socket, one at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import cgroups
from lab.errors import LabError
from lab.machine import REBOOT, Machine
from lab.network import Network
from lab.paths import RUNTIME


_MNT_DETACH = 2
_TICK = 0.5
_INOTIFY_SPARE, _INOTIFY_PER_HOST = 64, 16
_LIBC = ctypes.CDLL(None, use_errno=True)


def sweep() -> None:
    """Remove what labs that ended by force left over; the caller holds the lock of all labs."""
    found = cgroups.labs() | {folder.name for folder in RUNTIME.iterdir() if folder.is_dir()}
    for lab in found:
        folder = RUNTIME / lab
        if folder.is_dir():
            with (folder / "lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
        cgroups.remove(lab)
        shutil.rmtree(folder, ignore_errors=True)
        (RUNTIME / f".{lab}.log").unlink(missing_ok=True)


@contextlib.contextmanager
def all_labs() -> Iterator[None]:
    """Hold the lock under which labs begin and leftovers are removed."""
    RUNTIME.mkdir(parents=True, exist_ok=True)
    with (RUNTIME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Supervisor:
    """One lab from its first breath."""

    def __init__(self, lab: str) -> None:
        self.lab, self.folder = lab, RUNTIME / lab
        # The machine's own view of processes, kept from before this namespace has its own.
        self._outside = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        _sh("mount", "-t", "proc", "proc", "/proc")
        with all_labs():
            sweep()
            try:
                self.folder.mkdir(mode=0o755)
            except FileExistsError:
                raise LabError(f"lab {lab!r} runs already") from None
            self._lock = (self.folder / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        # systemd-nspawn's own places, private so that host names need be unique in one lab only.
        for place in (self.folder / "hosts", Path("/run/systemd/nspawn")):
            place.mkdir(parents=True, exist_ok=True)
            _sh("mount", "-t", "tmpfs", "-o", "mode=0755,size=75%", "lab", str(place))
        key = str(self.folder / "key")
        _sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {lab}", "-f", key)
        self.key = (self.folder / "key.pub").read_text()
        _load_modules()
        self.network = Network()
        self.machines: dict[str, Machine] = {}
        self._ending = threading.Lock()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self.folder / "control"))
        self._server.listen(64)
        self._server.settimeout(_TICK)

    def serve(self) -> None:
        """Answer requests until told to end."""
        while True:
            self._tend()
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            with connection, connection.makefile("rw") as stream, contextlib.suppress(OSError):
                connection.settimeout(None)
                line = stream.readline()
                if line:
                    answer = self._answer(json.loads(line))
                    print(json.dumps(answer), file=stream, flush=True)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._obey(request)
        except LabError as error:
            return {"error": str(error)}
        except (OSError, KeyError) as error:
            return {"error": f"{request}: {error!r}"}

    def _obey(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["op"]:
            case "status":
                pass
            case "boot":
                self._boot(request["hosts"])
            case "stop":
                machine = self._machine(request["name"])
                machine.stop(graceful=request["graceful"])
                machine.discard()
                del self.machines[machine.name]
            case "reboot":
                machine = self._machine(request["name"])
                machine.stop(graceful=request["graceful"])
                machine.start(self.network)
                machine.wait_booted()
            case "down":
                self.end()
            case other:
                raise LabError(f"{other}: no such request")
        return self._status()

    def _machine(self, name: str) -> Machine:
        try:
            return self.machines[name]
        except KeyError:
            raise LabError(f"{name}: no such host in lab {self.lab!r}") from None

    def _boot(self, wanted: list[dict[str, Any]]) -> None:
        """Boot hosts side by side, all of them or none."""
        there = [host["name"] for host in wanted if host["name"] in self.machines]
        if there:
            raise LabError(f"{', '.join(there)}: there already")
        _allow_inotify(len(cgroups.hosts()) + len(wanted))
        fresh: list[Machine] = []
        try:
            for host in wanted:
                fresh.append(Machine(self.lab, self.folder, host["name"], Path(host["lower"])))
                fresh[-1].personalise(self.key)
            for machine, host in zip(fresh, wanted, strict=True):
                machine.begin_purge(host["without"])
            for machine in fresh:
                machine.end_purge()
            for machine in fresh:
                machine.start(self.network)
            for machine in fresh:
                machine.wait_booted()
        except (LabError, OSError):
            for machine in fresh:
                machine.stop(graceful=False)
                machine.discard()
            raise
        self.machines |= {machine.name: machine for machine in fresh}

    def _status(self) -> dict[str, Any]:
        return {
            "pid": int(os.readlink("self", dir_fd=self._outside)),
            "places": self.network.places,
            "hosts": [
                {
                    "name": machine.name,
                    "kind": machine.kind,
                    "address": machine.address,
                    "address6": machine.address6,
                    "leader": self._leader(machine),
                    "host_keys": machine.host_keys(),
                }
                for machine in self.machines.values()
            ],
        }

    def _leader(self, machine: Machine) -> int:
        """The number outside of the host's first process, 0 while it does not run."""
        if machine.nspawn is None or machine.nspawn.poll() is not None:
            return 0
        own = int(os.readlink("self", dir_fd=self._outside))
        for nspawn in self._children(own):
            if self._numbers(nspawn)[-1:] == [machine.nspawn.pid]:
                for leader in self._children(nspawn):
                    if self._numbers(leader)[-1:] == [1]:
                        return leader
        return 0

    def _read_outside(self, path: str) -> str:
        try:
            with open(os.open(path, os.O_RDONLY, dir_fd=self._outside)) as file:
                return file.read()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            return ""

    def _children(self, pid: int) -> list[int]:
        return [int(word) for word in self._read_outside(f"{pid}/task/{pid}/children").split()]

    def _numbers(self, pid: int) -> list[int]:
        """The numbers of a process, from the outermost PID namespace to its own."""
        for line in self._read_outside(f"{pid}/status").splitlines():
            if line.startswith("NSpid:"):
                return [int(word) for word in line.split()[1:]]
        return []

    def _tend(self) -> None:
        """Boot again what asked for a reboot from inside, and reap orphans, as PID 1 must."""
        for machine in list(self.machines.values()):
            if machine.nspawn is not None and machine.nspawn.poll() == REBOOT:
                machine.stop(graceful=False)
                machine.start(self.network)
        own = {machine.nspawn.pid for machine in self.machines.values() if machine.nspawn}
        with contextlib.suppress(ChildProcessError):
            while child := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if child.si_pid in own:
                    break
                os.waitpid(child.si_pid, os.WNOHANG)

    def end(self) -> None:
        """End every process of the lab, remove what it made, and exit."""
        if not self._ending.acquire(blocking=False):
            return
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            if cgroups.remove(self.lab, patience=0.1):
                break
        with all_labs():
            detached = _LIBC.umount2(os.fsencode(self.folder / "hosts"), _MNT_DETACH) == 0
            if detached:
                shutil.rmtree(self.folder, ignore_errors=True)
            (RUNTIME / f".{self.lab}.log").unlink(missing_ok=True)
        os._exit(0 if detached else 1)


def _load_modules() -> None:
    """Load what hosts cannot load themselves; on a kernel that has it built in there is nothing."""
    if Path("/lib/modules", os.uname().release).is_dir() and shutil.which("modprobe"):
        names = "overlay veth bridge nf_tables nft_compat ip_tables ip6_tables iptable_filter"
        names += (
            " ip6table_filter ip_set ip_set_hash_ip ip_set_hash_net xt_set xt_multiport xt_comment"
        )
        for name in names.split():
            # One that this kernel does not have is missed, in words, by whoever needs it.
            subprocess.run(["modprobe", "-q", name], check=False)


def _allow_inotify(hosts: int) -> None:
    """Let root have the inotify instances that so many systemds need, of all labs together.

    With the kernel's default of 128 the twentieth host hangs in its boot.
    """
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    needed = _INOTIFY_SPARE + _INOTIFY_PER_HOST * hosts
    if int(limit.read_text()) < needed:
        limit.write_text(str(needed))


def _sh(*argv: str) -> None:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip()}")


def main(lab: str, mode: str) -> None:
    """Start a lab, say so on standard output, and hold it.

    In the mode ``tied`` it ends when standard input does; the other is ``detached``.
    """
    try:
        supervisor = Supervisor(lab)
    except (LabError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        raise SystemExit(1) from None

    def watch() -> None:
        while os.read(0, 1024):
            pass
        supervisor.end()

    signal.signal(signal.SIGTERM, lambda *_: supervisor.end())
    if mode == "tied":
        threading.Thread(target=watch, daemon=True).start()
    print(json.dumps({"ready": True}), flush=True)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    supervisor.serve()


if __name__ == "__main__":
    main(*sys.argv[1:3])
