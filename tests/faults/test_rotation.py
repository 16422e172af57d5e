# SPDX-License-Identifier: MIT
"""Does every line of a log come once, in order, however it is rotated under full load?

A process writes numbered lines as fast as it can, in pieces that end anywhere, and rotates its log
as a host would. The real source reads them, slower at times, and is begun anew now and then with
the positions of the one before.
"""

import os
import random
import select
import subprocess
import sys
import time

import pytest

from stockade_agent.sources import Watch
from stockade_agent.sources.logfile import LogFiles


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

def write(fd, lines, whole=False):
    global number, rest
    data = rest + b"".join(b"line %09d of the log\n" % n for n in range(number, number + lines))
    number += lines
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
    write(fd, chance.choice((0, 1, 500)), whole=True)
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
        self.writer = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

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


SEEDS = {"small": (range(3), 12), "large": (range(20), 60)}


@pytest.mark.parametrize("kernel", ["inotify", "polling"])
@pytest.mark.parametrize("style", ["rename", "copytruncate", "gzip", "delete"])
@pytest.mark.parametrize("size", ["small", pytest.param("large", marks=pytest.mark.slow)])
def test_every_line_comes_once(tmp_path, style, kernel, size):
    """Through every rotation and restart the reader has each line once, and in order."""
    seeds, rotations = SEEDS[size]
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        course = Course(folder, style, rotations, seed, kernel)
        try:
            total = course.run()
        finally:
            course.close()
        numbers = [int(line.split()[1]) for line in course.lines]

        assert numbers == list(range(total)), told(numbers, total)


def told(numbers, total):
    """Return what is wrong with the numbers, in short."""
    seen = set(numbers)
    lost = [n for n in range(total) if n not in seen]
    doubled = len(numbers) - len(seen)
    return f"{len(lost)} lost (first {lost[:3]}), {doubled} doubled of {total}"


def test_an_inode_that_is_used_again(tmp_path):
    """A new file with the number of a deleted one is read from its start."""
    path, positions = tmp_path / "app.log", {}
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
        path.rename(tmp_path / f"other{n}")
    else:
        pytest.skip("this file system does not use a number again")
    path.write_text("".join(f"line {n} of the new file\n" for n in range(200)))
    source = LogFiles([Watch("x", (str(path),))], positions)
    lines = b"".join(block.data for block in source.read()).splitlines()
    source.close()

    assert os.stat(path).st_ino == number
    assert [b"line %d of the new file" % n for n in range(200)] == lines
