# SPDX-License-Identifier: MIT
"""What words of a command line mean: a filter, a log."""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import IO, NamedTuple, Optional, cast

from stockade_agent import config
from stockade_agent.config.faults import nearest
from stockade_agent.config.parameters import BadParameters, Call, parse
from stockade_agent.errors import RegexError, StockadeError
from stockade_agent.failregex import compile_pattern
from stockade_agent.lines import log_encoding
from stockade_agent.specs import FilterSpec


FILE, JOURNAL = "file", "journal"
"""What ``<logtype>`` is."""

_FILTER = re.compile(r"/{0,3}[\w/.\-]+(?:\[.*\])?", re.DOTALL)
_JOURNAL = re.compile(r"(?:systemd-)?journal(?:\[.*\])?", re.DOTALL)
_SUFFIXES = ("", ".conf", ".local")
_GZIP = b"\x1f\x8b"

Line = tuple[str, Optional[float]]
"""A log line, and its time where that does not stand in it."""


class Choice(NamedTuple):
    """A filter that was asked for.

    Attributes:
        kind: ``jail``, ``filter`` or ``regex``.
        name: of the jail, or the file, or the regex.
    """

    kind: str
    name: str
    spec: FilterSpec
    parameters: dict[str, str]


def choose(text: str, directory: str, logtype: str = FILE, *, identifies: bool = True) -> Choice:
    """Return the filter that is meant: a jail's, one of ``filter.d``, a file's, or a regex.

    Args:
        text: ``sshd``, ``sshd[mode=ddos]``, ``./my.conf``, or a regex.
        directory: the configuration.
        identifies: a regex would have to say who failed.

    Raises:
        StockadeError: it is a filter, and wrong.
    """
    if not _FILTER.fullmatch(text):
        return _regex(text)
    try:
        call = parse(text)
    except BadParameters as error:
        if os.path.exists(text):
            call = Call(text, {})
        else:
            raise StockadeError(f"{text}: {error}") from None
    given = dict(call.parameters)
    bare = "/" not in call.name and not call.name.endswith(_SUFFIXES[1:])
    if bare and call.name in config.jail_names(directory):
        backend = "systemd" if logtype == JOURNAL else "auto"
        spec = config.jail_filter(directory, call.name, {"backend": backend, **given})
        return Choice("jail", call.name, spec, given)
    path = _file(call.name, directory)
    if path is not None:
        spec = config.filter_spec(directory, path, given, logtype=logtype)
        return Choice("filter", path, spec, given)
    if identifies and not _identifies(text):
        # A bare word that cannot be a failregex was meant to be a name.
        raise _unknown(call.name, directory)
    return _regex(text)


def _identifies(text: str) -> bool:
    try:
        return compile_pattern(text, option="failregex").identifies
    except RegexError:
        return False


def _unknown(name: str, directory: str) -> StockadeError:
    known = {*config.jail_names(directory), *config.filter_names(directory)}
    return StockadeError(
        f"{name}: neither a jail nor a filter of {directory}, and a regex must say who failed",
        remedy=nearest(name, known) or "put <HOST> where the address stands",
    )


def _regex(text: str) -> Choice:
    return Choice("regex", text, FilterSpec(name="", failregex=(text,)), {})


def _file(name: str, directory: str) -> Optional[str]:
    """Return the path of a filter's file, or None."""
    if os.path.dirname(name) == "filter.d":
        base = os.path.join(directory, name)
    elif "/" in name:
        base = name
    elif os.path.basename(os.path.normpath(directory)) == "filter.d":
        base = os.path.join(directory, name)
    else:
        base = os.path.join(directory, "filter.d", name)
    for suffix in _SUFFIXES:
        if os.path.isfile(base + suffix):
            return base + suffix
    return None


class LogFile:
    """A log file, plain or compressed by gzip, or standard input (``-``).

    Args:
        encoding: of its text; ``auto`` for the locale's.

    Attributes:
        size: its bytes, or 0 where that is not known.

    Raises:
        StockadeError: it cannot be read, or nobody knows the encoding.
    """

    def __init__(self, path: str, encoding: str) -> None:
        self.encoding = log_encoding(encoding)
        self._path = path
        try:
            self._raw: IO[bytes] = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
            self.size = 0 if path == "-" else os.fstat(self._raw.fileno()).st_size
        except OSError as error:
            raise StockadeError(f"{path}: {error.strerror}") from None

    def read(self) -> int:
        """Return how many of the file's bytes have been read."""
        return self._raw.tell() if self.size else 0

    def __iter__(self) -> Iterator[Line]:
        """Yield each line without its end; the last one may lack it."""
        raw: IO[bytes] = self._raw
        if self.size and raw.read(len(_GZIP)) == _GZIP:
            raw = cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
        try:
            if self.size:
                self._raw.seek(0)
            text = io.TextIOWrapper(raw, self.encoding, errors="replace", newline="\n")
            for line in text:
                yield line.rstrip("\r\n"), None
        except (OSError, EOFError) as error:
            raise StockadeError(f"{self._path}: {error}") from None
        finally:
            self._raw.close()


def journal(text: str) -> Optional[dict[str, str]]:
    """Return the parameters of ``journal[…]``, or None for any other text.

    Raises:
        StockadeError: the brackets cannot be understood.
    """
    if not _JOURNAL.fullmatch(text):
        return None
    try:
        return parse(text).parameters
    except BadParameters as error:
        raise StockadeError(f"{text}: {error}") from None


def no_file(text: str) -> str:
    """Return what to tell whoever meant a file with what is none, or ""."""
    if "\n" in text or " " in text or "/" not in text:
        return ""
    return f"{text}: no such file; it is taken as a log line"
