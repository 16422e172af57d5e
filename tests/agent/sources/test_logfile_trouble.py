# SPDX-License-Identifier: MIT
"""Is a log that cannot be read, or not as a whole, told, and no trouble of the others?"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from agent.sources.reader import Reader, append, numbered
from stockade_agent.sources import Watch, logfile
from stockade_agent.sources.openlog import BLOCK, OpenLog, Position
from stockade_agent.sources.survey import Survey


def test_blocks_are_bounded_and_end_with_a_line(reader, log):
    """A large log comes in blocks of about 1 MB, each of whole lines."""
    append(log, 0, 300_000)
    source = reader(str(log)).until_lines(300_000)

    assert len(source.blocks) >= 4
    assert all(len(b.data) <= BLOCK and b.data.endswith(b"\n") for b in source.blocks)
    assert numbered(0, 300_000) == source.lines


def test_overlong_line_is_skipped_and_said(reader, log):
    """A line longer than a block is left out, its neighbours are not."""
    append(log, 0, 1)
    with log.open("a") as file:
        file.write("x" * (3 * BLOCK + 5) + "\n")
    append(log, 1, 2)
    source = reader(str(log)).until_lines(2)

    assert numbered(0, 2) == source.lines
    assert "1 lines over 1 MB were skipped" == source.source.problems()[str(log)]


def test_two_large_logs_take_turns(reader, tmp_path):
    """A log with much to read does not keep another waiting."""
    append(tmp_path / "1.log", 0, 300_000)
    append(tmp_path / "2.log", 0, 10)
    source = reader(str(tmp_path / "*.log"))
    source.take()

    assert str(tmp_path / "2.log") in [block.log for block in source.blocks[:2]]


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_file_is_a_problem(reader, tmp_path, kind):
    """A directory or FIFO under a log's name is said, and does not block."""
    path = tmp_path / "auth.log"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    source = reader(str(path))
    source.wait()

    assert "not a regular file" == source.source.problems()[str(path)]


@pytest.mark.parametrize("root", ["/", "//", "/tmp/.."])
def test_the_root_for_a_log(reader, log, root):
    """A path that has no name in it is said as well, and the other log is read."""
    append(log, 0, 1)
    source = reader(root, str(log)).until_lines(1)

    assert ["/"] == Survey(lambda _directory, _name: None).find(root)
    assert "not a regular file" == source.source.problems()["/"]


def test_what_is_no_file_costs_nothing(tmp_path):
    """What an event will end is not tried again and again."""
    os.mkfifo(tmp_path / "auth.log")
    source = Reader([Watch("x", (str(tmp_path / "auth.log"),))])
    source.take()
    due = source.source.due()
    source.source.close()

    assert due is None


def test_the_trouble_of_one_log_makes_no_work_of_all_others(tmp_path, monkeypatch):
    """A log that gives I/O errors is tried again when there is rest, and not at each event."""
    surveys = []

    def opened(path):
        if path.endswith("bad.log"):
            raise OSError(5, "Input/output error")
        return OpenLog(path)

    def look(attend):
        surveys.append(attend)
        return Survey(attend)

    monkeypatch.setattr(logfile, "OpenLog", opened)
    monkeypatch.setattr(logfile, "Survey", look)
    (tmp_path / "bad.log").touch()
    append(tmp_path / "good.log", 0, 1)
    source = Reader([Watch("x", (f"{tmp_path}/*.log",))])
    source.take()
    for number in range(1, 5):
        append(tmp_path / "good.log", number, number + 1)
        source.take()
    busy = len(surveys)
    source.take()
    problems = source.source.problems()
    source.source.close()

    assert numbered(0, 5) == source.lines
    assert (1, 2) == (busy, len(surveys))
    assert "Input/output error" == problems[f"{tmp_path}/bad.log"]


@pytest.fixture
def nobody(tmp_path):
    """Be nobody for a while, in a folder of his own: root may read everything."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    yield folder
    os.seteuid(0)
    shutil.rmtree(folder)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_log_that_may_not_be_read(nobody, reader, what):
    """A refusal is said, and ends as soon as the permission changes."""
    log = nobody / "app" / "auth.log"
    log.parent.mkdir()
    append(log, 0, 2)
    refused = log if what == "file" else log.parent
    refused.chmod(0)
    source = reader(str(log))
    source.wait()
    assert "Permission denied" in " ".join(source.source.problems().values())
    assert [] == source.lines
    refused.chmod(0o700)

    assert numbered(0, 2) == source.until_lines(2).lines
    assert {} == {k: v for k, v in source.source.problems().items() if k != "inotify"}


def test_missing_log_is_said_until_it_comes(reader, log):
    """A log that is not there is a problem of its watch, and no more once it is."""
    source = reader(str(log))
    source.wait()
    assert f"no file yet: {log}" == source.source.problems()["jail0"]
    append(log, 0, 1)
    source.until_lines(1)

    assert "jail0" not in source.source.problems()


def test_nothing_wakes_while_nothing_happens(log):
    """With inotify there is no time at which to look again, and other files do not wake us."""
    append(log, 0, 1)
    source = Reader([Watch("jail", (str(log),))]).until_lines(1)
    source.take()
    append(log.with_name("other.log"), 0, 1)
    append(log.with_name("other.log"), 1, 2)
    source.take()

    assert source.source.due() is None
    assert not source.source._stale
    source.source.close()


def test_limit_of_watches_falls_back_to_looking(log, monkeypatch):
    """Where the kernel grants no more watches, files are looked at every second, and it is said."""
    append(log, 0, 1)
    source = Reader([Watch("jail", (str(log),))])
    refuse = OSError(28, "No space left on device")
    monkeypatch.setattr(
        source.source._notices._kernel, "watch", lambda *_: (_ for _ in ()).throw(refuse)
    )
    source.until_lines(1)
    append(log, 1, 2)

    assert numbered(0, 2) == source.until_lines(2).lines
    assert "every 1 s" in source.source.problems()["inotify"]
    source.source.close()


def test_close_releases_every_descriptor(tmp_path):
    """A closed source leaves no descriptor behind."""
    before = len(os.listdir("/proc/self/fd"))
    for n in range(5):
        append(tmp_path / f"{n}.log", 0, 1)
    source = Reader([Watch("jail", (str(tmp_path / "*.log"),))]).until_lines(5)
    (tmp_path / "1.log").rename(tmp_path / "1.old")
    append(tmp_path / "1.log", 1, 2)
    source.until_lines(6)
    source.source.close()

    assert before == len(os.listdir("/proc/self/fd"))


def test_position_survives_as_text():
    """A position is what its text says."""
    position = Position(2049, 131, 17, 0xDEADBEEF)

    assert position == Position.parse(str(position))
