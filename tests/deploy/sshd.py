# SPDX-License-Identifier: MIT
"""A real sshd on loopback."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from stockade.model import Host


class Sshd:
    """A real sshd on loopback, as the user who runs the tests."""

    def __init__(self, folder):
        self.folder = folder
        self.port = _free_port()
        for name in ("host", "other", "user", "stranger"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(keygen, check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        self.settings = {}
        self._process = None

    def start(self, environment=None, **settings):
        """Start, or start again with other settings."""
        self.stop()
        lines = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "authorized",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "yes",
            "PermitUserEnvironment": "no",
            **settings,
        }
        if environment:
            lines["SetEnv"] = " ".join(f'"{key}={value}"' for key, value in environment.items())
        config = self.folder / "config"
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self):
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
            self._process = None

    def known_line(self, key="host"):
        kind, blob, *_ = (self.folder / f"{key}.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {blob}\n"

    def host(self, **changes):
        values = {
            "name": "web1",
            "address": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "key_file": str(self.folder / "user"),
            "connect_timeout": 20.0,
            **changes,
        }
        return Host(**values)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
