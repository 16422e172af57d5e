# SPDX-License-Identifier: MIT
"""What a command costs: CPU seconds of it and of all that it started and waited for."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple


TIED = ("setpriv", "--pdeathsig", "KILL")
"""Before a command that must not outlive us, even if we are killed; it is replaced by it."""


class Failed(Exception):
    """A contender did not do its work, or verdicts differ: the figures would mean nothing."""


class Cost(NamedTuple):
    """One run.

    Attributes:
        cpu: user and system time, seconds, children included.
        wall: seconds.
        rss: the greatest resident size, MiB.
        output: the end of what it wrote to stdout.
    """

    cpu: float
    wall: float
    rss: float
    output: str


def run(command: Sequence[str], stdin: Path | None = None, env: Mapping[str, str] = {}) -> Cost:
    """Run a command to its end.

    Raises:
        Failed: it ended with another exit code than 0.
    """
    source = stdin.open("rb") if stdin else subprocess.DEVNULL
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as trouble:
        began = time.monotonic()
        child = subprocess.Popen(
            command, stdin=source, stdout=output, stderr=trouble, env={**os.environ, **env}
        )
        cost = waited(child, began)
        if child.returncode:
            raise Failed(f"{command[0]} ended with {child.returncode}: {_end(trouble)[-300:]}")
        return cost._replace(output=_end(output))


def waited(child: subprocess.Popen[bytes], began: float) -> Cost:
    """Wait for a child and return its cost; sets its return code."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(cpu, time.monotonic() - began, usage.ru_maxrss / 1024, "")


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far, of children that ended included."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> float:
    """Return the resident size of a process, MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def median(times: int, measure: Callable[[], Cost]) -> Cost:
    """Return the run whose CPU time is the median of several."""
    return sorted(measure() for _ in range(times))[times // 2]


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return median and 95th percentile."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


def until(ask: Callable[[], Any], seconds: float, what: str) -> Any:
    """Ask until the answer is true, and return it.

    Raises:
        Failed: the time is over.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise Failed(f"{what}: not within {seconds:g} s")


def _end(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 10000))
    return file.read().decode(errors="replace")
