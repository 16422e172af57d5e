# SPDX-License-Identifier: MIT
"""journald restarted, rotated, moved, killed and vacuumed, while every entry is numbered.

Each entry is of an address of its own, so that the ledger tells how often each was counted; what
journald has accepted is read back by a ``journalctl`` that knows nothing of the agent.
"""

import ipaddress
import random
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

from bench.cost import Failed, until
from faults.host import seeded
from faults.rows import Broken, Row
from lab import Host, Lab
from stockade import bundle
from stockade_agent import __version__


UNIT = """\
[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/python3 /opt/faults.pyz run -c /etc/faults --firewall memory
StandardOutput=append:/var/log/faults
StandardError=append:/var/log/faults
"""
CONF = """\
[Definition]
dbfile = /var/lib/faults/ledger.sqlite3
socket = /run/faults.sock
controllers = /etc/faults/controllers
logtarget = STDERR
"""
JAIL = """\
[numbers]
enabled = true
filter = numbers
backend = systemd
maxretry = 1000000
findtime = 1d
usedns = no
"""
FILTER = r"""
[Definition]
failregex = : entry \d+ from <HOST>$
journalmatch = SYSLOG_IDENTIFIER={tag}
"""
WRITER = """\
import sys, syslog, time
tag, first, last, pause = sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4])
syslog.openlog(tag)
for n in range(first, last):
    syslog.syslog(f"entry {n} from 10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    if n & 255 < 128:  # and as fast as it can in between
        time.sleep(pause)
"""
ROOM = "[Journal]\nRateLimitIntervalSec=0\nSystemMaxUse=2G\nSystemMaxFiles=10000\n"
LIMITED = "[Journal]\nRateLimitIntervalSec=3s\nRateLimitBurst=500\n"
OFTEN = "[Unit]\nStartLimitIntervalSec=0\n"
JOURNALD, AGENT = "systemd-journald", "faults-agent"
BEGUN = f"stockade-agent {__version__} "
PAUSE = 0.001
MOVED = "journalctl --relinquish-var && sleep 0.3 && journalctl --flush"
"""From /var to /run, where entries get other cursors, and back."""
FAULTS = (
    f"systemctl restart {JOURNALD}",
    "journalctl --rotate",
    f"systemctl kill --signal=KILL {JOURNALD}",
    MOVED,
)
MEANWHILE = (
    ("journalctl --relinquish-var && sleep 1.5", "journalctl --flush"),
    ("journalctl --rotate", f"systemctl restart {JOURNALD}"),
)
"""Before the agent is killed, and while it is dead: where it goes on stands elsewhere by then."""
VACUUM = "journalctl --rotate && journalctl --vacuum-files=1"
READABLE = 3.0
"""Seconds: long enough that the agent has counted an entry, and kept it."""
STOPPED = 3.0
"""Seconds for which it is stopped or dead: long enough that a pipe is full."""


