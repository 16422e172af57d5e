# SPDX-License-Identifier: MIT
"""Root file systems, built once and cached.

    debootstrap ─▶ base-SUITE ─copy─▶ KIND: packages, files, script, offered debs or rpms

What lies in the cache under its own name is whole: a build happens in a folder with a dot before
its name, in mount and PID namespaces of its own that end with it, and is renamed at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab import kinds
from lab.build import build_base, build_kind
from lab.errors import BuildError, LabError
from lab.paths import CACHE, PACKAGE
from lab.progress import say, step


def path_of(kind: str) -> Path:
    """Where the root file system of a kind is, or will be."""
    return CACHE / f"{kind}-{kinds.digest(kinds.KINDS[kind])}"


def ensure(names: Sequence[str]) -> None:
    """Build the root file systems of these kinds that are not in the cache, two at a time.

    Raises:
        BuildError: a build failed; what it said last is in the message.
    """
    absent = [name for name in dict.fromkeys(names) if not path_of(name).is_dir()]
    if not absent:
        return
    if os.geteuid() != 0:
        raise LabError("building root file systems needs root")
    CACHE.mkdir(parents=True, exist_ok=True)
    say(f"building {' and '.join(absent)}, once: some minutes")
    with step(f"root file systems ({', '.join(absent)})"):
        # Kinds of one suite share a base, so that comes first.
        suites = dict.fromkeys(kinds.KINDS[name].suite for name in absent)
        for what, wanted in (
            ("base", [suite for suite in suites if not _base_of(suite).is_dir()]),
            ("kind", absent),
        ):
            for at in range(0, len(wanted), 2):
                _wait([_start(what, name) for name in wanted[at : at + 2]])


def _base_of(suite: str) -> Path:
    return CACHE / f"base-{suite}-{kinds.base_digest(suite)}"


def _start(what: str, name: str) -> tuple[str, subprocess.Popen[str]]:
    argv = ["setpriv", "--pdeathsig", "KILL"]
    argv += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return name, subprocess.Popen(
        [*argv, sys.executable, "-c", "from lab import rootfs; rootfs.main()", what, name],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        stdin=subprocess.DEVNULL,
        text=True,
    )


def _wait(builds: Sequence[tuple[str, subprocess.Popen[str]]]) -> None:
    failed = [name for name, build in builds if build.wait() != 0]
    if failed:
        raise BuildError(f"{', '.join(failed)}: build failed; see above and {CACHE}/*.log")


@contextlib.contextmanager
def _only_builder(name: str) -> Iterator[None]:
    with (CACHE / f".{name}.lock").open("w") as lock:
        with step(f"{name}: waiting for another build of it"):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prune() -> None:
    """Remove root file systems of recipes that are no more, unless a running lab uses them."""
    for kind in kinds.KINDS:
        _prune(kind, path_of(kind))
    for suite in {kind.suite for kind in kinds.KINDS.values()}:
        _prune(f"base-{suite}", _base_of(suite))


def _prune(prefix: str, current: Path) -> None:
    for old in CACHE.glob(f"{prefix}-*"):
        if old != current and old.is_dir():
            _remove_if_unused(old)


def _remove_if_unused(path: Path) -> None:
    """Remove a root file system, unless a running lab holds it as the lower layer of a host."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    except BlockingIOError:
        say(f"{path.name} is old but in use: kept")
    finally:
        os.close(folder)


def _build(what: str, name: str) -> None:
    final = _base_of(name) if what == "base" else path_of(name)
    prefix = final.name.rpartition("-")[0]
    with _only_builder(prefix):
        if final.is_dir():
            return
        work = CACHE / f".{final.name}"
        for leftover in CACHE.glob(f".{prefix}-*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
        with (CACHE / f"{prefix}.log").open("w") as log:
            if what == "base":
                build_base(name, work, log)
            else:
                build_kind(name, _base_of(kinds.KINDS[name].suite), work, log)
        work.rename(final)
        _prune(prefix, final)


def main() -> None:
    """Build what the command line names; the entry of a builder's process."""
    try:
        _build(*sys.argv[1:3])
    except LabError as error:
        say(f"{sys.argv[2]}: {error}")
        raise SystemExit(1) from None
