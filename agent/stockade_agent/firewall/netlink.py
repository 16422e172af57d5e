# SPDX-License-Identifier: MIT
"""Netlink, in the agent's own process: messages, attributes, requests.

Needs CAP_NET_ADMIN. Only what ``watch``, ``connections`` and ``established`` ask for.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple


NETFILTER = 12
NFTABLES, CONNTRACK = 10, 1
"""Subsystems of it."""
ACK, DUMP = 4, 0x300
READ = 1 << 18
"""Bytes of one read: more than the kernel puts into a message."""

_REQUEST = 1
_ERROR, _DONE = 2, 3
_SOCKETS = 4  # the protocol that knows sockets
_LOOK_UP, _DESTROY = 20, 21
_CODE = 1  # the attribute with a condition
_NO_CONNECTION = (6, 7, 10)  # states: over, closed, listening
_IDENTITY = slice(4, 52)  # ports, addresses, interface and cookie, in an answer
_ANY_COOKIE = b"\xff" * 8
_HEAD = struct.Struct("=IHHII")  # length, type, flags, sequence number, origin
_FAMILY = 4  # bytes of the family and what goes with it
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_NESTED = 0x8000


class Message(NamedTuple):
    """One message of the kernel.

    Attributes:
        kind: what it is, within its subsystem.
        origin: the process that caused it, as a port id.
        family: of addresses or of a table.
        attributes: type -> content.
    """

    kind: int
    origin: int
    family: int
    attributes: dict[int, bytes]


def connect(protocol: int = NETFILTER) -> socket.socket:
    """Return a socket that does not block.

    Raises:
        OSError: the kernel has no netfilter, or a sandbox forbids it.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    return socket.socket(socket.AF_NETLINK, kind, protocol)


def ask(subsystem: int, kind: int, flags: int, family: int, body: bytes = b"") -> Iterator[Message]:
    """Send a request and yield the answers to it.

    Args:
        subsystem: of netfilter.
        kind: of request.
        flags: ``ACK`` for one without an answer, ``DUMP`` for many, 0 for one.
        family: of addresses, 0 for any.
        body: attributes.

    Raises:
        OSError: the kernel says no, or does not answer within a second.
    """
    with connect() as asking:
        _send(asking, subsystem << 8 | kind, flags, bytes((family, 0, 0, 0)) + body)
        while True:
            data = asking.recv(READ)
            for number, origin, start, end in _walk(data):
                if number in (_ERROR, _DONE):
                    _check(data[start : start + 4])
                    return
                yield _message(data, number, origin, start, end)
                if not flags:
                    return


def destroy(family: int, known_by: bytes) -> None:
    """End a TCP connection of this host, whoever owns its socket; its peer is told by a reset.

    Args:
        family: of its addresses.
        known_by: ports and addresses, ours first, and the interface, as the kernel's
            ``inet_diag_sockid`` has them.

    Raises:
        OSError: there is none, or the kernel was built without this.
    """
    # Of a connection that is over, the kernel takes the socket that listens at its port for the
    # one that is meant. So it is asked first what it would end, and told to end just that.
    found = _socket(_LOOK_UP, 0, family, known_by + _ANY_COOKIE)
    gone = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if len(found) < _IDENTITY.stop or found[1] in _NO_CONNECTION or found[4:8] != known_by[:4]:
        raise gone
    # Its cookie makes it that one and no later one; a socket of IPv6 may serve IPv4 as well.
    try:
        _socket(_DESTROY, ACK, found[0], found[_IDENTITY])
    except OSError as error:
        raise gone if error.errno == errno.ESTALE else error from None


def sockets(family: int, states: int, condition: bytes) -> Iterator[bytes]:
    """Yield this host's TCP sockets of a family, as the kernel's ``inet_diag_msg`` has them.

    Args:
        family: of addresses.
        states: bits by the numbers of states.
        condition: which ones, in the kernel's own code; empty for all.

    Raises:
        OSError: the kernel says no, or does not answer within a second.
    """
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, states) + bytes(48)
    with connect(_SOCKETS) as asking:
        chosen = attribute(_CODE, condition) if condition else b""
        _send(asking, _LOOK_UP, DUMP, body + chosen)
        while True:
            data = asking.recv(READ)
            for number, _, start, end in _walk(data):
                if number in (_ERROR, _DONE):
                    _check(data[start : start + 4])
                    return
                yield data[start:end]


def can_destroy() -> None:
    """Try it on a socket that cannot be.

    Raises:
        OSError: the kernel was built without it, or we lack the right.
    """
    with suppress(FileNotFoundError):
        _socket(_DESTROY, ACK, socket.AF_INET, bytes(40) + _ANY_COOKIE)


def _socket(order: int, flags: int, family: int, identity: bytes) -> bytes:
    states = 0xFFFFFFFF
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, states) + identity
    with connect(_SOCKETS) as asking:
        _send(asking, order, flags, body)
        data = asking.recv(READ)
        for number, _, start, end in _walk(data):
            if number == _ERROR:
                _check(data[start : start + 4])
            else:
                return data[start:end]
    return b""


def _send(asking: socket.socket, number: int, flags: int, content: bytes) -> None:
    asking.settimeout(1.0)
    asking.send(_HEAD.pack(_HEAD.size + len(content), number, _REQUEST | flags, 1, 0) + content)


def messages(data: bytes, subsystem: int) -> Iterator[Message]:
    """Yield the messages of a subsystem that the kernel sent unasked."""
    for number, origin, start, end in _walk(data):
        if number >> 8 == subsystem:
            yield _message(data, number, origin, start, end)


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes within an attribute."""
    return dict(_attributes(data, 0, len(data)))


def attribute(kind: int, content: bytes, *, nested: bool = False) -> bytes:
    """Return an attribute as it goes into a request."""
    head = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), kind | (_NESTED if nested else 0))
    return head + content + bytes(-len(content) % 4)


def text(name: bytes) -> str:
    """Return a name, that may be hostile."""
    return name.rstrip(b"\0").decode("utf-8", "replace")


def _walk(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, origin, first and last place of the content of each message."""
    at = 0
    while at + _HEAD.size <= len(data):
        length, number, _, _, origin = _HEAD.unpack_from(data, at)
        end = min(at + max(length, _HEAD.size), len(data))
        yield number, origin, at + _HEAD.size, end
        at = (end + 3) & ~3


def _message(data: bytes, number: int, origin: int, start: int, end: int) -> Message:
    found = dict(_attributes(data, start + _FAMILY, end))
    return Message(number & 0xFF, origin, data[start] if start < end else 0, found)


def _attributes(data: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _check(status: bytes) -> None:
    number = -int.from_bytes(status, sys.byteorder, signed=True)
    if number > 0:
        raise OSError(number, os.strerror(number))
