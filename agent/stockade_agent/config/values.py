# SPDX-License-Identifier: MIT
"""Durations, switches, ports: what the text of an option means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Callable, Optional

from stockade_agent.config.faults import nearest
from stockade_agent.specs import LogPath


class BadValue(ValueError):
    """An option's text has no meaning.

    Attributes:
        remedy: what to write instead, or "".
        needle: the part of the text that is at fault; "" for all of it.
    """

    def __init__(self, message: str, remedy: str = "", needle: str = "") -> None:
        super().__init__(message)
        self.remedy, self.needle = remedy, needle


# ---- durations --------------------------------------------------------------------------------

YEAR = 31557600
_UNITS = (
    ("y yy ye yea year years", YEAR),
    ("mo mon month months", YEAR / 12),
    ("w ww we wee week weeks", 604800),
    ("d dd da day days", 86400),
    ("h hh ho hou hour hours", 3600),
    ("m mm mi min minute minutes", 60),
    ("s ss se sec second seconds", 1),
)
_SECONDS = {word: float(seconds) for words, seconds in _UNITS for word in words.split()}
_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]*)?|\.[0-9]+)|([a-z]+)|([-+*/()]))", re.IGNORECASE)
_LONGEST = 100


def duration(text: str) -> float:
    """Return the seconds that ``text`` stands for: ``10m``, ``1d12h``, ``3600*24``, ``-1``.

    Numbers that stand side by side are added.

    Raises:
        BadValue: an unknown word, or no expression at all.
    """
    if len(text) > _LONGEST:
        raise BadValue(f"a duration of {len(text)} characters")
    return _Expression(text).value()


class _Expression:
    """Sums of products of numbers, where a unit multiplies what stands before it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pieces: list[str] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            piece = _TOKEN.match(text, at)
            if piece is None:
                raise self.bad()
            self.pieces.append((piece.group(1) or piece.group(2) or piece.group(3)).lower())
            at = piece.end()
        self.pieces.reverse()

    def value(self) -> float:
        result = self.sum()
        if self.pieces:
            raise self.bad()
        return result

    def bad(self) -> BadValue:
        return BadValue(f"{self.text!r} is no duration", "for example 600, 10m, 1h 30m, 1d12h, -1")

    def next_is(self, *pieces: str) -> bool:
        return bool(self.pieces) and self.pieces[-1] in pieces

    def sum(self) -> float:
        result = self.product()
        while self.pieces and not self.next_is(")"):
            sign = self.pieces.pop() if self.next_is("+", "-") else "+"
            product = self.product()
            result = result - product if sign == "-" else result + product
        return result

    def product(self) -> float:
        result = self.factor()
        while self.pieces:
            piece = self.pieces[-1]
            if piece.isalpha():
                result *= self.unit(self.pieces.pop())
            elif piece == "*":
                self.pieces.pop()
                result *= self.factor()
            elif piece == "/":
                self.pieces.pop()
                divisor = self.factor()
                if not divisor:
                    raise BadValue(f"{self.text!r} divides by zero")
                result /= divisor
            else:
                break
        return result

    def factor(self) -> float:
        if not self.pieces:
            raise self.bad()
        piece = self.pieces.pop()
        if piece in "+-":
            return -self.factor() if piece == "-" else self.factor()
        if piece == "(":
            result = self.sum()
            if not self.next_is(")"):
                raise self.bad()
            self.pieces.pop()
            return result
        try:
            return float(piece)
        except ValueError:
            raise self.bad() from None

    def unit(self, word: str) -> float:
        seconds = _SECONDS.get(word)
        if seconds is None:
            hint = nearest(word, (name for name in _SECONDS if len(name) > 2), 0.75)
            raise BadValue(
                f"unknown unit {word!r} in {self.text!r}",
                hint or "units are seconds, minutes, hours, days, weeks, months, years",
            )
        return seconds


# ---- single words -----------------------------------------------------------------------------

WIDEST, SINGLE = 32, 128
"""Lengths of what the largest of providers has, and of an address of IPv6."""

_TRUE = frozenset(("1", "on", "true", "yes"))
FALSE = frozenset(("0", "off", "false", "no", ""))


def boolean(text: str) -> bool:
    """Return True for 1, on, true and yes in any case; whatever else is False."""
    return text.lower() in _TRUE


def is_boolean(text: str) -> bool:
    """Tell whether somebody who wrote ``text`` knew what a switch is."""
    return text.lower() in _TRUE or text.lower() in FALSE


