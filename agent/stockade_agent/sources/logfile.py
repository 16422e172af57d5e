# SPDX-License-Identifier: MIT
"""Log files, each read once, followed through rotation, truncation and late appearance.

A ``Log`` is a path and what stands behind it over time; an ``OpenLog`` is one inode. When
another inode takes a path over, the old one is read to its end first, and stays open for a
writer that has not noticed yet, until it is deleted or the path changes hands again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Callable, Optional

from stockade_agent.model import Block
from stockade_agent.sources import Watch
from stockade_agent.sources.allotment import allotted, most, statuses
from stockade_agent.sources.inotify import Inotify
from stockade_agent.sources.notices import POLL, TOLD, Notices
from stockade_agent.sources.openlog import Key, Log, OpenLog, Position
from stockade_agent.sources.rotated import former, since, truncated
from stockade_agent.sources.survey import Survey, is_glob


RETRY = 10.0
"""Seconds until a log is tried again whose trouble no event will end, such as an I/O error."""
PATIENCE = 1000
"""Rounds of events after which it is tried although there was no moment of rest."""


class LogFiles:
    """The source of all log files of the agent; see ``Source`` for what it promises.

    Args:
        watches: globs and who asks for them.
        positions: log -> ``Block.position`` of the last block dealt with.
        kernel: makes the inotify instance; where it raises OSError, files are looked at every
            second instead.
        limit: how many files may be open; by default what the process may hold.
    """

    def __init__(
        self,
        watches: Sequence[Watch],
        positions: Mapping[str, str],
        kernel: Callable[[], Inotify] = Inotify,
        limit: int = 0,
    ) -> None:
        self._watches = tuple(watches)
        self._limit = limit or most()
        self._saved = {
            log: position
            for log, text in positions.items()
            if (position := Position.parse(text)) is not None
        }
        self._logs: dict[str, Log] = {}
        self._dirty: dict[str, Log] = {}
        self._problems: dict[str, str] = {}
        self._read_problems: dict[str, str] = {}
        self._owners: dict[OpenLog, Log] = {}
        self._holders: dict[Key, Log] = {}
        self._wanted: dict[str, set[str]] = {}
        self._refused: Mapping[str, int] = {}
        self._heads: set[str] = set()
        self._gone: set[str] = set()
        self._put_off = 0
        self._stale = self._first = True
        self._notices = Notices(kernel)

    # ---- the contract of Source

    def filenos(self) -> Sequence[int]:
        """Return the inotify descriptor, if there is one."""
        return self._notices.filenos

    def due(self) -> Optional[float]:
        """Return when to look again although inotify is silent; None while it tells all."""
        if self._stale or self._dirty:
            return 0.0
        if self._notices.problem:
            return POLL
        return RETRY if self._read_problems else None

    def read(self) -> Iterator[Block]:
        """Yield what has come, a block of each log in turn."""
        busy = self._hear() or bool(self._dirty)
        # What one log does is no reason to look at all others again, but may not prevent it.
        self._put_off = self._put_off + 1 if busy else PATIENCE
        if self._notices.problem or (self._read_problems and self._put_off >= PATIENCE):
            self._stale = True
        if self._stale:
            self._survey()
            if self._notices.problem:
                self._dirty.update(self._logs)
        while self._dirty:
            path, log = next(iter(self._dirty.items()))
            del self._dirty[path]
            try:
                block = self._next(log)
            except OSError as error:
                self._trouble(log, error)
                continue
            if block is not None:
                self._dirty[path] = log
                yield block

    def logs(self) -> Mapping[str, Sequence[str]]:
        """Return watch name -> paths that it covers and that are open."""
        found: dict[str, list[str]] = {watch.name: [] for watch in self._watches}
        for path, log in sorted(self._logs.items()):
            for name in log.names if log.file and path not in self._gone else ():
                found[name].append(path)
        return found

    def problems(self) -> Mapping[str, str]:
        """Return path or watch name -> why it cannot be read."""
        found = {**self._problems, **self._read_problems}
        for log in self._logs.values():
            if log.file and log.file.overlong:
                found.setdefault(log.path, f"{log.file.overlong} lines over 1 MB were skipped")
        if self._notices.problem:
            found["inotify"] = self._notices.problem
        logs = (log for log in self._logs.values() if log.file and log.path not in self._gone)
        served = {name for log in logs for name in log.names}
        for watch in () if self._first else self._watches:
            shut = sorted(self._wanted[watch.name] & found.keys() - self._logs.keys())
            wrong = [f"{path}: {found[path]}" for path in shut]
            if not wrong and watch.name not in served:
                wrong = [f"no file yet: {' '.join(watch.pattern)}"]
            if watch.name in self._refused:
                wrong.append(f"{self._refused[watch.name]} files more than may be open")
            if wrong:
                found[watch.name] = "; ".join(wrong)
        return found

    def close(self) -> None:
        """Release every descriptor."""
        for log in self._logs.values():
            for file in log.files():
                file.close()
        self._logs.clear()
        self._dirty.clear()
        self._notices.close()

    def _hear(self) -> bool:
        """Note what has changed; return whether anything was told."""
        heard = self._notices.heard()
        if heard.lost:
            self._dirty.update(self._logs)
        self._stale = self._stale or heard.lost or heard.moved
        for file in heard.files:
            log = self._owners[file]
            self._dirty[log.path] = log
        return heard.any

    # ---- which files there are

    def _survey(self) -> None:
        self._stale, self._put_off = False, 0
        self._read_problems.clear()
        self._problems = {}
        self._notices.begin()
        self._wanted = {watch.name: set() for watch in self._watches}
        names: dict[str, set[str]] = {}
        literals = set()
        for watch in self._watches:
            for pattern in watch.pattern:
                survey = Survey(self._notices.attend)
                paths = survey.find(pattern)
                self._problems.update(survey.problems)
                self._wanted[watch.name].update(paths, survey.problems)
                for path in paths:
                    names.setdefault(path, set()).add(watch.name)
                if not is_glob(pattern):
                    literals.update(paths)
                if not watch.tail:
                    self._heads.update(paths)
        self._notices.end()

        inodes: dict[Key, list[str]] = {}
        found = statuses(names, self._problems)
        allowed, self._refused = allotted(names, found, self._logs, self._limit)
        for path in allowed:
            inodes.setdefault((found[path].st_dev, found[path].st_ino), []).append(path)
        self._holders = {file.key: log for log in self._logs.values() for file in log.files()}
        kept = set()
        for key, paths in inodes.items():
            log = self._assign(key, paths, inodes)
            if log is not None:
                log.names = tuple(sorted(set().union(*(names[path] for path in paths))))
                log.literal = not literals.isdisjoint(paths)
                kept.add(log.path)
        self._gone = self._logs.keys() - kept
        for path in self._gone:
            self._vanished(self._logs[path])
        owners = {file: log for log in self._logs.values() for file in log.files()}
        for file in owners.keys() - self._owners.keys():
            self._notices.listen(file)
        self._owners, self._first = owners, False

    def _assign(self, key: Key, paths: list[str], inodes: Mapping[Key, object]) -> Optional[Log]:
        """Return the one log that reads an inode, opened where it has to go on."""
        holder = self._holders.get(key)
        file = next((f for f in holder.files() if f.key == key), None) if holder else None
        if holder is not None and holder.file is file and holder.path in paths:
            return holder
        path = paths[0]
        before: list[OpenLog] = []
        if file is None:
            try:
                file = OpenLog(path)
            except OSError as error:
                if not isinstance(error, FileNotFoundError):
                    self._trouble_at(path, error)
                return None
            if file.key != key:
                file.close()
                self._stale = True
                return self._logs.get(path)
            try:
                before = self._place(file, inodes)
            except OSError as error:
                file.close()
                self._trouble_at(path, error)
                return None
        log = self._logs.setdefault(path, Log(path))
        if holder is not None and holder is not log:
            if holder.file is file:
                holder.file = None
            else:
                holder.olds.remove(file)
            holder.after = log
        elif holder is log:
            log.olds.remove(file)
        if log.file is not None:
            if log.file.offset and file.offset == log.file.offset and file.holds(log.file.position):
                self._drop(log.file)
            else:
                log.olds.append(log.file)
        log.olds += before
        file.copied = before[-1].key if before else None
        log.file, log.begun = file, False
        self._dirty[path] = log
        return log

    def _place(self, file: OpenLog, inodes: Mapping[Key, object]) -> list[OpenLog]:
        """Seek a newly seen file to where it must be read from; return what comes before it."""
        log = self._logs.get(file.path)
        last = log.file.position if log and log.file else self._saved.pop(file.path, None)
        known = [
            position
            for position in (*self._saved.values(), last)
            if position is not None and position.key == file.key and file.holds(position)
        ]
        if known:
            file.seek(max(position.offset for position in known))
        elif last is not None:
            # Edited in place, restored or copied up: new inode, same content, and more perhaps.
            if last.offset and file.holds(last):
                file.seek(last.offset)
            else:
                taken, held = {*inodes, *self._holders}, log.file if log else None
                before = since(file, held.key, taken) if held else former(file, last, taken)
                if before and last.key != file.key:
                    # As if it had been open here: its writer may not have noticed yet.
                    before[-1].path = file.path
                return before
        elif self._first and file.path not in self._heads:
            file.seek(file.size())
        return []

    def _vanished(self, log: Log) -> None:
        """A path leads nowhere: its writer may still have the file, and a rotation be half done."""
        if log.file is not None and not log.literal and not log.file.linked():
            log.olds.append(log.file)
            log.file = None
        if log.file is None and not log.olds:
            del self._logs[log.path]
            self._dirty.pop(log.path, None)
        else:
            self._dirty[log.path] = log

    # ---- reading

    def _next(self, log: Log) -> Optional[Block]:
        if log.after is not None:
            after, log.after = log.after, None
            block = self._next(after)
            if block is not None:
                log.after = after
                return block
        while log.olds:
            old = log.olds[0]
            data = old.read()
            done = not data and (len(log.olds) > 1 or not old.linked() or old.path != log.path)
            if done:
                data = old.rest()
                log.olds.pop(0)
            block = self._block(log, old, data) if data else None
            if done:
                self._drop(old)
            if block is not None:
                return block
            if not done:
                break
        file = log.file
        if file is None:
            if not log.olds:
                self._logs.pop(log.path, None)
            return None
        mark = file.mark()
        data = file.read()
        copies = truncated(file, mark, self._owners)
        if copies is not None:
            log.olds += copies
            log.begun = log.begun and not copies
            return self._next(log)
        if not data:
            return None
        log.begun = True
        return self._block(log, file, data)

    def _block(self, log: Log, file: OpenLog, data: bytes) -> Block:
        # Until the new file has been begun, the path's position is that of the old one.
        name = file.name() if file is not log.file and log.begun else log.path
        return Block(log.names, name, data, str(file.position))

    def _drop(self, file: OpenLog) -> None:
        self._notices.forget(file)
        self._owners.pop(file, None)
        self._holders.pop(file.key, None)
        file.close()

    def _trouble(self, log: Log, error: OSError) -> None:
        """Forget a log that cannot be read; its position is kept for the next try."""
        if log.file is not None:
            self._saved[log.path] = log.file.position
        for file in log.files():
            self._drop(file)
        log.olds, log.file = [], None
        self._logs.pop(log.path, None)
        self._trouble_at(log.path, error)

    def _trouble_at(self, path: str, error: OSError) -> None:
        problems = self._problems if error.errno in TOLD else self._read_problems
        problems[path] = error.strerror or str(error)