class Numbered:
    """A host, an agent on it that counts numbered entries, and who writes them.

    Attributes:
        accepted: numbers that stood in the journal when it was read.
        made: faults so far.
    """

    def __init__(self, host: Host, tag: str, folder: Path) -> None:
        self.host, self.tag, self.folder = host, tag, folder
        self.accepted: set[int] = set()
        self.made = self.number = 0
        self._writer: threading.Thread | None = None
        host.run("rm -rf /var/lib/faults /var/log/faults && mkdir -p /var/lib/faults")
        host.write("/etc/faults/filter.d/numbers.conf", FILTER.format(tag=tag))
        host.run(f"systemctl start {AGENT}")

    # ---- what is written, and what is in the journal

    @contextmanager
    def writing(self, number: int) -> Iterator[Callable[[], bool]]:
        """Write numbered entries; give what tells whether there are more to come."""
        self.number = number
        writer = threading.Thread(target=self.write, args=(0, number))
        writer.start()
        try:
            yield writer.is_alive
        finally:
            writer.join()

    def write(self, first: int, last: int, *prefix: str, pause: float = PAUSE) -> None:
        """Write the entries of these numbers."""
        words = ["python3", "/opt/writer.py", self.tag, str(first), str(last), str(pause)]
        self.host.run([*prefix, *words], timeout=900)

    def journal(self) -> list[int]:
        """Return the numbers that stand in the journal, from its beginning, and note them."""
        self.host.run("journalctl --sync", check=False)
        text = self.host.run(["journalctl", "-t", self.tag, "-o", "cat"], timeout=300).stdout
        found = [int(words[1]) for line in text.splitlines() if len(words := line.split()) == 4]
        self.accepted.update(found)
        return found

    def strike(self, *commands: str) -> None:
        """Make a fault; a journald that was just killed is not there to be told of one."""
        self.made += 1
        for command in commands:
            until(lambda command=command: not self.host.run(command, check=False).rc, 30, command)

    # ---- what the agent makes of it

    def found(self) -> list[int]:
        """Return the numbers that it found, in its order; after a kill some of them again."""
        text = self.host.root.joinpath("var/log/faults").read_text(errors="replace")
        found = re.findall(r"\] Found 10\.(\d+)\.(\d+)\.(\d+)$", text, re.MULTILINE)
        return [int(a) << 16 | int(b) << 8 | int(c) for a, b, c in found]

    def told(self) -> int:
        """Return how many entries it said were removed before they were read, at most."""
        text = self.host.root.joinpath("var/log/faults").read_text(errors="replace")
        # Each agent begins to count anew, and says the sum of what it knows.
        said = [re.findall(r"journal: .*up to (\d+) entries", life) for life in text.split(BEGUN)]
        return sum(int(one[-1]) for one in said if one)

    def end(self) -> dict[int, int]:
        """Write a last entry; when it was found, end the agent; return how often it counted each.

        Raises:
            Broken: it does not find the last entry, or does not keep what it counted.
        """
        last, self.number = self.number, self.number + 1
        self.write(last, self.number)
        self.journal()
        try:
            until(lambda: last in self.found()[-1:], 120, f"entry {last} found")
        except Failed as error:
            raise Broken(
                f"{error}; {self.host.run('tail -c 300 /var/log/faults').stdout}"
            ) from error
        self.host.run(f"systemctl stop {AGENT}")
        # sqlite would follow /proc/…/root to a root that is not the host's.
        path = shutil.copy(self.host.root / "var/lib/faults/ledger.sqlite3", self.folder)
        with closing(sqlite3.connect(path)) as db:
            rows = db.execute("SELECT id, failures FROM counts").fetchall()
            (total,) = db.execute("SELECT failed FROM totals").fetchone()
        counted = {int(ipaddress.ip_address(who)) & 0xFFFFFF: times for who, times in rows}
        if sum(counted.values()) != total:
            raise Broken(f"{total:,} failures in all, but {sum(counted.values()):,} one by one")
        return counted


