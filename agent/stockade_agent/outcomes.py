# SPDX-License-Identifier: MIT
"""What became of the orders that one jail's actions were given."""

from __future__ import annotations

from collections.abc import Iterable

from stockade_agent.control.protocol import ActionStatus
from stockade_agent.firewall.runs import Result
from stockade_agent.log import Log


_UNBAN, _OTHER, _FULL = "\0unban", "\0order", "\0full"
_LOST = "too many orders wait, bans are not told of"


class Outcomes:
    """Which bans are not in force yet, what fails, and what the log was told of it."""

    def __init__(self, jail: str, log: Log) -> None:
        self._jail, self._log = jail, log
        # Action -> ids whose ban was ordered and is not in force yet.
        self._open: dict[str, set[str]] = {}
        # Action -> what failed -> how; an id, or an order without one.
        self._failing: dict[str, dict[str, str]] = {}
        # Action -> the failure that the log has, an order and its problem.
        self._told: dict[str, tuple[str, str]] = {}

    def ordered(self, action: str, ids: Iterable[str]) -> None:
        """Take note that bans were ordered."""
        self._open.setdefault(action, set()).update(ids)

    def lifted(self, id: str) -> None:  # noqa: A002
        """Take note that a ban is over."""
        for ids in self._open.values():
            ids.discard(id)

    def flushed(self) -> None:
        """Take note that all bans are over."""
        self._open.clear()

    def full(self, action: str) -> None:
        """Take note that an action was not told of a ban, as too much waits for it."""
        self._failing.setdefault(action, {})[_FULL] = _LOST
        self._log.problem(self._subject(action), _LOST)

    def gone(self, action: str) -> None:
        """Forget an action."""
        self._open.pop(action, None)
        self._failing.pop(action, None)
        self._told.pop(action, None)

    def is_open(self, action: str, id: str) -> bool:  # noqa: A002
        """Return whether a ban was ordered and is not in force yet."""
        return id in self._open.get(action, ())

    def status(self, action: str, queued: int) -> ActionStatus:
        """Return how an action is, for which so many orders wait."""
        failing = self._failing.get(action, {})
        state = "failed" if failing else "busy" if queued else "ready"
        bans = sum(1 for key in failing if key not in (_UNBAN, _OTHER, _FULL))
        problem = next(reversed(failing.values()), "")
        return ActionStatus(name=action, state=state, queued=queued, failed=bans, problem=problem)

    def note(self, result: Result, queued: int) -> bool:
        """Take a result in, and tell the log; return whether a ban is in force by it."""
        name, order = result.action, result.order
        failing = self._failing.setdefault(name, {})
        if order in ("ban", "reban", "digest"):
            key = result.id
        else:
            key = _UNBAN if order in ("unban", "flush") else _OTHER
        if order in ("unban", "flush"):
            for id_ in [result.id] if order == "unban" else [*failing]:
                failing.pop(id_, None)
        failing.pop(key, None)
        if _FULL in failing and not queued:
            del failing[_FULL]
            self._log.problem(self._subject(name), "")
        if not result.ok:
            failing[key] = said(result)
        elif result.problem:
            self._log.warning(f"{self._subject(name)}: {said(result)}; repaired")
        enforced = result.ok and order in ("ban", "reban")
        if enforced:
            self._open.get(name, set()).discard(result.id)
        # Said once: a mail program that is not there fails with every ban.
        if not result.ok and self._told.get(name) != (order, result.problem):
            self._told[name] = (order, result.problem)
            self._log.error(f"{self._subject(name)}: {said(result)}")
        if not failing:
            del self._failing[name]
            if self._told.pop(name, None):
                self._log.notice(f"{self._subject(name)}: well again")
        return enforced

    def _subject(self, action: str) -> str:
        return f"[{self._jail}] action {action}"


def said(result: Result) -> str:
    """Return what became of an order, in one line; hostile text."""
    id_ = f" {result.id}" if result.id else ""
    again = "" if result.again is None else f"; again in {result.again:g} s"
    return f"{result.order}{id_}: {result.problem or 'failed'}{again}"
