# SPDX-License-Identifier: MIT
"""The kinds of values that a variable can have, and how each is read.

A reader takes a node and returns its value in one form, whatever way it was written, or
raises ValueError with what was expected in words. Role files name readers: see ``KINDS``.
"""

# ruff: noqa: TRY004 - a value of the wrong type is a wrong value here; readers raise one error

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from stockade.document import Node
from stockade.errors import InputError
from stockade_agent.config import values as config
from stockade_agent.config.surge import surge as config_surge


Reader = Callable[[Node], Any]

_SWITCHES = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_NAME = re.compile(r"(?=.*[A-Za-z])(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.?)+")
_MAILBOX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=-]*(@[A-Za-z0-9][A-Za-z0-9.-]*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def text(node: Node) -> str:
    """One line of text; a number counts as the text that it is."""
    if isinstance(node.data, bool) or not isinstance(node.data, str | int | float):
        raise ValueError(f"{node.kind} is not text" + (" (quote it)" * isinstance(node.data, bool)))
    value = str(node.data)
    if not value or _CONTROL.search(value):
        raise ValueError("empty text" if not value else "text must be one printable line")
    return value


def switch(node: Node) -> bool:
    """True or false."""
    value = _SWITCHES.get(str(node.data).lower())
    if value is None:
        raise ValueError(f"{node.kind} is neither true nor false")
    return value


def number(node: Node) -> int:
    """A whole number."""
    if not isinstance(node.data, bool) and re.fullmatch(r"-?\d+", str(node.data)):
        return int(str(node.data))
    raise ValueError(f"{node.kind} is not a whole number")


def count(node: Node) -> int:
    """A whole number from 1 up."""
    value = number(node)
    if value < 1:
        raise ValueError(f"{value} is not a number from 1 up")
    return value


def prefix6(node: Node) -> int:
    """The length of a prefix of IPv6."""
    value = number(node)
    config.prefix6_length(str(value))
    return value


def surge(node: Node) -> str:
    """What a jail does when it bans very many, as jails write it: ``hold[floor=50]``."""
    # YAML takes the word off for false.
    value = "off" if node.data is False else text(node)
    config_surge(value)
    return value


def seconds(node: Node) -> float:
    """A time in seconds, more than none."""
    try:
        value = float(text(node))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ValueError(f"{node.kind} is not a number of seconds")
    return value


def port(node: Node) -> int:
    """A port number."""
    value = number(node)
    if not 1 <= value <= 65535:
        raise ValueError(f"{value} is not a port number (1 to 65535)")
    return value


def ports(node: Node) -> str:
    """Ports as jails write them, ``22,5900:5999``: numbers, ranges, names of services."""
    value = ",".join(part for item in texts(node) for part in item.replace(",", " ").split())
    config.ports(value)
    return value


def duration(node: Node) -> str:
    """A time as jails write it: ``600``, ``10m``, ``1h 30m``, ``-1`` for ever."""
    value = text(node)
    config.duration(value)
    return value


def texts(node: Node) -> list[str]:
    """A list of texts; a single one stands for a list of one."""
    items = node.data if isinstance(node.data, tuple) else (node,)
    return [text(item) for item in items]


def addresses(node: Node) -> list[str]:
    """Addresses and networks, in a list or in one text with spaces or commas."""
    found = _split(node)
    for item in found:
        if not _is_address(item):
            raise ValueError(f"{item!r} is neither an address nor a network")
    return found


def hosts(node: Node) -> list[str]:
    """Addresses, networks and host names, in a list or in one text with spaces or commas."""
    found = _split(node)
    for item in found:
        if not (_is_address(item) or _NAME.fullmatch(item)):
            raise ValueError(f"{item!r} is neither an address, a network nor a host name")
    return found


def mailboxes(node: Node) -> str:
    """Mail addresses or names of local users, in a list or in one text with commas."""
    found = [part.strip() for item in texts(node) for part in item.split(",")]
    for item in found:
        if not _MAILBOX.fullmatch(item):
            raise ValueError(f"{item!r} is not a mail address")
    return ", ".join(found)


def paths(node: Node) -> list[str]:
    """Absolute paths or globs on the host, in a list or one a line."""
    items = node.data if isinstance(node.data, tuple) else (node,)
    lines = [line.strip() for item in items for line in str(item.data or "").splitlines()]
    found = [line for line in lines if line]
    for item in found:
        if not item.startswith("/") or _CONTROL.search(item):
            raise ValueError(f"{item!r} is not an absolute path")
    if not found:
        raise ValueError("no path is given")
    return found


def anything(node: Node) -> Any:
    """A scalar or a list of scalars, as it is."""
    if isinstance(node.data, tuple):
        return [anything(item) for item in node.data]
    if isinstance(node.data, Mapping):
        raise ValueError("a mapping is not expected here")
    return node.data


KINDS: Mapping[str, Reader] = {
    "addresses": addresses,
    "anything": anything,
    "count": count,
    "duration": duration,
    "hosts": hosts,
    "mailboxes": mailboxes,
    "number": number,
    "paths": paths,
    "port": port,
    "ports": ports,
    "prefix6": prefix6,
    "seconds": seconds,
    "surge": surge,
    "switch": switch,
    "text": text,
    "texts": texts,
}
"""What a role file may call the kind of a variable; a list of texts there is a choice."""


def faults(name: str, reader: Reader, node: Node) -> Iterator[InputError]:
    """Yield the fault of a variable's value that its reader does not take."""
    try:
        reader(node)
    except ValueError as exc:
        yield node.fault(f"{name}: {exc}", getattr(exc, "remedy", ""))


def choice(words: tuple[str, ...]) -> Reader:
    """Return the reader that accepts these words only."""

    def read(node: Node) -> str:
        value = text(node)
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return value

    return read


def like(default: Node) -> Reader:
    """Return the reader for values of the same kind as a default."""
    if isinstance(default.data, bool):
        return switch
    if isinstance(default.data, int):
        return number
    if isinstance(default.data, str):
        return text
    return texts if isinstance(default.data, tuple) else anything


def _is_address(word: str) -> bool:
    try:
        ip_network(word, strict=False)
    except ValueError:
        return False
    return True


def _split(node: Node) -> list[str]:
    if isinstance(node.data, str) and not node.data.strip():
        return []
    return [part for item in texts(node) for part in item.replace(",", " ").split()]
