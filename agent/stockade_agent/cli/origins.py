# SPDX-License-Identifier: MIT
"""Values of a jail's options, each with the file and line that every part of it comes from."""

from __future__ import annotations

import json as notation
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from stockade_agent import config
from stockade_agent.cli.codes import OK, USAGE
from stockade_agent.config.explain import Explanation, Part, default
from stockade_agent.config.jails import OPTIONS
from stockade_agent.errors import ConfigError
from stockade_agent.plain import printable
from stockade_agent.specs import Origin


Line = tuple[str, Optional[Origin]]

_GIVEN = "built in"
"""Stands for the place of what no file says."""


def show(directory: str, jail: str, option: str = "", *, json: bool) -> int:
    """Print one option of a jail, or all, and return the exit code: a faulty jail is told, too.

    Raises:
        ConfigError: there is no such jail or option.
    """
    found = config.resolve(directory, jail)
    faults = config.jail_faults(directory, jail)
    for fault in faults:
        print(f"stockade-agent explain: {printable(str(fault))}", file=sys.stderr)
    if option and option not in found and faults:
        return USAGE  # no default holds where what is written cannot be read
    if option:
        found = {option: _one(directory, jail, option, found)}
    lines = _lines(directory, jail, option, found[option].value) if option else []
    if json:
        told = {name: _as_json(one, lines) for name, one in found.items()}
        print(notation.dumps({"jail": jail, "options": told}, indent=2))
        return USAGE if faults else OK
    for row in _whole(jail, option, found[option], lines) if option else _all(found):
        print(printable(row))
    return USAGE if faults else OK


def _one(directory: str, jail: str, option: str, found: Mapping[str, Explanation]) -> Explanation:
    if option in found:
        return found[option]
    try:
        value = default(option)
    except KeyError:
        remedy = config.nearest(option, {*found, *OPTIONS})
        message = f"[{jail}] has no option {option}"
        raise ConfigError(message, path=directory, jail=jail, remedy=remedy) from None
    return Explanation(value, Part(option, value, None))


def _lines(directory: str, jail: str, option: str, value: str) -> list[Line]:
    """Return the lines of a value that has several, each with its place."""
    lines = [line for line in value.split("\n") if line]
    if not lines[1:]:
        return []
    if "/" in option:  # of an action, whose lines nobody looks for
        return [(line, None) for line in lines]
    return [(line, config.origin(directory, jail, option, line)) for line in lines]


# ---- for a person -----------------------------------------------------------------------------


def _all(found: Mapping[str, Explanation]) -> Iterator[str]:
    for option, one in found.items():
        first, *more = one.value.split("\n")
        rest = f" … {len(more)} more" if more else ""
        yield f"{_place(one.part.origin)}: {option} = {first}{rest}"


def _whole(jail: str, option: str, one: Explanation, lines: list[Line]) -> Iterator[str]:
    if lines:
        yield f"[{jail}] {option} ="
        yield from (f"  {origin}: {text}" if origin else f"  {text}" for text, origin in lines)
    else:
        yield f"[{jail}] {option} = {one.value}"
    yield "made of"
    yield from _parts(one.part, 1)


def _parts(part: Part, depth: int) -> Iterator[str]:
    blank = "  " * depth
    first, *more = part.text.split("\n")
    yield f"{blank}{_place(part.origin)}: {part.name} = {first}"
    for line in filter(None, more):
        yield f"{blank}    {line}"
    for inner in part.parts:
        yield from _parts(inner, depth + 1)


def _place(origin: Optional[Origin]) -> str:
    return str(origin) if origin else _GIVEN


# ---- for a program ----------------------------------------------------------------------------


def _as_json(one: Explanation, lines: list[Line]) -> dict[str, Any]:
    told: dict[str, Any] = {"value": one.value, "from": _part(one.part)}
    if lines:
        told["lines"] = [{"text": text, **_origin(origin)} for text, origin in lines]
    return told


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "text": part.text,
        **_origin(part.origin),
        "parts": [_part(inner) for inner in part.parts],
    }


def _origin(origin: Optional[Origin]) -> dict[str, Any]:
    return {"path": origin.path, "line": origin.line} if origin else {"path": None, "line": None}
