# SPDX-License-Identifier: MIT
"""Runs an action's command in ``/bin/sh``, as fail2ban does: status 0 is success.

Standard input is empty, the umask 077, everything else inherited. A command that takes longer than
its ``timeout`` is killed with its whole process group; what one that ended well has left in the
background is left there.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Callable, Optional


SHELL = "/bin/sh"
PATIENCE = 0.5
"""Seconds after which a command counts as slow."""

# What systemd tells the agent is not for others.
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
_GRACE = 1.0  # seconds between asking to end and killing
_KEPT = 2000  # characters of what a command prints
_STEP, _LONGEST_STEP = 0.01, 0.25


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        ok: it said that all is well.
        problem: what is wrong, with the end of what it printed; "" if all is well. Hostile text.
        code: its status, or None where it came to none: it took too long, or was not started.
    """

    ok: bool
    problem: str = ""
    code: Optional[int] = field(default=None, compare=False)


class Shell:
    """Runs commands; may be used by many threads.

    Args:
        clock: seconds that never go backwards.
        environment: what commands inherit; by default what this process has.
    """

    def __init__(
        self, clock: Callable[[], float], *, environment: Optional[Mapping[str, str]] = None
    ) -> None:
        self._clock = clock
        self._environment = {
            os.fsencode(name): os.fsencode(value)
            for name, value in (os.environ if environment is None else environment).items()
            if name not in _OWN
        }
        self._echo_escapes: Optional[bool] = None
        self._running: set[subprocess.Popen[bytes]] = set()
        self._starting, self._over = threading.Lock(), False

    @property
    def echo_escapes(self) -> bool:
        """Whether the shell's ``echo`` obeys backslashes: dash's does, bash's does not."""
        if self._echo_escapes is None:
            done = subprocess.run(
                (SHELL, "-c", r"echo '\\'"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            self._echo_escapes = done.stdout.strip() != rb"\\"
        return self._echo_escapes

    def run(
        self,
        text: str,
        variables: Mapping[str, bytes],
        timeout: float,
        slow: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Run a command to its end.

        Args:
            timeout: in seconds; then it is killed with all that it started.
            slow: called once if it takes longer than ``PATIENCE``.
        """
        environment = {**self._environment, **{os.fsencode(k): v for k, v in variables.items()}}
        with self._starting:
            if self._over:
                return Ended(ok=False, problem="not started: the agent ends")
            try:
                process = subprocess.Popen(
                    (SHELL, "-c", text),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    umask=0o077,
                    start_new_session=True,
                )
            except OSError as error:
                return Ended(ok=False, problem=f"{SHELL} cannot be started: {error.strerror}")
            self._running.add(process)
        try:
            with process.stdout as output:  # type: ignore[union-attr]
                said, in_time = self._attend(process, output, timeout, slow)
        finally:
            self._running.discard(process)
        if not in_time:
            return Ended(ok=False, problem=_told(f"killed after {timeout:g} s", said))
        code = process.returncode
        if code == 0:
            return Ended(ok=True, code=0)
        ending = f"killed by {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        return Ended(ok=False, problem=_told(ending, said), code=code)

    def kill(self) -> None:
        """Kill all that is running now, and start nothing more."""
        # What is just being started must be known, or nothing would end it.
        with self._starting:
            self._over = True
        for process in tuple(self._running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _attend(
        self,
        process: subprocess.Popen[bytes],
        output: IO[bytes],
        timeout: float,
        slow: Callable[[], None],
    ) -> tuple[bytes, bool]:
        """Read what it prints until it ends; return the end of that, and whether it was in time."""
        began = self._clock()
        printed = _Printed(output)
        step, told = _STEP, False
        while process.poll() is None:
            passed = self._clock() - began
            if passed >= timeout:
                _kill(process, printed)
                return printed.end, False
            if not told and passed >= PATIENCE:
                told = True
                slow()
            # A child in the background may hold the pipe open when the command is long over.
            wait = min(step, timeout - passed)
            step = min(step * 2, _LONGEST_STEP)
            if printed.closed:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(wait)
            else:
                printed.read(wait)
        while printed.read(0):
            pass
        return printed.end, True


class _Printed:
    """What comes out of a pipe; only the end of it is kept."""

    def __init__(self, output: IO[bytes]) -> None:
        self.end, self.closed = b"", False
        self._fileno = output.fileno()
        self._poll = select.poll()
        self._poll.register(self._fileno, select.POLLIN)

    def read(self, seconds: float) -> bool:
        """Wait so long for more; return whether there was."""
        if self.closed or not self._poll.poll(seconds * 1000):
            return False
        more = os.read(self._fileno, 65536)
        self.end = (self.end + more)[-_KEPT:]
        self.closed = not more
        return bool(more)


def _kill(process: subprocess.Popen[bytes], printed: _Printed) -> None:
    """End a whole process group: politely first, and then for certain."""
    # The leader is not waited for in between: its number, the group's, must stay its own.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        while printed.read(_GRACE):
            pass
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _told(ending: str, said: bytes) -> str:
    text = said.decode("utf-8", "replace").strip()
    return f"{ending}: {text}" if text else ending
