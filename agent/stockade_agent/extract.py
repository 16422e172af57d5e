# SPDX-License-Identifier: MIT
"""What ``regex -o`` prints of a failure: one of its parts, or a template with ``<tags>``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from stockade_agent.failregex import Groups
from stockade_agent.filter import Found
from stockade_agent.firewall.tags import CAPTURED, TAG, Facts, Values
from stockade_agent.model import Ban


TAGS = ("ip", "family", "ip-rev", "fid", "failures", "time", "bancount", "matches", "restored")
"""Tags of a template, besides ``<msg>``, ``<br>``, ``<sp>`` and ``<F-…>``."""

_FIXED = {"br": "\n", "sp": " "}
_INVERTED = {"msg", "time", "br", "sp"}


def texts(found: Found, wanted: str, now: float) -> Iterator[str]:
    """Yield the lines to print for a failure.

    Args:
        wanted: ``row``, ``id``, ``ip``, ``msg``, ``matches``, a group's name, or a template.
        now: stands for the time of a line without one, in a template.
    """
    who = "None" if found.identity is None else found.identity.id
    if wanted in ("id", "fid"):
        yield who
    elif wanted == "ip":
        yield str(found.groups.get("ip", who))
    elif wanted == "msg":
        yield from found.matches
    elif wanted == "row":
        yield _row(found, who)
    elif wanted == "matches":
        yield repr(list(found.matches))
    elif "<" not in wanted:
        yield _said(found).get(wanted, "None")
    else:
        yield from _filled(found, wanted, now)


def inverted(line: str, at: Optional[float], wanted: str) -> str:
    """Return what to print for a line that is no failure."""
    values = {**_FIXED, "msg": line, "time": str(at)}
    if wanted == "msg":
        return line
    if wanted == "row":
        return f"[None,\t{at!r},\t{{}}],"
    return TAG.sub(lambda tag: values.get(tag[1], tag[0]), wanted)


def can_invert(wanted: str) -> bool:
    """Return whether ``inverted`` knows all that is wanted."""
    tags = set(TAG.findall(wanted))
    return wanted in ("msg", "row") or (bool(tags) and tags <= _INVERTED)


def _row(found: Found, who: str) -> str:
    said = {name: repr(value) for name, value in found.groups.items() if name != "matches"}
    if found.users:
        said["users"] = _set(found.users)
    data = ", ".join(f"{name!r}: {value}" for name, value in said.items())
    id_ = repr(None) if found.identity is None else repr(who)
    return f"[{id_},\t{found.at!r},\t{{{data}}}],"


def _said(found: Found) -> dict[str, str]:
    said = {name: str(value) for name, value in found.groups.items()}
    if found.users:
        said["users"] = _set(found.users)
    return said


def _set(users: frozenset[str]) -> str:
    return "{" + ", ".join(sorted(map(repr, users))) + "}"


def _filled(found: Found, template: str, now: float) -> Iterator[str]:
    identity = found.identity
    values = Values(
        Facts("", now),
        _Nobody(),
        Ban(
            jail="",
            id="None" if identity is None else identity.id,
            address=None if identity is None else identity.address,
            at=now if found.at is None else found.at,
            bantime=0,
            count=0,
            matches=found.matches,
            data=_captured(found.groups, found),
        ),
    )

    def fill(message: str) -> str:
        def value(name: str, tag: str) -> str:
            if name == "msg":
                return message
            if name in _FIXED:
                return _FIXED[name]
            return values[name] if name in TAGS or CAPTURED.fullmatch(name) else tag

        return TAG.sub(lambda match: value(match[1], match[0]), template)

    if "msg" not in TAG.findall(template):
        yield fill("")
    else:
        yield from (fill(line) for line in found.matches)


def _captured(groups: Groups, found: Found) -> dict[str, str]:
    said = _said(found)
    return {
        name: text for name, text in said.items() if groups.get(name) is not None or name == "users"
    }


class _Nobody:
    """No host has a name here: nothing is asked for the sake of a template."""

    def fully_qualified(self) -> str:
        return ""

    short = fully_qualified

    def of(self, address: str) -> str:
        del address
        return ""
