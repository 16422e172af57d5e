# SPDX-License-Identifier: MIT
"""Is each jail read from where it should be, and told old lines from new?"""

import time

import pytest

from stockade_agent.intake import FILE, JOURNAL, Intake, chosen
from stockade_agent.specs import BANS, FilterSpec, JailSpec, LogPath


MATCH = ("_COMM=sshd",)


def jail(name="sshd", *paths, backend="auto", journalmatch=(), tails=(), **options):
    filter_ = FilterSpec("f", failregex=("<HOST>",), journalmatch=journalmatch)
    logpath = tuple(LogPath(str(path), path in tails) for path in (*paths, *tails))
    return JailSpec(name, filter_, backend=backend, logpath=logpath, **options)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "auth.log"
    path.write_text("old\n")
    return path


@pytest.fixture
def intake():
    """Return what opens an intake, and closes it."""
    made = []

    def make(*specs, positions=None):
        made.append(Intake(specs, positions or {}, time.time(), ("/nowhere/journalctl",)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(
    "backend, exists, match, options, source",
    [
        pytest.param("auto", True, MATCH, {}, FILE, id="auto-file"),
        pytest.param("auto", False, MATCH, {}, JOURNAL, id="auto-no-file"),
        pytest.param("auto", False, (), {}, FILE, id="auto-waits-for-the-file"),
        pytest.param("auto", False, MATCH, {"systemd_if_nologs": False}, FILE, id="auto-never"),
        pytest.param("systemd", True, MATCH, {}, JOURNAL, id="systemd"),
        pytest.param("systemd[journalflags=1]", True, (), {}, JOURNAL, id="systemd-of-all"),
        pytest.param("polling", False, MATCH, {}, FILE, id="polling"),
        pytest.param("bans", True, MATCH, {}, BANS, id="bans"),
        pytest.param("pyinotify", False, MATCH, {}, FILE, id="pyinotify"),
    ],
)
def test_where_a_jail_reads_from(log, backend, exists, match, options, source):
    """``auto`` is the journal when no log file exists and the filter says what to look for."""
    path = log if exists else log.with_name("none*.log")

    assert source == chosen(jail("sshd", path, backend=backend, journalmatch=match, **options))


def test_a_directory_is_no_log_file(tmp_path):
    """Only a file keeps ``auto`` from the journal."""
    assert JOURNAL == chosen(jail("sshd", tmp_path, journalmatch=MATCH))


def test_one_file_serves_all_jails(log, intake):
    """A block names the jails that want it, head and tail alike."""
    reading = intake(
        jail("a", log), jail("b", log, log.with_name("b.log")), jail("c", tails=(log,))
    )
    (taken,) = reading.take(FILE)

    assert ("a", "b", "c") == taken.jails
    assert b"old\n" == taken.block.data
    assert (str(log),) == reading.logs("c")


def test_what_stood_there_is_old_what_comes_is_new(log, intake):
    """Lines from before the start keep their date; later ones are live."""
    reading = intake(jail("sshd", log))
    assert [False] == [taken.live for taken in reading.take(FILE)]
    with log.open("a") as file:
        file.write("new\n")

    assert [True] == [taken.live for taken in reading.take(FILE)]


def test_a_large_log_is_taken_in_turns(log, intake):
    """A long backlog is read a few blocks at a time, and is old to its end."""
    log.write_text(("x" * 99 + "\n") * 70_000)
    reading = intake(jail("sshd", log))
    turns = []
    while turn := list(reading.take(FILE)):
        turns.append(turn)

    assert len(turns) >= 2
    assert {False} == {taken.live for turn in turns for taken in turn}
    assert reading.sources[FILE].due() is None


def test_problems_are_said_when_they_change(log, intake):
    """A missing log is told once, and once more when it is there."""
    path = log.with_name("late.log")
    reading = intake(jail("sshd", path))
    list(reading.take(FILE))
    assert [("sshd", f"no file yet: {path}")] == reading.changed_problems()
    assert [] == reading.changed_problems()
    assert f"no file yet: {path}" == reading.problem("sshd")
    path.write_text("")
    list(reading.take(FILE))

    assert [("sshd", "")] == reading.changed_problems()
    assert "" == reading.problem("sshd")


def test_a_journal_that_cannot_be_read_is_its_jails_problem(intake, log):
    """What troubles the journal is said by the jails on it, and by no other."""
    reading = intake(jail("sshd", backend="systemd", journalmatch=MATCH), jail("vnc", log))
    list(reading.take(JOURNAL))

    assert "journal: /nowhere/journalctl: No such file or directory" == reading.problem("sshd")
    assert "" == reading.problem("vnc")


def test_each_journal_has_one_source(intake):
    """Jails with the same parameters share a journal; it and its position go by their name."""
    of_a_unit = {"backend": "systemd", "journalmatch": MATCH}
    reading = intake(
        jail("a", **of_a_unit),
        jail("b", **of_a_unit, backend_parameters={"journalflags": "4"}),
        jail("c", **of_a_unit, backend_parameters={"namespace": "web"}),
        jail("d", **of_a_unit, backend_parameters={"namespace": "web"}),
    )
    for name in reading.sources:
        list(reading.take(name))

    assert [JOURNAL, "journal[namespace=web]"] == list(reading.sources)
    assert dict.fromkeys("abcd", JOURNAL) == reading.chosen
    assert "journal: /nowhere/journalctl: No such file or directory" == reading.problem("b")
    assert reading.problem("d").startswith("journal[namespace=web]: no journal files yet: ")
    assert MATCH == reading.logs("c")


def test_a_jail_without_logs(intake, log):
    """Who is to read nothing says so, whether or not another jail reads something."""
    alone, beside = intake(jail("empty")), intake(jail("empty"), jail("sshd", log))
    list(beside.take(FILE))

    assert "no logpath: there is nothing to read" == alone.problem("empty")
    assert "no logpath: there is nothing to read" == beside.problem("empty")
    assert "" == beside.problem("sshd")


def test_no_jail_reads_nothing(intake):
    """Without a jail there is no source."""
    assert {} == intake().sources
