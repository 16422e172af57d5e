# SPDX-License-Identifier: MIT
"""Fails to log in to a VNC server, as a password guesser does, speaking RFB 3.3.

A script of its own, for a namespace: ``python rfb.py HOST PORT [--count N]``. Prints one JSON line
per attempt: ``{"attempt", "at", "outcome"}``, at in seconds since the epoch, outcome one of
auth-failed, ok, refused, timeout, rejected (the server said no before any password), closed.

Source: RFC 6143 for the messages; RFB 3.3 has the server decide on the security type.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time


_VERSION = b"RFB 003.003\n"
_INVALID, _NONE, _VNC = 0, 1, 2


def attempt(host: str, port: int, timeout: float) -> str:
    """Answer one challenge with noise, and say how that ended."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            return _log_in(connection)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
    except ConnectionError:
        return "closed"
    except OSError as error:  # no route to host: how a firewall that rejects may answer
        return f"refused: {error.strerror}"


def _log_in(connection: socket.socket) -> str:
    _read(connection, len(_VERSION))
    connection.sendall(_VERSION)
    security = int.from_bytes(_read(connection, 4))
    if security == _INVALID:
        return "rejected"
    if security == _NONE:
        return "ok"
    if security != _VNC:
        return f"unknown security type {security}"
    _read(connection, 16)
    connection.sendall(os.urandom(16))
    return "ok" if int.from_bytes(_read(connection, 4)) == 0 else "auth-failed"


def _read(connection: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        more = connection.recv(count - len(got))
        if not more:
            raise ConnectionResetError
        got += more
    return got


def main() -> None:
    """Make the attempts that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between attempts")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds for one attempt")
    words = parser.parse_args()
    for number in range(1, words.count + 1):
        outcome = attempt(words.host, words.port, words.timeout)
        line = {"attempt": number, "at": time.time(), "outcome": outcome}
        print(json.dumps(line), file=sys.stdout, flush=True)
        if number < words.count:
            time.sleep(words.pause)


if __name__ == "__main__":
    main()
