# SPDX-License-Identifier: MIT
"""What the agent says of itself, in fail2ban's words where it has words for them.

    [sshd] Found 192.0.2.7
    [sshd] Ban 192.0.2.7

Entries are kept as they are until they are written, some hundred at a time where many come; only
the outlet makes text of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Optional, TextIO

from stockade_agent.model import Ban
from stockade_agent.outlets import Entry, Outlet
from stockade_agent.outlets.stream import Stream


TOGETHER = 256
"""Entries that are kept back at most, where many are written together."""

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
_ERROR, _WARNING, _NOTICE, _INFO = 3, 4, 5, 6


class Log:
    """Writes entries; what is said twice in a row about one thing is written once.

    Args:
        stream: where to, until ``to`` names an outlet; and again while that one fails.
        level: the least important that is written, a fail2ban ``loglevel``.
        prefixed: whether priorities are written; a person at a terminal needs none.

    Attributes:
        trouble: what is wrong with the outlet, or "".
    """

    def __init__(self, stream: TextIO, level: str = "INFO", *, prefixed: bool = True) -> None:
        self._last_resort = Stream(stream, prefixed=prefixed)
        self._outlet: Outlet = self._last_resort
        self.level(level)
        self.trouble = ""
        self._standing: dict[str, str] = {}
        self._kept: list[Entry] = []
        self._keeps, self._lost = False, 0

    @property
    def target(self) -> str:
        """Where entries go, as ``logtarget`` names it."""
        return self._outlet.name

    def to(self, outlet: Outlet) -> None:
        """Write to another outlet; the former one is closed."""
        self._flush()
        self._outlet.close()
        self._outlet, self.trouble = outlet, ""

    def level(self, level: str) -> None:
        """Write what is at least as important as this: a name, or a number of Python's logging."""
        name = _name(int(level)) if level.isdigit() else level
        self._threshold = LEVELS.get(name, LEVELS["INFO"])

    # ---- in general

    def error(self, text: str) -> None:
        """Something that an operator must see to."""
        self._say(_ERROR, text)

    def warning(self, text: str) -> None:
        """Something that an operator should know."""
        self._say(_WARNING, text)

    def notice(self, text: str) -> None:
        """Bans and their like."""
        self._say(_NOTICE, text)

    def info(self, text: str) -> None:
        """Failures and the course of things."""
        self._say(_INFO, text)

    def problem(self, subject: str, text: str, level: str = "ERROR") -> None:
        """Say what is wrong with something when it begins, changes, or ends (text "")."""
        if self._standing.get(subject, "") == text:
            return
        more = {"subject": subject}
        if text:
            self._standing[subject] = text
            self._say(LEVELS[level], f"{subject}: {text}", "problem", more=more)
        else:
            del self._standing[subject]
            self._say(_NOTICE, f"{subject}: well again", "well", more=more)

    # ---- what has fields of its own

    def found(self, jail: str, id_: str) -> None:
        """Say that a failure counts."""
        if self._threshold >= _INFO:
            self._kept.append((_INFO, f"[{jail}] Found {id_}", "found", jail, id_, None))
            if not self._keeps or len(self._kept) >= TOGETHER:
                self._flush()

    def ignored(self, jail: str, id_: str, why: str) -> None:
        """Say that a failure does not count."""
        text = f"[{jail}] Ignore {id_} by {why}"
        self._say(_INFO, text, "ignore", jail, id_, {"by": why})

    def ban(self, ban: Ban) -> None:
        """Say that somebody is banned, or that he was and stays so for longer."""
        what = f"{ban.id} already banned" if ban.prolonged else f"Ban {ban.id}"
        event = "again" if ban.prolonged else "ban"
        more = {"bantime": ban.bantime, "failures": ban.failures, "count": ban.count}
        self._say(_NOTICE, f"[{ban.jail}] {what}", event, ban.jail, ban.id, more)

    def unban(self, ban: Ban) -> None:
        """Say that a ban has ended."""
        self._say(_NOTICE, f"[{ban.jail}] Unban {ban.id}", "unban", ban.jail, ban.id)

    def healed(self, by: str, missing: str) -> None:
        """Say that what somebody took out of the kernel was put back."""
        text = f"firewall: put back after {by or 'somebody'}: {missing}"
        self._say(_WARNING, text, "healed", more={"by": by} if by else None)

    # ---- writing

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what is said inside in as few pieces as can be; a flood of lines costs less."""
        self._keeps = True
        try:
            yield
        finally:
            self._keeps = False
            self._flush()

    def _say(
        self,
        priority: int,
        text: str,
        event: str = "",
        jail: str = "",
        id_: str = "",
        more: Optional[Mapping[str, object]] = None,
    ) -> None:
        if priority > self._threshold:
            return
        self._kept.append((priority, text, event, jail, id_, more))
        if not self._keeps or len(self._kept) >= TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if not self._kept:
            return
        entries, self._kept = self._kept, []
        try:
            if self._lost:
                text = f"{self._lost} lines were lost while {self._outlet.name} took nothing"
                self._outlet.write([(_WARNING, text, "", "", "", None)])
                self._lost = 0
            while entries:
                entries = entries[self._outlet.write(entries) :]
            self.trouble = ""
        except TimeoutError as error:
            # Standard error ends where this one does, and would make us wait.
            self._lost += len(entries)
            self.trouble = f"log: {self._outlet.name}: {error.strerror}; {self._lost} lines lost"
        except OSError as error:
            reason = error.strerror or error
            self.trouble = f"log: {self._outlet.name}: {reason}; lines go to standard error"
            if self._outlet is not self._last_resort:
                # Whoever reads neither is gone; banning goes on without him.
                with suppress(OSError):
                    self._last_resort.write(entries)


def _name(number: int) -> str:
    """Return the least important level that a number lets through."""
    return next((name for name, least in _NUMBERS.items() if least >= number), "CRITICAL")
