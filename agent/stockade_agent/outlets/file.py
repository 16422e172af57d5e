# SPDX-License-Identifier: MIT
"""A log file that rotates itself, and follows whoever else rotates it.

    2026-11-25 16:42:31,123 stockade-agent[812]: NOTICE   [sshd] Ban 192.0.2.7

``agent.log`` becomes ``agent.log.1``, that one ``agent.log.2``, and so on.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Callable, Optional

from stockade_agent.outlets import LEVELS, NAME, Entry
from stockade_agent.plain import plain


_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class File:
    """Writes to a file.

    It is opened with the first entry. One that was renamed or removed is opened anew before the
    next: ``logrotate`` need not tell.

    Args:
        path: of the file; ``path.1`` and so on are its former ones.
        size: bytes at most, 0 for any number.
        count: former ones that are kept.
        now: returns the seconds since the epoch.
    """

    def __init__(self, path: str, size: int, count: int, now: Callable[[], float]) -> None:
        self.name = path
        self._most, self._count, self._now = size, count, now
        self._fileno: Optional[int] = None

    def write(self, entries: Sequence[Entry]) -> int:
        """Append entries, a line each, all of them.

        Raises:
            OSError: the file cannot be opened, or there is no room; nothing was written then.
        """
        data = self._lines(entries)
        fileno = self._opened()
        size = os.fstat(fileno).st_size
        if self._most and size and size + len(data) > self._most:
            # What cannot be rotated is written to all the same.
            with suppress(OSError):
                self._rotate()
            fileno = self._opened()
            size = os.fstat(fileno).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(fileno, data[written:])
        except OSError:
            if written:
                os.ftruncate(fileno, size)
            raise
        return len(entries)

    def close(self) -> None:
        """Close it; the next entry opens it again."""
        if self._fileno is not None:
            os.close(self._fileno)
            self._fileno = None

    def _lines(self, entries: Sequence[Entry]) -> bytes:
        now = datetime.fromtimestamp(self._now())  # noqa: DTZ006 - as the host's other logs are
        stamp = f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03} {NAME}[{os.getpid()}]:"
        lines = [f"{stamp} {LEVELS[entry[0]]:<8} {plain(entry[1])}\n" for entry in entries]
        return "".join(lines).encode("utf-8", "backslashreplace")

    def _opened(self) -> int:
        if self._fileno is not None:
            with suppress(FileNotFoundError):
                there, ours = os.stat(self.name), os.fstat(self._fileno)
                if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                    return self._fileno
            self.close()
        fileno = os.open(self.name, _FLAGS, 0o640)
        if not stat.S_ISREG(os.fstat(fileno).st_mode):
            os.close(fileno)
            raise OSError(errno.EINVAL, "is no file")
        self._fileno = fileno
        return fileno

    def _rotate(self) -> None:
        """Move the former ones up to the first gap, so that a try that fails loses nothing."""
        if not self._count:
            os.truncate(self.name, 0)
            return
        numbers = range(1, self._count + 1)
        free = (n for n in numbers if not os.path.lexists(f"{self.name}.{n}"))
        for number in range(next(free, self._count), 1, -1):
            os.rename(f"{self.name}.{number - 1}", f"{self.name}.{number}")
        os.rename(self.name, f"{self.name}.1")
