# SPDX-License-Identifier: MIT
"""One INI file as fail2ban reads it, with the line of every value.

The dialect: ``=`` or ``:`` after an option; names of options in lower case, of sections as
written; ``#`` and ``;`` begin a comment line at any indentation, also within a value; `` ;``
begins a comment behind a value, ``#`` does not; deeper indented lines continue a value; an
option or section may stand only once in a file.
"""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple, Optional

from stockade_agent.config.faults import Fault
from stockade_agent.specs import Origin


DEFAULT = "DEFAULT"
INCLUDES = "INCLUDES"

_HEADER = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"(.*?)\s*[=:]\s*(.*)$")
_INLINE_COMMENT = re.compile(r"\s;")
_UNDECODABLE = re.compile("[\udc80-\udcff]")


class Value(NamedTuple):
    """The text of an option and where it was written.

    Attributes:
        text: lines joined by newlines, each without its indentation.
        path: file.
        line: line of the option's name, counted from 1.
        lines: line of each line of the text; empty where the text is not from a file as it is.
    """

    text: str
    path: str
    line: int
    lines: tuple[int, ...] = ()

    @property
    def origin(self) -> Origin:
        """Where the option stands."""
        return Origin(self.path, self.line)

    def line_at(self, offset: int) -> int:
        """Return the file's line that holds the character at ``offset`` of the text."""
        number = self.text.count("\n", 0, offset)
        return self.lines[number] if number < len(self.lines) else self.line


class IniFile:
    """A parsed file.

    Attributes:
        sections: section -> option -> value; ``DEFAULT`` and ``INCLUDES`` are among them.
        headers: section -> line of its header.
        faults: what was wrong; each names its section, None before the first header.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.sections: dict[str, dict[str, Value]] = {}
        self.headers: dict[str, int] = {}
        self.faults: list[Fault] = []


def read_file(path: str) -> IniFile:
    """Return the parsed file; one that cannot be read has that as its only fault."""
    ini = IniFile(path)
    try:
        # A FIFO would make the reader wait for its writer.
        if not _is_text(os.stat(path)):
            ini.faults.append(Fault("no file that could hold options", path=path, harmless=True))
            return ini
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return parse(file.read(), path)
    except FileNotFoundError:
        ini.faults.append(Fault("leads to no file", path=path, harmless=True))
    except OSError as error:
        ini.faults.append(Fault(f"cannot be read: {error.strerror}", path=path))
    return ini


def _is_text(status: os.stat_result) -> bool:
    """Return whether a file may hold options; ``/dev/null`` in its place is one that has none."""
    return stat.S_ISREG(status.st_mode) or status.st_rdev == os.makedev(1, 3)


def parse(text: str, path: str) -> IniFile:
    """Return ``text`` parsed; bytes that are no UTF-8 stand in it as surrogates."""
    ini = IniFile(path)
    _Parser(ini).run(text.removeprefix("\ufeff"))
    return ini


class _Parser:
    """The state between two lines."""

    def __init__(self, ini: IniFile) -> None:
        self.ini = ini
        self.section: Optional[str] = None
        self.options: Optional[dict[str, Value]] = None
        self.name: Optional[str] = None
        self.indent = 0
        self.texts: list[str] = []
        self.lines: list[int] = []

    def run(self, text: str) -> None:
        for number, line in enumerate(text.split("\n"), start=1):
            self.feed(line, number)
        self.finish()

    def feed(self, line: str, number: int) -> None:
        value = line.strip()
        if not value:
            if self.name is not None:
                self.texts.append("")
                self.lines.append(number)
            return
        if value[0] in "#;":
            return
        if ";" in value:
            comment = _INLINE_COMMENT.search(line, len(line) - len(line.lstrip()))
            if comment:
                value = line[: comment.start()].strip()
        if _UNDECODABLE.search(value):
            self.fault("not UTF-8", number, remedy="save the file as UTF-8")
        if "\0" in value:
            # No path and no command can hold one.
            self.fault("a NUL byte", number, remedy="remove it")
            value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        indent = len(line) - len(line.lstrip())
        if self.name is not None and indent > self.indent:
            self.texts.append(value)
            self.lines.append(number)
            return
        self.indent = indent
        self.finish()
        header = _HEADER.match(value)
        if header:
            self.begin_section(header.group(1), number)
        elif self.section is None:
            self.fault("text before the first [section]", number, needle=value)
        else:
            self.begin_option(value, number)

    def begin_section(self, section: str, number: int) -> None:
        self.section = section
        first = self.ini.headers.get(section)
        if first is not None and section != DEFAULT:
            self.fault(
                f"section [{section}] appears twice (first at line {first})",
                number,
                remedy="merge the two",
            )
            self.options = {}
            return
        self.ini.headers.setdefault(section, number)
        self.options = self.ini.sections.setdefault(section, {})

    def begin_option(self, value: str, number: int) -> None:
        option = _OPTION.match(value)
        if option is None or not option.group(1):
            self.fault("neither [section] nor option = value", number, needle=value)
            return
        name = option.group(1).lower()
        # An option of a section that appeared twice is not looked at: its header is the fault.
        first = self.options.get(name) if self.options is not None else None
        if first is not None:
            self.fault(
                f"option {name} appears twice in [{self.section}] (first at line {first.line})",
                number,
                needle=option.group(1),
                remedy="keep one",
            )
        self.name = name
        self.texts = [option.group(2)]
        self.lines = [number]

    def finish(self) -> None:
        """End the value that the lines so far have built."""
        if self.name is None or self.options is None:
            return
        text = "\n".join(self.texts).rstrip()
        lines = tuple(self.lines[: text.count("\n") + 1])
        value = Value(text, self.ini.path, self.lines[0], lines)
        self.options.setdefault(self.name, value)
        self.name = None

    def fault(self, message: str, number: int, *, needle: str = "", remedy: str = "") -> None:
        self.ini.faults.append(
            Fault(
                message,
                path=self.ini.path,
                line=number,
                needle=needle,
                section=self.section,
                remedy=remedy,
            )
        )
