# SPDX-License-Identifier: MIT
"""fail2ban's regex language: Python's, with tags for what identifies a failure.

``<HOST>``, ``<ADDR>``, ``<IP4>``, ``<IP6>``, ``<DNS>``, ``<CIDR>``, ``<SUBNET>`` and their
``<F-…/>`` forms stand for regexes; ``<F-USER>…</F-USER>`` is a named group, ``user``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Callable, Optional, Union

from stockade_agent.errors import RegexError
from stockade_agent.syntax import Syntax, syntax_of


Value = Union[str, tuple[Optional[str], ...], None]
Groups = dict[str, Value]
Span = tuple[int, int]

ID_GROUPS = ("fid", "ip4", "ip6", "dns")
"""Groups that identify a failure, in order of preference."""

SESSION_GROUP = "mlfid"
"""The group that ties lines of one session together; it may stand for an id that comes later."""

_IP4 = r"(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})"
_IP6 = r"(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|:){1,7}(?:[0-9a-fA-F]{1,4}|(?<=:):))"
_DNS = r"(?P<dns>[\w\-.^_]*\w)"
_CIDR = r"(?P<cidr>\d+)"
_ADDR = rf"\[?(?:{_IP4}|{_IP6})\]?"
_HOST = rf"(?:{_ADDR}|{_DNS})"
_SUBNET = rf"\[?(?:{_IP4}|{_IP6})(?:/{_CIDR})?\]?"

_FIXED = {
    "ADDR": _ADDR,
    "F-ADDR/": _ADDR,
    "IP4": _IP4,
    "F-IP4/": _IP4,
    "IP6": _IP6,
    "F-IP6/": _IP6,
    "DNS": _DNS,
    "F-DNS/": _DNS,
    "CIDR": _CIDR,
    "F-CIDR/": _CIDR,
    "SUBNET": _SUBNET,
    "F-SUBNET/": _SUBNET,
    "F-ID/": r"(?P<fid>\S+)",
    "F-PORT/": r"(?P<fport>\w+)",
}
_GROUP_NAMES = {"id": "fid", "port": "fport"}

_TAG = re.compile(r"<(/?[\w\-]+/?)>")
_CUSTOM_TAG = re.compile(r"(/?)F-([A-Z0-9_\-]+)$")
# Flags that open a group, ``((?i)…)``: Python wants them written ``(?i:…)``.
_FLAGS_IN_GROUP = re.compile(r"(?<!\\)\((?:\?:)?\(\?([a-z]+)\)")
LONG = 1 << 10
"""Characters from which on ``find_long`` is the better search."""

# Flags of the whole regex, which must stand before all else.
_FLAGS = re.compile(r"(?:\(\?[aiLmsux]+\))*")
_COMPOSED = re.compile(r"(alt_|tuple_)(.*?)(?:_\d+)?$")


class Pattern:
    """A compiled regex of the language.

    Attributes:
        source: as it was written.
        regex: as Python runs it.
        identifies: it has a group that can identify a failure.
    """

    __slots__ = ("_alternatives", "_long", "_syntax", "_tuples", "identifies", "regex", "source")

    def __init__(self, source: str, regex: re.Pattern[str]) -> None:
        self.source, self.regex = source, regex
        self.identifies = any(g in regex.groupindex for g in (*ID_GROUPS, SESSION_GROUP))
        self._alternatives = _composed(regex, "alt_")
        self._tuples = _composed(regex, "tuple_")
        self._syntax: Optional[Syntax] = None
        self._long: Optional[re.Pattern[str]] = None

    @property
    def syntax(self) -> Syntax:
        """What its syntax tree proves."""
        if self._syntax is None:
            self._syntax = syntax_of(self.regex)
        return self._syntax

    @property
    def captured(self) -> set[str]:
        """The names of the groups that it can give."""
        composed = (*self._alternatives, *self._tuples)
        return {*self.regex.groupindex, *(meant for _, meant in composed)}

    @property
    def find(self) -> Callable[[str], Optional[re.Match[str]]]:
        """Return what finds its first match in a text."""
        # ``search`` would try a regex that can only match at the begin at every place.
        return self.regex.match if self.syntax.begins else self.regex.search

    @property
    def find_long(self) -> Callable[[str], Optional[re.Match[str]]]:
        """Return what finds the same in a long text, and can be ended by a signal.

        ``search`` begins to count the steps between two looks for signals anew at each place of
        the text, so that it may never look. The match begins where the text does.
        """
        if self.syntax.begins:
            return self.regex.match
        if self._long is None:
            self._long = _patient(self.regex)
        return self._long.search if self._long is self.regex else self._long.match

    def can_begin(self, head: str) -> bool:
        """Return whether it can match a text with this first character."""
        syntax = self.syntax
        return not syntax.begins or syntax.heads is None or head in syntax.heads

    def excuses(self) -> bool:
        """Return whether each match is harmless and the end of its session.

        Where no such session is open, it changes nothing at all.
        """
        if self._composes_session():
            return False
        ends = self.syntax.takes_part("mlfforget")
        return ends and any(map(self.syntax.takes_part, ("nofail", "mlfgained")))

    def says_session(self) -> bool:
        """Return whether each match says which session it is of, in one group."""
        return self.syntax.takes_part(SESSION_GROUP, 0) and not self._composes_session()

    def _composes_session(self) -> bool:
        composed = (*self._alternatives, *self._tuples)
        return any(meant == SESSION_GROUP for _, meant in composed)

    def spans(self, match: re.Match[str], at: int) -> Optional[dict[str, Optional[Span]]]:
        """Return where the values of ``groups`` stand, or None where one is no piece of the text.

        Args:
            match: of a text.
            at: where that text stands in another.
        """
        if self._tuples:
            return None
        found: dict[str, Optional[Span]] = {}
        for name in self.regex.groupindex:
            begin, end = match.span(name)
            found[name] = None if begin < 0 else (at + begin, at + end)
        for name, meant in self._alternatives:
            span, other = found[name], found.get(meant)
            if span and span[0] < span[1] and not (other and other[0] < other[1]):
                found[meant] = span
        return found

    def groups(self, match: re.Match[str]) -> Groups:
        """Return the values of a match, ``alt_`` and ``tuple_`` groups put where they belong."""
        values: Groups = match.groupdict()
        for name, meant in self._alternatives:
            if values[name] and not values.get(meant):
                values[meant] = values[name]
        for name, meant in self._tuples:
            before, value = values.get(meant), match[name]
            parts = before if isinstance(before, tuple) else (before,)
            values[meant] = (*parts, value)
        return values


def compile_pattern(
    text: str, *, option: str, index: int = 0, usedns: str = "warn", multiline: bool = False
) -> Pattern:
    """Return the compiled regex.

    Args:
        text: as written in the configuration.
        option: ``failregex``, ``prefregex`` or ``ignoreregex``; for errors.
        index: which of the option's regexes; for errors.
        usedns: with ``no``, ``<HOST>`` is an address only.
        multiline: ``^`` and ``$`` match at every line of a buffer.

    Raises:
        RegexError: it is empty or does not compile.
    """
    if not text.strip():
        raise RegexError("empty regex", option=option, index=index)
    regex = _FLAGS_IN_GROUP.sub(r"(?\1:", _expanded(text, usedns))
    try:
        with warnings.catch_warnings():
            # `[[` and the like: Python may change its mind one day; users cannot act on it.
            warnings.simplefilter("ignore")
            compiled = re.compile(regex, re.MULTILINE if multiline else 0)
    except (re.error, RecursionError, OverflowError) as exc:
        position = getattr(exc, "pos", None)
        near = "" if position is None else f", near {regex[position : position + 20]!r}"
        raise RegexError(
            f"does not compile: {exc}{near}: {text}", option=option, index=index, position=position
        ) from exc
    return Pattern(text, compiled)


def merged(base: Groups, own: Groups) -> Groups:
    """Return prefregex's groups with those of failregex over them, where they took part."""
    for name, value in base.items():
        if own.get(name) is None:
            own[name] = value
    return own


