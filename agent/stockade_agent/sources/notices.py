# SPDX-License-Identifier: MIT
"""What the kernel tells of log files: which have grown, and that others may be there now."""

from __future__ import annotations

from errno import EACCES, EINVAL, ELOOP, ENOENT, ENOTDIR, ENXIO, EPERM
from typing import Callable, NamedTuple, Optional

from stockade_agent.sources import inotify
from stockade_agent.sources.inotify import Inotify
from stockade_agent.sources.openlog import OpenLog
from stockade_agent.sources.survey import covers


POLL = 1.0
"""Seconds between looks where the kernel cannot tell of changes."""
TOLD = {ENOENT, ENOTDIR, EACCES, EPERM, ELOOP, EINVAL, ENXIO}
"""Troubles that end with an event; the last two are those of what is no regular file."""


class Heard(NamedTuple):
    """What the kernel has told since it was asked last.

    Attributes:
        any: it told anything.
        lost: there was more than it could keep: anything may have changed.
        moved: other files may be there now.
        files: those that have changed.
    """

    any: bool
    lost: bool
    moved: bool
    files: list[OpenLog]


class Notices:
    """The directories and files that are watched.

    Args:
        kernel: makes the inotify instance; where it raises OSError, nothing is ever told.
    """

    def __init__(self, kernel: Callable[[], Inotify]) -> None:
        self._files: dict[int, OpenLog] = {}
        # Watch descriptor -> name patterns: those of the last survey, and of one that goes on.
        self._directories: dict[int, set[str]] = {}
        self._needed: dict[int, set[str]] = {}
        self._kernel: Optional[Inotify] = None
        self._unwatched = self._deaf = ""
        try:
            self._kernel = kernel()
        except OSError as error:
            self._deaf = f"no inotify ({error.strerror}), looking every {POLL:g} s instead"

    @property
    def filenos(self) -> tuple[int, ...]:
        """The inotify descriptor, if there is one."""
        return (self._kernel.fileno,) if self._kernel else ()

    @property
    def problem(self) -> str:
        """Why not all is told, or ""."""
        return self._deaf or self._unwatched

    def heard(self) -> Heard:
        """Return what was told since the last call."""
        told = lost = moved = False
        files: dict[OpenLog, None] = {}
        for descriptor, mask, name in self._kernel.events() if self._kernel else ():
            told = True
            if mask & inotify.OVERFLOW:
                lost = True
            elif descriptor in self._files:
                files[self._files[descriptor]] = None
            elif descriptor in self._directories and (
                not name or any(covers(part, name) for part in self._directories[descriptor])
            ):
                moved = True
        return Heard(told, lost, moved, list(files))

    # ---- which directories, of a survey

    def begin(self) -> None:
        """Begin a survey."""
        self._unwatched, self._needed = "", {}

    def attend(self, directory: str, name: str) -> Optional[OSError]:
        """Watch a directory for names of a pattern; see ``Attend``."""
        if self._kernel is None:
            return None
        try:
            descriptor = self._kernel.watch(directory, inotify.DIRECTORY)
        except OSError as error:
            if error.errno not in TOLD:
                self._unwatched = f"inotify: {error.strerror}, looking every {POLL:g} s instead"
                return None
            return error
        self._needed.setdefault(descriptor, set()).add(name)
        return None

    def end(self) -> None:
        """End a survey: what it did not attend to is watched no longer."""
        if self._kernel:
            for descriptor in self._directories.keys() - self._needed.keys():
                self._kernel.unwatch(descriptor)
        self._directories = self._needed

    # ---- which files

    def listen(self, file: OpenLog) -> None:
        """Watch an open file."""
        if self._kernel is None:
            return
        try:
            # By descriptor: the path may lead to another inode by now.
            descriptor = self._kernel.watch(
                f"/proc/self/fd/{file.fd}", inotify.MODIFY | inotify.ATTRIB
            )
        except OSError as error:
            self._unwatched = f"inotify: {error.strerror}, looking every {POLL:g} s instead"
            return
        self._files[descriptor] = file

    def forget(self, file: OpenLog) -> None:
        """Watch a file no longer."""
        for descriptor in [d for d, known in self._files.items() if known is file]:
            del self._files[descriptor]
            if self._kernel:
                self._kernel.unwatch(descriptor)

    def close(self) -> None:
        """Release the descriptor."""
        if self._kernel:
            self._kernel.close()
            self._kernel = None
