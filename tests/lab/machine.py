# SPDX-License-Identifier: MIT
"""One host: an overlay on a cached root file system, booted by systemd-nspawn.

All of it is made inside the supervisor's namespaces and ends with them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lab import cgroups, kinds
from lab.errors import CommandError, LabError
from lab.network import Network


#: nspawn's exit status when the host inside asked for a reboot.
REBOOT = 133
_BOOT_PATIENCE = 90.0
_STOP_PATIENCE = 10.0

_ENTER_GROUPS = 'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"'
_CHROOT = 'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"'


class Machine:
    """A host, running or not."""

    def __init__(self, lab: str, folder: Path, name: str, lower: Path) -> None:
        self.lab, self.folder, self.name = lab, folder / "hosts" / name, name
        self.console = folder / f"{name}.console"
        self.kind = kinds.kind_of(name)
        self.address, self.address6 = kinds.addresses_of(name)
        self.root = self.folder / "root"
        self.nspawn: subprocess.Popen[bytes] | None = None
        self._namespace: int | None = None
        self._notify: socket.socket | None = None
        self._purge: subprocess.Popen[str] | None = None
        # Held so that no builder removes the lower layer meanwhile.
        self._lower = os.open(lower, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lower, fcntl.LOCK_SH)
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir(parents=True)
        layers = f"lowerdir={lower},upperdir={self.folder}/upper,workdir={self.folder}/work"
        _run("mount", "-t", "overlay", "-o", layers, self.name, str(self.root))

    def personalise(self, key: str) -> None:
        """Give the host its name, its host keys and the lab's client key."""
        etc = self.root / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(
            "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
            f"{self.address} {self.name}\n{self.address6} {self.name}\n"
        )
        (etc / "machine-id").write_text(f"{secrets.token_hex(16)}\n")
        for algorithm in ("ed25519", "ecdsa"):
            file = etc / f"ssh/ssh_host_{algorithm}_key"
            _run("ssh-keygen", "-q", "-t", algorithm, "-N", "", "-C", self.name, "-f", str(file))
        for line in (etc / "passwd").read_text().splitlines():
            user, _, uid, gid, _, home, _ = line.split(":")
            if user in ("root", kinds.OPERATOR, kinds.PASSWORDER) and home != "/":
                ssh = self.root / home.lstrip("/") / ".ssh"
                ssh.mkdir(mode=0o700, exist_ok=True)
                (ssh / "authorized_keys").write_text(key)
                for path in (ssh, ssh / "authorized_keys"):
                    os.chown(path, int(uid), int(gid))

    def begin_purge(self, names: Sequence[str]) -> None:
        """Begin to take packages away, as if they had never been installed."""
        if not names:
            return
        if kinds.KINDS[self.kind].rpms:
            argv = ["rpm", "-e", "--nodeps", *names]
        else:
            argv = ["apt-get", "-qq", "-y", "--auto-remove", "purge", *names]
        self._purge = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", _CHROOT, str(self.root), *argv],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end_purge(self) -> None:
        """Wait until the packages are gone.

        Raises:
            CommandError: they could not be taken away.
        """
        if self._purge is None:
            return
        output, _ = self._purge.communicate()
        if self._purge.returncode != 0:
            raise CommandError([f"{self.name}: purge"], self._purge.returncode, output)
        self._purge = None

    def start(self, network: Network) -> None:
        """Begin to boot, on a fresh network namespace: the kernel's rules end with the old one."""
        self._namespace = network.plug(self.address, self.address6)
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(path))
        groups = [str(procs) for procs in cgroups.make(self.lab, self.name)]
        argv = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={self.root}",
            f"--machine={self.name}",
            f"--network-namespace-path=/proc/{os.getpid()}/fd/{self._namespace}",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--console=read-only",
            "--notify-ready=yes",
            "--capability=CAP_NET_ADMIN,CAP_NET_RAW",
            "--boot",
        ]
        with self.console.open("ab") as console:
            self.nspawn = subprocess.Popen(
                ["sh", "-euc", _ENTER_GROUPS, "sh", *groups, "--", *argv],
                env={**os.environ, "NOTIFY_SOCKET": str(path)},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )

    def wait_booted(self) -> None:
        """Wait until the host says that all its units are started and ssh listens.

        Raises:
            LabError: it ended, or did not say so in time.
        """
        if self.nspawn is None or self._notify is None:
            raise LabError(f"{self.name}: not started")
        deadline = time.monotonic() + _BOOT_PATIENCE
        while True:
            if self.nspawn.poll() is not None:
                raise LabError(f"{self.name}: did not boot: {self._last_words()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: still booting after {_BOOT_PATIENCE:.0f} s")
            if select.select([self._notify], [], [], 0.2)[0]:
                said = self._notify.recv(4096).decode(errors="replace").splitlines()
                if "READY=1" in said:
                    # Whoever left it open without reading would block nspawn, and with it the
                    # host's systemd, after ten more messages: a few daemon-reloads.
                    self._notify.close()
                    self._notify = None
                    return

    def _last_words(self) -> str:
        tail = self.console.read_text(errors="replace").strip().splitlines()[-4:]
        return " / ".join(tail) or "no output"

    def stop(self, *, graceful: bool) -> None:
        """End the host's processes and its network, but keep its files."""
        if self.nspawn is not None:
            if graceful:
                # nspawn hands SIGTERM on as the order to power off.
                self.nspawn.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.nspawn.wait(_STOP_PATIENCE)
            self._kill()
            self.nspawn = None
        if self._notify is not None:
            self._notify.close()
            self._notify = None
        if self._namespace is not None:
            os.close(self._namespace)
            self._namespace = None

    def _kill(self) -> None:
        """Kill every process of the host; those in its control group are all there are."""
        deadline = time.monotonic() + _STOP_PATIENCE
        if self.nspawn is not None:
            self.nspawn.kill()
            self.nspawn.wait()
        while not cgroups.remove(self.lab, self.name, patience=0.1):
            for procs in cgroups.members(self.lab, self.name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(procs, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: processes do not end")

    def discard(self) -> None:
        """Forget the host's files; it must be stopped."""
        if self._purge is not None:
            self._purge.kill()
            self._purge.communicate()
        _run("umount", str(self.root))
        shutil.rmtree(self.folder)
        self.console.unlink(missing_ok=True)
        os.close(self._lower)

    def host_keys(self) -> list[str]:
        """The public host keys, each ``ALGORITHM KEY``."""
        files = sorted((self.root / "etc/ssh").glob("ssh_host_*_key.pub"))
        return [" ".join(file.read_text().split()[:2]) for file in files]


def _run(*argv: str) -> None:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, done.stderr or done.stdout)
