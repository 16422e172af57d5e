# SPDX-License-Identifier: MIT
"""Is it said what a journal has removed before anybody read it?"""

import fcntl
import re
import sys
import termios
import time

import pytest

from agent.sources.entries import SSHD, cursor, entry, lines_of
from stockade_agent.journals import which
from stockade_agent.sources.journal import FULL, Journal


DEADLINE = 10.0


def head(path, first, numbering="a" * 32, entries=1):
    """Write the head of a journal file, as far as it is read."""
    known = {0: b"LPKSHHRH", 72: bytes.fromhex(numbering)}
    known |= {152: entries.to_bytes(8, "little"), 168: first.to_bytes(8, "little")}
    content = bytearray(256)
    for place, data in known.items():
        content[place : place + len(data)] = data
    path.write_bytes(content)


def test_what_was_removed_while_nobody_read_is_said(fake, read):
    """After a start that is what lies between the position and the oldest entry kept."""
    head(fake.folder / "system.journal", first=100)
    options = {"which": which({"journalpath": str(fake.folder)}), "position": cursor(9)}
    fake.has(entry(1, "one", __CURSOR=cursor(100)))
    journal, _ = read(SSHD, until=lines_of(1), away=True, **options)
    said = {"journal": "up to 90 entries were removed before they were read"}
    assert said == journal.problems()

    unwanted = Journal([SSHD], since=50.0, away=True, **options)
    read_on = Journal([SSHD], **options)
    assert [{}, {}] == [unwanted.problems(), read_on.problems()]


@pytest.mark.parametrize(
    "files, gone",
    [
        pytest.param({"system.journal": {"first": 10}}, 0, id="the-next-is-kept"),
        pytest.param({"system.journal": {"first": 5}}, 0, id="it-is-kept-itself"),
        pytest.param({"system.journal": {"first": 12}}, 2, id="two-are-gone"),
        pytest.param({"system@1.journal~": {"first": 10}, "system.journal": {"first": 90}}, 0,
                     id="kept-in-a-damaged-file"),
        pytest.param({"system.journal": {"first": 12, "entries": 0}}, 0, id="empty"),
        pytest.param({"system.journal": {"first": 12, "numbering": "b" * 32}}, 0, id="another"),
        pytest.param({"user-1000.journal": {"first": 12}}, 0, id="users-begin-at-any-time"),
        pytest.param({}, 0, id="no-file"),
    ],
)  # fmt: skip
def test_where_a_journal_begins(tmp_path, files, gone):
    """Numbers are missing only where the oldest entry of the same numbering is a later one."""
    for name, known in files.items():
        head(tmp_path / name, **known)
    chosen = which({"journalpath": str(tmp_path)})
    journal = Journal([SSHD], cursor(9), which=chosen, away=True)

    said = f"up to {gone} entries were removed before they were read"
    assert ({"journal": said} if gone else {}) == journal.problems()


def test_what_was_removed_while_the_child_waited_is_said(fake, read):
    """Where the pipe is full, the journal may begin behind what is read from it."""
    head(fake.folder / "system.journal", first=5000)
    numbers = (*range(1, 301), *range(5000, 5300))
    fake.has(*(entry(1, "x" * 1000, __CURSOR=cursor(n)) for n in numbers))
    chosen = which({"journalpath": str(fake.folder)})
    journal, _ = read(SSHD, until=lambda journal, _: journal.filenos(), which=chosen)
    filled(journal)
    read(until=lines_of(500), journal=journal)

    (said,) = journal.problems().values()
    assert re.fullmatch(r"up to 4\d\d\d entries were removed before they were read", said)


def filled(journal):
    """Wait until the child has to wait for its reader."""
    size, end = bytearray(4), time.monotonic() + DEADLINE
    while int.from_bytes(size, sys.byteorder) < FULL and time.monotonic() < end:
        time.sleep(0.01)
        fcntl.ioctl(journal.filenos()[0], termios.FIONREAD, size)


def test_what_was_removed_after_it_was_read_is_no_matter(fake, read):
    """What others wrote has numbers too, and a quiet jail's last entry may be long gone."""
    path = fake.folder / "system.journal"
    head(path, first=1)
    fake.has(*(entry(1, "x" * 1000, __CURSOR=cursor(n)) for n in range(10, 3000, 10)))
    chosen = which({"journalpath": str(fake.folder)})
    journal, _ = read(SSHD, until=lines_of(299), which=chosen)
    head(path, first=4000)
    journal._child.kill()
    fake.has(entry(1, "y", __CURSOR=cursor(5000)))
    read(until=lines_of(1), journal=journal)

    assert "removed" not in str(journal.problems())
