# SPDX-License-Identifier: MIT
"""Here-documents of a shell: where they begin and end."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional


_OPENING = re.compile(r"(<<(-?)[ \t]*)((?:\\.|'[^']*'|\"[^\"]*\"|[^\s;&|<>()'\"\\])+)", re.DOTALL)
_PLAIN = re.compile(r"[\w.+-]+")


class Document(NamedTuple):
    """A here-document, as its operator tells of it.

    Attributes:
        operator: ``<<`` or ``<<-``, and the blanks behind it.
        word: the delimiter as it is written.
        delimiter: the same without its quotes.
    """

    operator: str
    word: str
    delimiter: str

    @property
    def quoted(self) -> bool:
        """Whether the lines are taken as they are."""
        return self.word != self.delimiter

    def unquoted_word(self) -> str:
        """Return a delimiter that needs no quotes."""
        return self.delimiter if _PLAIN.fullmatch(self.delimiter) else "f2b_end"

    def lines(self, text: str, at: int) -> tuple[str, str]:
        """Return what stands in it, and the line that ends it; its lines begin at ``at``."""
        start = at
        while start < len(text):
            newline = text.find("\n", start)
            stop = len(text) if newline < 0 else newline
            line = text[start:stop]
            if (line.lstrip("\t") if "-" in self.operator else line) == self.delimiter:
                return text[at:start], line
            start = stop + 1
        return text[at:], ""


def opening(text: str, at: int) -> Optional[Document]:
    """Return the here-document whose operator stands there, if one does."""
    found = _OPENING.match(text, at)
    if found is None:
        return None
    word = found.group(3)
    return Document(found.group(1), word, re.sub(r"\\(.)|['\"]", r"\1", word, flags=re.DOTALL))


def verbatim(text: str) -> str:
    """Return what has to be written for ``text`` where variables are replaced."""
    return re.sub(r"[\\`$]", r"\\\g<0>", text)
