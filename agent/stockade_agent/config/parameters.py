# SPDX-License-Identifier: MIT
"""``name[key=value, other="two, three"][more='x']``: how filters and actions are called."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional


class BadParameters(ValueError):
    """The brackets cannot be understood.

    Attributes:
        needle: the text where it goes wrong.
    """

    def __init__(self, message: str, needle: str) -> None:
        super().__init__(message)
        self.needle = needle


class Call(NamedTuple):
    """A name and the parameters in its brackets, in their order."""

    name: str
    parameters: dict[str, str]


_KEY = re.compile(r"\s*([\w.-]+(?:\?\w+=\w+)?)=")
_TEXT = re.compile(r"""(?:"([^"]*)"|'([^']*)'|([^,\]]*))""")
_LAST = re.compile(r",?\s*$")
_NEXT = re.compile(r",\s*|\]\s*\[\s*")
_WORD = re.compile(r"[^\s\[]+")
_OPEN = re.compile(r"\s*\[")
_STOP = re.compile(r"""\]|=(["'])""")
_REST = re.compile(r"\S*")


def parse(text: str) -> Call:
    """Return the name and parameters that ``text`` is.

    Raises:
        BadParameters: a bracket is missing, or something else stands where ``key=value`` should.
    """
    text = text.strip()
    name, bracket, rest = text.partition("[")
    if not name.strip():
        raise BadParameters("a name is missing before [", text)
    if not bracket:
        return Call(name, {})
    if not rest.endswith("]"):
        raise BadParameters(f"no ] at the end of {text}", text)
    return Call(name.strip(), _pairs(rest[:-1], text))


def _pairs(inner: str, whole: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    at = len(inner) - len(inner.lstrip())
    while not _LAST.match(inner, at):
        key = _KEY.match(inner, at)
        if key is None:
            raise BadParameters(f'not key=value, key="value": {inner[at:]} in {whole}', inner[at:])
        value = _TEXT.match(inner, key.end())
        assert value is not None  # noqa: S101  # its last alternative matches anything
        parameters[key.group(1)] = value.group(value.lastindex or 0).strip()
        at = value.end()
        if _LAST.match(inner, at):
            break
        following = _NEXT.match(inner, at)
        if following is None:
            raise BadParameters(
                f"no comma after parameter {key.group(1)}: {inner[at:]} in {whole}", inner[at:]
            )
        at = following.end()
    return parameters


def split(text: str) -> list[tuple[str, int]]:
    """Return the calls of a list, and where each begins.

    They are parted by white space outside of brackets.
    """
    calls: list[tuple[str, int]] = []
    at = len(text) - len(text.lstrip())
    while at < len(text):
        start = at
        word = _WORD.match(text, at)
        at = word.end() if word else at
        while (end := _group_end(text, at)) is not None:
            at = end
        rest = _REST.match(text, at)
        at = rest.end() if rest else at
        calls.append((text[start:at], start))
        at += len(text[at:]) - len(text[at:].lstrip())
    return calls


def _group_end(text: str, at: int) -> Optional[int]:
    """Return where the bracket that opens at ``at`` has closed, or None if there is none."""
    bracket = _OPEN.match(text, at)
    at = bracket.end() if bracket else len(text)
    while stop := _STOP.search(text, at):
        at = stop.end()
        if stop.group() == "]":
            return at
        closing = text.find(stop.group(1), at)
        at = at if closing < 0 else closing + 1
    return None
