# SPDX-License-Identifier: MIT
"""Is what rotation has put beside a log found, in the order in which it was written?"""

import gzip
import os
import shutil

import pytest

from stockade_agent.sources.openlog import OpenLog
from stockade_agent.sources.rotated import former, since, truncated


@pytest.fixture
def beside(tmp_path):
    """Return what makes files, each written a second after the one before, and opens the log."""
    made = []

    def make(*names, same_time=False):
        for number, name in enumerate((*names, "app.log")):
            path = tmp_path / name
            text = f"{name}, generation {number}\n".encode()
            path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
            written = 10**9 if same_time else 10**9 + number
            os.utime(path, (written, written))
        made.append(OpenLog(str(tmp_path / "app.log")))
        return made[-1]

    yield make
    for file in made:
        file.close()


def key(file, name):
    status = os.stat(os.path.join(os.path.dirname(file.path), name))
    return status.st_dev, status.st_ino


def names(files):
    found = [os.path.basename(file.path) for file in files]
    for file in files:
        file.close()
    return found


@pytest.mark.parametrize(
    "files, of, newer",
    [
        pytest.param("log.3 log.2 log.1", "log.3", "log.2 log.1", id="logrotate"),
        pytest.param("log.11 log.10 log.9", "log.10", "log.9", id="numbers-not-letters"),
        pytest.param("log-20240501 log-20240502", "log-20240501", "log-20240502", id="dateext"),
        pytest.param("log.1 log.2 log.3", "log.1", "log.2 log.3", id="upwards"),
        pytest.param("log.3 log.2.gz log.1", "log.3", "log.1", id="compressed-ones-are-passed"),
        pytest.param("log.2 log.bak log.1", "log.2", "log.1", id="other-names"),
        pytest.param("log.1 log.bak", "log.1", "", id="the-newest"),
        pytest.param("log.old log.1", "log.old", "", id="no-number"),
    ],
)
def test_what_was_rotated_since(beside, files, of, newer):
    """Files of the same kind of name come in the order of their writing."""
    file = beside(*(f"app.{name}" for name in files.split()))
    found = since(file, key(file, f"app.{of}"), set())

    assert [f"app.{name}" for name in newer.split()] == names(found)


def test_files_of_one_moment(beside):
    """Where times do not tell, small numbers are the newer ones, and late dates."""
    file = beside("app.log.3", "app.log.2", "app.log.1", same_time=True)
    assert ["app.log.2", "app.log.1"] == names(since(file, key(file, "app.log.3"), set()))
    dated = beside("app.log-20240501", "app.log-20240502", same_time=True)
    assert ["app.log-20240502"] == names(since(dated, key(dated, "app.log-20240501"), set()))


def test_who_is_read_already(beside):
    """A file that somebody reads is left to him; nothing newer than the log itself is older."""
    file = beside("app.log.3", "app.log.2", "app.log.1")
    taken = {key(file, "app.log.2")}
    assert ["app.log.1"] == names(since(file, key(file, "app.log.3"), taken))
    os.rename(file.path, f"{file.path}.0")

    assert ["app.log.2", "app.log.1"] == names(since(file, key(file, "app.log.3"), set()))


def test_a_position_in_what_was_rotated_twice(beside):
    """The file of the position is opened there; what was rotated later comes behind it."""
    file = beside("app.log.2", "app.log.1")
    old = OpenLog(f"{file.path}.2")
    old.read()
    position = old.position
    old.close()
    found = former(file, position, set())

    assert [position.offset, 0] == [each.offset for each in found]
    assert ["app.log.2", "app.log.1"] == names(found)


def test_a_copy_of_what_is_still_there(beside):
    """Between a copy and the truncation after it, nothing comes twice."""
    file = beside("app.log.2")
    copy = f"{file.path}.1"
    with open(file.path, "rb") as log, open(copy, "wb") as new:
        assert [] == since(file, key(file, "app.log.2"), set()), "only begun"
        new.write(log.read())
    assert [] == since(file, key(file, "app.log.2"), set()), "not yet truncated"
    os.truncate(file.path, 0)

    assert ["app.log.1"] == names(since(file, key(file, "app.log.2"), set()))


def test_what_was_read_of_two_contents_is_taken_back(beside):
    """A file that is truncated and outgrown while it is read is begun anew, its copy first."""
    file = beside()
    file.read()
    mark = file.mark()
    with open(file.path, "ab") as log:
        log.write(b"the rest\n")
    shutil.copyfile(file.path, f"{file.path}.1")
    os.truncate(file.path, 0)
    with open(file.path, "ab") as log:
        log.write(b"something quite different, and longer than what was there before\n")
    file.read()
    copies = truncated(file, mark, [file])

    assert (0, [mark[0]]) == (file.offset, [copy.offset for copy in copies])
    assert b"the rest\n" == copies[0].read()
    assert ["app.log.1"] == names(copies)
    assert b"something quite" == file.read()[:15]
