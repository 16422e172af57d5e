# SPDX-License-Identifier: MIT
"""What the words of a shell command say about who reads the others.

``printf %b`` and ``echo`` obey backslashes, ``sh -c`` and its like run what they are given, and a
mail program may obey ``~!`` at the beginning of a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Optional, Union


class Reader(Enum):
    """What a command does to one of its words, beyond taking it as it is."""

    NOBODY = "takes it as it is"
    ESCAPES = "obeys backslashes"
    ECHO = "obeys backslashes in some shells"
    FORMAT = "obeys backslashes and percent signs"
    CODE = "runs it"


class Quote(Enum):
    """What surrounds a place."""

    NONE = "none"
    DOUBLE = "double"
    SINGLE = "single"
    DOCUMENT = "here-document"
    VERBATIM = "here-document with a quoted delimiter"
    NUMBER = "arithmetic"


class Place:
    """Where a tag stands in a command.

    Attributes:
        reader: what the command does to the word it stands in.
        mailed: what is printed here goes to a mail program.
    """

    def __init__(self, tag: str, quote: Quote, reader: Reader) -> None:
        self.tag, self.quote, self.reader = tag, quote, reader
        self.mailed = False


Part = Union[str, Place]

MARK = "\0"
"""Stands in the text of a command for a tag."""

_MAILERS = frozenset(("mail", "mailx", "Mail", "bsd-mailx", "s-nail", "nail", "heirloom-mailx"))
# The option behind which each has its program; None: all words are.
_SHELLS = frozenset(("sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "su", "runuser"))
_INTERPRETERS = {
    **dict.fromkeys(_SHELLS, re.compile(r"-[a-z]*c")),
    **dict.fromkeys(("python", "python2", "python3"), re.compile(r"-[A-Za-z]*c")),
    **dict.fromkeys(("perl", "ruby"), re.compile(r"-[a-zA-Z0-9]*[eE]")),
    "php": re.compile(r"-r"),
}
# Database clients have commands of their own that start a shell.
_DATABASES = frozenset(("mysql", "mariadb", "psql", "sqlite3"))
_WHOLLY_CODE = frozenset(("eval", "ssh", "let", "trap", "nft", *_DATABASES))
_READ_CODE = frozenset(
    ("at", "batch", "nft", "nsupdate", "ipset", "iptables-restore", "ip6tables-restore", "pfctl")
) | frozenset(("ipf", "bc", "ed", "ex", *_DATABASES))
# Their program is the first word that is no option, or follows this one.
_PROGRAMS = {
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), re.compile(r"-[FvfE]")),
    "sed": re.compile(r"-[fl]"),
}
_OPENERS = frozenset(("if", "while", "until", "for", "select", "case", "{"))
_CLOSERS = frozenset(("fi", "done", "esac", "}"))
_BETWEEN = frozenset(("then", "else", "elif", "do", "!", "time", "command", "builtin", "exec"))
_NAMED = frozenset(("for", "select", "case"))
_ASSIGNMENT = re.compile(r"[A-Za-z_\0][A-Za-z0-9_\0]*(?:\[[^\]]*\])?\+?=")
_CONVERSION = re.compile(r"%(?:%|[-+ #0-9.*]*([A-Za-z]))")
_COMPARISONS = frozenset(("-eq", "-ne", "-lt", "-le", "-gt", "-ge"))


def _name(word: str) -> str:
    return word.rpartition("/")[2]


class Frame:
    """The commands of one nesting level, one after the other.

    Attributes:
        words: the finished words of the present command, without their quotes.
        word: the one that is being read, or None.
        piped: the present command reads from a pipe.
        pattern: a pattern of ``case`` is being read.
        redirect: the present word is where a redirection leads.
        places: all places so far.
        mails: the last command was a mail program.
        runs: the last command takes what it reads for a program.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.word: Optional[str] = None
        self.piped = self.pattern = self.redirect = False
        self.mails = self.runs = False
        self.places: list[Place] = []
        self._own: list[tuple[int, Place]] = []
        self._pipeline = 0
        self._command = 0
        self._saved: list[int] = []

    def more(self, text: str) -> None:
        """Add to the present word."""
        self.word = (self.word or "") + text

    def place(self, place: Place) -> None:
        """Add a place to the present word."""
        self.places.append(place)
        self._own.append((len(self.words), place))
        self.more(MARK)

    def inner(self, places: Sequence[Place]) -> None:
        """Add what stood in a command within the present one."""
        self.places += places
        self.more("")

    def reader(self) -> Reader:
        """Return who reads the present word."""
        if not self.words or self.redirect:
            return Reader.NOBODY
        if _runs(self.words):
            return Reader.CODE
        first, arguments = _name(self.words[0]), self.words[1:]
        if first == "echo":
            options = [word for word in arguments if re.fullmatch(r"-[neE]+", word)]
            return Reader.ESCAPES if any("e" in word for word in options) else Reader.ECHO
        if first != "printf":
            return Reader.NOBODY
        if arguments[:1] == ["--"]:
            arguments = arguments[1:]
        if arguments[:1] == ["-v"]:
            arguments = arguments[2:]
        if not arguments:
            return Reader.FORMAT
        found = [kind for kind in _CONVERSION.findall(arguments[0]) if kind]
        at = len(arguments) - 1
        return Reader.ESCAPES if found and found[at % len(found)] == "b" else Reader.NOBODY

    def end_word(self) -> Optional[Place]:
        """End the present word; return the place in the name of what it assigns to, if any."""
        word, self.word = self.word, None
        if word is None:
            return None
        if self.redirect:
            self.redirect = False
            return None
        if self.words:
            if self.words[0] == "case" and word == "in":
                self.pattern, self.words = True, []
            else:
                self.words.append(word)
            return None
        assignment = _ASSIGNMENT.match(word)
        if assignment is not None:
            return self._own[0][1] if MARK in assignment.group() and self._own else None
        if word in _OPENERS:
            self._saved.append(self._pipeline)
            self.words = [word] if word in _NAMED else []
        elif word in _CLOSERS:
            self._pipeline = self._saved.pop() if self._saved else self._pipeline
            self.pattern = False
        elif word not in _BETWEEN:
            self.words = [word]
        return None

    def end_command(self, *, piped: bool) -> list[Place]:
        """End the present command; return its places that are compared as numbers.

        Args:
            piped: the next one reads what this one prints.
        """
        words, own = self.words, self._own
        self.mails = bool(words) and _name(words[0]) in _MAILERS
        self.runs = _runs_input(words)
        if self.piped:
            for place in self.places[self._pipeline : self._command]:
                place.mailed = place.mailed or self.mails
                place.reader = Reader.CODE if self.runs else place.reader
        compared = []
        if words[:1] == ["[["]:
            compared = [
                place
                for at, place in own
                if _COMPARISONS.intersection((words[at - 1], *words[at + 1 : at + 2]))
            ]
        self.words, self._own, self.piped, self.redirect = [], [], piped, False
        self._command = len(self.places)
        if not piped:
            self._pipeline = len(self.places)
        return compared

    def end_pattern(self) -> None:
        """End a pattern of ``case``: commands follow."""
        self.pattern, self.word, self.words, self._own = False, None, [], []

    def next_pattern(self) -> None:
        """A pattern of ``case`` may follow."""
        self.pattern = True


def _runs(words: Sequence[str]) -> bool:
    """Return whether the word behind these is a program's text."""
    for at in reversed(range(len(words))):
        name, behind = _name(words[at]), words[at + 1 :]
        if name in _WHOLLY_CODE:
            return True
        option = _INTERPRETERS.get(name)
        if option is not None:
            return bool(behind) and option.fullmatch(behind[-1]) is not None
        option = _PROGRAMS.get(name)
        if option is not None:
            return _is_program(behind, option)
    return False


def _runs_input(words: Sequence[str]) -> bool:
    """Return whether a command takes its input for a program: ``sh``, ``python3 -``, ``at``."""
    for at, word in enumerate(words):
        name, behind = _name(word), words[at + 1 :]
        if name in _READ_CODE:
            return True
        option = _INTERPRETERS.get(name)
        if option is not None:
            return all(w.startswith("-") and not option.fullmatch(w) for w in behind)
    return False


def _is_program(behind: Sequence[str], takes_value: re.Pattern[str]) -> bool:
    value = False
    for word in behind:
        if value:
            value = False
        elif takes_value.fullmatch(word):
            value = True
        elif not word.startswith("-"):
            return False
        elif word == "-e":
            return behind[-1] == "-e"
    return not value
