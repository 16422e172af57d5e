# SPDX-License-Identifier: MIT
"""The agent's end of the control socket: many clients, none of which can keep it waiting.

Root and the agent's own user are answered first, whenever they ask. All others share what
``allowance`` leaves them: one of their connections is seen to at a time, then the loop goes on.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Callable, Optional

from stockade_agent.control.access import Peer, listener_lives, open_to, peer_of
from stockade_agent.control.allowance import REQUEST, Allowances
from stockade_agent.control.protocol import MAX_LINE, MAX_QUESTION, NO_JAIL, Request
from stockade_agent.control.rows import pieces
from stockade_agent.errors import ControlError, NoJailError, StockadeError


MAX_CLIENTS = 32
"""Of root. When one more comes, the client that has been silent for longest is dropped."""
MAX_OTHERS, MAX_OF_USER = 24, 4
"""Connections of all others together, and of one user; a new one takes the place of an old one of
the user, or of who has most."""
MAX_ANSWERS = 4
"""Long answers to others than root that may be on their way at a time; one for each user."""
PATIENCE, LONGEST = 15.0, 120.0
"""Seconds that others than root have for a whole request, and for taking the answer."""
AGAIN = 0.05
"""Seconds until somebody is looked at again who waits for a place."""
BACKLOG = 128
"""Connections that may wait to be accepted."""
MAX_TURN = 8
"""Requests, or pieces of an answer, of one client before another gets its turn."""
CHUNK = 1 << 16
NEVER = math.inf

Answer = Callable[[Request, Peer], Any]
"""Returns the ``result`` of a request as JSON's own types or ``Rows``, or raises
``StockadeError``."""


class Server:
    """Listens on a unix socket; one descriptor stands for all of its clients.

    Args:
        path: of the socket; what a dead agent left there is replaced.
        clock: seconds that never go backwards.

    Raises:
        ControlError: another agent answers there, or the socket cannot be made.
    """

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self.path, self._clock = path, clock
        self._group: Optional[int] = None
        self._ready = selectors.EpollSelector()
        self._clients: dict[int, _Client] = {}
        self._allowances = Allowances(clock())
        self._shut_until: Optional[float] = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _clear(path)
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            mask = os.umask(0o177)
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

    def admit(self, group: str) -> None:
        """Let the members of a group ask, too; "" for nobody but root and the agent's user.

        Raises:
            ControlError: it cannot be; nobody else may ask then.
        """
        self._group = None
        self._group = open_to(self.path, group)

    def fileno(self) -> int:
        """Return the descriptor to select on; readable means: call ``serve``."""
        return self._ready.fileno()

    def due(self) -> Optional[float]:
        """Return the seconds until ``serve`` must be called though nothing has come, or None."""
        times = [min(client.end, client.resume) for client in self._others()]
        if self._shut_until is not None:
            times.append(self._shut_until)
        return max(0.0, min(times) - self._clock()) if times else None

    def serve(self, answer: Answer) -> None:
        """Take what clients have sent, answer it, and send what they can take; never block."""

        def guarded(request: Request, peer: Peer) -> Any:
            if not peer.rules and self._group not in peer.groups:
                raise ControlError("only root may ask, and who is in the group socketgroup")
            return answer(request, peer)

        self._look_again(self._clock())
        others: dict[int, int] = {}
        somebody_comes = False
        for key, mask in self._ready.select(0):
            if key.fileobj is self._listener:
                somebody_comes = True
                continue
            client = self._clients.get(key.fd)
            if client is None:
                continue
            if client.peer.rules:
                self._turn(client, mask, guarded, MAX_TURN)
            else:
                others[key.fd] = mask
        # The one of them that was heard longest ago; the rest is as ready the next time.
        for client in self._others():
            mask = others.get(client.socket.fileno(), 0)
            if mask:
                self._turn_of_other(client, mask, guarded)
                break
        # Last: a new one may get the descriptor of one that is dropped to make room, and what was
        # seen on the old one is not about it.
        if somebody_comes:
            self._accept()

    def close(self) -> None:
        """Drop all clients and remove the socket, unless another agent's stands there now."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._ready.close()
        self._listener.close()
        with suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)

    # ---- who comes and goes

    def _others(self) -> list[_Client]:
        return [client for client in self._clients.values() if not client.peer.rules]

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            now = self._clock()
            wait = self._allowances.wait_at_door(now)
            if wait:
                # Root waits with them, for a tenth of a second or so.
                self._shut_until = now + wait
                self._ready.unregister(self._listener)
                return
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setblocking(False)  # noqa: FBT003 - socket's own signature
            client = _Client(connection, peer_of(connection))
            self._make_room(client.peer)
            if not client.peer.rules:
                client.end = now + PATIENCE
                self._allowances.came(now)
            self._clients[connection.fileno()] = client
            self._ready.register(connection, client.wants())

    def _make_room(self, peer: Peer) -> None:
        if peer.rules:
            alike = [client for client in self._clients.values() if client.peer.rules]
            if len(alike) >= MAX_CLIENTS:
                self._drop(alike[0])
            return
        others = self._others()
        uids = [client.peer.uid for client in others]
        uid = peer.uid
        if uids.count(uid) < MAX_OF_USER:
            if len(others) < MAX_OTHERS:
                return
            uid = max(uids, key=uids.count)
        self._drop(others[uids.index(uid)])

    def _drop(self, client: _Client) -> None:
        del self._clients[client.socket.fileno()]
        if not client.paused:
            self._ready.unregister(client.socket)
        client.socket.close()

    def _look_again(self, now: float) -> None:
        """See to who has waited long enough, and to who has taken too long."""
        if self._shut_until is not None and self._shut_until <= now:
            self._shut_until = None
            self._ready.register(self._listener, selectors.EVENT_READ)
        for client in self._others():
            if client.end <= now:
                self._drop(client)
            elif client.resume <= now:
                client.resume = NEVER
                self._ready.register(client.socket, client.wants())

    # ---- who is there

    def _turn(self, client: _Client, mask: int, answer: Answer, steps: int) -> bool:
        """Return whether the connection goes on."""
        try:
            alive = client.turn(mask, answer, steps)
        except OSError:
            alive = False
        if alive:
            self._ready.modify(client.socket, client.wants())
            # Last in the dict is who was heard last.
            self._clients[client.socket.fileno()] = self._clients.pop(client.socket.fileno())
        else:
            self._drop(client)
        return alive

    def _turn_of_other(self, client: _Client, mask: int, answer: Answer) -> None:
        begun, taking, answered = self._clock(), client.is_taking, client.answered
        wait = self._wait(client, begun)
        if wait:
            client.resume = begun + wait
            self._ready.unregister(client.socket)
            return
        alive = self._turn(client, mask, answer, steps=1)
        now, requests = self._clock(), client.answered - answered
        self._allowances.spend(client.peer.uid, max(now - begun, REQUEST * requests), now)
        if alive and client.is_taking and requests:
            client.end = now + LONGEST
        elif alive and not client.is_taking and (taking or requests):
            client.end = now + PATIENCE

    def _wait(self, client: _Client, now: float) -> float:
        """Return the seconds that somebody else than root has to wait for his turn."""
        wait = self._allowances.wait(client.peer.uid, now)
        if wait or client.is_taking:
            return wait
        taking = [other.peer.uid for other in self._others() if other.is_taking]
        return AGAIN if client.peer.uid in taking or len(taking) >= MAX_ANSWERS else 0.0


