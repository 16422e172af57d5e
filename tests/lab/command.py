# SPDX-License-Identifier: MIT
"""Commands run to their end, and how they ended."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from lab.errors import CommandError


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    shown: Sequence[str],
    *,
    check: bool,
    timeout: float,
    text: str | None,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run ``argv``, called ``shown`` in what is said of it; rc is 124 after ``timeout`` seconds.

    Raises:
        CommandError: it ended with a status other than 0, and ``check`` is on.
    """
    try:
        done = subprocess.run(
            argv,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=env,
            check=False,
        )
        result = Result(tuple(shown), done.returncode, done.stdout, done.stderr)
    except subprocess.TimeoutExpired as late:
        result = Result(tuple(shown), 124, _text(late.stdout), _text(late.stderr))
    if check and result.rc != 0:
        raise CommandError([shlex.quote(word) for word in shown], result.rc, _both(result))
    return result


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _both(result: Result) -> str:
    return f"{result.stdout}\n{result.stderr}"
