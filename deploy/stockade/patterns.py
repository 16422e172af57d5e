# SPDX-License-Identifier: MIT
"""Host patterns in Ansible's notation: ranges that write hosts, and limits that choose them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from string import ascii_letters

from stockade.document import nearest
from stockade.errors import InputError


LIMIT = "--limit"
MOST = 100_000
"""Hosts that one range may stand for; more is taken for a slip of the finger."""

_RANGE = re.compile(r"\[(\w*:\w+(?::\d+)?)\]")
_PORT = re.compile(
    r"(?P<host>\[[^\[\]]*:[^\[\]]*:[^\[\]]*\]|(?:[^:\[\]]|\[\w*:\w+(?::\d+)?\])+):(?P<port>\d+)"
)
_BRACKETED = re.compile(r"\[[^\[\]]*:[^\[\]]*:[^\[\]]*\]")
_SUBSCRIPT = re.compile(r"(?P<name>.+)\[(?:(?P<at>-?\d+)|(?P<first>\d*)[:-](?P<last>\d*))\]")


def expand(written: str) -> tuple[list[str], int | None]:
    """Return the names of the hosts that ``web[01:20]`` or ``db:2222`` stand for, and the port.

    Raises:
        ValueError: a range that has no end, or ends before it begins; in words.
    """
    match = _PORT.fullmatch(written)
    port = int(match["port"]) if match else None
    name = match["host"] if match else written
    if _BRACKETED.fullmatch(name) and not _RANGE.fullmatch(name):
        return [name[1:-1]], port
    pieces = _RANGE.split(name)
    spans = [_span(piece) for piece in pieces[1::2]]
    total = 1
    for span in spans:
        total *= len(span)
    if total > MOST:
        raise ValueError(f"{written!r} stands for {total} hosts, more than {MOST}")
    if "[" in "".join(pieces[::2]) or "]" in "".join(pieces[::2]):
        raise ValueError(f"{written!r} is not a range: web[01:20], web[a:f] or web[0:10:2]")
    names = []
    for words in product(*spans):
        joined = [piece + word for piece, word in zip(pieces[::2], (*words, ""), strict=True)]
        names.append("".join(joined))
    return names, port


def _span(text: str) -> list[str]:
    """Return the members of ``01:20``, ``a:f`` or ``0:10:2``."""
    first, last, step = [*text.split(":"), "1"][:3]
    first = first or "0"
    if int(step) < 1:
        raise ValueError(f"[{text}] has no step")
    if first.isdigit() and last.isdigit():
        width = len(first) if len(first) > 1 and first.startswith("0") else 0
        if width and len(last) != width:
            raise ValueError(f"[{text}] must have as many digits at its end as at its beginning")
        if int(last) - int(first) > MOST:
            raise ValueError(f"[{text}] stands for more than {MOST} hosts")
        span = [str(n).zfill(width) for n in range(int(first), int(last) + 1, int(step))]
    elif len(first) == len(last) == 1 and first in ascii_letters and last in ascii_letters:
        begin, end = ascii_letters.index(first), ascii_letters.index(last)
        span = list(ascii_letters[begin : end + 1 : int(step)])
    else:
        raise ValueError(f"[{text}] must go from number to number or from letter to letter")
    if not span:
        raise ValueError(f"[{text}] ends before it begins")
    return span


def select(
    limit: str, groups: Mapping[str, Collection[str]], names: Sequence[str]
) -> tuple[str, ...]:
    """Return the names that a limit chooses, in the inventory's order.

    Args:
        limit: names, groups, globs and ``~regex`` joined by ``,`` or ``:``; ``&x`` keeps those
            that are in x too, ``!x`` leaves out; ``group[0]`` and ``group[0:2]`` count hosts
            in the inventory's order.
        groups: group -> its hosts, children's included.
        names: all hosts, in the inventory's order.

    Raises:
        InputError: a part matches nothing, or nothing is left.
    """
    parts = _split(limit)
    plain = [part for part in parts if part[0] not in "&!"] or ["all"]
    chosen: set[str] = set()
    for part in plain:
        chosen |= _matching(part, groups, names)
    for part in parts:
        if part[0] == "&":
            chosen &= _matching(part[1:], groups, names)
    for part in parts:
        if part[0] == "!":
            chosen -= _matching(part[1:], groups, names)
    if not chosen:
        raise InputError(f"{limit!r} leaves no host", path=LIMIT)
    return tuple(name for name in names if name in chosen)


def _split(limit: str) -> list[str]:
    """Split at commas and, as Ansible does, at colons outside brackets and addresses."""
    parts = []
    for part in limit.split(","):
        if part.count(":") > 1 and re.fullmatch(r"[&!]?[0-9A-Fa-f:.]+", part.strip()):
            parts.append(part.strip())
        else:
            parts += [piece.strip() for piece in re.split(r":(?![^\[]*\])", part)]
    parts = [part for part in parts if part]
    if not parts:
        raise InputError("names no host", path=LIMIT)
    for part in parts:
        if part in ("&", "!"):
            raise InputError(f"{part!r} stands alone in {limit!r}", path=LIMIT)
    return parts


def _matching(
    pattern: str, groups: Mapping[str, Collection[str]], names: Sequence[str]
) -> set[str]:
    if pattern in groups:
        return set(groups[pattern])
    if pattern in names:
        return {pattern}
    subscript = None if pattern.startswith("~") else _SUBSCRIPT.fullmatch(pattern)
    if subscript:
        members = _matching(subscript["name"], groups, names)
        return _counted(pattern, subscript, [name for name in names if name in members])
    try:
        regex = re.compile(pattern[1:] if pattern[0] == "~" else fnmatch.translate(pattern))
    except re.error as exc:
        raise InputError(f"{pattern!r}: {exc}", path=LIMIT) from exc
    found = {name for name in names if regex.match(name)}
    for group, inside in groups.items():
        if regex.match(group):
            found |= set(inside)
    if not found:
        raise InputError(
            f"no host or group matches {pattern!r}",
            path=LIMIT,
            remedy=nearest(pattern, (*groups, *names)),
        )
    return found


def _counted(pattern: str, subscript: re.Match[str], members: list[str]) -> set[str]:
    if subscript["at"] is not None:
        at = int(subscript["at"])
        chosen = members[at : at + 1 or None]
    else:
        last = int(subscript["last"]) + 1 if subscript["last"] else None
        chosen = members[int(subscript["first"] or 0) : last]
    if not chosen:
        raise InputError(f"{pattern!r}: there are {len(members)} hosts", path=LIMIT)
    return set(chosen)