def integer(text: str) -> int:
    """Return the whole number that ``text`` is.

    Raises:
        BadValue: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise BadValue(f"{text!r} is no whole number", "write digits") from None


def prefix6_length(text: str) -> Optional[int]:
    """Return the length of a prefix of IPv6, or None for single addresses: nothing, or 128.

    Raises:
        BadValue: it is none, or of more than an owner ever has.
    """
    if not text:
        return None
    length = integer(text.lstrip("/"))
    if not WIDEST <= length <= SINGLE:
        raise BadValue(f"{text} is no prefix length from {WIDEST} to {SINGLE}", "for example 64")
    return length if length < SINGLE else None


def wider_than(length: Optional[int]) -> Callable[[str], tuple[int, ...]]:
    """Return a reader of lengths of prefixes larger than one, which returns the smallest first."""

    def read(text: str) -> tuple[int, ...]:
        found = [prefix6_length(word) for word in words(text)]
        wider = sorted({each for each in found if each is not None}, reverse=True)
        if length is not None and wider and wider[0] >= length:
            raise BadValue(f"/{wider[0]} is not wider than prefix6 = {length}", "write less")
        return tuple(wider)

    return read


def words(text: str) -> tuple[str, ...]:
    """Return what commas and white space part."""
    return tuple(word for word in re.split(r"[\s,]+", text) if word)


def logpaths(text: str) -> tuple[LogPath, ...]:
    """Return one glob a line; a last word ``tail`` or ``head`` says where to begin."""
    paths = []
    for line in text.split("\n"):
        pattern, _, mode = line.rpartition(" ")
        if mode in ("head", "tail") and pattern:
            paths.append(LogPath(pattern.strip(), tail=mode == "tail"))
        elif line:
            paths.append(LogPath(line))
    return tuple(paths)


# ---- ports ------------------------------------------------------------------------------------

HIGHEST_PORT = 65535
PROTOCOLS = ("tcp", "udp", "sctp", "dccp", "udplite")
# Minimal hosts come without /etc/services.
_USUAL = {
    "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "tftp": 69,
    "http": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "nntp": 119, "ntp": 123,
    "imap": 143, "imap2": 143, "snmp": 161, "irc": 194, "ldap": 389, "https": 443,
    "urd": 465, "smtps": 465, "submissions": 465, "ssmtp": 465, "submission": 587, "ldaps": 636,
    "rsync": 873, "ftps-data": 989, "ftps": 990, "telnets": 992, "imaps": 993, "pop3s": 995,
    "socks": 1080, "openvpn": 1194, "mysql": 3306, "rdp": 3389, "ms-wbt-server": 3389,
    "sieve": 4190, "sip": 5060, "sips": 5061, "sip-tls": 5061, "xmpp-client": 5222,
    "postgresql": 5432, "rfb": 5900, "vnc": 5900, "x11": 6000, "redis": 6379, "ircd": 6667,
    "http-alt": 8080, "webcache": 8080, "amanda": 10080, "zabbix-agent": 10050, "webmin": 10000,
}  # fmt: skip


@lru_cache(maxsize=4)
def _services(path: str) -> dict[str, int]:
    """Return what ``/etc/services`` names; where it has several protocols, the first."""
    names: dict[str, int] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.partition("#")[0].split()
                if len(fields) > 1:
                    port = fields[1].partition("/")[0]
                    if port.isascii() and port.isdigit():
                        for name in (fields[0], *fields[2:]):
                            names.setdefault(name, int(port))
    except OSError:
        return {}
    return names


def ports(text: str, services: str = "/etc/services") -> tuple[tuple[int, int], ...]:
    """Return inclusive ranges, sorted and joined; none means every port.

    Raises:
        BadValue: an unknown name, or no port at all.
    """
    ranges = []
    for word in words(text):
        if word.lower() in ("all", "any"):
            return ()
        first, last = _range(word, services)
        if first <= 1 and last == HIGHEST_PORT:
            return ()
        ranges.append((first, last))
    if not ranges:
        raise BadValue("no port", "name ports such as ssh,5901,6000:6010, or 0:65535 for all")
    return join_ranges(ranges)


def _range(word: str, services: str) -> tuple[int, int]:
    first, colon, last = word.partition(":")
    if not colon and re.fullmatch(r"[0-9]+-[0-9]+", word):
        first, colon, last = word.partition("-")
    begin = _port(first, services) if first else 0
    end = (_port(last, services) if last else HIGHEST_PORT) if colon else begin
    if begin > end:
        raise BadValue(f"port range {word} runs backwards", needle=word)
    return begin, end


def _port(word: str, services: str) -> int:
    number: Optional[int] = None
    if word.isascii() and word.isdigit():
        number = int(word) if len(word) < 6 else HIGHEST_PORT + 1
        if number > HIGHEST_PORT:
            raise BadValue(f"port {word} is greater than {HIGHEST_PORT}", needle=word)
        return number
    known = _services(services)
    number = known.get(word, _USUAL.get(word))
    if number is None:
        raise BadValue(f"unknown port {word!r}", nearest(word, {**_USUAL, **known}), word)
    return number


def join_ranges(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return inclusive ranges sorted, those that touch joined."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def protocols(text: str) -> tuple[str, ...]:
    """Return the protocols that have ports, in the order written; ``all`` is tcp and udp.

    Raises:
        BadValue: an unknown name.
    """
    found = []
    for word in words(text.lower()):
        if word in ("all", "any"):
            return ("tcp", "udp")
        if word not in PROTOCOLS:
            hint = nearest(word, (*PROTOCOLS, "all"))
            raise BadValue(f"unknown protocol {word!r}", hint, word)
        if word not in found:
            found.append(word)
    return tuple(found) or ("tcp",)
