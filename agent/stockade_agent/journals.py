# SPDX-License-Identifier: MIT
"""Which journal ``backend = systemd[…]`` means, in words of journalctl(1)."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, Optional


PARAMETERS = ("journalpath", "journalfiles", "journalflags", "namespace", "rotated")
SYSTEM_ONLY = 4
_RUNTIME = 2
_FLAGS = {1: (), _RUNTIME: (), SYSTEM_ONLY: ("--system",), 8: ("--user",)}
"""Flags of sd_journal_open(3); the first, local only, holds for whatever has no path of its own."""
_PERSISTENT, _VOLATILE = "/var/log/journal", "/run/log/journal"
_BOOLEANS = ("0", "1", "yes", "no", "true", "false", "on", "off")


Key = tuple[int, int]
"""Device and inode of a file."""


class Which(NamedTuple):
    """A choice of journal files.

    Attributes:
        options: what journalctl is told of it.
        own: entries that other hosts have sent here are left out.
        files: globs of files that were named one by one.
        places: globs of where its files will be, where they may not be there yet. A journalctl
            that finds none follows nothing, also when they come.
    """

    options: tuple[str, ...] = ("--system",)
    own: bool = True
    files: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    def kept(self, machine: str) -> tuple[str, ...]:
        """Return globs of all its files, those too that journald found damaged.

        Args:
            machine: this host's id, or "" for whichever wrote them.
        """
        folders = (f"{folder}/{machine or '*'}" for folder in (_PERSISTENT, _VOLATILE))
        below = self.places or tuple(f"{folder}/*.journal" for folder in folders)
        return (*below, *(f"{pattern}~" for pattern in below))


SYSTEM = Which()


def which(parameters: Mapping[str, str]) -> Which:
    """Return what the parameters in the brackets choose; without any the system's own journal.

    ``rotated`` changes nothing: rotated files are always read, up to where jails look back.

    Raises:
        ValueError: a parameter is unknown, wrong, or contradicts another.

    Source:
        jail.conf(5), ``backend``; python-systemd's ``Reader``, which the parameters are given to.
    """
    for name in parameters:
        if name not in PARAMETERS:
            raise ValueError(f"unknown parameter {name}")
    given = {name: text.strip() for name, text in parameters.items() if text.strip()}
    path, namespace = given.get("journalpath", ""), given.get("namespace", "")
    files = tuple(given.get("journalfiles", "").replace(",", " ").split())
    if (bool(path) + bool(files) + bool(namespace)) > 1:
        raise ValueError("journalpath, journalfiles and namespace exclude each other")
    if given.get("rotated", "1").lower() not in _BOOLEANS:
        raise ValueError(f"rotated: {given['rotated']!r} is neither yes nor no")
    flags = _flags(given.get("journalflags", "0" if path or files else str(SYSTEM_ONLY)))
    if files:
        options = tuple(f"--file={file}" for file in files)
        return Which(options, own=False, files=files, places=files)
    words = tuple(word for flag, options in _FLAGS.items() if flags & flag for word in options)
    if path:
        below = (f"{path}/*.journal", f"{path}/*/*.journal")
        return Which((f"--directory={path}", *words), own=False, places=below)
    if namespace and flags & _RUNTIME:
        raise ValueError("journalflags with 2 and namespace exclude each other")
    if namespace:
        # With "*" and "+name" the default namespace is among them.
        places = tuple(f"{folder}/*.{namespace}/*.journal" for folder in (_PERSISTENT, _VOLATILE))
        places = () if namespace[0] in "*+" else places
        return Which((f"--namespace={namespace}", *words), places=places)
    if flags & _RUNTIME:
        return Which((f"--directory={_VOLATILE}", *words), places=(f"{_VOLATILE}/*/*.journal",))
    return Which(words)


def _flags(text: str) -> int:
    try:
        flags = int(text, 0)
    except ValueError:
        raise ValueError(f"journalflags: {text!r} is no number") from None
    if flags & ~sum(_FLAGS):
        raise ValueError(f"journalflags: {text} has flags besides 1, 2, 4 and 8")
    return flags


def inodes(globs: Iterable[str]) -> frozenset[Key]:
    """Return the files that stand under these names now."""
    paths = (path for pattern in globs for path in glob.glob(pattern))
    return frozenset(key for path in paths if (key := _key(path)))


def renamed(files: Collection[Key], globs: Iterable[str]) -> tuple[str, ...]:
    """Return the names that files have now that have not left their folder."""
    folders = {os.path.dirname(pattern) or "." for pattern in globs}
    return tuple(path for path in _within(folders) if _key(path) in files)


def _within(folders: Iterable[str]) -> Iterator[str]:
    for pattern in folders:
        yield from glob.iglob(os.path.join(pattern, "*"))


def _key(path: str) -> Optional[Key]:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
