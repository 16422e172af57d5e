# SPDX-License-Identifier: MIT
"""Runs a firewall's own tool: an argument tuple in, its output or a ``FirewallError`` out.

Never a shell. Every backend takes its ``Run`` as an argument, so that a test can put it into
a network namespace (``prefix``) or answer in a tool's place.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import deque
from dataclasses import dataclass
from typing import Optional, Protocol

from stockade_agent.errors import FirewallError
from stockade_agent.firewall import Command


TIMEOUT = 30.0
"""Seconds that a tool may take. A batch of 100,000 addresses takes nft about one."""

_SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
_SHOWN = 300  # characters of a tool's complaint: nft repeats a whole batch in it

_PACKAGES = {
    "nft": "install nftables: apt-get install nftables, or dnf install nftables",
    "firewall-cmd": "install firewalld: apt-get install firewalld, or dnf install firewalld",
}
_IPTABLES_PACKAGE = "install iptables: apt-get install iptables, or dnf install iptables-nft"
_CAPABILITY = "run as root, or with CAP_NET_ADMIN (iptables-legacy wants CAP_NET_RAW too)"
_MODULE = (
    "a kernel module may be missing ({modules}): dnf install kernel-modules-extra, or "
    "apt-get install linux-image-amd64 in place of a cloud kernel"
)
_MODULES = {
    "nftables": "nf_tables, nft_reject_inet",
    "iptables": "xt_comment, xt_multiport, ipt_REJECT",
    "firewalld": "nf_tables, ip_set",
}
_NO_MODULE = (
    r"couldn't load|no chain/target/match|missing kernel module|not supported|modprobe|insmod"
    r"|no such file or directory|can't initialize|line \d+ failed\s*$"
)
_REMEDIES = (
    (r"open lock file", "iptables -w -L as root makes it, as does a restart of the agent"),
    (r"not permitted|permission denied|must be root|you need to be root", _CAPABILITY),
    (r"xtables lock", "another program holds the firewall's lock; it is tried again"),
    (r"not running", "systemctl enable --now firewalld"),
    (r"not_applied", "firewalld has lost its own rules: systemctl restart firewalld"),
    (r"not_?authorized|access ?denied|accessdenied", "run as root: firewalld asks polkit"),
    (r"json support not compiled", "install an nft that was built with JSON"),
    (r"is incompatible, use 'nft' tool", "its table filter is written with nft: use nftables"),
    (_NO_MODULE, _MODULE),
)


OURS: deque[int] = deque(maxlen=1024)
"""Process ids of the tools that we gave orders to, as netlink names the origin of a change."""


class ToolError(FirewallError):
    """A tool was run and said no.

    Attributes:
        code: its exit status; None when it never ran or was killed.
        stderr: all that it complained about.
    """

    def __init__(
        self, message: str, *, backend: str, code: Optional[int], stderr: str, remedy: str
    ) -> None:
        self.code, self.stderr = code, stderr
        super().__init__(message, backend=backend, remedy=remedy)


class Run(Protocol):
    """Runs one command of a backend's tool and returns its standard output.

    Raises:
        ToolError: it is not installed, failed, or took longer than ``timeout`` seconds.
    """

    def __call__(self, argv: Command, *, stdin: str = "", timeout: float = TIMEOUT) -> str:
        """Run ``argv`` with ``stdin`` as its whole input."""


@dataclass(frozen=True)
class Runner:
    """The ``Run`` that starts processes, with messages in English.

    A tool that hangs is killed together with whatever it started.

    Attributes:
        backend: whose tools these are, for messages.
        prefix: a command to run the tool under, such as ``("nsenter", "-t", "7", "-n")``.
    """

    backend: str
    prefix: Command = ()

    def __call__(self, argv: Command, *, stdin: str = "", timeout: float = TIMEOUT) -> str:
        """Run ``argv`` with ``stdin`` as its whole input."""
        tool = argv[0]
        try:
            process = subprocess.Popen(
                (*self.prefix, *argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            reason = "is not installed" if isinstance(error, FileNotFoundError) else error.strerror
            raise ToolError(
                f"{tool} {reason}",
                backend=self.backend,
                code=None,
                stderr="",
                remedy=_package(tool) if isinstance(error, FileNotFoundError) else "",
            ) from error
        if stdin:
            OURS.append(process.pid)
        with process:
            try:
                stdout, stderr = process.communicate(stdin, timeout)
            except BaseException as error:
                _kill(process)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                raise ToolError(
                    f"{_shown(argv)} did not end within {timeout:g} s and was killed",
                    backend=self.backend,
                    code=None,
                    stderr="",
                    remedy="the machine is overloaded, or another program holds the firewall's "
                    "lock; it is tried again",
                ) from None
        if process.returncode:
            raise ToolError(
                f"{_shown(argv)} failed: {_complaint(stderr, process.returncode)}",
                backend=self.backend,
                code=process.returncode,
                stderr=stderr,
                remedy=_remedy(self.backend, stderr),
            )
        return stdout


def _environment() -> dict[str, str]:
    path = os.environ.get("PATH", "").split(os.pathsep)
    path += [folder for folder in _SYSTEM_PATH if folder not in path]
    return {**os.environ, "LC_ALL": "C", "PATH": os.pathsep.join(filter(None, path))}


def _kill(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.communicate()


def _package(tool: str) -> str:
    return _PACKAGES.get(tool, _IPTABLES_PACKAGE if "tables" in tool else f"install {tool}")


def _shown(argv: Command) -> str:
    words = " ".join(argv)
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"


def _complaint(stderr: str, code: int) -> str:
    """Return the line that says what was wrong, without positions in a batch nobody sees."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.search(r"\berror\b|failed|unknown|can't", line, re.IGNORECASE)
    ]
    line = (errors or lines or [f"exit status {code}"])[0]
    line = re.sub(r"^(/dev/stdin:[\d:-]+:\s*|Error:\s*)+", "", line)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _remedy(backend: str, stderr: str) -> str:
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, stderr, re.IGNORECASE):
            return remedy.format(modules=_MODULES.get(backend, "netfilter"))
    return ""
