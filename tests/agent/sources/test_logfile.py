# SPDX-License-Identifier: MIT
"""Are log lines neither lost nor doubled, whatever happens to the file?"""

import os
import shutil
import threading

import pytest

from agent.sources.reader import DEADLINE, append, numbered


def test_reads_what_is_there_and_what_comes(reader, log):
    """Lines present at the start and lines written later arrive once, in order."""
    append(log, 0, 3)
    source = reader(str(log)).until_lines(3)
    append(log, 3, 5)

    assert numbered(0, 5) == source.until_lines(5).lines


def test_only_whole_lines(reader, log):
    """A line without its newline is held back until the newline comes."""
    append(log, 0, 2, end="")
    source = reader(str(log)).until_lines(1)
    source.wait()
    assert numbered(0, 1) == source.lines
    append(log, 2, 3)

    source.until_lines(2)

    assert ["line 000000", "line 000001line 000002"] == source.lines


def test_rename_rotation(reader, log):
    """What rotation leaves unread in the old file comes before the new file."""
    append(log, 0, 2)
    source = reader(str(log)).until_lines(2)
    append(log, 2, 4)
    log.rename(log.with_name("auth.log.1"))
    append(log, 4, 6)

    assert numbered(0, 6) == source.until_lines(6).lines


def test_writer_that_has_not_noticed_the_rotation(reader, log):
    """Lines that still go to the renamed file are read, before and after a new one exists."""
    append(log, 0, 1)
    source = reader(str(log)).until_lines(1)
    old = log.with_name("auth.log.1")
    log.rename(old)
    append(old, 1, 2)
    source.until_lines(2)
    append(log, 2, 3)
    source.until_lines(3)
    append(old, 3, 4)

    assert numbered(0, 4) == source.until_lines(4).lines


def test_last_line_of_a_file_that_will_not_go_on(reader, log):
    """A line that its writer never ended is read when the file is given up."""
    append(log, 0, 2, end="")
    source = reader(str(log)).until_lines(1)
    log.unlink()
    append(log, 2, 3)

    assert numbered(0, 3) == source.until_lines(3).lines


def test_copytruncate(reader, log):
    """A truncated file is read from its start; the copy's unread tail comes first."""
    append(log, 0, 3)
    source = reader(str(log)).until_lines(3)
    append(log, 3, 5)
    shutil.copy(log, log.with_name("auth.log.1"))
    os.truncate(log, 0)
    append(log, 5, 7)

    assert numbered(0, 7) == source.until_lines(7).lines


def test_copytruncate_that_outgrows_the_offset(reader, log):
    """New content is told from old by its first bytes, even where it is longer already."""
    append(log, 0, 3)
    source = reader(str(log)).until_lines(3)
    os.truncate(log, 0)
    append(log, 3, 90)

    assert numbered(0, 90) == source.until_lines(90).lines


def test_deletion_and_creation(reader, log):
    """A deleted log is read to its end and its successor from the start."""
    append(log, 0, 2)
    source = reader(str(log)).until_lines(2)
    append(log, 2, 3)
    log.unlink()
    source.wait()
    append(log, 3, 5)

    assert numbered(0, 5) == source.until_lines(5).lines


def test_edited_in_place(reader, log):
    """The same content under a new inode is not read again."""
    append(log, 0, 3)
    source = reader(str(log)).until_lines(3)
    copy = log.with_name("copy")
    shutil.copy(log, copy)
    append(copy, 3, 4)
    copy.replace(log)

    assert numbered(0, 4) == source.until_lines(4).lines


def test_chain_of_rotated_files_under_one_glob(reader, tmp_path, log):
    """A glob that covers the rotated files too reads each line once."""
    append(log.with_name("auth.log.1"), 0, 2)
    append(log, 2, 4)
    source = reader(str(tmp_path / "auth.log*")).until_lines(4)
    append(log, 4, 6)
    log.with_name("auth.log.1").rename(log.with_name("auth.log.2"))
    log.rename(log.with_name("auth.log.1"))
    append(log, 6, 8)

    assert numbered(0, 8) == sorted(source.until_lines(8).lines)


def test_two_files_that_swap_names(reader, tmp_path):
    """Files that trade their names are followed where they went."""
    one, two = tmp_path / "1.log", tmp_path / "2.log"
    append(one, 0, 2)
    append(two, 2, 4)
    source = reader(str(tmp_path / "*.log")).until_lines(4)
    one.rename(tmp_path / "x")
    two.rename(one)
    (tmp_path / "x").rename(two)
    append(one, 4, 5)
    append(two, 5, 6)

    assert numbered(0, 6) == sorted(source.until_lines(6).lines)


def test_late_directories(reader, tmp_path):
    """A glob sees files whose directories are made long after the start."""
    source = reader(str(tmp_path / "home/*/.vnc/*:*.log"))
    source.wait()
    assert {"jail0": []} == source.source.logs()
    (tmp_path / "home/bob").mkdir(parents=True)
    source.wait()
    (tmp_path / "home/bob/.vnc").mkdir()
    append(tmp_path / "home/bob/.vnc/host:1.log", 0, 2)
    source.until_lines(2)
    (tmp_path / "home/eve/.vnc").mkdir(parents=True)
    append(tmp_path / "home/eve/.vnc/host:2.log", 2, 4)

    assert numbered(0, 4) == source.until_lines(4).lines
    assert 2 == len(source.source.logs()["jail0"])
    assert {} == {k: v for k, v in source.source.problems().items() if k != "inotify"}


def test_directory_made_anew(reader, tmp_path):
    """A directory that is removed and made again is looked into again."""
    log = tmp_path / "app" / "auth.log"
    log.parent.mkdir()
    append(log, 0, 1)
    source = reader(str(log)).until_lines(1)
    log.unlink()
    log.parent.rmdir()
    source.wait()
    log.parent.mkdir()
    append(log, 1, 2)

    assert numbered(0, 2) == source.until_lines(2).lines


