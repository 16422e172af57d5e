# SPDX-License-Identifier: MIT
"""The kernel's inotify through ctypes: which directories and files have changed."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator


MODIFY = 0x2
ATTRIB = 0x4
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
OVERFLOW = 0x4000
ONLYDIR = 0x1000000

NAMES = CREATE | MOVED_FROM | MOVED_TO | DELETE | ATTRIB
"""What a directory tells of its entries."""
DIRECTORY = NAMES | DELETE_SELF | MOVE_SELF | ONLYDIR
"""The same, and that its own path may lead elsewhere now."""

_EVENT = struct.Struct("iIII")
_READ = 1 << 16


class Inotify:
    """One inotify instance; every call is non-blocking.

    Raises:
        OSError: the kernel refuses one, or the C library does not have the calls.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            make = self._libc.inotify_init1
        except AttributeError as error:
            raise OSError(38, "the C library has no inotify") from error
        self.fileno: int = make(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fileno < 0:
            raise self._error("inotify_init1")

    def watch(self, path: str, mask: int) -> int:
        """Watch a path and return its watch descriptor, the same one for the same inode.

        Raises:
            OSError: the path is not there, may not be read, or the limit is reached.
        """
        descriptor: int = self._libc.inotify_add_watch(
            self.fileno, os.fsencode(path), ctypes.c_uint32(mask)
        )
        if descriptor < 0:
            raise self._error(path)
        return descriptor

    def unwatch(self, descriptor: int) -> None:
        """End a watch; one that the kernel has ended already is fine."""
        self._libc.inotify_rm_watch(self.fileno, descriptor)

    def events(self) -> Iterator[tuple[int, int, str]]:
        """Yield (watch descriptor, mask, name within the directory or "") until none is left."""
        while True:
            try:
                data = os.read(self.fileno, _READ)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                descriptor, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                name = data[at : at + length].rstrip(b"\0")
                at += length
                yield descriptor, mask, os.fsdecode(name)

    def close(self) -> None:
        """Release the descriptor and with it every watch."""
        os.close(self.fileno)

    def _error(self, what: str) -> OSError:
        number = ctypes.get_errno()
        return OSError(number, os.strerror(number), what)
