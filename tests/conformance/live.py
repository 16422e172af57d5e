# SPDX-License-Identifier: MIT
"""Our agent beside a fail2ban server, both alive, on the same files: who is banned and freed, when.

    python -m conformance.live [VERSION | DIR ...]

Both run as processes in a temporary directory, with an action that does nothing. They first read
what is there, then bans end, then lines are appended. Each phase is over when a marker is banned,
or free again: only the bans that end wait for the clock. What is compared is, for each jail, the
sequence of bans and unbans in their logs.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Self

import stockade_agent
from conformance import livelogs, oracle
from conformance.livelogs import BANTIME, FINDTIME, MARKERS, Log, Samples
from conformance.tally import Difference, Tally, Tell, by_hand
from conformance.zone import zone


LOGS = 200
TOGETHER = 100
MARGIN = 75.0
"""Seconds from the start until bans begin to end; what is there must be read by then."""

TIED = ("setpriv", "--pdeathsig", "TERM")
"""Whatever ends the run ends both servers, too."""

STALLED = 60.0
"""Seconds without any event after which a marker is given up."""

_EVENT = re.compile(r"\[(log\d+-\d+)\] (Ban|Unban|Restore Ban) (\S+)$", re.MULTILINE)

_FAIL2BAN = """\
[Definition]
loglevel = NOTICE
logtarget = {folder}/theirs
syslogsocket = auto
socket = {folder}/f2b.sock
pidfile = {folder}/f2b.pid
dbfile = None
allowipv6 = yes
"""
_STOCKADE = """\
[Definition]
loglevel = NOTICE
socket = {folder}/agent.sock
dbfile = {folder}/ledger.sqlite3
controllers = {folder}/controllers
"""
_JAILS = """\
[DEFAULT]
enabled = true
backend = polling
usedns = no
ignoreself = false
logencoding = utf-8
findtime = {findtime}
bantime = {bantime}
action = quiet
"""
_JAIL = """
[{name}]
filter = {filter}
logpath = {folder}/{log}.log
maxretry = {retry}
"""
_ACTION = "[Definition]\nactionban =\nactionunban =\n"


@dataclass
class Heard(Tally):
    """What came of it, and how many jails, bans and unbans there were."""

    jails: int = 0
    bans: int = 0
    unbans: int = 0


@dataclass
class Side:
    """One of the two: its process, and what it has said so far.

    Attributes:
        events: jail -> (word, id), in order.
    """

    process: subprocess.Popen[bytes]
    said: Path
    events: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _read: int = 0
    _seen: set[tuple[str, str, str]] = field(default_factory=set)

    def listen(self) -> bool:
        """Take what it has said since the last time; tell whether that was anything."""
        if not self.said.exists():
            return False
        with self.said.open("rb") as stream:
            stream.seek(self._read)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for jail, word, who in _EVENT.findall(whole.decode(errors="replace")):
            self.events.setdefault(jail, []).append((word, who))
            self._seen.add((jail, word, who))
        return bool(whole)

    def has(self, jail: str, word: str, who: str) -> bool:
        """Tell whether it has said so."""
        return (jail, word, who) in self._seen


Events = list[tuple[str, str]]
Played = dict[str, tuple[Events, Events]]
"""Of each jail, the sequence with fail2ban and with us."""


class Late(Exception):
    """Bans ended while the servers still read what was there."""


class Both:
    """Both on one configuration, as a context."""

    def __init__(self, root: Path, folder: Path, logs: Sequence[Log]) -> None:
        self._root, self._folder, self._logs = root, folder, logs
        self.jails = [jail for log in logs for jail in log.jails]
        self.sides: list[Side] = []

    def __enter__(self) -> Self:
        """Write the configuration and the logs, and start both."""
        self._write()
        package = (self._root / "usr/bin").is_dir()
        programs = self._root / ("usr/bin" if package else "bin")
        library = self._root / "usr/lib/python3/dist-packages" if package else self._root
        ours = (sys.executable, "-m", "stockade_agent", "run", "--firewall", "memory")
        theirs = (oracle.python(), str(programs / "fail2ban-server"), "-f")
        agent = Path(stockade_agent.__file__).parents[1]
        self.sides.append(self._start(theirs, library.resolve(), "theirs", "theirs.err"))
        self.sides.append(self._start(ours, agent, "ours", "ours"))
        return self

    def __exit__(self, *_: object) -> None:
        """End both."""
        for side in self.sides:
            side.process.terminate()
        for side in self.sides:
            try:
                side.process.wait(20)
            except subprocess.TimeoutExpired:
                side.process.kill()
                side.process.wait()

    def _write(self) -> None:
        stock = oracle.stock(self._root.resolve())
        (self._folder / "filter.d").symlink_to(stock / "filter.d")
        (self._folder / "action.d").mkdir()
        (self._folder / "action.d/quiet.conf").write_text(_ACTION)
        (self._folder / "fail2ban.conf").write_text(_FAIL2BAN.format(folder=self._folder))
        (self._folder / "stockade.conf").write_text(_STOCKADE.format(folder=self._folder))
        text = _JAILS.format(findtime=FINDTIME, bantime=BANTIME)
        for log in self._logs:
            self._path(log).write_bytes(log.present)
            for name, retry in zip(log.jails, log.retries, strict=True):
                text += _JAIL.format(
                    name=name,
                    filter=log.filter,
                    folder=self._folder,
                    log=f"log{log.seed}",
                    retry=retry,
                )
        (self._folder / "jail.conf").write_text(text)

    def _path(self, log: Log) -> Path:
        return self._folder / f"log{log.seed}.log"

    def _start(self, command: Sequence[str], modules: Path, said: str, errors: str) -> Side:
        with (self._folder / errors).open("ab") as stream:
            process = subprocess.Popen(
                [*TIED, *command, "-c", str(self._folder)],
                env={
                    **os.environ,
                    "PYTHONPATH": str(modules),
                    "PYTHONWARNINGS": "ignore",
                    "TZ": "UTC",
                },
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        return Side(process, self._folder / said)

    def until(self, word: str, marker: str) -> None:
        """Wait until both have said that of a marker in each jail, or say nothing any more."""
        heard = time.monotonic()
        while True:
            heard_of = [side.listen() for side in self.sides]
            if any(heard_of):
                heard = time.monotonic()
            missing = (not side.has(j, word, marker) for side in self.sides for j in self.jails)
            if not any(missing) or time.monotonic() - heard > STALLED + MARGIN:
                return
            for side in self.sides:
                if side.process.poll() is not None:
                    raise RuntimeError(f"it ended: {self._last_words(side)}")
            time.sleep(0.05)

    def _last_words(self, side: Side) -> str:
        files = [self._folder / f"{side.said.name}.err", side.said]
        return " ".join(file.read_text()[-1000:] for file in files if file.exists())

    def append(self) -> None:
        """Append the new lines, in pieces, to one log after the other."""
        pieces = {log.seed: log.later(time.time()) for log in self._logs}
        for number in range(max(map(len, pieces.values()))):
            for log in self._logs:
                with self._path(log).open("ab") as stream:
                    stream.write(b"".join(pieces[log.seed][number : number + 1]))


def play(root: Path, samples: Samples, seeds: Sequence[int], margin: float, lines: int) -> Played:
    """Return what each jail's sequence is with fail2ban, and with us.

    Raises:
        Late: the margin was too small for this machine.
    """
    now = time.time()
    logs = [livelogs.log(samples, seed, now, margin, lines) for seed in seeds]
    with tempfile.TemporaryDirectory() as folder, Both(root, Path(folder), logs) as both:
        both.until("Ban", MARKERS[1])
        if time.time() > now + margin - 5:
            raise Late
        both.until("Unban", MARKERS[0])
        both.append()
        both.until("Ban", MARKERS[2])
        theirs, ours = (side.events for side in both.sides)
        return {jail: (theirs.get(jail, []), ours.get(jail, [])) for jail in both.jails}


def in_order(said: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return a sequence in which bans that end together end in the order of their names.

    fail2ban looks once a second who is free, and frees them in no order.
    """
    found: list[tuple[str, str]] = []
    for word, group in groupby(said, lambda event: event[0]):
        events = list(group)
        found += sorted(events) if word == "Unban" else events
    return found


