# SPDX-License-Identifier: MIT
"""What the text of a jail's option means, where the format has more to say than a type.

All raise ``BadValue`` where it means nothing.
"""

from __future__ import annotations

import codecs
from typing import Optional

from stockade_agent.config.faults import nearest
from stockade_agent.config.parameters import BadParameters, Call, parse
from stockade_agent.config.values import BadValue, duration, integer
from stockade_agent.journals import PARAMETERS, which
from stockade_agent.model import FOREVER
from stockade_agent.specs import BANS, IgnoreCache


BACKENDS = ("auto", "polling", "pyinotify", "systemd", BANS)


def text(text: str) -> Optional[str]:
    """Return the text, or None where there is none."""
    return text or None


def ignorecache(text: str) -> Optional[IgnoreCache]:
    """Return what ``key="<ip>", max-count=100, max-time=5m`` means; None for no text."""
    if not text:
        return None
    try:
        given = parse(f"ignorecache[{text}]").parameters
    except BadParameters as error:
        raise BadValue(str(error)) from None
    if not given.get("key"):
        raise BadValue("no key", 'for example key="<ip>", max-count=100, max-time=5m')
    default = IgnoreCache(given["key"])
    return IgnoreCache(
        key=given["key"],
        max_count=positive(given.get("max-count", str(default.max_count))),
        max_time=duration(given.get("max-time", str(default.max_time))),
    )


def backend(text: str) -> Call:
    """Return a backend and what its brackets give it."""
    try:
        call = parse(text or "auto")
    except BadParameters as error:
        raise BadValue(str(error)) from None
    name = call.name.lower()
    if name == "gamin":
        # Gone from fail2ban since 1.1, but not from everyone's files.
        name = "polling"
    if name not in BACKENDS:
        raise BadValue(f"unknown backend {call.name!r}", nearest(name, BACKENDS))
    if call.parameters and name not in ("systemd", "auto"):
        raise BadValue(f"{name} has no parameters", "only systemd has")
    try:
        which(call.parameters)
    except ValueError as error:
        hint = " ".join(nearest(word, PARAMETERS) for word in call.parameters)
        raise BadValue(str(error), hint.strip()) from None
    return call._replace(name=name)


def encoding(text: str) -> str:
    """Return the name of a codec, ``auto``, or nothing."""
    try:
        return text if text in ("", "auto") else codecs.lookup(text).name
    except (LookupError, ValueError):
        raise BadValue(f"unknown encoding {text!r}", "for example utf-8, latin-1, auto") from None


def filtertime(text: str) -> float:
    """Return seconds; 0 is any time."""
    given = duration(text)
    if given < 0:
        raise BadValue(f"{text} is less than nothing", "0 lets a line take any time")
    return given


def positive(text: str) -> int:
    """Return a number of failures that can be reached."""
    number = integer(text)
    if number < 1:
        raise BadValue(f"{text} failures can never be reached", "1 is the least")
    return number


def several(text: str) -> int:
    """Return a number of prefixes that are many."""
    number = integer(text)
    if number < 2:
        raise BadValue(f"{text} prefixes are not many", "2 is the least")
    return number


def seconds(text: str) -> int:
    """Return a length of time."""
    given = int(duration(text))
    if given <= 0:
        raise BadValue(f"{text!r} is no length of time", "for example 10m")
    return given


def optional_seconds(text: str) -> Optional[int]:
    """Return a length of time, or None for no text."""
    return seconds(text) if text else None


def bantime(text: str) -> int:
    """Return seconds; whatever is not above 0 is for ever."""
    given = int(duration(text))
    return given if given > 0 else FOREVER


def multipliers(text: str) -> tuple[float, ...]:
    """Return numbers."""
    try:
        return tuple(float(word) for word in text.split())
    except ValueError:
        raise BadValue(f"{text!r} is no list of numbers", "for example 1 2 4 8") from None
