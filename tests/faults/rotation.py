# SPDX-License-Identifier: MIT
"""Logs rotated in every manner under full load, with every line numbered.

A process writes numbered lines as fast as it can, in pieces that end anywhere, and rotates its log
as a host would. The real source reads them, slower at times, and is begun anew now and then with
the positions of the one before.
"""

import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.cost import TIED
from faults.host import SEED
from faults.rows import Broken, Row
from stockade_agent.sources import Watch
from stockade_agent.sources.logfile import LogFiles


STYLES = {
    "rename": "renamed",
    "copytruncate": "copied and truncated, often outgrown at once",
    "gzip": "renamed and compressed in place",
    "delete": "deleted and made anew",
}
KERNELS = ("inotify", "polling")
DEADLINE = 60.0
STALL = 5.0
"""Seconds after which lines that have not come are taken as lost."""

# rename      log becomes log.1, log.1 becomes log.2; the writer notices a little later
# copytruncate   log is copied to log.1 and emptied; often it is soon longer than before
# gzip        log becomes log.1, which is compressed and deleted as soon as the writer has let go
# delete      log is deleted, and made anew when the writer notices
WRITER = r"""
import gzip, os, random, shutil, sys
path, style, rotations, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance, number, rest = random.Random(seed), 0, b""

def opened():
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

def write(fd, lines, whole=False, ended=True):
    global number, rest
    data = rest + b"".join(b"line %09d of the log\n" % n for n in range(number, number + lines))
    number += lines
    data = data if ended else data[:-1]
    while data and (whole or len(data) > 100):
        size = min(len(data), chance.randint(1, 65536))
        os.write(fd, data[:size])
        data = data[size:]
    rest = data

def shift():
    for n in range(rotations + 1, 0, -1):
        if os.path.exists(f"{path}.{n}"):
            os.rename(f"{path}.{n}", f"{path}.{n + 1}")

fd = opened()
for turn in range(rotations):
    if turn % 3 == 0 or style in ("gzip", "delete"):
        # What was compressed or deleted before anybody saw it is nowhere to be read. Nor can
        # anybody follow names that never stand still: they do after three rotations at once.
        write(fd, 1, whole=True)
        print(number, flush=True)
        sys.stdin.readline()
    write(fd, chance.choice((1, 50, 2000, 8000)), whole=style == "copytruncate")
    if style == "copytruncate":
        shift()
        shutil.copyfile(path, path + ".1")
        os.truncate(path, 0)
        continue
    if style == "delete":
        os.unlink(path)
    else:
        shift()
        os.rename(path, path + ".1")
    # A line that nobody will end any more; of a file that stays, that is known much later.
    ended = style == "rename" or chance.random() < 0.7
    write(fd, chance.choice((0, 1, 500)), whole=True, ended=ended)
    os.close(fd)
    fd = opened()
    if style == "gzip":
        with open(path + ".1", "rb") as old, gzip.open(path + ".1.gz", "wb", 1) as new:
            shutil.copyfileobj(old, new)
        os.unlink(path + ".1")
        os.rename(path + ".1.gz", f"{path}.{turn}.gz")
write(fd, 1000, whole=True)
print("end", number, flush=True)
sys.stdin.readline()
"""


def deaf():
    """Stand in for a kernel without inotify."""
    raise OSError(38, "Function not implemented")


