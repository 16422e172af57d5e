# SPDX-License-Identifier: MIT
"""One open log file, read forward, and the position that finds it again after a restart."""

from __future__ import annotations

import os
import stat
import zlib
from dataclasses import dataclass
from typing import Optional


BLOCK = 1 << 20
"""Bytes read at once; a longer line is skipped and said."""
HEAD = 1024
"""Bytes at the start of a file that tell it from another in its place."""
TAIL = 256
"""Bytes before the offset that do the same for files that begin alike."""

Key = tuple[int, int]
"""Device and inode."""
Mark = tuple[int, int, bytes, bytes, bool]
"""State of an open log; the first is its offset."""


@dataclass(frozen=True)
class Position:
    """How far a file was read.

    Attributes:
        print: CRC-32 of the first bytes and of those before ``offset``: the file may have been
            truncated and written anew, or its inode given to another.
    """

    device: int
    inode: int
    offset: int
    print: int

    def __str__(self) -> str:
        return f"{self.device}:{self.inode}:{self.offset}:{self.print:08x}"

    @classmethod
    def parse(cls, text: str) -> Optional[Position]:
        """Return the position that ``str`` made, or None for any other text."""
        try:
            device, inode, offset, fingerprint = text.split(":")
            return cls(int(device), int(inode), int(offset), int(fingerprint, 16))
        except ValueError:
            return None

    @property
    def key(self) -> Key:
        """Device and inode."""
        return self.device, self.inode


class OpenLog:
    """An open file and how far it was read; it follows the inode, not the path.

    Attributes:
        path: where it was opened.
        overlong: lines skipped because they were longer than a block.
        copied: the newest copy of what stood here before it was truncated, if there is one.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # O_NONBLOCK: a FIFO under a log's name must not stop the agent.
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        status = os.fstat(self.fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self.fd)
            raise OSError(22, "not a regular file", path)
        self.key: Key = (status.st_dev, status.st_ino)
        self.offset = 0
        self.overlong = 0
        self.copied: Optional[Key] = None
        self._head = self._tail = b""
        self._skipping = False

    @property
    def position(self) -> Position:
        """Where to go on."""
        return Position(*self.key, self.offset, zlib.crc32(self._tail, zlib.crc32(self._head)))

    def holds(self, position: Position) -> bool:
        """Return whether this file holds what was read up to a position."""
        return self.size() >= position.offset and self._print(position.offset) == position.print

    def seek(self, offset: int) -> None:
        """Go on from an offset."""
        self.offset = offset
        self._head = os.pread(self.fd, min(offset, HEAD), 0)
        self._tail = os.pread(self.fd, min(offset, TAIL), max(0, offset - TAIL))
        self._skipping = False

    def mark(self) -> Mark:
        """Return the state that ``restore`` goes back to."""
        return self.offset, self.overlong, self._head, self._tail, self._skipping

    def restore(self, mark: Mark) -> None:
        """Forget what was read since a mark."""
        self.offset, self.overlong, self._head, self._tail, self._skipping = mark

    def size(self) -> int:
        """Return how many bytes it has now."""
        return os.fstat(self.fd).st_size

    def linked(self) -> bool:
        """Return whether the file still has a name."""
        return os.fstat(self.fd).st_nlink > 0

    def rewritten(self) -> bool:
        """Return whether it was truncated, even where it has outgrown the offset since."""
        return self.size() < self.offset or os.pread(self.fd, len(self._head), 0) != self._head

    def begins_like(self, other: OpenLog) -> bool:
        """Return whether both begin with the same bytes: one is a copy of the other then."""
        size = min(self.size(), other.size(), HEAD)
        return size > 0 and os.pread(self.fd, size, 0) == os.pread(other.fd, size, 0)

    def read(self) -> bytes:
        """Return the next whole lines, at most about a block of them; empty when none is there."""
        while True:
            data = os.pread(self.fd, min(BLOCK, max(0, self.size() - self.offset)), self.offset)
            end = data.rfind(b"\n") + 1
            if self._skipping and end:
                start = data.index(b"\n") + 1
                self._skipping = False
                self._advance(data[:start])
                if end > start:
                    self._advance(data[start:end])
                    return data[start:end]
                continue
            if not end and len(data) == BLOCK:
                self.overlong += not self._skipping
                self._skipping = True
                self._advance(data)
                continue
            self._advance(data[:end])
            return data[:end]

    def rest(self) -> bytes:
        """Return a last line that will never be ended any more, ended by us; or nothing."""
        data = b"" if self._skipping else os.pread(self.fd, BLOCK, self.offset)
        self._advance(data)
        return data + b"\n" if data else b""

    def name(self) -> str:
        """Return the path that it has now, or had when that cannot be told."""
        try:
            now = os.readlink(f"/proc/self/fd/{self.fd}")
        except OSError:
            return self.path
        return now if now.startswith("/") and not now.endswith(" (deleted)") else self.path

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self.fd)

    def _advance(self, data: bytes) -> None:
        self.offset += len(data)
        if len(self._head) < HEAD:
            self._head = (self._head + data[:HEAD])[:HEAD]
        self._tail = data[-TAIL:] if len(data) >= TAIL else (self._tail + data)[-TAIL:]

    def _print(self, offset: int) -> int:
        head = os.pread(self.fd, min(offset, HEAD), 0)
        tail = os.pread(self.fd, min(offset, TAIL), max(0, offset - TAIL))
        return zlib.crc32(tail, zlib.crc32(head))


class Log:
    """A path that some watch covers, and the files behind it.

    Attributes:
        names: the watches.
        literal: one of them names it as it is, not by a glob.
        file: what is there now.
        olds: what was there before and may still be written to.
        after: where its former file went on; that one's lines come first.
        begun: something of ``file`` was read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.names: tuple[str, ...] = ()
        self.literal = False
        self.file: Optional[OpenLog] = None
        self.olds: list[OpenLog] = []
        self.after: Optional[Log] = None
        self.begun = False

    def files(self) -> list[OpenLog]:
        """Return all that are open, oldest first."""
        return [*self.olds, self.file] if self.file else list(self.olds)
