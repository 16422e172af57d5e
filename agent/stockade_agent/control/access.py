# SPDX-License-Identifier: MIT
"""Who may open the control socket: its owner, root, and the members of one group.

    open_to(path, "adm")    the group's number; an entry in the socket's access list
    peer = peer_of(connection)

The agent may not give a file to a group that it does not belong to, but whoever owns a file may
write its access list.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional

from stockade_agent.errors import ControlError


ACCESS_LIST = "system.posix_acl_access"
SO_PEERGROUPS = 59
"""All groups of a peer, Linux >= 4.13; Python has no name for it."""
MOST_GROUPS = 1024
"""Bytes that Python lets a socket option have: 256 groups."""

_CREDENTIALS = struct.Struct("3i")
_VERSION, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_OWNER, _OWNING_GROUP, _GROUP, _MASK, _OTHERS = 0x01, 0x04, 0x08, 0x10, 0x20
_READ_WRITE, _NOTHING, _NOBODY = 6, 0, 0xFFFFFFFF


@dataclass(frozen=True)
class Peer:
    """Who asks, as the kernel says.

    Attributes:
        groups: all that he is in; of somebody in more than 256, the primary one alone.
    """

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()

    @property
    def rules(self) -> bool:
        """Whether he may change things: root, and the agent's own user."""
        return self.uid in (0, os.geteuid())


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end of a unix socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    groups = {gid}
    # A kernel that is too old for the question, or more groups than fit.
    with suppress(OSError):
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MOST_GROUPS)
        groups.update(struct.unpack(f"={len(raw) // 4}I", raw))
    return Peer(pid, uid, gid, frozenset(groups))


def open_to(path: str, group: str) -> Optional[int]:
    """Let the members of a group open a socket of ours, and nobody but them; return its number.

    Args:
        path: of the socket.
        group: its name, or "" for no group.

    Raises:
        ControlError: there is no such group, or no access list can be written. Nobody but owner
            and root may open the socket then.
    """
    try:
        os.chmod(path, 0o600)  # whatever the list held, its mask is empty now
        if not group:
            return None
        number = _number(group)
        os.setxattr(path, ACCESS_LIST, _list(number))
    except OSError as error:
        raise ControlError(f"{path}: group {group}: {error.strerror}") from error
    return number


def _number(group: str) -> int:
    import grp  # noqa: PLC0415 - where no group is named it is not needed

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ControlError(
            f"socketgroup: this host has no group {group}", remedy="until then root alone may ask"
        ) from error


def _list(group: int) -> bytes:
    entries = (
        (_OWNER, _READ_WRITE, _NOBODY),
        (_OWNING_GROUP, _NOTHING, _NOBODY),
        (_GROUP, _READ_WRITE, group),
        (_MASK, _READ_WRITE, _NOBODY),
        (_OTHERS, _NOTHING, _NOBODY),
    )
    return _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def listener_lives(connection: socket.socket) -> bool:
    """Return whether the process that listens is there.

    One that was killed may have left a child that holds the socket until it becomes a firewall's
    tool: nobody answers there.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid = _CREDENTIALS.unpack(raw)[0]
    if pid <= 0:
        # Of another namespace.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
