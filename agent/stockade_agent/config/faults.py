# SPDX-License-Identifier: MIT
"""What is wrong with a configuration, while it is still being read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Optional

from stockade_agent.errors import ConfigError


class Fault(Exception):
    """Something wrong at a place in a file; not yet known which jails it concerns.

    Attributes:
        path: file at fault.
        line: its line, counted from 1, or None when the whole file is at fault.
        needle: the text at fault on that line, which gives the column; or "".
        section: the section it stands in, or None.
        remedy: what to do about it, or "".
        harmless: it takes no option away, so that by itself it keeps no jail from running.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str,
        line: Optional[int] = None,
        needle: str = "",
        section: Optional[str] = None,
        remedy: str = "",
        harmless: bool = False,
    ) -> None:
        super().__init__(message)
        self.message, self.path, self.line = message, path, line
        self.needle, self.section, self.remedy = needle, section, remedy
        self.harmless = harmless

    def at(self, path: str, line: int) -> Fault:
        """Return the same fault at another place."""
        return Fault(
            self.message,
            path=path,
            line=line,
            needle=self.needle,
            section=self.section,
            remedy=self.remedy,
            harmless=self.harmless,
        )

    def error(self, jail: Optional[str] = None) -> ConfigError:
        """Return it as the error that an operator sees, blamed on ``jail``."""
        if jail is None and self.harmless:
            jail = ""
        return ConfigError(
            self.message,
            path=self.path,
            line=self.line,
            column=self._column(),
            jail=jail,
            remedy=self.remedy,
        )

    def _column(self) -> Optional[int]:
        if self.line is None or not self.needle:
            return None
        # Columns matter to a person who repairs the file, so it is read again only for him.
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                for number, text in enumerate(file, start=1):
                    if number == self.line:
                        word = re.search(rf"(?<!\w){re.escape(self.needle)}(?!\w)", text)
                        at = text.find(self.needle) if word is None else word.start()
                        return at + 1 or None
        except OSError:
            pass
        return None


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return ``did you mean X?`` for the known name most like ``word``, or ""."""
    import difflib  # noqa: PLC0415  # only a faulty configuration pays for it

    names = sorted(set(known) - {word})
    by_lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return f"did you mean {by_lower[close[0]]}?" if close else ""
