# SPDX-License-Identifier: MIT
"""A running host, and what can be done inside it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import command as commands
from lab.command import Result
from lab.progress import step


if TYPE_CHECKING:
    from lab.client import Lab


_INSIDE = (
    "/usr/bin/env",
    "-i",
    "HOME=/root",
    "USER=root",
    "LOGNAME=root",
    "LANG=C.UTF-8",
    "TERM=xterm",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)


class Host:
    """A running host of the lab."""

    ssh_port = 22

    def __init__(self, lab: Lab, facts: Mapping[str, Any]) -> None:
        self._lab = lab
        self.name: str = facts["name"]
        self.kind: str = facts["kind"]
        self.address: str = facts["address"]
        self.address6: str = facts["address6"]
        self.host_keys: list[str] = facts["host_keys"]
        self.leader: int = facts["leader"]

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    @property
    def root(self) -> Path:
        """The host's root directory, as this process can reach it while the host runs.

        Absolute symbolic links in it lead astray: ``read`` and ``write`` go through the host.
        """
        return Path(f"/proc/{self.leader}/root")

    def prefix(self) -> list[str]:
        """Words that put a command inside the host, as root, past its ssh and its firewall."""
        enter = ["nsenter", "--target", str(self.leader), "--all"]
        return [*enter, "--", *_INSIDE]

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        input: str | None = None,  # noqa: A002, the word that subprocess uses
    ) -> Result:
        """Run a command inside; a string goes to ``sh -c``.

        After ``timeout`` seconds it is killed, and its rc is 124.

        Raises:
            CommandError: it ended with a status other than 0, unless ``check`` is off.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        # Killed inside: to kill nsenter would leave the command running.
        guarded = [*self.prefix(), "timeout", "--kill-after=2", str(timeout), *argv]
        return commands.run(guarded, argv, check=check, timeout=timeout + 30, text=input)

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command inside; ``options`` are Popen's."""
        return subprocess.Popen([*self.prefix(), *command], **{"text": True, **options})

    def read(self, path: str) -> str:
        """The text of a file on the host."""
        return self.run(["cat", path]).stdout

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file on the host, with the folders that it needs."""
        script = 'mkdir -p "$(dirname "$0")" && cat > "$0" && chmod "$1" "$0"'
        self.run(["sh", "-c", script, path, f"{mode:o}"], input=text)

    def stop(self, *, graceful: bool = False) -> None:
        """End the host and forget its files."""
        self._lab.request("stop", name=self.name, graceful=graceful)
        self._lab.hosts.pop(self.name, None)

    def reboot(self, *, graceful: bool = True) -> None:
        """Boot again: files stay, the kernel's rules and /run do not.

        Where ``graceful`` is off, as by pulling the plug.
        """
        with step(f"{self.name}: reboot"):
            self._lab.adopt(self._lab.request("reboot", name=self.name, graceful=graceful))
