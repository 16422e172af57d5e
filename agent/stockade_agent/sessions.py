# SPDX-License-Identifier: MIT
"""Failures that take several lines: what lines with the same ``<F-MLFID>`` say together.

A line may bring the user, another the address; a third may say that nothing was wrong
(``<F-NOFAIL>``), that access was gained (``<F-MLFGAINED>``) or that the session is over
(``<F-MLFFORGET>``). Whether a line counts is decided by the line and by what is still open
in its session, as fail2ban does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import KeysView
from typing import NamedTuple, Optional

from stockade_agent.failregex import Groups


MAX_SESSIONS = 100
MAX_AGE = 300
"""Seconds after its first line when a session is forgotten."""

_DIGITS = b"0123456789"

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
        self._marks: dict[Optional[bytes], int] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def marks(self) -> Optional[KeysView[bytes]]:
        """Words of which each line of an open session has one; None: any line may be of one."""
        return None if None in self._marks else self._marks.keys()  # type: ignore[return-value]

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
        session = self._find(key, now) if key in self._open else None
        if session is None:
            if forget and harmless:
                # It is over before it began: nothing of it is kept.
                self._last = None
                return Merged(groups, None, (), harmless)
            session = _Session(mark(key), groups, now + MAX_AGE)
            if not forget:
                session.meet(groups.get("user"))
                self._keep(key, session, now)
        else:
            session.meet(groups.get("user"))
            session.take(groups, gained=gained)
            if forget:
                self._drop(key)
        self._last = session
        users = session.users
        if session.pending or (users is not None and len(users) > 1):
            # Failures still open, or several users tried: what came last does not excuse it.
            session.pending = harmless = False
            session.drop_excuses()
        if not harmless:
            session.matches = (*session.held, *session.matches, *lines)[-MAX_LINES:]
            session.held = ()
        elif not forget:
            session.held = (*session.held, *lines)[-MAX_LINES:]
        return Merged(dict(session.groups), users, session.matches, harmless)

    def pend(self) -> None:
        """Say that the line just merged is a failure of someone not yet known."""
        if self._last is not None:
            self._last.pending = True

    def _find(self, key: str, now: float) -> Optional[_Session]:
        session = self._open.get(key)
        if session is not None and session.ends <= now:
            self._drop(key)
            return None
        return session

    def _keep(self, key: str, session: _Session, now: float) -> None:
        if len(self._open) >= MAX_SESSIONS:
            while self._open:
                oldest = self._drop(next(iter(self._open)))
                if oldest.ends > now and len(self._open) < MAX_SESSIONS:
                    break
        self._open[key] = session
        self._marks[session.mark] = self._marks.get(session.mark, 0) + 1

    def _drop(self, key: str) -> _Session:
        session = self._open.pop(key)
        self._marks[session.mark] -= 1
        if not self._marks[session.mark]:
            del self._marks[session.mark]
        return session


def mark(key: str) -> Optional[bytes]:
    """Return a word that stands, with blanks around it, in each line that has a session's key.

    None where there is none that shows in the undecoded line for sure.
    """
    if not key.isascii():
        return None
    # The first and the last word may go on outside the key.
    words = f"|{key}|".encode().split()[1:-1]
    sure = [word for word in words if word[:1].isalnum()]
    # A number tells sessions apart, a host's name does not.
    return max(sure, key=lambda word: sum(map(_DIGITS.__contains__, word)), default=None)


class _Session:
    """One session: what its lines have said so far."""

    __slots__ = ("ends", "groups", "held", "mark", "matches", "pending", "users")

    def __init__(self, mark_: Optional[bytes], groups: Groups, ends: float) -> None:
        self.mark = mark_
        self.groups, self.ends, self.pending = groups, ends, False
        self.users: Optional[frozenset[str]] = None
        self.matches: tuple[str, ...] = ()
        self.held: tuple[str, ...] = ()

    def meet(self, user: object) -> None:
        """Remember a user that was tried."""
        if user and (self.users is None or user not in self.users):
            self.users = frozenset((*(self.users or ()), str(user)))

    def take(self, groups: Groups, *, gained: bool) -> None:
        """Merge a further line: what it says replaces what was said before."""
        excused = self.drop_excuses()
        if gained:
            self.pending = False
        if not excused and not self.pending:
            self.matches = ()  # they went out with the last failure
        mine = self.groups
        for name, value in groups.items():
            if value is not None:
                mine[name] = value

    def drop_excuses(self) -> bool:
        """Forget that the last line was harmless, and return whether it was."""
        nofail, gained = self.groups.pop("nofail", None), self.groups.pop("mlfgained", None)
        return bool(nofail or gained)
