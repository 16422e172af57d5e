# SPDX-License-Identifier: MIT
"""A control group per host, or the systemds inside two of them would meet in one.

On hybrid and legacy machines they are made in systemd's own hierarchy and in the unified one; on a
unified machine there is only that.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from lab.errors import LabError


_TOP = "stockade-lab"
_DELEGATED = ("cpu", "memory", "pids")


def hierarchies() -> list[Path]:
    """Where the hierarchies that systemd uses are mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(before.split()[4]))
    return found


def make(lab: str, host: str) -> list[Path]:
    """Make the control groups of one host and return their ``cgroup.procs``."""
    made = []
    for top in hierarchies():
        group = top / _TOP / lab / host
        group.mkdir(parents=True, exist_ok=True)
        for parent in (group.parent.parent, group.parent, group):
            _delegate(parent)
        made.append(group / "cgroup.procs")
    if not made:
        raise LabError("no cgroup hierarchy for systemd is mounted on this machine")
    return made


def _delegate(group: Path) -> None:
    """Hand on what controllers there are, so that limits of memory work inside."""
    switch = group / "cgroup.subtree_control"
    if not switch.exists():
        return
    there = (group / "cgroup.controllers").read_text().split()
    for name in set(_DELEGATED) & set(there):
        with contextlib.suppress(OSError):  # a machine may keep a controller for itself
            switch.write_text(f"+{name}")


def labs() -> set[str]:
    """The labs that have control groups, running or left over."""
    return {group.name for top in hierarchies() for group in _below(top / _TOP)}


def hosts() -> set[tuple[str, str]]:
    """The hosts that have control groups, of all labs, each as lab and name."""
    labs = [lab for top in hierarchies() for lab in _below(top / _TOP)]
    return {(lab.name, host.name) for lab in labs for host in _below(lab)}


def _below(group: Path) -> list[Path]:
    try:
        return [path for path in group.iterdir() if path.is_dir()]
    except FileNotFoundError:  # it may end meanwhile
        return []


def remove(lab: str, host: str = "", *, patience: float = 5.0) -> bool:
    """Remove the control groups of a lab, or of one host, once their processes are gone.

    Waits ``patience`` seconds for that, and returns whether nothing is left.
    """
    deadline = time.monotonic() + patience
    tops = [top / _TOP / lab / host for top in hierarchies()]
    while any([not _remove_tree(top) for top in tops]):  # noqa: C419, every tree each time
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    for top in hierarchies():
        for parent in (top / _TOP / lab, top / _TOP):
            with contextlib.suppress(OSError):  # another host or lab still needs it
                parent.rmdir()
    return True


def _remove_tree(group: Path) -> bool:
    if not group.is_dir():
        return True
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not group.is_dir()


def members(lab: str, host: str) -> set[int]:
    """The processes of a host, as this process's PID namespace numbers them."""
    found = set()
    for top in hierarchies():
        for procs in (top / _TOP / lab / host).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):  # the group may end meanwhile
                found |= {int(pid) for pid in procs.read_text().split()}
    return found - {0}
