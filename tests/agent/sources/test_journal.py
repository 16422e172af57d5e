# SPDX-License-Identifier: MIT
"""Does each journal entry reach the jails that ask for it, once, as fail2ban would show it?"""

import json
import os

import pytest

from agent.sources.entries import SSHD, cursor, entry, lines_of
from stockade_agent.journals import which
from stockade_agent.sources import Watch
from stockade_agent.sources.journal import BACKOFF, LINE, LONGEST, LOOK, PROOF, Journal, groups


@pytest.mark.parametrize(
    "fields, line",
    [
        pytest.param({}, "host sshd[7]: hello", id="plain"),
        pytest.param({"_HOSTNAME": None}, "sshd[7]: hello", id="no-host"),
        pytest.param({"SYSLOG_IDENTIFIER": None}, "host sshd[7]: hello", id="name-of-command"),
        pytest.param({"SYSLOG_PID": "9"}, "host sshd[9]: hello", id="pid-of-syslog"),
        pytest.param({"_PID": None}, "host sshd: hello", id="no-pid"),
        pytest.param({"MESSAGE": "a\nb"}, "host sshd[7]: a\\nb", id="newline"),
        pytest.param({"MESSAGE": [104, 105, 255]}, "host sshd[7]: hi\udcff", id="bytes"),
        pytest.param(
            {"MESSAGE": "\ud800 a\x00\x1b[2J\r"}, "host sshd[7]: ? a\x00\x1b[2J\r", id="odd"
        ),
        pytest.param({"MESSAGE": ["a", "b"]}, "host sshd[7]: a b", id="two-values"),
        pytest.param({"MESSAGE": None}, "host sshd[7]: ", id="no-message"),
        pytest.param(
            {"SYSLOG_IDENTIFIER": "kernel", "_PID": None},
            "host kernel: [    5.000000] hello",
            id="kernel",
        ),
    ],
)
def test_line_of_an_entry(fake, read, fields, line):
    """An entry becomes the line that fail2ban's systemd backend shows."""
    fake.has(entry(1, "hello", **fields))
    _, blocks = read(SSHD, until=lines_of(1))

    assert line.encode(errors="surrogateescape") + b"\n" == blocks[0].data
    assert (1.0,) == blocks[0].times


def test_time_of_the_source_rules(fake, read):
    """Where the sender's own time is known, it is the entry's time."""
    fake.has(entry(1, "a", _SOURCE_REALTIME_TIMESTAMP="500000"), entry(2, "b"))
    _, blocks = read(SSHD, until=lines_of(2))

    assert (0.5, 2.0) == tuple(at for block in blocks for at in block.times)


def test_entries_reach_the_watches_that_match(fake, read):
    """Terms of one field are alternatives, different fields must agree, ``+`` and lines are OR."""
    watches = [
        Watch("either", ("_COMM=sshd _COMM=cron",)),
        Watch("both", ("_COMM=sshd SYSLOG_IDENTIFIER=other",)),
        Watch("plus", ("_COMM=cron + SYSLOG_IDENTIFIER=other",)),
        Watch("lines", ("_COMM=cron", "SYSLOG_IDENTIFIER=other")),
        Watch("all", ()),
    ]
    fake.has(
        entry(1, "1"),
        entry(2, "2", _COMM="cron"),
        entry(3, "3", SYSLOG_IDENTIFIER="other"),
        entry(4, "4", _COMM="x"),
    )
    _, blocks = read(*watches, until=lines_of(4))

    assert [
        ("either", "all"),
        ("either", "plus", "lines", "all"),
        ("either", "both", "plus", "lines", "all"),
        ("all",),
    ] == [block.watches for block in blocks]


def test_journalctl_is_asked_for_the_union(fake, read):
    """One child gets each group once, whatever number of watches wants it."""
    read(SSHD, Watch("again", SSHD.pattern), Watch("cron", ("_COMM=cron",)), until=asked(fake))
    (told,) = fake.asked()

    assert ["_SYSTEMD_UNIT=ssh.service", "+", "_COMM=sshd", "+", "_COMM=cron"] == told[-5:]
    assert "--lines=0" in told


def test_a_watch_of_everything_asks_without_a_match(fake, read):
    """A jail without journalmatch wants all entries, so all are asked for."""
    read(SSHD, Watch("all", ()), until=asked(fake))

    assert all(option.startswith("--") for option in fake.asked()[0])


