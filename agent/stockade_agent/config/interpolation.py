# SPDX-License-Identifier: MIT
"""``%(name)s``: options that are made of other options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Callable, Optional

from stockade_agent.config.faults import Fault, nearest
from stockade_agent.config.inifile import Value


if TYPE_CHECKING:
    from stockade_agent.config.tree import Tree


DEPTH = 10
"""How deep options may be nested in each other."""
LONGEST = 1_000_000
"""How long a value may become by all that it takes in."""

_REFERENCE = re.compile(r"%\(([^)]+)\)s")
_QUALIFIED = re.compile(r"([\w-]+)/(.+)$")


def references(text: str) -> list[str]:
    """Return the names that a text refers to as ``%(name)s``, in their order."""
    return _REFERENCE.findall(text)


class Namespace:
    """What options mean in one section: the section, ``[DEFAULT]``, and what lies over them.

    Args:
        given: wins over the section.
        behind_known: asked for ``known/option`` before the section's own predecessor is.
    """

    def __init__(
        self,
        tree: Tree,
        section: str,
        given: Optional[Mapping[str, Value]] = None,
        *,
        behind_known: Optional[Callable[[str], Optional[Value]]] = None,
    ) -> None:
        self.tree, self.section = tree, section
        self._own = tree.sections.get(section, {})
        self._given: Mapping[str, Value] = {} if given is None else given
        self._behind_known = behind_known

    def raw(self, option: str) -> Optional[Value]:
        """Return an option as it was written, or None."""
        for options in (self._given, self._own, self.tree.defaults):
            value = options.get(option)
            if value is not None:
                return value
        return None

    def get(self, option: str) -> Optional[Value]:
        """Return an option with all references resolved, or None if there is none.

        Raises:
            Fault: a reference leads nowhere, or in a circle.
        """
        value = self.raw(option)
        return None if value is None else self.expand(value, option)

    def expand(self, value: Value, option: str) -> Value:
        """Return the value of an option with all references resolved.

        Raises:
            Fault: a reference leads nowhere, or in a circle.
        """
        if "%" not in value.text:
            return value
        return value._replace(text=self._expand(value, option, (option,)), lines=())

    def source(self, option: str, needle: str) -> Optional[tuple[str, int]]:
        """Return the file and line where text of an option's value really stands, or None.

        That is the option itself, or what it is made of by references.
        """
        seen: set[str] = set()
        waiting = [option]
        while waiting:
            name = waiting.pop(0)
            value = self.find(name)
            if value is None or name in seen:
                continue
            seen.add(name)
            # A name that is referred to is not the text that it brings.
            written = _REFERENCE.sub(lambda found: "\0" * len(found.group()), value.text)
            at = written.find(needle)
            if at >= 0 and value.path:
                return value.path, value.line_at(at)
            waiting += references(value.text)
        return None

    def tagged(self, name: str) -> Optional[tuple[Namespace, str]]:
        """Return where the option stands that ``<name>`` means, or None."""
        qualified = _QUALIFIED.match(name)
        if qualified:
            section, option = qualified.group(1), qualified.group(2).lower()
            for space in self._qualified(section):
                if space.raw(option) is not None:
                    return space, option
        return (self, name.lower()) if self.raw(name.lower()) is not None else None

    def _qualified(self, section: str) -> list[Namespace]:
        lower = section.lower()
        if lower == "default":
            return [self.within("")]
        if lower != "known":
            return [self.within(section)] if section in self.tree.sections else []
        known = self.within(self.section)
        known._own = self.tree.known.get(self.section, {})  # noqa: SLF001  # one of our own kind
        return [known, self.within(self.section)]

    def within(self, section: str) -> Namespace:
        """Return another section of the same tree, with nothing laid over it."""
        return Namespace(self.tree, section)

    def _expand(self, value: Value, option: str, path: tuple[str, ...]) -> str:
        text = value.text
        pieces: list[str] = []
        start = length = 0
        while True:
            percent = text.find("%", start)
            if percent < 0:
                pieces.append(text[start:])
                return "".join(pieces)
            pieces.append(text[start:percent])
            if text.startswith("%%", percent):
                pieces.append("%")
                start = percent + 2
                continue
            reference = _REFERENCE.match(text, percent)
            if reference is None:
                raise Fault(
                    f"a lone % in {option}",
                    path=value.path,
                    line=value.line_at(percent),
                    needle=text[percent : percent + 8],
                    remedy="write %% for a percent sign, %(name)s for another option",
                )
            start = reference.end()
            pieces.append(self._referred(reference, value, option, path))
            length += len(pieces[-1])
            if length > LONGEST:
                message = f"{option} grows beyond {LONGEST} characters"
                raise Fault(message, path=value.path, line=value.line)

    def _referred(
        self, reference: re.Match[str], value: Value, option: str, path: tuple[str, ...]
    ) -> str:
        name = reference.group(1)
        found = self.find(name)
        if found is None:
            raise self._fault(
                f"{option} refers to {reference.group()}, which is not defined",
                reference,
                value,
                nearest(name, self.names()),
            )
        if "%" not in found.text:
            return found.text
        lower = name.lower()
        if lower in path:
            circle = " -> ".join((*path[path.index(lower) :], lower))
            raise self._fault(
                f"{path[0]} refers to itself: {circle}",
                reference,
                value,
                "%(known/…)s is the value of the file before, of one file only",
            )
        if len(path) >= DEPTH:
            raise self._fault(f"{path[0]} is nested deeper than {DEPTH}", reference, value, "")
        return self._expand(found, name, (*path, lower))

    def names(self) -> set[str]:
        """Return every option that can be referred to by its plain name."""
        return {*self._given, *self._own, *self.tree.defaults}

    def find(self, name: str) -> Optional[Value]:
        """Return what ``%(name)s`` stands for, its own references unresolved, or None."""
        lower = name.lower()
        if lower == "__name__":
            return Value(self.section, "", 0)
        value = self.raw(lower)
        if value is not None:
            return value
        qualified = _QUALIFIED.match(name)
        # fail2ban looks such a name up in lower case, so that [Other] cannot be referred to.
        if qualified is None or name != lower:
            return None
        section, option = qualified.groups()
        if section == "known":
            value = self._behind_known(option) if self._behind_known else None
            if value is None:
                value = self.tree.known.get(self.section, {}).get(option)
        elif section != "default":
            if section not in self.tree.sections:
                return None
            value = self.tree.sections[section].get(option)
        return self.tree.defaults.get(option) if value is None else value

    def _fault(self, message: str, reference: re.Match[str], value: Value, remedy: str) -> Fault:
        return Fault(
            message,
            path=value.path,
            line=value.line_at(reference.start()),
            needle=reference.group(),
            section=self.section,
            remedy=remedy,
        )
