# SPDX-License-Identifier: MIT
"""A host with a kernel of its own: a kind's root file system under Debian's, in QEMU.

For what hosts that share the machine's kernel cannot show: control groups v2 with memory, modules
that are not loaded yet, a reboot. QEMU has a network namespace of its own, whose only way into the
host is its ssh port, and out of which nothing goes. It needs no KVM, and so is slow.

    the kind's root, and ``upper`` over it ─mke2fs─▶ disk   linux-image ─▶ vmlinuz, initrd, modules
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from lab import command as commands
from lab import packages, rootfs
from lab.command import Result
from lab.errors import CommandError, LabError
from lab.paths import CACHE
from lab.progress import step


NEEDED = ("busybox-static", "cpio", "e2fsprogs", "openssh-client", "qemu-system-x86")
_BOOT_PATIENCE = 300.0
_MEMORY = "1024"
# Of the kernel's 4,000 modules, what a server without hardware has a use for.
_MODULES = (
    *("arch", "crypto", "lib", "net", "fs/ext4", "fs/jbd2", "fs/mbcache.ko"),
    *("drivers/virtio", "drivers/block/virtio_blk.ko"),
    *("drivers/net/virtio_net.ko", "drivers/net/net_failover.ko"),
)
_EARLY = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
_INIT = """\
#!/busybox sh
/busybox mount -t devtmpfs dev /dev
while read -r module; do /busybox insmod "/$module"; done < /modules
until /busybox mount -t ext4 /dev/vda /root; do /busybox sleep 0.1; done
/busybox mount -o move /dev /root/dev
exec /busybox switch_root /root /sbin/init
"""
_NETWORK = """\
[Unit]
DefaultDependencies=no
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link set lo up
ExecStart=ip link set eth0 up
ExecStart=ip addr add 10.0.2.15/24 dev eth0
ExecStart=ip route add default via 10.0.2.2
[Install]
WantedBy=multi-user.target
"""
_DISK = """
mkdir "$0/merged" "$0/work"
mount -t overlay -o "lowerdir=$1,upperdir=$0/upper,workdir=$0/work" vm "$0/merged"
mke2fs -q -t ext4 -d "$0/merged" "$0/disk" 2G
"""


class Vm:
    """One such host; ``name``, ``address`` and ``run`` are as a lab's host has them.

    It stands for the lab it is in, too: ``prefix``, ``key`` and ``known_hosts``.
    """

    name, address = "vm", "127.0.0.1"

    def __init__(self, kind: str) -> None:
        packages.ensure(NEEDED)
        rootfs.ensure([kind])
        self.kind = kind
        self._folder = Path(tempfile.mkdtemp(prefix="vm.", dir=CACHE))
        self.key, self.console = self._folder / "key", self._folder / "console"
        self._qemu: subprocess.Popen[bytes] | None = None
        try:
            kernel = _kernel()
            with step(f"{kind}: disk"):
                self._make_disk(kernel, rootfs.path_of(kind))
            self._qemu = self._start(kernel)
            with step(f"{kind}: boot"):
                self._wait_booted("")
            # Whoever kills this process leaves nothing large behind.
            (self._folder / "disk").unlink()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Pull the plug, and forget its files."""
        if self._qemu is not None:
            self._hang_up()
            self._qemu.kill()
            self._qemu.wait()
        shutil.rmtree(self._folder)

    def reboot(self) -> None:
        """Have it shut down and boot again."""
        before = self.boot()
        self.run("systemctl reboot", check=False)
        self._hang_up()
        with step(f"{self.kind}: reboot"):
            self._wait_booted(before)

    def boot(self) -> str:
        """Return what tells one boot from the next.

        Raises:
            CommandError: it does not answer; a connection that it took while going down never is.
        """
        return self.run("cat /proc/sys/kernel/random/boot_id", timeout=15).stdout.strip()

    def prefix(self, place: str = "controller") -> list[str]:
        """Words that put a command into the network that it is in."""
        del place
        if self._qemu is None:
            raise LabError("vm: not started")
        return ["nsenter", f"--net=/proc/{self._qemu.pid}/ns/net", "--"]

    def known_hosts(self, path: Path) -> Path:
        """Write a known_hosts file."""
        path.write_text(f"{self.address} {(self._folder / 'host.pub').read_text()}")
        return path

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float = 120,
    ) -> Result:
        """Run a command inside, as root, by ssh; a string goes to ``sh -c``.

        Raises:
            CommandError: it ended with a status other than 0, unless ``check`` is off.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        told = [*self.prefix(), *self._ssh(), f"root@{self.address}", shlex.join(argv)]
        return commands.run(told, argv, check=check, timeout=timeout, text=None)

    def _ssh(self) -> list[str]:
        options = {
            "ControlMaster": "auto",
            "ControlPath": self._folder / "ssh",
            "ControlPersist": "yes",
            "ConnectTimeout": 15,
            "BatchMode": "yes",
            "UserKnownHostsFile": self.known_hosts(self._folder / "known_hosts"),
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-i", str(self.key), *words]

    def _hang_up(self) -> None:
        """End the one connection that all commands share."""
        if (self._folder / "ssh").exists():
            argv = [*self._ssh(), "-O", "exit", f"root@{self.address}"]
            subprocess.run(argv, capture_output=True, check=False)

    def _make_disk(self, kernel: Path, root: Path) -> None:
        etc, system = self._folder / "upper/etc", "etc/systemd/system"
        wants = self._folder / "upper" / system / "multi-user.target.wants"
        for folder in (etc / "ssh", wants, self._folder / "upper/root/.ssh"):
            folder.mkdir(parents=True)
        for name in ("key", "host"):
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vm", "-f"]
            _run(*argv, str(self._folder / name))
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "machine-id").write_text(f"{secrets.token_hex(16)}\n")
        shutil.copy(self._folder / "host", etc / "ssh/ssh_host_ed25519_key")
        shutil.copy(self._folder / "host.pub", etc / "ssh/ssh_host_ed25519_key.pub")
        shutil.copy(self._folder / "key.pub", self._folder / "upper/root/.ssh/authorized_keys")
        (etc / "systemd/system/vm-network.service").write_text(_NETWORK)
        (wants / "vm-network.service").symlink_to("../vm-network.service")
        shutil.copytree(kernel / "upper", self._folder / "upper", dirs_exist_ok=True)
        lower = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lower, fcntl.LOCK_SH)  # so that no builder removes it meanwhile
            _run("unshare", "--mount", "sh", "-euc", _DISK, str(self._folder), str(root))
        finally:
            os.close(lower)
            shutil.rmtree(self._folder / "upper")

    def _start(self, kernel: Path) -> subprocess.Popen[bytes]:
        forward = f"restrict=on,hostfwd=tcp:{self.address}:22-10.0.2.15:22"
        argv = [
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", _MEMORY),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-serial", f"file:{self.console}"),
            *("-drive", f"file={self._folder / 'disk'},if=virtio,format=raw,cache=unsafe"),
            *("-netdev", f"user,id=net,{forward}", "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initrd")),
            *("-append", "console=ttyS0 rw systemd.unified_cgroup_hierarchy=1"),
        ]
        alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-euc"]
        with (self._folder / "qemu.log").open("wb") as log:
            return subprocess.Popen(
                [*alone, 'ip link set lo up; exec "$0" "$@"', *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait_booted(self, before: str) -> None:
        deadline = time.monotonic() + _BOOT_PATIENCE
        while True:
            if self._qemu is not None and self._qemu.poll() is not None:
                raise LabError(f"vm: qemu ended: {(self._folder / 'qemu.log').read_text()}")
            with contextlib.suppress(CommandError):
                if self.boot() != before:
                    self.run("systemctl is-system-running --wait", check=False)
                    return
                self._hang_up()
            if time.monotonic() > deadline:
                last = self.console.read_text(errors="replace").splitlines()[-10:]
                raise LabError(
                    f"vm: still booting after {_BOOT_PATIENCE:.0f} s: {' / '.join(last)}"
                )
            time.sleep(0.5)


def _kernel() -> Path:
    """Return a folder with vmlinuz, initrd, and in ``upper`` the modules, made if need be."""
    depends = _run("apt-cache", "depends", "linux-image-amd64").split()
    package = next(word for word in depends if word.startswith("linux-image-6"))
    version = package.removeprefix("linux-image-")
    final = CACHE / f"vm-{version}"
    with (CACHE / ".vm.lock").open("w") as lock, step(f"kernel {version}"):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.is_dir():
            work = CACHE / f".vm-{version}"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            _run(
                "apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, folder=work
            )
            (deb,) = work.glob("*.deb")
            _run("dpkg-deb", "-x", str(deb), str(work / "deb"))
            _unfold(work, version)
            shutil.rmtree(work / "deb")
            deb.unlink()
            work.rename(final)
    return final


def _unfold(work: Path, version: str) -> None:
    """Make of an unpacked package what a virtual machine needs of it."""
    busybox = shutil.which("busybox") or "/usr/bin/busybox"
    shutil.copy(work / f"deb/boot/vmlinuz-{version}", work / "vmlinuz")
    modules = Path("lib/modules") / version
    there, wanted = work / "deb" / modules, work / "upper/usr" / modules
    for part in ("modules.builtin", "modules.order", *(f"kernel/{name}" for name in _MODULES)):
        (wanted / part).parent.mkdir(parents=True, exist_ok=True)
        if (there / part).is_dir():
            shutil.copytree(there / part, wanted / part)
        else:
            shutil.copy(there / part, wanted / part)
    _run(busybox, "depmod", "-b", str(work / "upper/usr"), version)
    (work / "upper/usr/sbin").mkdir()
    shutil.copy(busybox, work / "upper/usr/sbin/modprobe")
    early = work / "early"
    for folder in ("dev", "root"):
        (early / folder).mkdir(parents=True)
    shutil.copy(busybox, early / "busybox")
    names = _in_order(wanted)
    for name in names:
        shutil.copy(wanted / name, early / Path(name).name)
    (early / "modules").write_text("".join(f"{Path(name).name}\n" for name in names))
    (early / "init").write_text(_INIT)
    (early / "init").chmod(0o755)
    _run("sh", "-euc", "find . | cpio --quiet -o -H newc > ../initrd", folder=early)


def _in_order(modules: Path) -> list[str]:
    """Return the files of the modules that find the disk, each after those that it needs."""
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, others = line.partition(":")
        needs[name] = others.split()
    by_stem = {Path(name).stem: name for name in needs}
    found: dict[str, None] = {}

    def take(name: str) -> None:
        for other in needs[name]:
            take(other)
        found[name] = None

    for stem in _EARLY:
        take(by_stem[stem])
    # What no dependency tells: ext4 asks for it by its algorithm.
    for stem in ("crc32c_generic",):
        found = {by_stem[stem]: None, **found} if stem in by_stem else found
    return list(found)


def _run(*argv: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout
