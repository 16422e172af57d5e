# SPDX-License-Identifier: MIT
"""Both sources, and which jail wants which of their logs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from stockade_agent.journals import SYSTEM, which
from stockade_agent.model import Block
from stockade_agent.sources import Source, Watch
from stockade_agent.sources.journal import LOG, Journal
from stockade_agent.sources.logfile import LogFiles
from stockade_agent.sources.survey import Survey
from stockade_agent.specs import BANS, JailSpec


FILE, JOURNAL = "file", "journal"
AT_ONCE = 4
"""Blocks that are read before other things get their turn."""
_TAIL = " (tail)"


class Taken(NamedTuple):
    """A block, the jails that want it, and whether its lines are from before the start or new."""

    block: Block
    jails: tuple[str, ...]
    live: bool


def chosen(spec: JailSpec) -> str:
    """Return where a jail's failures come from: ``file``, ``journal``, or other jails' ``bans``.

    With ``backend = auto`` it is the journal when the filter has a journalmatch and none of the
    log files exists, unless ``systemd_if_nologs`` is off. It stays so until the next reload.
    """
    if spec.backend == BANS:
        return BANS
    backend = spec.backend.partition("[")[0].strip().lower()
    if backend.startswith("systemd"):
        return JOURNAL
    turns = backend == "auto" and spec.systemd_if_nologs and spec.filter.journalmatch
    return JOURNAL if turns and not _any_file(spec) else FILE


class Intake:
    """What is read for a set of jails.

    Args:
        specs: the jails.
        positions: log -> where to go on.
        now: seconds, UTC; a journal never read before is read from findtime before it.
        journalctl: the command.
        away: nobody has read since the positions were noted.

    Attributes:
        chosen: jail -> ``file``, ``journal`` or ``bans``.
        sources: those that are needed, by the same names; a journal that parameters choose has
            them behind its own.
    """

    def __init__(
        self,
        specs: Iterable[JailSpec],
        positions: Mapping[str, str],
        now: float,
        journalctl: Sequence[str] = ("journalctl",),
        *,
        away: bool = False,
    ) -> None:
        specs = tuple(specs)
        self.chosen = {spec.name: chosen(spec) for spec in specs}
        self.sources: dict[str, Source] = {}
        self._since, self._caught_up = now, False
        self._said: dict[str, str] = {}
        file = [spec for spec in specs if self.chosen[spec.name] == FILE]
        self._idle = {spec.name for spec in file if not spec.logpath}
        files = [watch for spec in file for watch in _watches(spec)]
        if files:
            self.sources[FILE] = LogFiles(files, positions)
        self._serving = {spec.name: self.chosen[spec.name] for spec in specs}
        journals: dict[str, list[JailSpec]] = {}
        for spec in specs:
            if self.chosen[spec.name] == JOURNAL:
                self._serving[spec.name] = name = journal_name(spec.backend_parameters)
                journals.setdefault(name, []).append(spec)
        for name, jails in journals.items():
            self.sources[name] = Journal(
                [Watch(spec.name, spec.filter.journalmatch) for spec in jails],
                positions.get(name, ""),
                now - max(spec.findtime for spec in jails),
                journalctl,
                which=which(jails[0].backend_parameters),
                name=name,
                away=away,
            )

    def take(self, name: str) -> Iterator[Taken]:
        """Yield what a source has now, a few blocks at most; ``due`` tells if there is more."""
        count = 0
        for block in islice(self.sources[name].read(), AT_ONCE):
            count += 1
            jails = tuple(dict.fromkeys(watch.removesuffix(_TAIL) for watch in block.watches))
            yield Taken(block, jails, self._live(block))
        if name == FILE and count < AT_ONCE:
            self._caught_up = True

    def logs(self, jail: str) -> tuple[str, ...]:
        """Return the log files, or lines of journalmatch, that a jail is served from now."""
        if self._serving[jail] == BANS:
            return ("bans of other jails",)
        source = self.sources.get(self._serving[jail])
        if source is None:
            return ()
        covered = source.logs()
        return tuple(log for name in (jail, jail + _TAIL) for log in covered.get(name, ()))

    def problem(self, jail: str) -> str:
        """Return why a jail's logs cannot be read, or some of them; or ""."""
        source = self.sources.get(self._serving[jail])
        if self._serving[jail] == BANS:
            return ""
        if jail in self._idle or source is None:
            return "no logpath: there is nothing to read"
        found = source.problems()
        names = (jail, jail + _TAIL, self._serving[jail], *self.logs(jail))
        return "; ".join(
            why if name in (jail, jail + _TAIL) else f"{name}: {why}"
            for name in names
            if (why := found.get(name))
        )

    def changed_problems(self) -> list[tuple[str, str]]:
        """Return (log or jail, why it cannot be read; "" when it can again) since the last call."""
        now: dict[str, str] = {}
        for source in self.sources.values():
            now.update(source.problems())
        changed = [(name, why) for name, why in now.items() if self._said.get(name) != why]
        changed += [(name, "") for name in self._said if name not in now]
        self._said = now
        return changed

    def close(self) -> None:
        """Release descriptors and end child processes."""
        for source in self.sources.values():
            source.close()

    def _live(self, block: Block) -> bool:
        if block.times is not None:
            return block.times[-1] >= self._since
        return self._caught_up


def journal_name(parameters: Mapping[str, str]) -> str:
    """Return the name of the journal that parameters choose: one child of journalctl serves it."""
    chosen_by = ",".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    return LOG if which(parameters) == SYSTEM else f"{LOG}[{chosen_by}]"


def _watches(spec: JailSpec) -> list[Watch]:
    found = []
    for tail in (False, True):
        patterns = tuple(path.pattern for path in spec.logpath if path.tail is tail)
        if patterns:
            found.append(Watch(spec.name + _TAIL if tail else spec.name, patterns, tail))
    return found


def _any_file(spec: JailSpec) -> bool:
    look = Survey(lambda _directory, _name: None)
    return any(os.path.isfile(path) for glob in spec.logpath for path in look.find(glob.pattern))