class _Client:
    """One connection: what it has sent so far, and what it has not taken yet.

    Attributes:
        answered: requests so far.
        end: when it is dropped; only who is not root must be quick.
        resume: when it is listened to again, ``NEVER`` while it is.
    """

    def __init__(self, connection: socket.socket, peer: Peer) -> None:
        self.socket, self.peer = connection, peer
        self.answered, self.end, self.resume = 0, NEVER, NEVER
        self._most = MAX_LINE if peer.rules else MAX_QUESTION
        self._received, self._unsent = bytearray(), b""
        self._pieces: Iterator[bytes] = iter(())
        self._last = self._closing = False

    @property
    def paused(self) -> bool:
        """Whether it is not listened to."""
        return self.resume != NEVER

    @property
    def is_taking(self) -> bool:
        """Whether there is more of an answer to be taken."""
        return bool(self._unsent)

    def wants(self) -> int:
        """Return what to wait for. While an answer is not taken, nothing more is read."""
        if self._unsent or b"\n" in self._received:
            return selectors.EVENT_WRITE
        return selectors.EVENT_READ

    def turn(self, mask: int, answer: Answer, steps: int) -> bool:
        """Return whether the connection goes on.

        Args:
            mask: what it is ready for.
            answer: to a request.
            steps: requests, or pieces of an answer, that are seen to at most.
        """
        if mask & selectors.EVENT_READ:
            data = self.socket.recv(min(CHUNK, self._most))
            self._received += data
            self._last = self._last or not data
        for _ in range(steps):
            if not self._unsent:
                line, newline, rest = self._received.partition(b"\n")
                if newline and len(line) <= self._most:
                    self._received = rest
                    self._reply(self._answered(bytes(line), answer))
                elif len(line) > self._most:
                    self._closing = True
                    self._reply(_refusal(f"a request has at most {self._most} bytes"))
                else:
                    return not self._last
            if not self._send():
                return True
            if self._closing:
                return False
        return True

    def _send(self) -> bool:
        """Return whether the other side took a whole piece."""
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            # The piece before this one has filled what the kernel keeps for the other side.
            return False
        if self._unsent:
            return False
        self._unsent = next(self._pieces, b"")
        return True

    def _reply(self, reply: dict[str, Any]) -> None:
        self._pieces = pieces(reply)
        self._unsent = next(self._pieces)

    def _answered(self, line: bytes, answer: Answer) -> dict[str, Any]:
        self.answered += 1
        request = _request(line)
        if request is None:
            return _refusal("a request is a JSON object with command, jail, ids, option and words")
        try:
            return {"ok": True, "result": answer(request, self.peer)}
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
    texts = [data.get("command"), *(data.get(name, "") for name in ("jail", "option", "by"))]
    lists = [data.get("ids", []), data.get("words", [])]
    if not all(isinstance(one, list) for one in lists):
        return None
    if not all(isinstance(text, str) for text in (*texts, *lists[0], *lists[1])):
        return None
    command, jail, option, by = texts
    return Request(command, jail, tuple(lists[0]), option, tuple(lists[1]), by)


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
        else:
            if not listener_lives(probe):
                os.unlink(path)
                return
    raise ControlError(f"{path}: another agent answers there", remedy="stop it first")
