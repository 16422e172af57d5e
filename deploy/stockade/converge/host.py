# SPDX-License-Identifier: MIT
"""The host as converge sees it: its root folder and its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional


STATE = "/var/lib/stockade"
CONFIG = "/etc/stockade"
PYTHON = "/usr/lib/stockade/python3"
CONTROLLERS = CONFIG + "/controllers"
RECORD = STATE + "/manifest.json"
UNIT_FOLDERS = ("/etc/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/")
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Refusal(Exception):
    """The host cannot be served as it is; nothing has been touched."""

    def __init__(self, message: str, remedy: str = "", notes: Sequence[str] = ()) -> None:
        self.message, self.remedy, self.notes = message, remedy, tuple(notes)
        super().__init__(message)


class Done(NamedTuple):
    """How a command ended; ``rc`` is -1 when it took too long, 127 when it is not there."""

    rc: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The last lines that it printed, as one line."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return " / ".join(lines[-3:])[:500] or "it said nothing"


class Host:
    """Paths below ``root`` ("/" but in tests) and commands with a timeout, in the C locale."""

    def __init__(self, root: str = "/", python: str = "") -> None:
        self.root, self.python = root, python
        path = os.environ.get("PATH") or os.defpath
        self._environment = {
            **os.environ,
            "LC_ALL": "C",
            "PATH": path if root != "/" else f"{path}:{SBIN}",
            "SYSTEMD_PAGER": "",
            "SYSTEMD_COLORS": "0",
        }

    def at(self, path: str) -> Path:
        """Return where ``path`` of the host really lies."""
        return Path(self.root, path.lstrip("/"))

    def which(self, command: str) -> Optional[str]:
        """Return the path of a command, or None."""
        return shutil.which(command, path=self._environment["PATH"])

    def run(self, *argv: str, timeout: float = 30.0) -> Done:
        """Run a command to its end, without input."""
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=self._environment,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            return Done(127, "", f"{argv[0]}: not found")
        except OSError as error:
            return Done(126, "", f"{argv[0]}: {error.strerror}")
        except subprocess.TimeoutExpired:
            return Done(-1, "", f"{' '.join(argv[:3])}: no end after {timeout:.0f} s")
        return Done(
            done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace"),
        )
