# SPDX-License-Identifier: MIT
"""The Debian packages that the lab needs on the machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from lab.errors import LabError
from lab.progress import say, step


NEEDED = (
    "debian-archive-keyring",
    "debootstrap",
    "dpkg",
    "hydra",
    "iproute2",
    "iptables",
    "ipset",
    "medusa",
    "nftables",
    "openssh-client",
    "systemd-container",
    "util-linux",
)


def missing(names: Sequence[str] = NEEDED) -> list[str]:
    """The needed packages that are not installed."""
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    there = {line.split()[0] for line in query.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in there]


def ensure(names: Sequence[str] = NEEDED) -> None:
    """Install what is missing, and say so; one line when nothing is.

    Raises:
        LabError: not root, not Debian, or apt-get failed.
    """
    try:
        absent = missing(names)
    except FileNotFoundError:
        raise LabError("the lab runs on Debian 12 or later: dpkg-query is not here") from None
    if not absent:
        say("packages: all there")
        return
    if os.geteuid() != 0:
        raise LabError(f"packages missing ({' '.join(absent)}): run as root to install them")
    say(f"packages: installing {' '.join(absent)}")
    if _offered(absent):
        try:
            _install(absent)
        except LabError as error:
            say(f"{error}; once more with fresh lists")
        else:
            return
    with step("apt-get update"):
        _apt("update")
    _install(absent)


def _offered(names: list[str]) -> bool:
    """Whether apt's lists know every one of ``names`` already."""
    show = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    known = {line[9:] for line in show.stdout.splitlines() if line.startswith("Package: ")}
    return show.returncode == 0 and known >= set(names)


def _install(names: list[str]) -> None:
    with step("apt-get install"):
        _apt("install", "--no-install-recommends", "-y", *names)


def _apt(*words: str) -> None:
    done = subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600", *words],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise LabError(f"apt-get {words[0]} failed: {tail}")
