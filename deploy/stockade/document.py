# SPDX-License-Identifier: MIT
"""A YAML file in which every value knows its place.

YAML 1.1 as PyYAML's safe loader reads it, with four differences: a key given twice is an
error, keys are text as written (``on:`` is ``"on"``), and dates and numbers with colons (the
port range ``22:25``) stay text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from stockade.errors import InputError, InputErrors
from stockade.model import Place


Scalar = None | bool | int | float | str
Model = TypeVar("Model", bound=BaseModel)


class Entry(NamedTuple):
    """A value of a mapping, and where its key stands."""

    key: Place
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands.

    ``data`` is a scalar, a tuple of nodes (a list) or a mapping of entries.
    """

    data: Scalar | tuple[Node, ...] | Mapping[str, Entry]
    place: Place

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The entries of a mapping; none for any other value."""
        return self.data if isinstance(self.data, Mapping) else {}

    @property
    def items(self) -> tuple[Node, ...]:
        """The members of a list; none for any other value."""
        return self.data if isinstance(self.data, tuple) else ()

    @property
    def kind(self) -> str:
        """What the value is, in words for a message."""
        if isinstance(self.data, Mapping):
            return "a mapping"
        if isinstance(self.data, tuple):
            return "a list"
        return "no value" if self.data is None else f"{self.data!r}"

    def plain(self) -> Any:
        """Return the value in Python's own types, without places."""
        if isinstance(self.data, Mapping):
            return {name: entry.node.plain() for name, entry in self.data.items()}
        if isinstance(self.data, tuple):
            return [node.plain() for node in self.data]
        return self.data

    def walk(self) -> Iterator[Node]:
        """Yield this value and all values in it."""
        yield self
        for node in (*self.items, *(entry.node for entry in self.entries.values())):
            yield from node.walk()

    def fault(self, message: str, remedy: str = "") -> InputError:
        """Return an error that points at this value."""
        return fault(self.place, message, remedy)


def fault(place: Place, message: str, remedy: str = "") -> InputError:
    """Return an error that points at a place."""
    return InputError(message, path=place.path, line=place.line, column=place.column, remedy=remedy)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean X?`` for the known name most like ``name``, or ""."""
    close = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def unknown(
    what: str, name: str, place: Place, known: Iterable[str], *, of: str = ""
) -> InputError:
    """Return the error for a name that is none of the known ones, ``of`` that thing."""
    where = f" of {of}" if of else ""
    return fault(place, f"unknown {what} {name!r}{where}", nearest(name, known))


def read(path: Path) -> Node:
    """Return the content of a YAML file; an empty file is an empty mapping.

    Raises:
        InputError: it cannot be read, is not UTF-8, or is not YAML as described above.
    """
    name = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror}", path=name) from exc
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise InputError("not UTF-8 text", path=name, line=line) from exc
    root = _compose(text, name)
    if root is None:
        return Node(MappingProxyType({}), Place(name, 1))
    return _Builder(name).node(root)


def typed(node: Node, model: type[Model]) -> Model:
    """Return a mapping as a pydantic model.

    Raises:
        InputErrors: all that is wrong, each at its place.
    """
    try:
        return model.model_validate(node.plain())
    except ValidationError as exc:
        complaints = [_complaint(node, model, error) for error in exc.errors()]
        raise InputErrors(complaints) from None


def _complaint(root: Node, model: type[BaseModel], error: Any) -> InputError:
    """Return one of pydantic's errors with its place, an unknown key with the nearest known one."""
    node, place = root, root.place
    fields: Mapping[str, Any] = model.model_fields
    for part in error["loc"]:
        if isinstance(node.data, tuple) and isinstance(part, int) and part < len(node.data):
            node = node.data[part]
            place = node.place
        elif str(part) in node.entries:
            place, node = node.entries[str(part)]
        elif part == "[key]":
            node = Node(None, place)
        if error["type"] == "extra_forbidden":
            if part == error["loc"][-1]:
                return unknown("key", str(part), place, fields)
            fields = _fields(fields, str(part))
    what = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "missing":
        return fault(place, f"{what} is missing")
    reason = str(error["msg"]).removeprefix("Value error, ")
    words = f"{reason[:1].lower()}{reason[1:]}"
    return fault(node.place, f"{what}: {words}" if what else words)


