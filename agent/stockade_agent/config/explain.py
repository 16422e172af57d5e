# SPDX-License-Identifier: MIT
"""Where a value comes from: every option that it is made of, each with its file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Optional

from stockade_agent.config import filters, jails, tags
from stockade_agent.config.definition import KNOWN, Definition
from stockade_agent.config.faults import Fault
from stockade_agent.config.inifile import Value
from stockade_agent.config.interpolation import Namespace, references
from stockade_agent.config.jails import Jail
from stockade_agent.config.references import tag_names
from stockade_agent.specs import FilterSpec, JailSpec, Origin


@dataclass(frozen=True)
class Part:
    """An option that a value is made of.

    Attributes:
        name: as it is referred to: ``bantime``, ``%(known/failregex)s``, ``<_daemon>``.
        text: as it was written, or as it was given.
        origin: where; None for what the program itself gives, such as a jail's name.
        parts: what the text refers to in turn.
    """

    name: str
    text: str
    origin: Optional[Origin]
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """The value of an option that is in effect, and where it comes from."""

    value: str
    part: Part


def explain(jail: Jail) -> Mapping[str, Explanation]:
    """Return every option in effect; those of an action are named ``ACTNAME/actionban``."""
    found: dict[str, Explanation] = {}
    own = _Source(jail.space, None)
    of_filter = jail.jail_filter.definition if jail.jail_filter else None
    for option, value in jail.options.items():
        found[option] = Explanation(value.text, own.part(option, jail.space, option))
    if of_filter is not None:
        source = _Source(of_filter.space, of_filter)
        for option, value in jail.filter.items():
            if option not in jail.options:
                part = source.defined(option)
                found[option] = Explanation(value.text, part)
    for action in jail.actions:
        source = _Source(action.definition.space, action.definition)
        for option, value in action.combined.items():
            if not option.startswith(KNOWN):
                part = source.defined(option)
                found[f"{action.name}/{option}"] = Explanation(value.text, part)
    return found


def default(option: str) -> str:
    """Return what an option of jails is where no file says it.

    Raises:
        KeyError: there is no such option.
    """
    if option not in jails.OPTIONS:
        raise KeyError(option)
    spec = JailSpec(name="", filter=FilterSpec(name="", failregex=()))
    owner: object = spec
    if option in (*filters.OPTIONS, *filters.OF_LOGS):
        owner = spec.filter
    if option.startswith("bantime."):
        owner = spec.escalation
        option = option.rpartition(".")[2].replace("increment", "enabled")
    name = option.rpartition(".")[2]
    value = False if option == "enabled" else getattr(owner, name, None)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or value == () else str(value)


class _Source:
    """Finds parts; remembers what it is inside of, so that a circle ends."""

    def __init__(self, space: Namespace, definition: Optional[Definition]) -> None:
        self._space, self._definition = space, definition
        self._inside: list[tuple[str, int, str]] = []
        self._seen: list[tuple[Value, Namespace]] = []

    def defined(self, option: str) -> Part:
        """Return the part of an option of a definition: passed, of [Init], or its own."""
        if self._definition is not None and option not in self._definition.init:
            # The jail's option of the same name covers it, but is not its origin.
            value = self._space.within("Definition").raw(option)
            found = None if value is None else (value, self._space)
        else:
            found = self._tagged(option)
        return Part(option, "", None) if found is None else self._part(option, *found)

    def part(self, name: str, space: Namespace, option: str) -> Part:
        """Return the part of an option of a section, called ``name``."""
        value = space.find(option)
        return Part(name, "", None) if value is None else self._part(name, value, space)

    def _part(self, name: str, value: Value, space: Namespace) -> Part:
        here = (value.path, value.line, value.text)
        parts: list[Part] = []
        if here not in self._inside:
            self._inside.append(here)
            self._seen.append((value, space))
            for reference in dict.fromkeys(references(value.text)):
                found = space.find(reference)
                if found is not None:
                    parts.append(self._part(f"%({reference})s", found, space))
            if self._definition is not None:
                for tag in dict.fromkeys(self._tags(value.text)):
                    tagged = self._tagged(tag)
                    if tagged is not None:
                        parts.append(self._part(f"<{tag}>", *tagged))
            self._inside.pop()
        return Part(name, value.text, value.origin if value.path else None, tuple(parts))

    def line_of(self, text: str) -> tuple[Optional[Origin], Optional[Origin]]:
        """Return where, in all parts so far, the line stands that becomes ``text``.

        The first is the line that becomes just that, the second one that becomes several.
        """
        one: Optional[Origin] = None
        among: Optional[Origin] = None
        for value, space in self._seen:
            for number, line in zip(value.lines, value.text.split("\n")):
                became = self._resolved(value._replace(text=line, lines=()), space)
                if became == text:
                    one = Origin(value.path, number)
                elif text in became.split("\n"):
                    among = Origin(value.path, number)
        return one, among

    def _resolved(self, value: Value, space: Namespace) -> str:
        try:
            text = space.expand(value, "").text
            if self._definition is None:
                return text
            return tags.resolve({"": text}, self._definition.lookup)[""]
        except (Fault, tags.Unresolvable):
            return ""

    def _tags(self, text: str) -> Iterator[str]:
        for name in tag_names(text):
            if "<" not in name:
                yield name
                continue
            made = self._resolved(Value(name.replace("%", "%%"), "", 0), self._space)
            if made:
                yield made

    def _tagged(self, tag: str) -> Optional[tuple[Value, Namespace]]:
        definition = self._definition
        if definition is None:
            return None
        init = Namespace(definition.tree, "Init")
        given = definition.init.get(tag)
        if given is not None:
            written = init.raw(tag.removeprefix(KNOWN))
            same = written is not None and written.line == given.line
            return (written if same and written is not None else given), init
        place = definition.tagged(tag)
        if place is None:
            return None
        space, option = place
        value = space.raw(option)
        return None if value is None else (value, space)


def line_of(jail: Jail, option: str, text: str) -> Optional[Origin]:
    """Return the file and line where one line of an option's value was written, or None.

    A regex of ``failregex`` often comes from another option, another file, or a tag.

    Args:
        jail: whose option it is.
        option: ``failregex``, ``ignoreregex``, …
        text: the line, all resolved.
    """
    own = _Source(jail.space, None)
    own.part(option, jail.space, option)
    sources = [own]
    definition = jail.jail_filter.definition if jail.jail_filter else None
    if definition is not None:
        sources.append(_Source(definition.space, definition))
        sources[-1].defined(option)
    return _best(sources, text)


def line_of_filter(definition: Definition, option: str, text: str) -> Optional[Origin]:
    """Return the same for a filter that no jail uses."""
    source = _Source(definition.space, definition)
    source.defined(option)
    return _best([source], text)


def _best(sources: list[_Source], text: str) -> Optional[Origin]:
    found = [source.line_of(text) for source in sources]
    candidates = [one for one, _ in found] + [among for _, among in reversed(found)]
    return next((candidate for candidate in candidates if candidate), None)
