# SPDX-License-Identifier: MIT
"""What the agent's loop does with log files, for tests, and numbered lines in them."""

import select
import time

from stockade_agent.sources.logfile import LogFiles


DEADLINE = 10.0


def deaf():
    """Stand in for a kernel without inotify."""
    raise OSError(38, "Function not implemented")


class Reader:
    """What the agent's loop does with a source: wait, read, keep the positions."""

    def __init__(self, watches, positions=None, **options):
        self.source = LogFiles(watches, positions or {}, **options)
        self.blocks, self.positions = [], dict(positions or {})

    def take(self):
        for block in self.source.read():
            self.blocks.append(block)
            self.positions[block.log] = block.position

    def wait(self):
        select.select(self.source.filenos(), [], [], self.source.due() or 0.05)
        self.take()

    def until(self, condition):
        end = time.monotonic() + DEADLINE
        while not condition() and time.monotonic() < end:
            self.wait()
        return self

    def until_lines(self, count):
        return self.until(lambda: len(self.lines) >= count)

    @property
    def lines(self):
        return b"".join(block.data for block in self.blocks).decode().splitlines()


def numbered(first, last):
    return [f"line {n:06d}" for n in range(first, last)]


def append(path, first, last, end="\n"):
    with path.open("a") as file:
        file.write("\n".join(numbered(first, last)) + end)