def journald(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield, for each kind of trouble, how many entries were not counted exactly once."""
    number, chance = (8000 if small else 40_000), seeded("journald")
    with Lab() as lab:
        host = lab.boot("debian12-77")
        (host.root / "opt/faults.pyz").write_bytes(bundle.build())
        host.run("mkdir -p /var/log/journal && journalctl --flush")
        host.write("/etc/faults/stockade.conf", CONF)
        host.write("/etc/faults/jail.conf", JAIL)
        host.write("/opt/writer.py", WRITER)
        host.write(f"/etc/systemd/system/{AGENT}.service", UNIT)
        host.write(f"/etc/systemd/system/{JOURNALD}.service.d/often.conf", OFTEN)
        host.write("/etc/systemd/journald.conf.d/room.conf", ROOM)
        host.run(f"systemctl daemon-reload && systemctl restart {JOURNALD}")
        yield _moved(Numbered(host, "moved", folder), chance, number, killed=False)
        yield _moved(Numbered(host, "killed", folder), chance, number, killed=True)
        yield from _vacuumed(Numbered(host, "vacuumed", folder), chance, 3 * number)
        host.write("/etc/systemd/journald.conf.d/room.conf", LIMITED)
        host.run(f"systemctl restart {JOURNALD}")
        yield _limited(Numbered(host, "limited", folder))


def _moved(one: Numbered, chance: random.Random, number: int, *, killed: bool) -> Row:
    """Return the row of a journal that keeps all that it accepts, whatever befalls journald."""
    kills = 0
    with one.writing(number) as more:
        while more():
            time.sleep(chance.uniform(0.3, 2.0))
            one.strike(chance.choice(FAULTS))
            if killed and chance.random() < 0.5:
                kills += 1
                before, after = chance.choice(MEANWHILE)
                one.strike(before)
                one.host.run(f"systemctl kill --signal=KILL {AGENT}")
                time.sleep(chance.uniform(0, 0.5))
                one.strike(after)
                one.host.run(f"systemctl start {AGENT}")
    counted, kept = one.end(), one.journal()
    wrong = [] if killed else _disorder(one.found())
    wrong += _unequal(counted, set(kept))
    what = "restarted, rotated, moved between /run and /var, killed"
    beside = ", the agent killed as well" if killed else ""
    aside = f", {kills} kills" if killed else ""
    ills = "lost or doubled" if killed else "lost, doubled or out of order"
    return Row.broken(
        f"journald {what} under load{beside}: entries {ills}",
        wrong,
        f"{one.made} faults{aside}, {one.number:,} entries written, {len(kept):,} accepted,"
        f" {len(counted):,} counted",
    )


def _vacuumed(one: Numbered, chance: random.Random, number: int) -> Iterator[Row]:
    """Yield the rows of a journal that is vacuumed while the agent runs, is stopped, or is dead."""
    readable: set[int] = set()
    stops = 0
    main = f"systemctl kill --kill-whom=main --signal={{}} {AGENT}"
    away = {
        "nothing": ("true", "true"),
        "stopped": (main.format("STOP"), main.format("CONT")),
        "killed": (f"systemctl kill --signal=KILL {AGENT}", f"systemctl start {AGENT}"),
    }
    kinds = [*away]
    with one.writing(number) as more:
        while more():
            readable.update(one.journal())
            time.sleep(READABLE)
            kind = kinds[one.made % len(kinds)]
            before, after = away[kind]
            one.host.run(before)
            if kind != "nothing":
                stops += 1
                time.sleep(STOPPED + chance.random())
                one.journal()
            one.strike(VACUUM)
            one.host.run(after)
    counted = one.end()
    readable.update(one.journal())
    lost, told = one.accepted - counted.keys(), one.told()
    tried = (
        f"{one.made} times, {stops} of them while the agent was stopped or dead;"
        f" {one.number:,} entries written, {len(counted):,} counted, {len(lost):,} removed unread,"
        f" up to {told:,} told"
    )
    yield Row.broken(
        f"journal vacuumed under load: entries that could be read for {READABLE:g} s and were not"
        " counted, or any counted twice",
        _unequal(counted, readable),
        tried,
    )
    silent = [f"{len(lost)} removed unread, {told} told"] if len(lost) > told else []
    silent += [] if lost else ["nothing was removed unread: nothing is proved"]
    yield Row.broken("journal vacuumed before the agent could read: not told", silent, tried)


def _limited(one: Numbered) -> Row:
    """Return the row of a writer whose entries journald itself suppresses."""
    one.number = 5010
    for first, last in ((0, 5000), (5000, 5010)):
        one.write(first, last, "systemd-run", "--quiet", "--wait", "--unit=limited", pause=0)
        time.sleep(3.5)  # until journald lets more in, and says what it did not
    counted, kept = one.end(), one.journal()
    said = one.host.run(f"journalctl -t {JOURNALD} -o cat --grep=limited.service").stdout
    suppressed = sum(map(int, re.findall(r"Suppressed (\d+) messages from limited", said)))
    wrong = _unequal(counted, set(kept)) + _disorder(one.found())
    wrong += [] if suppressed else ["journald suppressed nothing: nothing is proved"]
    return Row.broken(
        "journald's own rate limit: entries that it let through lost, doubled or out of order",
        wrong,
        f"{one.number:,} entries written, {suppressed:,} suppressed, as journald says,"
        f" {len(kept):,} accepted, {len(counted):,} counted",
    )


def _unequal(counted: dict[int, int], wanted: set[int]) -> list[str]:
    """Return what is wrong with what was counted, an item for each number."""
    wrong = [f"entry {n} lost" for n in sorted(wanted - counted.keys())]
    again = {n: times for n, times in counted.items() if times > 1}
    return wrong + [f"entry {n} counted {times} times" for n, times in again.items()]


def _disorder(found: list[int]) -> list[str]:
    return [f"entry {b} behind {a}" for a, b in pairwise(found) if b <= a]
