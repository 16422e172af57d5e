# SPDX-License-Identifier: MIT
"""Failures that take several lines: what lines with the same ``<F-MLFID>`` say together.

A line may bring the user, another the address; a third may say that nothing was wrong
(``<F-NOFAIL>``), that access was gained (``<F-MLFGAINED>``) or that the session is over
(``<F-MLFFORGET>``). Whether a line counts is decided by the line and by what is still open
in its session, as fail2ban does.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, Optional

from stockade_agent.failregex import Groups


MAX_SESSIONS = 100
MAX_AGE = 300
"""Seconds after its first line when a session is forgotten."""

MAX_LINES = 100
"""Lines kept of one session; whoever talks on does not fill memory."""


class Merged(NamedTuple):
    """What a line means in its session.

    Attributes:
        groups: values of this and earlier lines.
        users: every user that the session has tried, or None before the first.
        matches: the lines that a failure would bring with it.
        harmless: the line is no failure.
    """

    groups: Groups
    users: Optional[frozenset[str]]
    matches: tuple[str, ...]
    harmless: bool


class Sessions:
    """The open sessions of one jail, at most ``MAX_SESSIONS``, the oldest given up first."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Session] = OrderedDict()
        self._last: Optional[_Session] = None

    def merge(self, key: str, groups: Groups, lines: tuple[str, ...], now: float) -> Merged:
        """Add a matched line to its session and return what it means there.

        Args:
            key: what ``<F-MLFID>`` captured.
            groups: the line's own; changed and kept.
            lines: its text, for ``matches``.
            now: when sessions grow old.
        """
        gained = bool(groups.get("mlfgained"))
        harmless = gained or bool(groups.get("nofail"))
        if gained and not groups.get("nofail"):
            groups["nofail"] = groups["mlfgained"]
        forget = bool(groups.pop("mlfforget", None))
        session = self._find(key, now)
        if session is None:
            session = _Session(groups, now + MAX_AGE)
            if not forget:
                session.meet(groups.get("user"))
                self._keep(key, session, now)
        else:
            session.meet(groups.get("user"))
            session.take(groups, gained=gained)
            if forget:
                self._open.pop(key, None)
        self._last = session
        if session.pending or len(session.users or ()) > 1:
            # Failures still open, or several users tried: what came last does not excuse it.
            session.pending = harmless = False
            session.drop_excuses()
        if not harmless:
            session.matches = (*session.held, *session.matches, *lines)[-MAX_LINES:]
            session.held = ()
        elif not forget:
            session.held = (*session.held, *lines)[-MAX_LINES:]
        users = None if session.users is None else frozenset(session.users)
        return Merged(dict(session.groups), users, session.matches, harmless)

    def pend(self) -> None:
        """Say that the line just merged is a failure of someone not yet known."""
        if self._last is not None:
            self._last.pending = True

    def _find(self, key: str, now: float) -> Optional[_Session]:
        session = self._open.get(key)
        if session is not None and session.ends <= now:
            del self._open[key]
            return None
        return session

    def _keep(self, key: str, session: _Session, now: float) -> None:
        if len(self._open) >= MAX_SESSIONS:
            while self._open:
                _, oldest = self._open.popitem(last=False)
                if oldest.ends > now and len(self._open) < MAX_SESSIONS:
                    break
        self._open[key] = session


class _Session:
    """One session: what its lines have said so far."""

    __slots__ = ("ends", "groups", "held", "matches", "pending", "users")

    def __init__(self, groups: Groups, ends: float) -> None:
        self.groups, self.ends, self.pending = groups, ends, False
        self.users: Optional[set[str]] = None
        self.matches: tuple[str, ...] = ()
        self.held: tuple[str, ...] = ()

    def meet(self, user: object) -> None:
        """Remember a user that was tried."""
        if user:
            if self.users is None:
                self.users = set()
            self.users.add(str(user))

    def take(self, groups: Groups, *, gained: bool) -> None:
        """Merge a further line: what it says replaces what was said before."""
        excused = self.drop_excuses()
        if gained:
            self.pending = False
        if not excused and not self.pending:
            self.matches = ()  # they went out with the last failure
        self.groups.update((name, value) for name, value in groups.items() if value is not None)

    def drop_excuses(self) -> bool:
        """Forget that the last line was harmless, and return whether it was."""
        nofail, gained = self.groups.pop("nofail", None), self.groups.pop("mlfgained", None)
        return bool(nofail or gained)