def require_ids(prefregex: Sequence[Pattern], failregex: Sequence[Pattern]) -> None:
    """See that each failregex, or prefregex for all of them, says who failed.

    Raises:
        RegexError: one does not.
    """
    if any(pattern.identifies for pattern in prefregex):
        return
    for index, pattern in enumerate(failregex):
        if not pattern.identifies:
            raise RegexError(
                f"nothing in it says who failed: {pattern.source}",
                option="failregex",
                index=index,
                remedy="put <HOST>, <ADDR> or <F-ID>…</F-ID> where the address stands",
            )


def _expanded(text: str, usedns: str) -> str:
    opened: set[str] = set()
    skips = 0

    def expand(match: re.Match[str]) -> str:
        nonlocal skips
        tag = match[1]
        if tag == "HOST":
            return _ADDR if usedns == "no" else _HOST
        if tag == "SKIPLINES":
            skips += 1
            return rf"\n(?P<skiplines{skips - 1}>(?:(?:.*\n)*?))"
        if tag in _FIXED:
            return _FIXED[tag]
        custom = _CUSTOM_TAG.match(tag)
        if custom is None:
            return match[0]
        closing, name = custom.groups()
        if closing:
            return ")" if name in opened else match[0]
        opened.add(name)
        name = name.lower()
        return f"(?P<{_GROUP_NAMES.get(name, name)}>"

    return _TAG.sub(expand, text)


def _patient(regex: re.Pattern[str]) -> re.Pattern[str]:
    """Return a regex that matches from the begin on where another one is found."""
    own = regex.pattern[_FLAGS.match(regex.pattern).end() :]  # type: ignore[union-attr]
    end = "\n" if regex.flags & re.VERBOSE else ""
    try:
        return re.compile(f"(?s:.*?)(?:{own}{end})", regex.flags)
    except (re.error, RecursionError, OverflowError):
        return regex


def _composed(regex: re.Pattern[str], prefix: str) -> list[tuple[str, str]]:
    found = []
    for name in regex.groupindex:
        match = _COMPOSED.match(name) if len(name) > len("alt_") else None
        if match and match[1] == prefix:
            meant = match[2].lower()
            found.append((name, _GROUP_NAMES.get(meant, meant)))
    return sorted(found)
