# SPDX-License-Identifier: MIT
"""Pauses in a file of their own beside the ledger, so that no damage to that one ends a pause.

    file = PauseFile(f"{dbfile}.paused", log)
    pauses = file.read()
    file.write(pauses)          # as often as they change

The file is there while anything is paused, and that alone says it: one that cannot be read stands
for a pause of all jails that only ``resume`` ends.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from stockade_agent.log import Log
from stockade_agent.model import Ban
from stockade_agent.pauses import EVERY, Pause, finite, noted, recalled


MOST = 1 << 20
"""Characters that such a file may have."""


class PauseFile:
    """The file.

    Args:
        path: where it is, or "" for none.
        log: is told of trouble.

    Attributes:
        problem: why it does not say what it should, or "".
    """

    def __init__(self, path: str, log: Log) -> None:
        self._path, self._log = path, log
        self._pauses: Mapping[str, Pause] = {}
        # Jail -> when its bans were last lifted by a panic, also by one that is over by now.
        self._lifted: dict[str, float] = {}
        self._damage = self.problem = self._text = ""

    def read(self) -> dict[str, Pause]:
        """Return the pauses that it has, by jail."""
        found: dict[str, Pause] = {}
        if not self._path:
            return found
        try:
            with open(self._path, encoding="utf-8") as file:
                text = file.read(MOST)
            kept = _opened(text)
            found, lifted = recalled(kept), kept["lifted"].items()
            self._lifted, self._text = {jail: finite(at) for jail, at in lifted}, text
        except FileNotFoundError:
            return found
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            at = self._written_at()
            found, self._lifted = {EVERY: Pause(None, at)}, {EVERY: at}
            self._damage = f"{self._path} cannot be read: {error}"
            self._log.problem("pauses", self.fault)
        self._pauses = found
        return dict(found)

    def write(self, pauses: Mapping[str, Pause]) -> None:
        """Have it say what is paused now; where it says so already, nothing is done."""
        self._pauses = dict(pauses)
        text = _sealed({**noted(pauses), "lifted": self._lifted}) if pauses else ""
        if not self._path or (text == self._text and not self.problem and not self._damage):
            return
        try:
            if text:
                self._store(text)
            else:
                self._remove()
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror or error}"
        else:
            self._text, self._damage, self.problem = text, "", ""
        self._log.problem("pauses", self.fault)

    def heal(self) -> None:
        """Try again what failed."""
        if self.problem:
            self.write(self._pauses)

    def lift(self, jails: Iterable[str], now: float) -> None:
        """Note that these jails' bans are lifted now; ``write`` keeps it."""
        self._lifted.update(dict.fromkeys(jails, now))

    def lifted(self, ban: Ban) -> bool:
        """Return whether a panic has lifted a ban, whatever a ledger says."""
        return any(ban.at < self._lifted.get(jail, ban.at) for jail in (EVERY, ban.jail))

    @property
    def fault(self) -> str:
        """What an operator must know of the file, or ""."""
        if self.problem and not self._pauses:
            return f"{self.problem}; a restart would pause bans again"
        if self.problem:
            there = os.path.lexists(self._path)
            return (
                f"{self.problem}; a restart would {'pause all jails' if there else 'resume bans'}"
            )
        return f"{self._damage}; taken for a pause of all jails" if self._damage else ""

    def _store(self, text: str) -> None:
        directory, new = os.path.dirname(self._path) or ".", f"{self._path}.new"
        os.makedirs(directory, mode=0o700, exist_ok=True)
        try:
            number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(number, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(number)
            os.replace(new, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(new)
            # A full disk may still have room for a name, and that it is there is the message.
            with suppress(OSError):
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            raise
        _sync(directory)

    def _remove(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path)
            _sync(os.path.dirname(self._path) or ".")

    def _written_at(self) -> float:
        """Return when somebody paused, as far as the file system can tell."""
        try:
            return os.stat(self._path).st_mtime
        except OSError:
            return 0.0


def _sealed(kept: Mapping[str, Any]) -> str:
    """Return a text which no damage makes one that says something else."""
    text = json.dumps(kept)
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _opened(text: str) -> Any:
    """Return what was sealed, or raise ``ValueError`` if the text is damaged."""
    kept = json.loads(text.partition(" ")[2] or "null")
    if not kept or text != _sealed(kept):
        raise ValueError("it is damaged")
    return kept


def _sync(directory: str) -> None:
    """See that a name that came or went outlives a power cut."""
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
