# SPDX-License-Identifier: MIT
"""Values as they stand in an INI file: none can end early or begin another option."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


INDENT = "    "
"""What continues a value on the next line."""

# Whatever some reader of the format might take for the end of a line, the tab aside.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")
_COMMENT = re.compile(r"\s;")


class Text(str):
    """Text that is ready for an INI file as it is."""

    __slots__ = ()


def line(value: Any) -> str:
    """Return a scalar as one line.

    Raises:
        ValueError: it would not be read back as it is; in words.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not one value")  # noqa: TRY004 - one error for every bad value
    text = str(value)
    if "\n" in text or _CONTROL.search(text):
        raise ValueError(f"{text!r} is not one line of printable text")
    return text


def value(value: Any) -> Text:
    """Return a scalar, or a list of scalars, as the value of an option, one line each.

    Raises:
        ValueError: it would not be read back as it is; in words.
    """
    items = value if isinstance(value, list | tuple) else [value]
    lines: list[str] = []
    for item in items:
        lines += item.split("\n") if isinstance(item, str) else [line(item)]
    lines = [text.strip() for text in lines if text.strip()]
    for number, text in enumerate(lines):
        line(text)
        if text[0] == ";" or (number and text[0] == "#"):
            raise ValueError(f"{text!r} would be read as a comment")
        if _COMMENT.search(text):
            raise ValueError(f"what follows ' ;' in {text!r} would be read as a comment")
    return Text(f"\n{INDENT}".join(lines))


def options(values: Mapping[str, Any]) -> Text:
    """Return ``option = value`` lines for all values that are not None.

    Raises:
        ValueError: a name or value cannot stand in an INI file; in words.
    """
    written = []
    for name, given in values.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ValueError(f"{name!r} cannot be the name of an option")
        if given is not None:
            written.append(f"{name} = {value(given)}\n")
    return Text("".join(written))


def sections(values: Mapping[str, Mapping[str, Any]]) -> Text:
    """Return sections of options; one without any option that is not None is left out.

    Raises:
        ValueError: a name or value cannot stand in an INI file; in words.
    """
    written = []
    for name, given in values.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ValueError(f"{name!r} cannot be the name of a section")
        lines = options(given)
        if lines:
            written.append(f"[{name}]\n{lines}")
    return Text("\n".join(written))
