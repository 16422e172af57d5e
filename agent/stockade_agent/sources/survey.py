# SPDX-License-Identifier: MIT
"""Globs of log files: what they cover now, and which directories can change that."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Callable, Optional


Attend = Callable[[str, str], Optional[OSError]]
"""Told (directory, name pattern) before each look into a directory: whatever appears there
under such a name may change the answer. Returns why the directory cannot be watched."""

_MAGIC = re.compile(r"[*?[]")
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


def is_glob(pattern: str) -> bool:
    """Return whether a pattern may cover more than the one path that it is."""
    return _MAGIC.search(pattern) is not None


def covers(pattern: str, name: str) -> bool:
    """Return whether one component of a glob covers a name; ``*`` leaves dot files alone."""
    return fnmatchcase(name, pattern) and (name[0] != "." or pattern[0] == ".")


class Survey:
    """One look at all patterns.

    Attributes:
        problems: directory or file -> why it cannot be looked at.
    """

    def __init__(self, attend: Attend) -> None:
        self._attend = attend
        self.problems: dict[str, str] = {}

    def find(self, pattern: str) -> list[str]:
        """Return the paths that a glob covers now, sorted, whatever they are."""
        parts = [part for part in os.path.abspath(pattern).split("/") if part]
        return sorted(self._enter("/", parts))

    def _descend(self, directory: str, parts: list[str]) -> Iterator[str]:
        name, rest = parts[0], parts[1:]
        if is_glob(name):
            self._watch(directory, name)
            for entry in self._list(directory):
                if covers(name, entry):
                    yield from self._enter(os.path.join(directory, entry), rest)
            return
        path = os.path.join(directory, name)
        # The directory is watched before the look, or what appears in between goes unseen.
        if not rest or not self._is(path, stat.S_ISDIR):
            self._watch(directory, name)
        yield from self._enter(path, rest)

    def _enter(self, path: str, rest: list[str]) -> Iterator[str]:
        if rest:
            if self._is(path, stat.S_ISDIR):
                yield from self._descend(path, rest)
            return
        real = os.path.realpath(path)
        if real != path:
            self._watch(os.path.dirname(real), os.path.basename(real))
        if self._is(path, lambda _mode: True):
            yield path

    def _watch(self, directory: str, name: str) -> None:
        """Watch a directory, or, where that cannot be, the nearest one above that can."""
        error = self._attend(directory, name)
        if error is None:
            return
        if error.errno not in _ABSENT:
            self.problems[directory] = f"cannot be watched: {error.strerror}"
        if directory != "/":
            self._watch(*os.path.split(directory))

    def _list(self, directory: str) -> list[str]:
        try:
            return os.listdir(directory)
        except OSError as error:
            self._refused(directory, error)
            return []

    def _is(self, path: str, kind: Callable[[int], bool]) -> bool:
        try:
            return kind(os.stat(path).st_mode)
        except OSError as error:
            self._refused(path, error)
            return False

    def _refused(self, path: str, error: OSError) -> None:
        if error.errno in _ABSENT:
            return
        self.problems[path] = error.strerror or str(error)
        above = os.path.dirname(path)
        if above != "/":
            self._watch(*os.path.split(above))
