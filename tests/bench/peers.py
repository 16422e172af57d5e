# SPDX-License-Identifier: MIT
"""The other contenders: Debian's packages, unpacked under build/; nothing is installed."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import cost
from bench.cost import Cost, Failed
from conformance.fetch import ROOT, fetch


VERSION = "1.0.2"
PYTHON = str(Path(sys.executable).resolve())
"""The same for fail2ban and for us, and not that of a virtual environment."""
SERVER = "fail2ban's server"
REGEX = "fail2ban-regex"


def fail2ban() -> Path:
    """Return where fail2ban is."""
    return fetch(VERSION)


def package(name: str) -> Path:
    """Return where one of Debian's packages is, as it comes.

    Raises:
        Failed: it cannot be had.
    """
    folder = ROOT / "build" / "debian" / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    if not (found := list(folder.glob(f"{name}_*.deb"))):
        _run(f"apt-get -o APT::Sandbox::User=root download {name}", folder, name)
        found = list(folder.glob(f"{name}_*.deb"))
    return found[0]


def unpacked(name: str) -> Path:
    """Return where one of Debian's packages is unpacked.

    Raises:
        Failed: it cannot be had.
    """
    target = ROOT / "build" / "debian" / name
    if not target.is_dir():
        archive = package(name)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            _run(f"dpkg -x {archive} unpacked", Path(folder), name)
            (Path(folder) / "unpacked").rename(target)
    return target


def _run(command: str, folder: Path, name: str) -> None:
    done = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{name} cannot be had: {done.stderr.strip()}")


def fail2ban_env(*, inotify: bool = False) -> dict[str, str]:
    """Return the environment in which its programs find their modules."""
    roots = [fail2ban(), *([unpacked("python3-pyinotify")] if inotify else [])]
    paths = [str(root / "usr/lib/python3/dist-packages") for root in roots]
    return {"PYTHONPATH": ":".join(paths), "TZ": "UTC"}


def fail2ban_program(name: str) -> tuple[str, ...]:
    """Return the command for one of its programs."""
    return (PYTHON, str(fail2ban() / "usr/bin" / name))


def fail2ban_regex(log: Path, filter_name: str, times: int) -> tuple[Cost, int]:
    """Return what judging a log costs fail2ban-regex, and how many failures it sees."""
    etc = fail2ban() / "etc/fail2ban"
    command = (
        *fail2ban_program("fail2ban-regex"),
        "-c",
        str(etc),
        str(log),
        str(etc / "filter.d" / f"{filter_name}.conf"),
    )
    found = cost.median(times, lambda: cost.run(command, env=fail2ban_env()))
    counted = re.search(r"(\d+) ignored, (\d+) matched", found.output)
    if not counted:
        raise Failed(f"fail2ban-regex says nothing that we understand: {found.output[-200:]}")
    return found, int(counted[2])


def sshg_parser(log: Path, times: int) -> tuple[Cost, int]:
    """Return what judging a log costs sshguard's parser, and how many attacks it sees."""
    program = unpacked("sshguard") / "usr/libexec/sshguard/sshg-parser"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "attacks"
        command = ("sh", "-c", f"exec '{program}' > '{output}'")
        found = cost.median(times, lambda: cost.run(command, log))
        return found, output.read_bytes().count(b"\n")


def grep(log: Path, words: list[str], times: int) -> tuple[Cost, int]:
    """Return what ``grep -cE`` for some words costs, and how many lines have one."""
    pattern = "|".join(re.sub(r"([][().*+?{}|\\^$])", r"\\\1", word) for word in words)
    command = ("grep", "-cE", pattern, str(log))
    found = cost.median(times, lambda: cost.run(command, env={"LC_ALL": "C"}))
    return found, int(found.output)