def difference(theirs: Sequence[tuple[str, str]], ours: Sequence[tuple[str, str]]) -> str:
    """Return where the sequences part, or ""."""
    for number, (one, other) in enumerate(zip_longest(in_order(theirs), in_order(ours))):
        if one != other:
            return f"event {number} of {len(theirs)} is {one} with fail2ban, {other} with us"
    return ""


def compared(
    root: Path,
    seeds: Sequence[int],
    tell: Tell,
    margin: float = MARGIN,
    lines: int = livelogs.LINES,
) -> Heard:
    """Return how many logs lead to the same sequences in all their jails."""
    tally = Heard(len(seeds))
    with zone("UTC"):
        samples = Samples(root, float(int(time.time())))
        for first in range(0, len(seeds), TOGETHER):
            tell(first, len(seeds))
            batch = seeds[first : first + TOGETHER]
            played = _in_time(lambda m, b=batch: play(root, samples, b, m, lines), margin)
            differ: dict[str, list[str]] = {}
            for jail, (theirs, ours) in played.items():
                tally.jails += 1
                tally.bans += sum(word == "Ban" for word, _ in theirs)
                tally.unbans += sum(word == "Unban" for word, _ in theirs)
                seed = jail.partition("-")[0].removeprefix("log")
                if fault := difference(theirs, ours):
                    differ.setdefault(f"seed {seed}", []).append(f"{jail}: {fault}")
            tally.differences += [Difference(key, "; ".join(all_)) for key, all_ in differ.items()]
    tally.notes.append(f"{tally.jails} jails, {tally.bans} bans, {tally.unbans} unbans")
    return tally


def _in_time(attempt: Callable[[float], Played], margin: float) -> Played:
    """Return the result of the first attempt whose margin was large enough."""
    for larger in (1, 2, 4):
        try:
            return attempt(margin * larger)
        except Late:
            continue
    raise RuntimeError(f"{margin * 4:.0f} s are not enough to read the logs on this machine")


def run(root: Path, tell: Tell) -> Tally:
    """Return what comes of all logs."""
    return compared(root, range(LOGS), tell)


if __name__ == "__main__":
    by_hand("live", run)