def test_only_this_host_is_asked_about_and_all_its_boots(fake, read, tmp_path):
    """Entries that other hosts sent here are left out; those from before a reboot are not."""
    (tmp_path / "machine-id").write_text("f00d\n")
    watches = [SSHD, Watch("cron", ("_COMM=cron",))]
    read(*watches, until=asked(fake), machine_id=str(tmp_path / "machine-id"))
    (told,) = fake.asked()

    own = "_MACHINE_ID=f00d"
    union = [own, "_SYSTEMD_UNIT=ssh.service", "+", own, "_COMM=sshd", "+", own, "_COMM=cron"]
    assert union == told[-8:]
    assert "--merge" in told


def asked(fake):
    return lambda *_: (fake.folder / "asked").exists() and fake.asked()


@pytest.mark.parametrize(
    "position, since, option",
    [
        pytest.param("", 12.7, "--since=@12", id="first-start"),
        pytest.param("s=1;t=1e8480", 1.0, "--cursor=s=1;t=1e8480", id="go-on"),
        pytest.param("s=1;t=1e8480", 5.0, "--since=@5", id="away-for-longer-than-findtime"),
        pytest.param("s=1;t=1e8480", None, "--cursor=s=1;t=1e8480", id="no-bound"),
    ],
)
def test_where_it_begins(fake, read, position, since, option):
    """It goes on after the saved cursor, but never earlier than findtime asks for."""
    read(SSHD, until=asked(fake), position=position, since=since)

    assert option in fake.asked()[0]
    assert "--no-tail" in fake.asked()[0]


def test_child_that_ends_is_started_again_after_the_last_entry(fake, read):
    """A journalctl that dies is said, and started again where it was."""
    fake.has(entry(1, "a"), then="out of memory")
    journal, _ = read(SSHD, until=lambda journal, _: journal.problems())
    assert {"journal": "journalctl ended with 1: journalctl: out of memory"} == journal.problems()
    assert journal.due() == BACKOFF[0]
    fake.has(entry(2, "b"))
    read(until=lines_of(1), journal=journal)

    assert "--cursor=s=1;i=1;t=f4240" in fake.asked()[1]
    assert {} == journal.problems()


@pytest.mark.parametrize(
    "first, lines",
    [
        pytest.param(cursor(1), [b"two"], id="as-it-was"),
        pytest.param(cursor(1, numbering="b" * 32), [b"two"], id="moved-to-another-file"),
        pytest.param(cursor(1, content="1"), [b"one", b"two"], id="gone-another-of-its-time"),
        pytest.param(cursor(3), [b"one", b"two"], id="gone"),
    ],
)
def test_it_goes_on_behind_the_last_entry(fake, read, first, lines):
    """The entry of the position is passed over if it is still there; none other is."""
    fake.has(entry(1, "one", __CURSOR=first), entry(2, "two", __CURSOR=cursor(4)))
    _, blocks = read(SSHD, until=lines_of(len(lines)), position=cursor(1))

    assert lines == [line.split()[-1] for block in blocks for line in block.data.splitlines()]


def test_a_child_that_stays_is_well_again(fake, read):
    """After a new start the problem ends even if the journal is quiet, but not at once."""
    fake.has(then="no space")
    journal, _ = read(SSHD, until=lambda journal, _: journal.problems())
    fake.has()
    list(journal.read())
    assert PROOF == journal.due()
    assert journal.problems()
    list(journal.read())

    assert ({}, None) == (journal.problems(), journal.due())


def test_no_journalctl_is_a_problem(tmp_path):
    """A host without journalctl is said, and tried again later."""
    journal = Journal([SSHD], journalctl=(str(tmp_path / "none"),))
    assert [] == list(journal.read())

    assert "No such file" in journal.problems()["journal"]
    assert BACKOFF[0] == journal.due()


@pytest.mark.parametrize("bad", ["sshd", "_COMM='x", "_comm=x", "1A=x", "=x"])
def test_one_bad_match_harms_no_other(fake, read, bad):
    """A journalmatch that is none takes its own jail out, and is not passed on."""
    fake.has(entry(1, "a"))
    journal, blocks = read(Watch("bad", (bad,)), SSHD, until=lines_of(1))

    assert "sshd" in journal.logs()
    assert "bad" in journal.problems()
    assert ("sshd",) == blocks[0].watches
    assert bad not in fake.asked()[0]


