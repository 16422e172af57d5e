# SPDX-License-Identifier: MIT
"""Does a log file rotate, follow who rotates it, and lose nothing where there is no room?"""

import errno
import io
import os
import re
import resource
import signal
import subprocess
import sys
from functools import partial

import pytest

from stockade_agent.log import Log
from stockade_agent.outlets.file import File


NOW = 1_700_000_000.25
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,250 stockade-agent\[\d+\]: (\w+) +(\S.*)\n", re.ASCII
)


def entry(priority, text):
    return (priority, text, "", "", "", None)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.log"


def opened(path, size=0, count=2):
    return File(str(path), size, count, lambda: NOW)


def said(*paths):
    """Return the texts of files, in order; each line must be whole."""
    lines = [line for path in paths for line in path.read_text().splitlines(keepends=True)]
    return [LINE.fullmatch(line)[2] for line in lines]


def test_a_line(path):
    """It has date, process, priority and the text, hostile characters written out."""
    file = opened(path)
    file.write([entry(5, "[sshd] Ban a\nb\x1b"), entry(3, "e")])

    assert [("NOTICE", r"[sshd] Ban a\nb\x1b"), ("ERROR", "e")] == [
        LINE.fullmatch(line).groups() for line in path.read_text().splitlines(keepends=True)
    ]
    assert 0 == path.stat().st_mode & 0o137


def test_rotation(path, tmp_path):
    """No file is larger than it may be, none is kept beyond the count, the last lines are there."""
    file = opened(path, size=1000, count=3)
    for number in range(200):
        file.write([entry(6, f"line {number}")])
    names = sorted(p.name for p in tmp_path.iterdir())
    found = said(*(tmp_path / f"agent.log.{n}" for n in (3, 2, 1)), path)

    assert ["agent.log", "agent.log.1", "agent.log.2", "agent.log.3"] == names
    assert all(p.stat().st_size <= 1000 for p in tmp_path.iterdir())
    assert [f"line {n}" for n in range(200)][-len(found) :] == found
    assert len(found) > 3 * 10


def test_no_old_ones(path, tmp_path):
    """With a count of 0 there is one file."""
    file = opened(path, size=300, count=0)
    for number in range(20):
        file.write([entry(6, f"line {number}")])

    assert ["agent.log"] == [p.name for p in tmp_path.iterdir()]
    assert "line 19" == said(path)[-1]


def test_somebody_else_rotates(path, tmp_path):
    """Neither renaming nor removing nor a new file in its place loses a line to come."""
    file = opened(path)
    file.write([entry(6, "a")])
    path.rename(tmp_path / "renamed")
    file.write([entry(6, "b")])
    path.rename(tmp_path / "again")
    path.touch()
    file.write([entry(6, "c")])
    path.unlink()
    file.write([entry(6, "d")])

    assert [["a"], ["b"], ["d"]] == [
        said(tmp_path / "renamed"),
        said(tmp_path / "again"),
        said(path),
    ]


def test_what_cannot_be_rotated_grows(path, tmp_path):
    """A directory in the way of the old file is no reason to lose a line, old or new."""
    (tmp_path / "agent.log.1").mkdir()
    (tmp_path / "agent.log.1" / "x").touch()
    (tmp_path / "agent.log.2").mkdir()
    (tmp_path / "agent.log.2" / "x").touch()
    file = opened(path, size=200)
    for number in range(20):
        file.write([entry(6, f"line {number}")])

    assert [f"line {n}" for n in range(20)] == said(path)


def test_a_full_disk(path):
    """What has no room is written nowhere by half, goes to standard error whole, and is told."""
    stream = io.StringIO()
    log = Log(stream, prefixed=False)
    log.to(opened(path))
    limit = _limited(200)
    for number in range(10):
        limit(partial(log.info, f"line {number}"))
    here, there = said(path), stream.getvalue().splitlines()

    assert [f"line {n}" for n in range(10)] == here + there
    assert here
    assert there
    assert f"log: {path}: File too large; lines go to standard error" == log.trouble
    log.info("there is room again")
    assert "there is room again" == said(path)[-1]
    assert "" == log.trouble


def _limited(size):
    """Return a function that calls while the kernel lets no file be larger than a size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(call):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            call()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: needs root")
def test_a_full_file_system(tmp_path):
    """A real one: every line is in the file or on standard error, in order, once."""
    program = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); "
        "from stockade_agent.log import Log; from stockade_agent.outlets.file import File; "
        "log = Log(sys.stderr, prefixed=False); "
        "log.to(File(sys.argv[2] + '/agent.log', 40000, 1, lambda: 0.0)); "
        "[log.info(f'line {n} ' + 'x' * 400) for n in range(500)]; "
        "print(open(sys.argv[2] + '/agent.log').read(), end='')"
    )
    agent = os.path.dirname(os.path.dirname(sys.modules["stockade_agent"].__file__))
    script = f'mount -t tmpfs -o size=64k none {tmp_path} && exec {sys.executable} -c "$0" "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, program, agent, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    here = re.findall(r"INFO +line (\d+) x{400}\n", done.stdout)
    there = re.findall(r"^line (\d+) x{400}$", done.stderr, re.MULTILINE)

    assert done.stdout.count("\n") == len(here)
    assert "499" in {*here, *there}
    assert len({*here, *there}) == len(here) + len(there)
    numbers = sorted(map(int, {*here, *there}))
    assert list(range(numbers[0], 500)) == numbers
    assert there


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
def test_what_is_no_file(path, make):
    """Nobody is waited for, and nothing but a file is written to."""
    make(path)
    with pytest.raises(OSError) as raised:  # noqa: PT011 - its number is what matters
        opened(path).write([entry(6, "a")])

    assert raised.value.errno in (errno.EINVAL, errno.EISDIR, errno.ENXIO)
