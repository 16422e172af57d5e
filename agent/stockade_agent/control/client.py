# SPDX-License-Identifier: MIT
"""The other end of the control socket."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from stockade_agent.control.protocol import NO_JAIL, Request
from stockade_agent.errors import ControlError, NoAgentError, NoJailError


CHUNK = 1 << 16
_TIMEVAL = struct.Struct("ll")


def ask(path: str, request: Request, timeout: float = 30.0) -> Any:
    """Return the ``result`` of a request.

    Args:
        path: of the socket.
        request: what is asked.
        timeout: seconds that the agent may be silent.

    Raises:
        NoAgentError: nobody answers, or not in time.
        NoJailError: the agent runs no such jail.
        ControlError: the agent refused, or the socket may not be opened.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        # Where others crowd at the door the kernel has us wait in line; a socket with Python's own
        # timeout would be refused at once.
        wait = _TIMEVAL.pack(int(timeout), int(timeout % 1 * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
        try:
            connection.connect(path)
            connection.settimeout(timeout)
            connection.sendall(request.to_line())
            line = bytearray()
            while not line.endswith(b"\n"):
                data = connection.recv(CHUNK)
                if not data:
                    raise NoAgentError(f"{path}: the agent closed the connection")
                line += data
        except PermissionError as error:
            remedy = "ask as root; reading is open to the group that socketgroup names"
            raise ControlError(f"{path}: {error.strerror}", remedy=remedy) from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoAgentError(
                f"{path}: no agent answers", remedy="systemctl start stockade-agent"
            ) from error
        except BlockingIOError as error:
            raise NoAgentError(f"{path}: no answer in time") from error
        except OSError as error:
            raise NoAgentError(f"{path}: {error.strerror or 'no answer in time'}") from error
    try:
        reply = json.loads(line)
        if reply["ok"]:
            return reply["result"]
        refusal, code = str(reply["error"]), reply.get("code")
    except (ValueError, TypeError, KeyError) as error:
        raise NoAgentError(f"{path}: this is no answer of an agent") from error
    raise NoJailError(refusal) if code == NO_JAIL else ControlError(refusal)