def test_symlink_into_another_directory(reader, tmp_path, log):
    """A log behind a symlink is followed through the rotation of its target."""
    target = tmp_path / "elsewhere" / "real.log"
    target.parent.mkdir()
    append(target, 0, 2)
    log.symlink_to(target)
    source = reader(str(log)).until_lines(2)
    target.rename(target.with_name("real.log.1"))
    append(target, 2, 4)

    assert numbered(0, 4) == source.until_lines(4).lines


def test_stars_leave_dot_files_alone(reader, tmp_path):
    """A star matches no leading dot, as in the shell."""
    append(tmp_path / ".hidden.log", 0, 1)
    append(tmp_path / "seen.log", 1, 2)

    assert numbered(1, 2) == reader(str(tmp_path / "*.log")).until_lines(1).lines


def test_one_reader_for_ten_jails(reader, log):
    """Ten jails on one file: the file is opened and read once, for all of them."""
    append(log, 0, 3)
    source = reader(*[str(log)] * 10).until_lines(3)
    links = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if _open(n)]

    assert numbered(0, 3) == source.lines
    assert tuple(f"jail{n}" for n in range(10)) == source.blocks[0].watches
    assert 1 == links.count(str(log))


def _open(number):
    return os.path.lexists(f"/proc/self/fd/{number}")


def test_hard_links_are_one_log(reader, tmp_path):
    """Two names of one file are read as one."""
    append(tmp_path / "a.log", 0, 2)
    os.link(tmp_path / "a.log", tmp_path / "b.log")
    source = reader(str(tmp_path / "a.log"), str(tmp_path / "b.log")).until_lines(2)
    source.wait()

    assert numbered(0, 2) == source.lines
    assert ("jail0", "jail1") == source.blocks[0].watches


def test_tail_starts_at_the_end_of_what_exists_only(reader, log):
    """``tail`` skips what stood in the log at the start, not what a rotation brings."""
    append(log, 0, 3)
    source = reader(str(log), tail=True)
    source.wait()
    append(log, 3, 4)
    source.until_lines(1)
    log.rename(log.with_name("auth.log.1"))
    append(log, 4, 6)

    assert numbered(3, 6) == source.until_lines(3).lines


def test_restart_neither_forgets_nor_repeats(reader, log):
    """A new instance goes on where the positions say."""
    append(log, 0, 3)
    first = reader(str(log)).until_lines(3)
    first.source.close()
    append(log, 3, 5)

    assert numbered(3, 5) == reader(str(log), positions=first.positions).until_lines(2).lines


@pytest.mark.parametrize(
    "rotate",
    [
        pytest.param(lambda log, old: log.rename(old), id="rename"),
        pytest.param(
            lambda log, old: (shutil.copy(log, old), os.truncate(log, 0)), id="copytruncate"
        ),
    ],
)
def test_rotated_while_stopped(reader, log, rotate):
    """The unread tail of a log that was rotated while the agent was away is found."""
    append(log, 0, 3)
    first = reader(str(log)).until_lines(3)
    first.source.close()
    append(log, 3, 5)
    rotate(log, log.with_name("auth.log.1"))
    append(log, 5, 60)
    source = reader(str(log), positions=first.positions).until_lines(57)

    assert numbered(3, 60) == source.lines
    again = reader(str(log), positions=source.positions)
    again.wait()
    assert [] == again.lines


def test_stopped_between_the_old_files_tail_and_the_new_file(reader, log):
    """Positions saved after each block are enough: no block is repeated, none left out."""
    append(log, 0, 3)
    source = reader(str(log)).until_lines(3)
    append(log, 3, 5)
    log.rename(log.with_name("auth.log.1"))
    append(log, 5, 7)
    source.source._stale = True
    for block in source.source.read():
        source.positions[block.log] = block.position
        assert numbered(3, 5) == block.data.decode().splitlines()
        break
    source.source.close()

    assert numbered(5, 7) == reader(str(log), positions=source.positions).until_lines(2).lines


def test_saved_position_of_another_file(reader, log):
    """A position whose content is no longer there is no reason to skip lines."""
    append(log, 0, 3)
    first = reader(str(log)).until_lines(3)
    first.source.close()
    with log.open("w") as file:  # the same inode
        file.write("\n".join(numbered(3, 40)) + "\n")

    assert numbered(3, 40) == reader(str(log), positions=first.positions).until_lines(37).lines


def test_positions_of_nonsense_are_ignored(reader, log):
    """A position that cannot be read means the start."""
    append(log, 0, 2)

    assert numbered(0, 2) == reader(str(log), positions={str(log): "s=1;x"}).until_lines(2).lines


@pytest.mark.parametrize("style", ["rename", "copytruncate"])
def test_rotation_under_a_busy_writer(reader, log, style):
    """Rotations while lines are written: every line once, in order, if each file was seen."""
    generations, size = 6, 400
    total, count = generations * size, 0
    seen = threading.Condition()

    def write():
        for first in range(0, total, size):
            for n in range(first, first + size, 20):
                append(log, n, n + 20)
            with seen:
                seen.wait_for(lambda first=first: count > first, DEADLINE)
            if style == "rename":
                log.rename(log.with_name(f"auth.log.{first}"))
            else:
                shutil.copy(log, log.with_name(f"auth.log.{first}"))
                os.truncate(log, 0)

    source = reader(str(log))
    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        source.wait()
        with seen:
            count = len(source.lines)
            seen.notify()
    writer.join()

    assert numbered(0, total) == source.until_lines(total).lines
