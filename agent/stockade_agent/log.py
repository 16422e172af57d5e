# SPDX-License-Identifier: MIT
"""The agent's own log lines, in fail2ban's words where it has words for them.

    <6>[sshd] Found 192.0.2.7
    <5>[sshd] Ban 192.0.2.7

The number is the priority, as journald reads it from a service's standard error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from stockade_agent.plain import plain


TOGETHER = 256
"""Lines that are kept back at most, where many are written together."""

LEVELS = {
    "CRITICAL": 2,
    "ERROR": 3,
    "WARNING": 4,
    "NOTICE": 5,
    "INFO": 6,
    "DEBUG": 7,
    "TRACEDEBUG": 7,
    "HEAVYDEBUG": 7,
}
_NUMBERS = {"DEBUG": 10, "INFO": 20, "NOTICE": 25, "WARNING": 30, "ERROR": 40}


class Log:
    """Writes lines; what is said twice in a row about one thing is written once.

    Args:
        stream: where to.
        level: the least important that is written, a fail2ban ``loglevel``.
        prefixed: whether priorities are written; a person at a terminal needs none.
    """

    def __init__(self, stream: TextIO, level: str = "INFO", *, prefixed: bool = True) -> None:
        self._stream, self._prefixed = stream, prefixed
        self.level(level)
        self._standing: dict[str, str] = {}
        self._kept: list[str] = []
        self._keeps = False

    def level(self, level: str) -> None:
        """Write what is at least as important as this: a name, or a number of Python's logging."""
        name = _name(int(level)) if level.isdigit() else level
        self._threshold = LEVELS.get(name, LEVELS["INFO"])

    def error(self, text: str) -> None:
        """Something that an operator must see to."""
        self._write("ERROR", text)

    def warning(self, text: str) -> None:
        """Something that an operator should know."""
        self._write("WARNING", text)

    def notice(self, text: str) -> None:
        """Bans and their like."""
        self._write("NOTICE", text)

    def info(self, text: str) -> None:
        """Failures and the course of things."""
        self._write("INFO", text)

    def problem(self, subject: str, text: str, level: str = "ERROR") -> None:
        """Say what is wrong with something when it begins, changes, or ends (text "")."""
        if self._standing.get(subject, "") == text:
            return
        if text:
            self._standing[subject] = text
            self._write(level, f"{subject}: {text}")
        else:
            del self._standing[subject]
            self.notice(f"{subject}: well again")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what is said inside in as few pieces as can be; a flood of lines costs less."""
        self._keeps = True
        try:
            yield
        finally:
            self._keeps = False
            self._flush()

    def _write(self, level: str, text: str) -> None:
        priority = LEVELS[level]
        if priority > self._threshold:
            return
        prefix = f"<{priority}>" if self._prefixed else ""
        self._kept.append(f"{prefix}{plain(text)}\n")
        if not self._keeps or len(self._kept) >= TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if not self._kept:
            return
        text = "".join(self._kept)
        self._kept.clear()
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # Whoever read our log is gone; banning goes on without him.
            return


def _name(number: int) -> str:
    """Return the least important level that a number lets through."""
    return next((name for name, least in _NUMBERS.items() if least >= number), "CRITICAL")
