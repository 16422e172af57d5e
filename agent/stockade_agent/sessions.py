# SPDX-License-Identifier: MIT
"""Failures that take several lines: what lines with the same ``<F-MLFID>`` say together.

A line may bring the user, another the address; a third may say that nothing was wrong
(``<F-NOFAIL>``), that access was gained (``<F-MLFGAINED>``) or that the session is over
(``<F-MLFFORGET>``). Whether a line counts is decided by the line and by what is still open
in its session, as fail2ban does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, KeysView
from typing import NamedTuple, Optional, Union

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


class Said(NamedTuple):
    """What each line of some shape says to its session; places are of the line.

    Attributes:
        key: where the session's key stands.
        groups: the line's groups as ``merge`` keeps them; None also where a value differs from
            line to line.
        told: those of them that are the same in all such lines.
        varying: (name, begin, end) of those that differ.
        user: where the user stands, or the same user, or None.
        gained: access was gained.
        harmless: by itself, the line is no failure.
        forget: it ends the session.
        address: where an address stands; ``family``: 1 if it is IPv4, 2 if it is IPv6, else 0.
    """

    key: tuple[int, int]
    groups: Groups
    told: Groups
    varying: tuple[tuple[str, int, int], ...]
    user: Union[tuple[int, int], str, None]
    gained: bool
    harmless: bool
    forget: bool
    address: tuple[int, int]
    family: int


class Sessions:
    """The open sessions of one jail, at most ``MAX_SESSIONS``, the oldest given up first."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._last: Optional[Session] = None
        self._marks: dict[Optional[bytes], int] = {}
        self._unmarked: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def marks(self) -> Optional[KeysView[bytes]]:
        """Words of which each line of an open session has one; None: any line may be of one."""
        for key, session in self._unmarked.items():
            session.mark = mark(key)
            self._marks[session.mark] = self._marks.get(session.mark, 0) + 1
        self._unmarked.clear()
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
            family = _family(groups)
            session = Session(groups, now + MAX_AGE, excused=harmless, family=family)
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

    def follow(self, said: Said, text: str, now: float) -> Optional[Session]:
        """Add a line as ``merge`` does; return its session if it is a failure, else None.

        Speed outranks style here: each line of an attack comes by. What a line says is only noted.
        """
        (begin, end), groups, told, varying, user, gained, harmless, forget, _, family = said
        key = text[begin:end]
        session = self._open.get(key)
        if session is not None and session.ends <= now:
            self._drop(key)
            session = None
        if session is None:
            if forget and harmless:
                self._last = None
                return None
            session = Session(groups, now + MAX_AGE, excused=harmless, family=family)
            session.later.append((None, varying, text))
            if not forget:
                self._keep(key, session, now)
        else:
            if session.excused:
                if gained:
                    session.pending = False
            elif gained:
                session.pending, session.matches = False, ()
            elif not session.pending:
                session.matches = ()
            session.excused = harmless
            session.family |= family
            session.later.append((told, varying, text))
            if forget:
                self._drop(key)
        self._last = session
        users = session.users
        if user is not None:
            name = user if isinstance(user, str) else text[user[0] : user[1]]
            if users is None:
                session.users = users = frozenset((name,))
            elif name not in users:
                session.users = users = users | {name}
        if session.pending or (users is not None and len(users) > 1):
            session.pending = harmless = False
            if session.excused:
                session.excused = False
                session.later.append(_EXCUSES_DROPPED)
        if len(session.later) >= _MOST_LATER:
            session.whole()
        if not harmless:
            matches = (*session.held, *session.matches, text)
            session.matches = matches if len(matches) <= MAX_LINES else matches[-MAX_LINES:]
            session.held = ()
            return session
        if not forget:
            held = (*session.held, text)
            session.held = held if len(held) <= MAX_LINES else held[-MAX_LINES:]
        return None

    def pend(self) -> None:
        """Say that the line just merged is a failure of someone not yet known."""
        if self._last is not None:
            self._last.pending = True

    def _find(self, key: str, now: float) -> Optional[Session]:
        session = self._open.get(key)
        if session is not None and session.ends <= now:
            self._drop(key)
            return None
        return session

    def _keep(self, key: str, session: Session, now: float) -> None:
        if len(self._open) >= MAX_SESSIONS:
            while self._open:
                oldest = self._drop(next(iter(self._open)))
                if oldest.ends > now and len(self._open) < MAX_SESSIONS:
                    break
        self._open[key] = self._unmarked[key] = session

    def _drop(self, key: str) -> Session:
        session = self._open.pop(key)
        if self._unmarked.pop(key, None) is not None:
            return session
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


class Session:
    """One session: what its lines have said so far.

    Attributes:
        groups: what the first lines said, ``later`` the others; ``whole`` has all. Not changed
            once somebody may have seen it.
        excused: the last line was harmless by itself.
        family: as in ``Said``, of all lines together.
    """

    __slots__ = (
        "ends",
        "excused",
        "family",
        "groups",
        "held",
        "later",
        "mark",
        "matches",
        "pending",
        "users",
    )

    def __init__(self, groups: Groups, ends: float, *, excused: bool, family: int) -> None:
        self.mark: Optional[bytes] = None
        self.groups, self.ends, self.pending = groups, ends, False
        self.excused, self.family = excused, family
        self.later: list[Later] = []
        self.users: Optional[frozenset[str]] = None
        self.matches: tuple[str, ...] = ()
        self.held: tuple[str, ...] = ()

    def meet(self, user: object) -> None:
        """Remember a user that was tried."""
        if user and (self.users is None or user not in self.users):
            self.users = frozenset((*(self.users or ()), str(user)))

    def whole(self) -> Groups:
        """Return all that was said, not to be changed."""
        if self.later:
            self.groups = whole(self.groups, self.later)
            self.later = []
        return self.groups

    def take(self, groups: Groups, *, gained: bool) -> None:
        """Merge a further line: what it says replaces what was said before."""
        excused, self.excused = self.excused, bool(groups.get("nofail"))
        self.family |= _family(groups)
        if gained:
            self.pending = False
        if not excused and not self.pending:
            self.matches = ()  # they went out with the last failure
        self.groups = mine = _without_excuses(self.whole())
        for name, value in groups.items():
            if value is not None:
                mine[name] = value

    def drop_excuses(self) -> None:
        """Forget that the last line was harmless."""
        self.groups, self.excused = _without_excuses(self.whole()), False


Later = tuple[Optional[Groups], tuple[tuple[str, int, int], ...], str]
"""What one more line says: ``Said.told`` (None: of the first line), ``Said.varying``, the line."""

_EXCUSES_DROPPED: Later = ({}, (), "")
_MOST_LATER = 16


def whole(groups: Groups, later: Iterable[Later]) -> Groups:
    """Return what several lines say: each replaces what was said before."""
    groups = groups.copy()
    for told, varying, text in later:
        if told is not None:
            groups.pop("nofail", None)
            groups.pop("mlfgained", None)
            groups.update(told)
        for name, begin, end in varying:
            groups[name] = text[begin:end]
    return groups


def _without_excuses(groups: Groups) -> Groups:
    groups = groups.copy()
    groups.pop("nofail", None)
    groups.pop("mlfgained", None)
    return groups


def _family(groups: Groups) -> int:
    return (groups.get("ip4") is not None) + 2 * (groups.get("ip6") is not None)
