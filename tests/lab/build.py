# SPDX-License-Identifier: MIT
"""Builds one root file system in a folder. Runs in mount and PID namespaces of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from lab import mirror, rpms
from lab.errors import BuildError
from lab.kinds import COMMON, KINDS, Kind
from lab.paths import CACHE, OFFERED
from lab.progress import step
from lab.rpms import REPOS, Rpm


#: Names of the packages of the bare system, which no host can lose.
MINBASE = "var/lib/minbase"

# Else the tools of X would bring half a gigabyte of OpenGL along, for nothing that Xtightvnc calls.
STAND_INS = ("x11-utils",)

_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C",
    "HOME": "/root",
}


class _Root:
    """A root file system in the making, and commands run inside it."""

    def __init__(self, path: Path, debs: str, log: TextIO) -> None:
        self.path, self.log = path, log
        self.debs = CACHE / "debs" / debs

    def run(self, argv: Sequence[str], *, inside: bool = True) -> None:
        """Run a command, its output to the log.

        Raises:
            BuildError: it ended with a status other than 0.
        """
        if inside:
            argv = ["chroot", str(self.path), *argv]
        self.log.write(f"+ {' '.join(argv)}\n")
        self.log.flush()
        done = subprocess.run(
            argv,
            env={**os.environ, **_ENV},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            tail = Path(self.log.name).read_text(errors="replace").strip().splitlines()[-4:]
            raise BuildError(f"{argv[0]} ended with {done.returncode}: {' / '.join(tail)}")

    def ask(self, *argv: str) -> str:
        """The standard output of a command run inside."""
        done = subprocess.run(
            ["chroot", str(self.path), *argv],
            env=_ENV,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildError(f"{' '.join(argv)[:200]} ended with {done.returncode}")
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def apt(self, *words: str) -> None:
        self.run(["apt-get", "-q", "-y", "--no-install-recommends", *words])

    def open_to_the_mirror(self, suite: str) -> None:
        """Let apt inside reach what the machine's apt reaches, by the machine's settings."""
        archives = self.path / "var/cache/apt/archives"
        self.debs.mkdir(parents=True, exist_ok=True)
        archives.mkdir(parents=True, exist_ok=True)
        for source, target in ((self.debs, archives), ("/proc", self.path / "proc")):
            self.run(["mount", "--bind", str(source), str(target)], inside=False)
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", self.path / "etc" / name)
        self.write("/etc/apt/sources.list", f"deb {mirror.of_machine()} {suite} main\n")
        self.write("/etc/apt/apt.conf.d/99build", mirror.settings())
        # Synchronous writes are for machines that must survive a power cut.
        self.write("/etc/dpkg/dpkg.cfg.d/build", "force-unsafe-io\n")
        self.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        self.apt("update")

    def close(self) -> None:
        """Take back all that only the build needed."""
        self.run(["sh", "-c", "rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin"])
        self.run(["umount", str(self.path / "var/cache/apt/archives")], inside=False)
        self.run(["umount", str(self.path / "proc")], inside=False)
        for path in (
            "etc/apt/sources.list",
            "etc/apt/apt.conf.d/99build",
            "etc/dpkg/dpkg.cfg.d/build",
            "usr/sbin/policy-rc.d",
            "etc/hosts",
        ):
            (self.path / path).unlink(missing_ok=True)


def build_base(suite: str, path: Path, log: TextIO) -> None:
    """Build what every kind of one Debian release has."""
    root = _Root(path, f"base-{suite}", log)
    root.debs.mkdir(parents=True, exist_ok=True)
    with step(f"{suite}: debootstrap"):
        cache = f"--cache-dir={root.debs}"
        argv = ["debootstrap", "--variant=minbase", cache, suite, str(path), mirror.of_machine()]
        root.run(argv, inside=False)
    root.write(MINBASE, root.ask("dpkg-query", "-W", "-f", "${Package}\n"))
    root.open_to_the_mirror(suite)
    with step(f"{suite}: common packages"):
        for name in STAND_INS:
            _install_empty(root, name)
        root.apt("install", *COMMON)
    root.close()


def _install_empty(root: _Root, name: str) -> None:
    """Install a Debian package of this name that holds nothing."""
    root.write(
        "/tmp/empty/DEBIAN/control",
        f"Package: {name}\nVersion: 99\nArchitecture: all\nMaintainer: the lab <root@localhost>\n"
        "Description: stands in for what no host of the lab calls\n",
    )
    root.run(["sh", "-c", "dpkg-deb --build /tmp/empty /tmp/empty.deb && dpkg -i /tmp/empty.deb"])
    root.run(["rm", "-r", "/tmp/empty", "/tmp/empty.deb"])


def build_kind(name: str, base: Path, path: Path, log: TextIO) -> None:
    """Build the root file system of one kind from its base."""
    kind = KINDS[name]
    root = _Root(path, name, log)
    with step(f"{name}: copy of {base.name}"):
        root.run(["cp", "-a", str(base), str(path)], inside=False)
    root.open_to_the_mirror(kind.suite)
    if kind.packages:
        with step(f"{name}: packages"):
            root.apt("install", *kind.packages)
    offered = _fetch_offered(root, name, kind)
    for target, text in kind.files.items():
        root.write(target, text)
    root.run(["sh", "-eu", "-c", kind.script])
    if kind.rpms:
        with step(f"{name}: rpms"):
            _offer_rpms(root, kind.rpms)
    root.close()
    if offered:
        _offer_debs(root, offered)
    root.run(["sh", "-eu", "-c", kind.late])


def _fetch_offered(root: _Root, name: str, kind: Kind) -> list[Path]:
    """Download the offered packages with all they need beyond the bare system."""
    if not kind.offered:
        return []
    root.write("/tmp/no-status", "")
    from_nothing = ["-o", "Dir::State::status=/tmp/no-status", "install", *kind.offered]
    with step(f"{name}: packages to offer"):
        root.apt("--download-only", *from_nothing)
    plan = root.ask("apt-get", "-qq", "-y", "--no-install-recommends", "-s", *from_nothing)
    needed = {line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")}
    needed -= set((root.path / MINBASE).read_text().split())
    debs = [deb for deb in root.debs.glob("*.deb") if deb.name.partition("_")[0] in needed]
    base = CACHE / "debs" / f"base-{kind.suite}"
    there = {deb.name.partition("_")[0] for deb in debs}
    debs += [deb for deb in base.glob("*.deb") if deb.name.partition("_")[0] in needed - there]
    return debs


def _offer_debs(root: _Root, debs: Sequence[Path]) -> None:
    """Make an apt repository of a folder on the host, the only one that the host knows."""
    folder = root.path / OFFERED.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for deb in sorted(debs):
        shutil.copy(deb, folder)
        fields = subprocess.run(
            ["dpkg-deb", "--field", str(deb)], capture_output=True, text=True, check=True
        )
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        index.append(
            f"{fields.stdout.strip()}\nFilename: ./{deb.name}\n"
            f"Size: {deb.stat().st_size}\nSHA256: {digest}\n"
        )
    root.write(f"{OFFERED}/Packages", "\n".join(index))
    root.write("/etc/apt/sources.list", f"deb [trusted=yes] file:{OFFERED} ./\n")


def _offer_rpms(root: _Root, offered: Sequence[Rpm]) -> None:
    """Build the rpms, sort them into repositories, and enter the installed ones in its database."""
    built = []
    for rpm in offered:
        buildroot = f"/tmp/build/{rpm.name}"
        paths = _fill(root, rpm, buildroot)
        root.write(f"/tmp/{rpm.name}.spec", rpms.spec(rpm, paths))
        folder = f"{OFFERED}/{rpm.repo}"
        script = (
            f'rpmbuild -bb --quiet --buildroot {buildroot} --define "_rpmdir {folder}"'
            f' --define "_rpmfilename %{{NAME}}-%{{VERSION}}.rpm" --noclean /tmp/{rpm.name}.spec'
        )
        root.run(["sh", "-eu", "-c", script])
        if rpm.installed:
            built.append(f"{folder}/{rpm.name}-{rpm.version}.rpm")
    for repo in REPOS:
        root.run(["createrepo_c", "--quiet", f"{OFFERED}/{repo}"])
    root.run(["rpm", "--force-debian", "-i", "--justdb", "--nodeps", "--noscripts", *built])
    root.run(["sh", "-c", "rm -rf /tmp/* /root/rpmbuild"])


def _fill(root: _Root, rpm: Rpm, buildroot: str) -> list[str]:
    """Put an rpm's files into its buildroot and return their paths."""
    (root.path / buildroot.lstrip("/")).mkdir(parents=True)
    for path, text in rpm.files.items():
        root.write(f"{buildroot}{path}", text, 0o755 if "bin" in Path(path).parts else 0o644)
    if not rpm.of:
        return sorted(rpm.files)
    listed = sorted(set(root.ask("dpkg-query", "-L", *rpm.of).splitlines()))
    carried = []
    for path in listed:
        here = root.path / path.lstrip("/")
        if (here.is_symlink() or here.is_file()) and not here.is_dir():
            carried.append(path)
            target = root.path / buildroot.lstrip("/") / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here, target, follow_symlinks=False)
    return carried