def _fields(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the fields of the model behind a field; the same ones where there is none."""
    if name not in fields:
        return fields
    kinds = (fields[name].annotation, *get_args(fields[name].annotation))
    models = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
    return models[0].model_fields if models else fields


def _compose(text: str, name: str) -> yaml.Node | None:
    """Return the root of the one document, or None for an empty file."""
    fast = getattr(yaml, "CSafeLoader", None)
    if fast is not None:
        try:
            return _composed(text, fast)
        except yaml.YAMLError:
            # The pure reader below says what is wrong in the same words on every machine.
            pass
    try:
        return _composed(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        words = (exc.problem or "a fault").removeprefix("but ")
        begun = exc.context_mark
        if exc.context and begun and mark and begun.line != mark.line:
            words += f", {exc.context} that begins in line {begun.line + 1}"
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        remedy = "indent with spaces" if "'\\t'" in words else ""
        raise InputError(
            f"not YAML: {words}", path=name, line=line, column=column, remedy=remedy
        ) from exc
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        message = f"not YAML: character U+{ord(text[exc.position]):04X} is not allowed"
        raise InputError(message, path=name, line=line) from exc


def _composed(text: str, loader: Any) -> yaml.Node | None:
    root: yaml.Node | None = yaml.compose(text, Loader=loader)
    return root


_TAG = "tag:yaml.org,2002:"
_TEXT = frozenset(_TAG + name for name in ("str", "timestamp", "value"))
_SCALARS = frozenset(_TAG + name for name in ("int", "float", "bool", "null"))


class _Builder:
    """Turns PyYAML's nodes into ours; an alias is built once, whatever number refers to it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._built: dict[int, Node] = {}
        self._open: set[int] = set()
        self._scalars = yaml.constructor.SafeConstructor()

    def node(self, raw: yaml.Node) -> Node:
        key = id(raw)
        if key in self._built:
            return self._built[key]
        place = self._place(raw)
        if key in self._open:
            raise fault(place, "an alias that contains itself")
        self._open.add(key)
        built = Node(self._data(raw, place), place)
        self._open.remove(key)
        self._built[key] = built
        return built

    def _data(self, raw: yaml.Node, place: Place) -> Any:
        if raw.tag in _TEXT and isinstance(raw, yaml.ScalarNode):
            return raw.value
        if raw.tag in _SCALARS and isinstance(raw, yaml.ScalarNode):
            if ":" in raw.value:
                return raw.value
            try:
                return self._scalars.construct_object(raw)
            except ValueError as exc:
                raise fault(place, f"{raw.value!r} is not a number") from exc
        if raw.tag == _TAG + "seq" and isinstance(raw, yaml.SequenceNode):
            return tuple(self.node(item) for item in raw.value)
        if raw.tag == _TAG + "map" and isinstance(raw, yaml.MappingNode):
            return MappingProxyType(self._entries(raw))
        if raw.tag == "!vault":
            remedy = "give the variable as {env: NAME}"
            raise fault(place, "values of ansible-vault cannot be read", remedy)
        raise fault(place, f"values of type {raw.tag.removeprefix(_TAG)} cannot be read")

    def _entries(self, raw: yaml.MappingNode) -> dict[str, Entry]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in raw.value:
            place = self._place(key)
            if not isinstance(key, yaml.ScalarNode):
                raise fault(place, "a key must be a word, not a list or mapping")
            if key.tag == _TAG + "merge":
                for name, entry in self._merged(value):
                    merged.setdefault(name, entry)
            elif key.value in own:
                first = own[key.value].key.line
                raise fault(place, f"{key.value!r} is given twice (first in line {first})")
            else:
                own[key.value] = Entry(place, self.node(value))
        return {**merged, **own}

    def _merged(self, raw: yaml.Node) -> Iterator[tuple[str, Entry]]:
        """Yield what ``<<:`` brings in; of a list, the first mapping's keys come first."""
        node = self.node(raw)
        for source in node.data if isinstance(node.data, tuple) else (node,):
            if not isinstance(source.data, Mapping):
                raise fault(node.place, "<<: takes a mapping, or a list of mappings")
            yield from source.entries.items()

    def _place(self, raw: yaml.Node) -> Place:
        return Place(self._name, raw.start_mark.line + 1, raw.start_mark.column + 1)