class Course:
    """A writer at work, and a reader of what it writes."""

    def __init__(self, folder, style, rotations, seed, kernel):
        self.path, self.chance = folder / "app.log", random.Random(seed)
        self.options = {"kernel": deaf} if kernel == "polling" else {}
        self.style, self.positions, self.lines = style, {}, []
        self.source = self.begun()
        list(self.source.read())
        argv = [sys.executable, "-c", WRITER, str(self.path), style, str(rotations), str(seed)]
        self.writer = subprocess.Popen(
            (*TIED, *argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def begun(self):
        return LogFiles([Watch("x", (str(self.path),))], self.positions, **self.options)

    def take(self):
        """Read what there is, at times only the first blocks of it."""
        read, most = self.source.read(), self.chance.choice((1, 3, 1000))
        for _, block in zip(range(most), read, strict=False):
            self.lines += block.data.splitlines()
            self.positions[block.log] = block.position
        read.close()

    def restart(self, likely):
        """At times, go on as another agent would after this one."""
        if self.chance.random() < likely:
            self.source.close()
            self.source = self.begun()
            self.take()

    def run(self):
        """Read until the writer has ended and nothing is left; return how many lines there were."""
        out, total, asked, count, moved = self.writer.stdout, None, 0, 0, time.monotonic()
        while total is None or len(self.lines) < total:
            if len(self.lines) > count:
                count, moved = len(self.lines), time.monotonic()
            if time.monotonic() > moved + STALL:
                break
            due = self.source.due()
            wait = 0.01 if due is None else min(due, 0.01)
            ready, _, _ = select.select([*self.source.filenos(), out], [], [], wait)
            if out in ready:
                words = out.readline().split()
                total = int(words[-1]) if words[:1] == [b"end"] else total
                asked = int(words[-1]) if words and total is None else asked
            self.take()
            if self.style in ("rename", "copytruncate"):
                self.restart(0.05)
            if asked and len(self.lines) >= asked:
                # What is deleted while no agent runs is nobody's to read any more.
                self.restart(0.3)
                asked = 0
                self.writer.stdin.write(b"\n")
                self.writer.stdin.flush()
        for _ in range(3):
            self.take()
        return total or asked

    def close(self):
        self.source.close()
        self.writer.communicate(b"\n" * 1000, timeout=DEADLINE)


def rotation(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield, for each style, how many lines did not come once and in order."""
    seeds, rotations = (1, 12) if small else (10, 60)
    for style, words in STYLES.items():
        wrong, lines = [], 0
        for kernel in KERNELS:
            for n in range(seeds):
                place = folder / f"{style}-{kernel}-{n}"
                place.mkdir()
                numbers, total = course(place, style, rotations, SEED + n, kernel)
                lines += total
                if numbers != list(range(total)):
                    wrong.append(f"seed {n}, {kernel}: {told(numbers, total)}")
        yield Row.broken(
            f"log {words}, under full load: lines lost, doubled or out of order",
            wrong,
            f"{lines:,} lines, {2 * seeds * rotations:,} rotations, by {' and '.join(KERNELS)}",
        )
    inodes = 5 if small else 100
    wrong = [what for n in range(inodes) for what in _used_again(folder / f"inode{n}")]
    yield Row.broken(
        "the inode of a deleted log used again: lines lost or doubled",
        wrong,
        f"{inodes} new files with the number of the old one",
    )


def course(
    folder: Path, style: str, rotations: int, seed: int, kernel: str
) -> tuple[list[int], int]:
    """Run a course, and return the numbers that came, and how many lines were written."""
    one = Course(folder, style, rotations, seed, kernel)
    try:
        total = one.run()
    finally:
        one.close()
    return [int(line.split()[1]) for line in one.lines], total


def _used_again(folder: Path) -> Iterator[str]:
    folder.mkdir()
    lines, expected = used_again(folder)
    if lines != expected:
        yield f"{folder.name}: {len(lines)} lines instead of {len(expected)}"


def used_again(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Return the lines read of a new file with an old one's number, and those written to it.

    Raises:
        Broken: the file system does not use a number again.
    """
    path, positions = folder / "app.log", {}
    path.write_text("".join(f"line {n} of the old file\n" for n in range(100)))
    number = path.stat().st_ino
    source = LogFiles([Watch("x", (str(path),))], {})
    for block in source.read():
        positions[block.log] = block.position
    source.close()
    path.unlink()
    for n in range(1000):
        path.touch()
        if path.stat().st_ino == number:
            break
        path.rename(folder / f"other{n}")
    else:
        raise Broken("this file system does not use a number again")
    path.write_text("".join(f"line {n} of the new file\n" for n in range(200)))
    source = LogFiles([Watch("x", (str(path),))], positions)
    lines = b"".join(block.data for block in source.read()).splitlines()
    source.close()
    if path.stat().st_ino != number:
        raise Broken("the file was replaced")
    return lines, [b"line %d of the new file" % n for n in range(200)]


def told(numbers, total):
    """Return what is wrong with the numbers, in short."""
    seen = set(numbers)
    lost = [n for n in range(total) if n not in seen]
    doubled = len(numbers) - len(seen)
    return f"{len(lost)} lost (first {lost[:3]}), {doubled} doubled of {total}"
