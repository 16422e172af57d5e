# SPDX-License-Identifier: MIT
"""journald's own protocol: datagrams of entries, which are lists of fields.

    MESSAGE=[sshd] Ban 192.0.2.7
    STOCKADE_EVENT=ban
    STOCKADE_JAIL=sshd
    STOCKADE_ID=192.0.2.7

A value that has a line end is sent with its length, so that no text, whoever wrote it, ends its
field. Each entry is a datagram of its own: of several in one, parted by an empty line, systemd 252
keeps all and 257 the first. What does not fit into one goes by a sealed memory file, whose
descriptor is sent.

Source:
    https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Callable

from stockade_agent.outlets import NAME, Entry
from stockade_agent.plain import plain


PATH = "/run/systemd/journal/socket"
PATIENCE = 0.5
"""Seconds that a journald may take to make room."""
PAUSE = 5.0
"""Seconds that one is left alone that did not."""
IDS = {
    "found": "7ab2fd8c05f742798e319734d37be3d8",
    "ban": "2ef1dbf8209b4704a6b0a39c854cd214",
    "again": "56bc686789824eac8a0cb381f3d73689",
    "unban": "e082db7885774518b117feb108e5a165",
    "ignore": "2b42e00a3b724589bfe5bbaa352be783",
    "healed": "c334ed98205044fa9975e55393da1413",
    "problem": "798df905ca19460eadb07cdbf6ddd6f5",
    "well": "e79f2fcc68ce468e8796b852a6bf527a",
}
"""``MESSAGE_ID`` of each event; a number that is never given to anything else."""
_TOO_LONG = (errno.EMSGSIZE, errno.ENOBUFS)
_MOST_HEADS = 4096


class Journal:
    """Sends to journald.

    Args:
        clock: seconds that never go backwards.
        path: of its socket.
    """

    name = "SYSTEMD-JOURNAL"

    def __init__(self, clock: Callable[[], float], path: str = PATH) -> None:
        self._clock, self._path = clock, path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._heads: dict[tuple[int, str, str], str] = {}
        self._silent_until = -1.0

    def write(self, entries: Sequence[Entry]) -> int:
        """Send entries, and return how many of them, the first ones.

        Raises:
            TimeoutError: journald is there, but takes nothing.
            OSError: it is not there.
        """
        if self._clock() < self._silent_until:
            raise TimeoutError(errno.ETIMEDOUT, "journald takes nothing")
        # Once for all entries: a journald that was started anew has another socket at its path.
        self._socket.connect(self._path)
        sent = 0
        try:
            for entry in entries:
                self._send(self._encoded(entry))
                sent += 1
        except OSError as error:
            if isinstance(error, TimeoutError):
                self._silent_until = self._clock() + PAUSE
            if not sent:
                raise
        return sent

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except (socket.timeout, BlockingIOError) as error:
            raise TimeoutError(errno.ETIMEDOUT, "journald takes nothing") from error
        except OSError as error:
            if error.errno not in _TOO_LONG:
                raise
            self._send_file(data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _encoded(self, entry: Entry) -> bytes:
        # A flood is a thousand times the same jail and event, and addresses: nothing to escape.
        priority, text, event, jail, id_, more = entry
        head = self._heads.get((priority, event, jail)) or self._head(priority, event, jail)
        message = text if text.isprintable() and "\\" not in text else plain(text)
        if more is None and "\n" not in id_:
            own = f"STOCKADE_ID={id_}\n" if id_ else ""
            return _bytes(f"{head}{own}MESSAGE={message}\n")
        fields: dict[str, object] = {"MESSAGE": message}
        if id_:
            fields["STOCKADE_ID"] = id_
        fields.update({f"STOCKADE_{name.upper()}": it for name, it in (more or {}).items()})
        return _bytes(head) + _fields(fields)

    def _head(self, priority: int, event: str, jail: str) -> str:
        """Return the fields that many entries share. No name of a jail has a line end."""
        head = f"PRIORITY={priority}\nSYSLOG_IDENTIFIER={NAME}\n"
        if event in IDS:
            head += f"MESSAGE_ID={IDS[event]}\n"
        if event:
            head += f"STOCKADE_EVENT={event}\n"
        if jail:
            head += f"STOCKADE_JAIL={plain(jail)}\n"
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        self._heads[priority, event, jail] = head
        return head

    def _send_file(self, data: bytes) -> None:
        fileno = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(fileno, "wb", closefd=False) as file:
                file.write(data)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(fileno, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fileno))]
            self._socket.sendmsg([], rights)
        except socket.timeout as error:
            raise TimeoutError(errno.ETIMEDOUT, "journald takes nothing") from error
        finally:
            os.close(fileno)


def _fields(fields: Mapping[str, object]) -> bytes:
    made = bytearray()
    for name, value in fields.items():
        data = _bytes(str(value))
        if b"\n" in data:
            made += name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
        else:
            made += name.encode() + b"=" + data + b"\n"
    return bytes(made)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
