# SPDX-License-Identifier: MIT
"""The journal, read once through one ``journalctl``, whatever number of jails looks at it.

The child is asked for the union of all matches; which watch an entry belongs to is decided
here. It sleeps in the kernel while the journal is quiet, and ends by itself when its output
is closed: it cannot outlive the agent.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from stockade_agent.model import Block
from stockade_agent.sources import Watch


LOG = "journal"
"""The name of the one log of this source, in blocks and positions."""

FIELDS = (
    "MESSAGE",
    "_HOSTNAME",
    "SYSLOG_IDENTIFIER",
    "_COMM",
    "SYSLOG_PID",
    "_PID",
    "_SOURCE_REALTIME_TIMESTAMP",
    "_SOURCE_MONOTONIC_TIMESTAMP",
)
BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds until a child that has ended is started again, by the number of failures in a row."""
PROOF = 5.0
"""Seconds after which a child that was started again and has not complained counts as well."""
CHUNK = 1 << 20
LONGEST = 16 << 20
"""Bytes of the longest entry; a longer one is skipped."""

_TERM = re.compile(r"[A-Z_][A-Z0-9_]{0,63}=")
_CURSOR_TIME = re.compile(r"(?:^|;)t=([0-9a-f]+)(?:;|$)")

Group = Mapping[str, frozenset[str]]
"""Field -> the values that it may have; all fields must agree."""


def groups(lines: Sequence[str]) -> tuple[Group, ...]:
    """Return the alternatives that the lines of ``journalmatch`` describe.

    Raises:
        ValueError: a term is no ``FIELD=value``, or a quote is not closed.

    Source:
        jail.conf(5), ``journalmatch``: terms of one field are alternatives, different fields
        must all agree, ``+`` and a new line begin an alternative of their own.
    """
    found = []
    for line in lines:
        group: dict[str, set[str]] = {}
        for term in [*shlex.split(line), "+"]:
            if term == "+":
                if group:
                    found.append({field: frozenset(values) for field, values in group.items()})
                group = {}
                continue
            if not _TERM.match(term):
                raise ValueError(f"journalmatch: {term!r} is no FIELD=value")
            field, _, value = term.partition("=")
            group.setdefault(field, set()).add(value)
    return tuple(found)