def test_garbage_between_entries_is_dropped(fake, read):
    """Lines that are no JSON object are no entries."""
    fake.has(entry(1, "a"), ["x"], entry(2, "b"))
    with (fake.folder / "entries").open("a") as entries:
        entries.write(
            "nonsense\n\0\n{\n" + "[" * 100_000 + "\n\xff\n" + json.dumps(entry(3, "c")) + "\n"
        )

    assert read(SSHD, until=lines_of(3))[1]


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("x" * (LINE + 1), id="text"),
        pytest.param([200] * (LINE + 1), id="bytes"),
        pytest.param("x" * (LONGEST + 1), id="longer-than-any"),
        pytest.param([200] * (2 * LINE), id="many-bytes"),
    ],
)
def test_a_line_over_a_megabyte_is_skipped(fake, read, message):
    """It is said, and those around it are read; as long as it is below, it is a line."""
    fake.has(entry(1, "a"), entry(2, message), entry(3, "x" * (LINE - 20)), entry(4, "b"))
    journal, blocks = read(SSHD, until=lines_of(3))
    lines = [line for block in blocks for line in block.data.splitlines()]

    assert [b"host sshd[7]: a", b"host sshd[7]: b"] == [lines[0], lines[2]]
    assert LINE - 20 < len(lines[1]) <= LINE
    assert {"journal": "1 lines over 1 MB were skipped"} == journal.problems()
    assert [3] == [len(lines)]


def test_nothing_to_watch_starts_nothing(fake):
    """Without a jail on the journal there is no child and nothing to wait for."""
    journal = Journal([], journalctl=fake.command)

    assert [] == list(journal.read())
    assert (None, ()) == (journal.due(), journal.filenos())


def test_close_ends_the_child(fake, read):
    """A closed journal leaves no process behind."""
    journal, _ = read(SSHD, until=lambda journal, _: journal.filenos())
    pid = journal._child.pid
    journal.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_groups_of_a_match():
    """Quotes are the shell's, empty alternatives are none."""
    assert ({"_COMM": frozenset({"a b"})}, {"_PID": frozenset({"1"})}) == groups(
        ["+ '_COMM=a b' + + _PID=1", ""]
    )


def test_the_journal_that_parameters_choose(fake, read):
    """The child is told which, blocks bear its name, and own entries are no matter of a path."""
    (fake.folder / "id").write_text("abc\n")
    (fake.folder / "system.journal").touch()
    fake.has(entry(1, "one"))
    options = {"which": which({"journalpath": str(fake.folder)}), "name": "journal[x]"}
    _, blocks = read(SSHD, until=lines_of(1), machine_id=str(fake.folder / "id"), **options)
    (asked,) = fake.asked()

    assert ["journal[x]"] == [block.log for block in blocks]
    assert f"--directory={fake.folder}" in asked
    assert "--system" not in asked
    assert "_MACHINE_ID=abc" not in asked


def test_a_journal_that_is_not_there_yet(fake, read):
    """No child is started before there is a file, as it would never see one come."""
    chosen = which({"journalpath": str(fake.folder)})
    journal, _ = read(SSHD, until=lambda journal, _: journal.problems(), which=chosen)
    assert journal.problems()["journal"].startswith(f"no journal files yet: {fake.folder}/*.jou")
    assert journal.due() == BACKOFF[0]
    (fake.folder / "system.journal").touch()
    fake.has(entry(1, "one"))
    _, blocks = read(until=lines_of(1), journal=journal)

    assert [b"host sshd[7]: one\n"] == [block.data for block in blocks]


def test_files_that_are_rotated(fake, read):
    """When another file takes a name over, it is read too, after the rest of the one before."""
    path = fake.folder / "system.journal"
    path.touch()
    fake.has(entry(1, "one"))
    chosen = which({"journalfiles": str(fake.folder / "sys*.journal")})
    journal, blocks = read(SSHD, until=lines_of(1), which=chosen)
    assert journal.due() == LOOK
    path.rename(fake.folder / "old@1.journal")
    path.touch()
    fake.has(entry(2, "two"))
    _, more = read(until=lines_of(1), journal=journal)
    first, second = fake.asked()

    assert [b"host sshd[7]: one\n", b"host sshd[7]: two\n"] == [b.data for b in (*blocks, *more)]
    assert f"--file={path.parent}/old@1.journal" not in first
    assert f"--file={path.parent}/old@1.journal" in second
    assert f"--cursor={blocks[-1].position}" in second
    assert {} == journal.problems()
