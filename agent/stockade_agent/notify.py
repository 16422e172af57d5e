# SPDX-License-Identifier: MIT
"""What systemd is told: ready, status, still alive, stopping."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Optional


class Notify:
    """Talks to the service manager that started us; to nobody where there is none.

    Args:
        environment: ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` are read from it.
        pid: ours, to see whether the watchdog is meant for us.
    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # An abstract socket is written with an at sign.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        wanted = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.interval: Optional[float] = None
        """Seconds between two signs of life, or None when nobody waits for them."""
        if self._address and wanted and microseconds.isdigit() and int(microseconds):
            self.interval = int(microseconds) / 1e6 / 2

    def ready(self, status: str) -> None:
        """Say that the agent works."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self, monotonic: float) -> None:
        """Say that the configuration is being read; ``ready`` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic * 1e6)}")

    def status(self, status: str) -> None:
        """Say in one line how things are."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the agent is about to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # The manager may restart at any time; it is no reason for us to fail.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(1.0)
            manager.sendto(message.encode(), self._address)