class Journal:
    """The source of all journal entries of the agent; see ``Source`` for what it promises.

    Args:
        watches: lines of ``journalmatch`` and who asks for them.
        position: the ``Block.position`` of the last block dealt with, or "".
        since: the earliest entry wanted (seconds, UTC), whatever the position says; None: only
            what is logged from now on, where there is no position.
        journalctl: the command; its arguments follow.
        machine_id: file with the id that this host's own entries carry.
    """

    def __init__(
        self,
        watches: Sequence[Watch],
        position: str = "",
        since: Optional[float] = None,
        journalctl: Sequence[str] = ("journalctl",),
        machine_id: str = "/etc/machine-id",
    ) -> None:
        self._watches: list[tuple[str, tuple[Group, ...]]] = []
        self._texts = {watch.name: tuple(watch.pattern) for watch in watches}
        self._problems: dict[str, str] = {}
        for watch in watches:
            self._add(watch)
        self._command, self._position, self._since = tuple(journalctl), position, since
        self._machine_id = machine_id
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._rest = self._errors = b""
        self._ready: deque[Block] = deque()
        self._failures = 0
        self._skipping = self._started = False
        at = _CURSOR_TIME.search(position)
        if since is not None and at and int(at.group(1), 16) / 1e6 < since:
            self._position = ""

    # ---- the contract of Source

    def filenos(self) -> Sequence[int]:
        """Return the child's output and its complaints."""
        if self._child is None or self._child.stdout is None or self._child.stderr is None:
            return ()
        return self._child.stdout.fileno(), self._child.stderr.fileno()

    def due(self) -> Optional[float]:
        """Return when to start the child again, or None while it runs."""
        if self._ready:
            return 0.0
        if self._child is not None or not self._watches:
            return PROOF if self._failures and self._child is not None else None
        return BACKOFF[min(self._failures, len(BACKOFF)) - 1] if self._failures else 0.0

    def read(self) -> Iterator[Block]:
        """Yield the entries that have come, or start the child if there is none."""
        while self._ready:
            yield self._ready.popleft()
        if self._child is None and self._watches:
            self._start()
        while self._child is not None:
            out, err = self.filenos()
            complaint, data = _take(err), _take(out)
            self._errors = (self._errors + (complaint or b""))[-2000:]
            if data == b"":
                self._ended()
                return
            if self._failures and (data or self._started) and not complaint:
                self._failures = 0
                self._problems.pop(LOG, None)
            self._started = True
            if data is None:
                return
            self._ready.extend(self._blocks(data))
            while self._ready:
                yield self._ready.popleft()

    def logs(self) -> Mapping[str, Sequence[str]]:
        """Return watch name -> its lines of journalmatch."""
        return {name: self._texts[name] or ("all entries",) for name, _ in self._watches}

    def problems(self) -> Mapping[str, str]:
        """Return ``journal`` or watch name -> what is wrong."""
        return dict(self._problems)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._reap()

    def _add(self, watch: Watch) -> None:
        try:
            self._watches.append((watch.name, groups(watch.pattern)))
        except ValueError as error:
            self._problems[watch.name] = str(error)

    # ---- the child

    def arguments(self) -> list[str]:
        """Return what journalctl is told."""
        fields = dict.fromkeys(FIELDS)
        for _, alternatives in self._watches:
            for group in alternatives:
                fields.update(dict.fromkeys(group))
        # Without --merge, --follow leaves out what was written before the last boot.
        told = ["--follow", "--merge", "--output=json", "--all", "--quiet", "--no-pager"]
        told.append("--system")
        told.append("--output-fields=" + ",".join(fields))
        if self._position:
            told += ["--no-tail", f"--after-cursor={self._position}"]
        elif self._since is not None:
            told += ["--no-tail", f"--since=@{int(self._since)}"]
        else:
            told.append("--lines=0")
        own = self._own_entries()
        if all(alternatives for _, alternatives in self._watches):
            unions = dict.fromkeys(
                tuple(f"{field}={value}" for field in group for value in sorted(group[field]))
                for _, alternatives in self._watches
                for group in alternatives
            )
            for union in unions:
                told += [*own, *union, "+"]
            del told[-1]
        else:
            told += own
        return told

    def _own_entries(self) -> list[str]:
        """Return the match that leaves out what other hosts have sent to this one's journal."""
        try:
            with open(self._machine_id, encoding="ascii") as file:
                machine = file.read().strip()
        except OSError:
            return []
        return [f"_MACHINE_ID={machine}"] if machine else []

    def _start(self) -> None:
        try:
            self._child = subprocess.Popen(
                [*self._command, *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        except OSError as error:
            self._failed(f"{self._command[0]}: {error.strerror}")
            return
        for fileno in self.filenos():
            os.set_blocking(fileno, False)
        self._rest = self._errors = b""
        self._skipping = self._started = False

    def _ended(self) -> None:
        said = self._errors.decode(errors="replace").strip().splitlines()
        code = self._reap()
        self._failed(f"journalctl ended with {code}" + (f": {said[-1]}" if said else ""))

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._problems[LOG] = why

    def _reap(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        try:
            return child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    # ---- its entries

    def _blocks(self, data: bytes) -> Iterator[Block]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._skipping and lines:
            self._skipping = False
            del lines[0]
        if len(self._rest) > LONGEST:
            self._problems[LOG] = f"an entry over {LONGEST >> 20} MB was skipped"
            self._skipping, self._rest = True, b""
        names: tuple[str, ...] = ()
        texts: list[bytes] = []
        times: list[float] = []
        last = self._position
        for line in lines:
            entry = _entry(line)
            if entry is None:
                continue
            mine = self._wanted(entry)
            if texts and mine != names:
                yield self._block(names, texts, times, last)
                texts, times = [], []
            last = entry.get("__CURSOR") or last
            if mine:
                names = mine
                texts.append(_text(entry))
                times.append(_time(entry))
        if texts:
            yield self._block(names, texts, times, last)
        self._position = last

    def _block(
        self, names: tuple[str, ...], texts: list[bytes], times: list[float], last: str
    ) -> Block:
        self._position = last
        return Block(names, LOG, b"\n".join(texts) + b"\n", last, tuple(times))

    def _wanted(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(
            name
            for name, alternatives in self._watches
            if not alternatives
            or any(
                all(not wanted.isdisjoint(_values(entry, field)) for field, wanted in group.items())
                for group in alternatives
            )
        )


def _take(fileno: int) -> Optional[bytes]:
    """Return what a pipe holds, b"" at its end, None when it is empty for now."""
    try:
        return os.read(fileno, CHUNK)
    except BlockingIOError:
        return None


def _entry(line: bytes) -> Optional[dict[str, Any]]:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _bytes(value: Any) -> bytes:
    """Return a field's bytes: text, an array of bytes, or several values, joined by a space."""
    if isinstance(value, str):
        return value.encode(errors="replace")
    if not isinstance(value, list):
        return b""
    if all(isinstance(item, int) for item in value):
        return bytes(item & 0xFF for item in value)
    return b" ".join(_bytes(item) for item in value)


def _values(entry: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = entry.get(field)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and not all(isinstance(item, int) for item in value):
        return tuple(_bytes(item).decode(errors="replace") for item in value)
    return (_bytes(value).decode(errors="replace"),) if value is not None else ()


def line_of(entry: bytes) -> Optional[tuple[bytes, float]]:
    """Return the log line that an entry of ``--output=json`` is, and its time, or None."""
    parsed = _entry(entry)
    return None if parsed is None else (_text(parsed), _time(parsed))


def _text(entry: Mapping[str, Any]) -> bytes:
    """Return the log line that an entry is.

    Source:
        fail2ban's systemd backend, as observed: host, identifier with process id, message.
    """
    parts = [_bytes(entry.get("_HOSTNAME"))]
    name = _bytes(entry.get("SYSLOG_IDENTIFIER")) or _bytes(entry.get("_COMM"))
    if name:
        pid = _bytes(entry.get("SYSLOG_PID")) or _bytes(entry.get("_PID"))
        parts.append(name + (b"[%b]:" % pid if pid else b":"))
        if parts[-1] == b"kernel:":
            uptime = entry.get("_SOURCE_MONOTONIC_TIMESTAMP") or entry.get("__MONOTONIC_TIMESTAMP")
            parts.append(b"[%12.6f]" % (_number(uptime) / 1e6))
    parts = [part for part in parts if part]
    parts.append(_bytes(entry.get("MESSAGE")))
    return b" ".join(parts).replace(b"\n", b"\\n")


def _time(entry: Mapping[str, Any]) -> float:
    stamp = _number(entry.get("_SOURCE_REALTIME_TIMESTAMP"))
    return (stamp or _number(entry.get("__REALTIME_TIMESTAMP"))) / 1e6


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
