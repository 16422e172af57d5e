# SPDX-License-Identifier: MIT
"""The journal, read once through one ``journalctl``, whatever number of jails looks at it.

The child is asked for the union of all matches; which watch an entry belongs to is decided
here. It sleeps in the kernel while the journal is quiet, and ends by itself when its output
is closed: it cannot outlive the agent.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from stockade_agent.journals import SYSTEM, Key, Which, inodes, renamed
from stockade_agent.model import Block
from stockade_agent.sources import Watch
from stockade_agent.sources.entries import entry_of, same, text_of, time_of, values
from stockade_agent.sources.kept import gone


LOG = "journal"
"""The name of the system's own journal, in blocks and positions."""

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
LOOK = 2.0
"""Seconds between looks whether files that are named one by one were rotated."""
CHUNK = 1 << 20
FULL = 32 << 10
"""Bytes read at once from which on the pipe may have been full: it holds 64 KB, less by pages."""
LONGEST = 16 << 20
"""Bytes of the longest entry as it is handed over: five for each byte of a line, at worst."""
LINE = 1 << 20
"""Bytes of the longest line; a longer one is skipped and said."""

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
    """The source of all entries of one journal; see ``Source`` for what it promises.

    Args:
        watches: lines of ``journalmatch`` and who asks for them.
        position: the ``Block.position`` of the last block dealt with, or "".
        since: the earliest entry wanted (seconds, UTC), whatever the position says; None: only
            what is logged from now on, where there is no position.
        journalctl: the command; its arguments follow.
        machine_id: file with the id that this host's own entries carry.
        which: the journal.
        name: its own, in blocks and problems.
        away: nobody has read since the position was noted.
    """

    def __init__(
        self,
        watches: Sequence[Watch],
        position: str = "",
        since: Optional[float] = None,
        journalctl: Sequence[str] = ("journalctl",),
        machine_id: str = "/etc/machine-id",
        which: Which = SYSTEM,
        name: str = LOG,
        *,
        away: bool = False,
    ) -> None:
        self._which, self._name = which, name
        self._inodes: frozenset[Key] = frozenset()
        self._former: tuple[str, ...] = ()
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
        self._overlong = self._lost = self._lost_to = 0
        self._resumed = ""
        at = _CURSOR_TIME.search(position)
        if since is not None and at and int(at.group(1), 16) / 1e6 < since:
            self._position = ""
        if away:
            self._look_behind()

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
        if self._child is not None:
            return PROOF if self._failures else LOOK if self._which.files else None
        if not self._watches:
            return None
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
                self._problems.pop(self._name, None)
            self._started = True
            if data is None:
                if self._which.files and not self._failures:
                    self._follow_rotation()
                return
            self._ready.extend(self._blocks(data))
            if len(data) >= FULL:
                self._look_behind()
            while self._ready:
                yield self._ready.popleft()

    def logs(self) -> Mapping[str, Sequence[str]]:
        """Return watch name -> its lines of journalmatch."""
        return {name: self._texts[name] or ("all entries",) for name, _ in self._watches}

    def problems(self) -> Mapping[str, str]:
        """Return the journal's or a watch's name -> what is wrong."""
        found = dict(self._problems)
        said = []
        if self._overlong:
            said.append(f"{self._overlong} lines over {LINE >> 20} MB were skipped")
        if self._lost:
            said.append(f"up to {self._lost} entries were removed before they were read")
        if said:
            found.setdefault(self._name, "; ".join(said))
        return found

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
        told += self._which.options
        told += [f"--file={path}" for path in self._former if os.path.exists(path)]
        told.append("--output-fields=" + ",".join(fields))
        if self._position:
            # Until systemd 254 --after-cursor skips an entry also where the cursor's own is gone.
            told += ["--no-tail", f"--cursor={self._position}"]
        elif self._since is not None:
            told += ["--no-tail", f"--since=@{int(self._since)}"]
        else:
            told.append("--lines=0")
        machine = self._own()
        own = [f"_MACHINE_ID={machine}"] if machine else []
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

    def _own(self) -> str:
        """Return the id of this host where entries that others have sent here are left out."""
        if not self._which.own:
            return ""
        try:
            with open(self._machine_id, encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            return ""

    def _start(self) -> None:
        self._inodes = inodes(self._which.files)
        if self._which.places and not inodes(self._which.places):
            self._failed(f"no journal files yet: {' '.join(self._which.places)}")
            return
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
        self._resumed = self._position

    def _look_behind(self) -> None:
        """Count what was removed behind the last entry while nobody read on.

        That is before the start, or when the pipe was full and the child had to wait for us.
        """
        lost = gone(self._position, self._which.kept(self._own()))
        if lost:
            self._lost += max(0, lost.stop - max(lost.start, self._lost_to))
            self._lost_to = lost.stop

    def _follow_rotation(self) -> None:
        """Start anew, from where we are, when other files stand under the names by now.

        The child keeps to those that it began with. They are read on, whatever their names are
        now, as the position is in one of them.
        """
        now = inodes(self._which.files)
        if now in (frozenset(), self._inodes) or self._child is None:
            return
        self._former = renamed(self._inodes - now, self._which.files)
        self._child.kill()
        self._reap()
        self._start()

    def _ended(self) -> None:
        said = self._errors.decode(errors="replace").strip().splitlines()
        code = self._reap()
        self._failed(f"journalctl ended with {code}" + (f": {said[-1]}" if said else ""))

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._problems[self._name] = why

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
            self._overlong += not self._skipping
            self._skipping, self._rest = True, b""
        names: tuple[str, ...] = ()
        texts: list[bytes] = []
        times: list[float] = []
        last = self._position
        for line in lines:
            entry = entry_of(line)
            if entry is None:
                continue
            resumed, self._resumed = self._resumed, ""
            if resumed and same(resumed, str(entry.get("__CURSOR"))):
                continue
            mine = self._wanted(entry)
            if texts and mine != names:
                yield self._block(names, texts, times, last)
                texts, times = [], []
            last = entry.get("__CURSOR") or last
            if mine:
                text = text_of(entry)
                if len(text) > LINE:
                    self._overlong += 1
                    continue
                names = mine
                texts.append(text)
                times.append(time_of(entry))
        if texts:
            yield self._block(names, texts, times, last)
        self._position = last

    def _block(
        self, names: tuple[str, ...], texts: list[bytes], times: list[float], last: str
    ) -> Block:
        self._position = last
        return Block(names, self._name, b"\n".join(texts) + b"\n", last, tuple(times))

    def _wanted(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(
            name
            for name, alternatives in self._watches
            if not alternatives
            or any(
                all(not wanted.isdisjoint(values(entry, field)) for field, wanted in group.items())
                for group in alternatives
            )
        )


def _take(fileno: int) -> Optional[bytes]:
    """Return what a pipe holds, b"" at its end, None when it is empty for now."""
    try:
        return os.read(fileno, CHUNK)
    except BlockingIOError:
        return None
