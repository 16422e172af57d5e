# SPDX-License-Identifier: MIT
"""Which options and sections the text of a tree refers to; what nobody refers to may be a slip."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stockade_agent.config.tree import Options, Tree


_PERCENT = re.compile(r"%\(([^)]+)\)s")
# A tag whose name may in turn be made of tags: <lt_<logtype>/datepattern>.
_TAG = re.compile(r"<((?:[^<>\s]|<[^<>\s]+>)+)>")
_INNER = re.compile(r"<[^<>\s]+>")


def tag_names(text: str) -> list[str]:
    """Return the tags in a text; one that is made by tags is followed by those."""
    names: list[str] = []
    for name in _TAG.findall(text):
        names += [name, *(inner[1:-1] for inner in _INNER.findall(name))]
    return names


class References:
    """Everything that the given trees mention as ``%(name)s`` or ``<name>``."""

    def __init__(self, trees: Iterable[Tree]) -> None:
        self._names: set[str] = set()
        self._made: set[str] = set()
        self._sections: set[str] = set()
        for tree in trees:
            groups: list[Options] = [tree.defaults, *tree.sections.values(), *tree.known.values()]
            for options in groups:
                for value in options.values():
                    self._look_at(value.text)
        self._patterns = [_pattern(name) for name in self._made]

    def _look_at(self, text: str) -> None:
        if "%(" in text:
            for name in _PERCENT.findall(text):
                self._add(name)
        if "<" in text:
            for name in tag_names(text):
                self._add(name)

    def _add(self, name: str) -> None:
        section, slash, option = name.rpartition("/")
        target = self._made if "<" in name else self._names
        target.add((option if slash else name).lower())
        if slash:
            (self._made if "<" in section else self._sections).add(section)

    def option(self, name: str) -> bool:
        """Tell whether an option of that name may be meant somewhere."""
        plain = name.partition("?")[0]
        return plain in self._names or any(pattern.fullmatch(plain) for pattern in self._patterns)

    def section(self, name: str) -> bool:
        """Tell whether a section of that name may be meant somewhere."""
        return name in self._sections or any(pattern.fullmatch(name) for pattern in self._patterns)

    def names(self) -> set[str]:
        """Return the options that are mentioned by their whole name."""
        return set(self._names)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _INNER.split(name)))
