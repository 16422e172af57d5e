# SPDX-License-Identifier: MIT
"""The agent's end of the control socket: many clients, none of which can keep it waiting."""

from __future__ import annotations

import json
import os
import selectors
import socket
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Callable, Optional

from stockade_agent.control.protocol import MAX_LINE, NO_JAIL, Request
from stockade_agent.errors import ControlError, NoJailError, StockadeError


MAX_CLIENTS = 32
"""When one more comes, the client that has been silent for longest is dropped."""
BACKLOG = 128
"""Connections that may wait to be accepted."""
MAX_TURN = 8
"""Requests of one client that are answered before another client gets its turn."""
CHUNK = 1 << 16

_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Peer:
    """Who asks, as the kernel says."""

    pid: int
    uid: int
    gid: int


Answer = Callable[[Request, Peer], Any]
"""Returns the ``result`` of a request as JSON's own types, or raises ``StockadeError``."""


class Server:
    """Listens on a unix socket; one descriptor stands for all of its clients.

    Args:
        path: of the socket; what a dead agent left there is replaced.
        mode: its permissions.

    Raises:
        ControlError: another agent answers there, or the socket cannot be made.
    """

    def __init__(self, path: str, mode: int = 0o600) -> None:
        self.path = path
        self._ready = selectors.EpollSelector()
        self._clients: dict[int, _Client] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _clear(path)
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            mask = os.umask(0o777 & ~mode)
            try:
                self._listener.bind(path)
            finally:
                os.umask(mask)
            self._listener.listen(BACKLOG)
        except (OSError, ControlError) as error:
            self._listener.close()
            self._ready.close()
            if isinstance(error, ControlError):
                raise
            raise ControlError(f"{path}: {error.strerror or error}") from error
        self._inode = os.stat(path).st_ino
        self._ready.register(self._listener, selectors.EVENT_READ)

    def fileno(self) -> int:
        """Return the descriptor to select on; readable means: call ``serve``."""
        return self._ready.fileno()

    def serve(self, answer: Answer) -> None:
        """Take what clients have sent, answer it, and send what they can take; never block."""
        for key, mask in self._ready.select(0):
            if key.fileobj is self._listener:
                self._accept()
                continue
            client = self._clients.get(key.fd)
            if client is None:
                continue
            try:
                alive = client.turn(mask, answer)
            except OSError:
                alive = False
            if alive:
                self._ready.modify(client.socket, client.wants())
                # Last in the dict is who was heard last.
                self._clients[key.fd] = self._clients.pop(key.fd)
            else:
                self._drop(client)

    def close(self) -> None:
        """Drop all clients and remove the socket, unless another agent's stands there now."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._ready.close()
        self._listener.close()
        with suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if len(self._clients) >= MAX_CLIENTS:
                self._drop(next(iter(self._clients.values())))
            connection.setblocking(False)  # noqa: FBT003 - socket's own signature
            client = _Client(connection)
            self._clients[connection.fileno()] = client
            self._ready.register(connection, client.wants())

    def _drop(self, client: _Client) -> None:
        del self._clients[client.socket.fileno()]
        self._ready.unregister(client.socket)
        client.socket.close()


class _Client:
    """One connection: what it has sent so far, and what it has not taken yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._received, self._sending = bytearray(), b""
        self._last = self._closing = False
        size = _CREDENTIALS.size
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        self._peer = Peer(*_CREDENTIALS.unpack(raw))

    def wants(self) -> int:
        """Return what to wait for. While an answer is not taken, nothing more is read."""
        if self._sending or b"\n" in self._received:
            return selectors.EVENT_WRITE
        return selectors.EVENT_READ

    def turn(self, mask: int, answer: Answer) -> bool:
        """Return whether the connection goes on."""
        if mask & selectors.EVENT_READ:
            data = self.socket.recv(CHUNK)
            self._received += data
            self._last = self._last or not data
        for _ in range(MAX_TURN):
            if self._sending:
                self._sending = self._sending[self.socket.send(self._sending) :]
                if self._sending:
                    return True
            if self._closing:
                return False
            line, newline, rest = self._received.partition(b"\n")
            if not newline:
                if len(self._received) > MAX_LINE:
                    self._reply(_refusal(f"a request has at most {MAX_LINE} bytes"), last=True)
                    continue
                return not self._last
            self._received = rest
            self._reply(self._answered(bytes(line), answer))
        return True

    def _reply(self, reply: dict[str, Any], *, last: bool = False) -> None:
        self._sending = json.dumps(reply).encode() + b"\n"
        self._closing = last

    def _answered(self, line: bytes, answer: Answer) -> dict[str, Any]:
        request = _request(line)
        if request is None:
            return _refusal("a request is a JSON object with command, jail, ids, option and words")
        try:
            return {"ok": True, "result": answer(request, self._peer)}
        except NoJailError as error:
            return {**_refusal(str(error)), "code": NO_JAIL}
        except StockadeError as error:
            return _refusal(str(error))


def _refusal(why: str) -> dict[str, Any]:
    return {"ok": False, "error": why}


def _request(line: bytes) -> Optional[Request]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    texts = [data.get("command"), data.get("jail", ""), data.get("option", "")]
    lists = [data.get("ids", []), data.get("words", [])]
    if not all(isinstance(one, list) for one in lists):
        return None
    if not all(isinstance(text, str) for text in (*texts, *lists[0], *lists[1])):
        return None
    command, jail, option = texts
    return Request(command, jail, tuple(lists[0]), option, tuple(lists[1]))


def _clear(path: str) -> None:
    """Remove a socket that nobody listens on."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ControlError(f"{path}: is no socket", remedy="remove it, or set `socket`")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            # Its backlog is full: somebody is there.
            pass
    raise ControlError(f"{path}: another agent answers there", remedy="stop it first")
