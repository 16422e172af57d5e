# SPDX-License-Identifier: MIT
"""Where the tags of a shell command stand: in which quotes, and who reads them afterwards.

A reader of POSIX shell text (with what bash adds), just good enough for that question. It copies
the text and leaves a ``Place`` wherever a tag stood; ``script`` puts a reference to a variable
there. Where it should misread, a value stands in the wrong quotes: it looks odd, but it is still
only data, for a shell does not parse again what a variable holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Optional

from stockade_agent.firewall.documents import Document, opening, verbatim
from stockade_agent.firewall.words import MARK, Frame, Part, Place, Quote, Reader


class Unplaceable(Exception):
    """No variable can stand where this tag stands."""

    def __init__(self, tag: str, where: str) -> None:
        super().__init__(f"<{tag}> {where}")
        self.tag = tag


def places(marked: str, tags: Sequence[str]) -> list[Part]:
    """Return the text of a command with a ``Place`` for every ``MARK``.

    Args:
        tags: the tag of each mark, in order.

    Raises:
        Unplaceable: no variable can stand there.
    """
    lexer = _Lexer(marked, tags)
    lexer.code("")
    return lexer.parts


_PLAIN = re.compile(r"[^\\'\"`$\0#\n \t;&|<>()]+")
_IN_DOUBLE = re.compile(r"[^\\\"`$\0]+")
_IN_DOCUMENT = re.compile(r"[^\\`$\0]+")
_REDIRECT = re.compile(r">[>|&]?|<[>&]?")
_PARAMETER = re.compile(r"[#!]?[A-Za-z0-9_@*#?$!-]*")


class _Pending(NamedTuple):
    """A here-document whose lines are still to come; ``part`` is where its delimiter stands."""

    document: Document
    part: int
    frame: Frame


class _Lexer:
    def __init__(self, text: str, tags: Sequence[str], first: int = 0) -> None:
        self.text, self.tags, self.next_tag = text, tags, first
        self.at = 0
        self.parts: list[Part] = []
        self.pending: list[_Pending] = []

    # ---- small steps --------------------------------------------------------------------------

    def copy(self, length: int, frame: Optional[Frame] = None) -> None:
        """Take over so many characters; ``frame`` gets them as part of its word."""
        text = self.text[self.at : self.at + length]
        self.parts.append(text)
        self.at += length
        if frame is not None:
            frame.more(text)

    def ahead(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def tag(self) -> str:
        self.at += 1
        self.next_tag += 1
        return self.tags[self.next_tag - 1]

    def place(self, quote: Quote, frame: Optional[Frame]) -> None:
        reader = Reader.NOBODY if frame is None else frame.reader()
        place = Place(self.tag(), quote, reader)
        self.parts.append(place)
        if frame is not None:
            frame.place(place)

    def refuse(self, where: str) -> None:
        raise Unplaceable(self.tags[self.next_tag], where)

    # ---- code ---------------------------------------------------------------------------------

    def code(self, closer: str) -> list[Place]:
        """Read commands up to ``closer``, which is left; return the places in them."""
        frame: Frame = Frame()
        while self.at < len(self.text):
            char = self.ahead()
            if char == ")" and frame.word == "esac":
                self._end_word(frame)
            if char == ")" and closer and not frame.pattern:
                break
            plain = _PLAIN.match(self.text, self.at)
            if plain:
                self.copy(plain.end() - self.at, frame)
            elif char == "#" and frame.word is None:
                self._comment()
            elif char in " \t":
                self.copy(1)
                self._end_word(frame)
            elif char in "\n;&|":
                self._separator(frame, char)
            elif char in "<>":
                self._redirect(frame)
            elif char == "(":
                self._group(frame)
            elif char == ")":
                self.copy(1)
                frame.end_pattern()
            elif char == "\\":
                self._backslash(frame)
            elif char == MARK:
                self.place(Quote.NONE, frame)
            else:
                self._quoting(char, frame)
        self._end_command(frame)
        return frame.places

    def _quoting(self, char: str, frame: Frame) -> None:
        if char == "'":
            self._single(frame)
        elif char == '"':
            self._double(frame)
        elif char == "`":
            self._backticks(frame, in_double=False)
        elif char == "$":
            self._dollar(frame, Quote.NONE)
        else:
            self.copy(1, frame)

    def _end_word(self, frame: Frame) -> None:
        assigned = frame.end_word()
        if assigned is not None:
            raise Unplaceable(assigned.tag, "in the name of a variable")

    def _end_command(self, frame: Frame, *, piped: bool = False) -> None:
        self._end_word(frame)
        for place in frame.end_command(piped=piped):
            place.quote = Quote.NUMBER

    def _comment(self) -> None:
        end = self.text.find("\n", self.at)
        while self.at < (len(self.text) if end < 0 else end):
            if self.ahead() == MARK:
                self.parts.append(f"<{self.tag()}>")
            else:
                self.copy(1)

    def _separator(self, frame: Frame, char: str) -> None:
        doubled = self.ahead(2) in ("&&", "||", ";;")
        if self.ahead(2) == "&>":
            self.copy(1)
            return
        piped = char == "|" and not doubled
        if char == "\n":
            self._end_word(frame)
            # A pipe goes on in the next line.
            if frame.words or not frame.piped:
                self._end_command(frame)
        else:
            self._end_command(frame, piped=piped)
        self.copy(2 if doubled or self.ahead(2) == "|&" else 1)
        if doubled and char == ";":
            frame.next_pattern()
        if char == "\n":
            self._documents()

    def _backslash(self, frame: Frame) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        if following == MARK:
            # It takes the meaning of one character, and a value's have none.
            self.at += 1
            self.place(Quote.NONE, frame)
        elif following == "\n":
            self.copy(2)
        else:
            self.parts.append("\\")
            self.at += 1
            self.copy(1, frame)

    def _group(self, frame: Frame) -> None:
        if self.ahead(2) == "((" and frame.word is None and self._arithmetic(2):
            return
        if frame.word is not None and self.ahead(2) == "()":
            self.copy(2)
            frame.end_pattern()  # a function's body follows
            return
        self.copy(1)
        frame.inner(self.code(")"))
        self.copy(1)

    def _redirect(self, frame: Frame) -> None:
        if frame.word is not None and frame.word.isdigit():
            frame.word = None
        if self.ahead(3) == "<<<":
            self.copy(3)
        elif self.ahead(2) == "<<":
            self._here(frame)
        elif self.ahead(2) in ("<(", ">("):
            self.copy(2, frame)
            frame.inner(self.code(")"))
            self.copy(1)
        else:
            self._end_word(frame)
            operator = _REDIRECT.match(self.text, self.at)
            self.copy(len(operator.group()) if operator else 1)
            frame.redirect = True

    # ---- quotes -------------------------------------------------------------------------------

    def _single(self, frame: Optional[Frame]) -> None:
        self.copy(1)
        if frame is not None:
            frame.more("")
        while self.at < len(self.text) and self.ahead() != "'":
            if self.ahead() == MARK:
                self.place(Quote.SINGLE, frame)
                continue
            end = re.compile("['\0]").search(self.text, self.at)
            self.copy((end.start() if end else len(self.text)) - self.at, frame)
        self.copy(1)

    def _double(self, frame: Optional[Frame]) -> None:
        self.copy(1)
        if frame is not None:
            frame.more("")
        while self.at < len(self.text) and self.ahead() != '"':
            self._expanded(_IN_DOUBLE, Quote.DOUBLE, frame)
        self.copy(1)

    def _expanded(self, plain: re.Pattern[str], quote: Quote, frame: Optional[Frame]) -> None:
        """Read one piece of text in which only ``$``, backticks and backslashes are special."""
        char = self.ahead()
        run = plain.match(self.text, self.at)
        if run:
            self.copy(run.end() - self.at, frame)
        elif char == "\\":
            if self.text[self.at + 1 : self.at + 2] == MARK:
                self.at += 1
                # Before an ordinary character a backslash stays.
                self.parts.append("\\\\")
                self.place(quote, frame)
            else:
                self.copy(2, frame)
        elif char == "`":
            self._backticks(frame, in_double=quote is Quote.DOUBLE)
        elif char == "$":
            self._dollar(frame, quote)
        elif char == MARK:
            self.place(quote, frame)
        else:
            self.copy(1, frame)

    def _backticks(self, frame: Optional[Frame], *, in_double: bool) -> None:
        end = self.at + 1
        while end < len(self.text) and self.text[end] != "`":
            end += 2 if self.text[end] == "\\" else 1
        raw = self.text[self.at + 1 : end]
        if MARK not in raw:
            self.copy(end + 1 - self.at, frame)
            return
        # The shell takes one layer of backslashes away before it reads what is inside.
        meant = re.sub(r"\\([\\`$\"])" if in_double else r"\\([\\`$])", r"\1", raw)
        inner = _Lexer(meant, self.tags, self.next_tag)
        found = inner.code("")
        self.next_tag = inner.next_tag
        self.parts.append("`")
        self.parts += [
            re.sub(r"[\\`]", r"\\\g<0>", part) if isinstance(part, str) else part
            for part in inner.parts
        ]
        self.parts.append("`")
        self.at = end + 1
        if frame is not None:
            frame.inner(found)

    def _dollar(self, frame: Optional[Frame], quote: Quote) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        if following == MARK:
            self.refuse("behind $")
        elif following == "(":
            if self.ahead(3) == "$((" and self._arithmetic(3):
                return
            self.copy(2)
            found = self.code(")")
            self.copy(1)
            if frame is not None:
                frame.more("$")
                frame.inner(found)
        elif following == "{":
            self._braces(frame, quote)
        elif following == "'" and quote is Quote.NONE:
            ansi = re.compile(r"\$'(?:\\.|[^'\\])*'?", re.DOTALL).match(self.text, self.at)
            if ansi and MARK in ansi.group():
                self.refuse("within $'…'")
            self.copy(len(ansi.group()) if ansi else 1, frame)
        else:
            self.copy(1, frame)

    def _braces(self, frame: Optional[Frame], quote: Quote) -> None:
        self.copy(2, frame)
        name = _PARAMETER.match(self.text, self.at)
        self.copy(len(name.group()) if name else 0, frame)
        if self.ahead() == MARK and not (name and name.group()):
            self.refuse("within ${…} as the name")
        while self.at < len(self.text) and self.ahead() != "}":
            if self.ahead() == '"':
                self._double(frame)
            elif quote is Quote.NONE and self.ahead() == "'":
                self._single(frame)
            elif quote is Quote.NONE and self.ahead(2) == "\\" + MARK:
                self.at += 1
                self.place(quote, frame)
            else:
                self._expanded(re.compile(r"[^\\\"'`$\0}]+"), quote, frame)
        self.copy(1, frame)

    def _arithmetic(self, opener: int) -> bool:
        """Read ``$((…))`` or ``((…))``; return False, with nothing read, if it is none."""
        before = (self.at, len(self.parts), self.next_tag)
        self.copy(opener)
        depth = 0
        while self.at < len(self.text):
            char = self.ahead()
            if char == ")" and depth == 0:
                break
            depth += (char == "(") - (char == ")")
            if char in "()":
                self.copy(1)
            else:
                self._expanded(re.compile(r"[^\\`$\0()]+"), Quote.NUMBER, None)
        if self.ahead(2) == "))":
            self.copy(2)
            return True
        self.at, length, self.next_tag = before
        del self.parts[length:]
        return False

    # ---- here-documents -----------------------------------------------------------------------

    def _here(self, frame: Frame) -> None:
        self._end_word(frame)
        document = opening(self.text, self.at)
        if document is None:
            self.copy(2)
            return
        self.copy(len(document.operator))
        if MARK in document.word:
            self.refuse("as the delimiter of a here-document")
        self.pending.append(_Pending(document, len(self.parts), frame))
        self.copy(len(document.word))

    def _documents(self) -> None:
        """Read the lines of the here-documents that began in the line before."""
        pending, self.pending = self.pending, []
        for document, part, frame in pending:
            lines, end = document.lines(self.text, self.at)
            inner = _Lexer(lines, self.tags, self.next_tag)
            closing = end
            if not document.quoted:
                while inner.at < len(lines):
                    inner._expanded(_IN_DOCUMENT, Quote.DOCUMENT, None)
            elif MARK not in lines:
                inner.copy(len(lines))
            else:
                # One that takes no variables becomes one that does, and means the same.
                self.parts[part] = document.unquoted_word()
                closing = end.replace(document.delimiter, document.unquoted_word())
                inner._verbatim()
            self.next_tag = inner.next_tag
            self.parts += [*inner.parts, closing]
            self.at += len(lines) + len(end)
            for place in inner.parts:
                if isinstance(place, Place):
                    place.mailed = frame.mails
                    place.reader = Reader.CODE if frame.runs else place.reader

    def _verbatim(self) -> None:
        for text in re.split("(\0)", self.text):
            if text == MARK:
                self.place(Quote.VERBATIM, None)
            else:
                self.parts.append(verbatim(text))
                self.at += len(text)
