# SPDX-License-Identifier: MIT
"""Does a damaged ledger give back what is left of it, and nothing else?"""

import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agent.ledgers import ban
from stockade_agent.ledger import Ledger


def test_a_file_that_is_no_ledger_is_set_aside(path, tmp_path, again):
    """Garbage in place of the ledger is kept, said, and no obstacle."""
    Path(path).parent.mkdir()
    Path(path).write_bytes(random.Random(1).randbytes(20_000))
    ledger = again()
    ledger.ban([ban()])
    ledger.commit()

    assert [ban().bare()] == ledger.bans()
    assert "set aside as" in ledger.warnings[0]
    assert 20_000 == Path(path + ".corrupt").stat().st_size


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes(path, again, seed):
    """Whatever bytes are damaged, the ledger opens, and every ban it gives is one that was made."""
    made = {f"2001:db8::{n:x}": float(n) for n in range(500)}
    ledger = Ledger(path)
    ledger.ban([ban(id_, at=at) for id_, at in made.items()])
    ledger.close()
    rand = random.Random(seed)
    content = bytearray(Path(path).read_bytes())
    for _ in range(60):
        content[rand.randrange(len(content))] ^= 1 << rand.randrange(8)
    Path(path).write_bytes(content)
    opened = again()
    opened.ban([ban("192.0.2.99")])
    opened.commit()
    found = {each.id: each.at for each in opened.bans()}

    assert 1000.0 == found.pop("192.0.2.99")
    assert found.items() <= made.items()


def test_what_a_damaged_file_still_holds_is_taken_over(path, again):
    """Bans on sound pages survive the damage of another."""
    ledger = Ledger(path)
    ledger.ban([ban(f"2001:db8::{n:x}") for n in range(2000)])
    ledger.close()
    content = bytearray(Path(path).read_bytes())
    content[-2 * 4096 : -4096] = b"\xff" * 4096
    Path(path).write_bytes(content)
    opened = again()

    assert opened.warnings
    assert len(opened.bans()) > 1900


@pytest.mark.parametrize("length", [16, 24, 60, 100])
def test_a_damaged_head_costs_nothing(path, again, length):
    """The file's first bytes are known without it."""
    ledger = Ledger(path)
    ledger.ban([ban(f"2001:db8::{n:x}") for n in range(2000)])
    ledger.close()
    content = bytearray(Path(path).read_bytes())
    content[:length] = b"\xa5" * length
    Path(path).write_bytes(content)
    opened = again()

    assert opened.warnings
    assert 2000 == len(opened.bans())
    assert content == Path(path + ".corrupt").read_bytes()


@pytest.mark.parametrize("n", range(24))
def test_no_page_leads_to_all_others(path, again, n):
    """Any one page may be gone: the rows of all others are found, though no way leads there."""
    ledger = Ledger(path)
    ledger.ban([ban(f"2001:db8::{n:x}", matches=("x" * 300,) * (n % 9)) for n in range(400)])
    ledger.close()
    content = bytearray(Path(path).read_bytes())
    start = n * len(content) // 24 // 4096 * 4096
    content[start : start + 4096] = bytes(4096)
    Path(path).write_bytes(content)

    assert len(again().bans()) > 400 - 4096 // 60


def test_what_was_lifted_does_not_come_back(path, again):
    """A page that nobody uses any more has no bans in it."""
    ledger = Ledger(path)
    made = [ban(f"2001:db8::{n:x}") for n in range(400)]
    ledger.ban(made)
    ledger.commit()
    ledger.unban(made[100:], forget=True)
    ledger.close()
    content = bytearray(Path(path).read_bytes())
    content[4096 : 2 * 4096] = bytes(4096)  # the root of table bans
    Path(path).write_bytes(content)
    opened = again()

    assert opened.warnings
    assert {each.id for each in opened.bans()} <= {each.id for each in made[:100]}


def test_what_the_wal_lifted_does_not_come_back(path, again, tmp_path):
    """The pages are brought up to date before they are read."""
    ledger = Ledger(path)
    made = [ban(f"2001:db8::{n:x}") for n in range(400)]
    ledger.ban(made)
    ledger.close()
    ledger = Ledger(path)
    ledger.unban(made[:200])
    ledger.commit()
    content = bytearray(Path(path).read_bytes())
    wal = Path(f"{path}-wal").read_bytes()
    ledger.close()
    content[100:200] = b"\xff" * 100  # the schema: nothing is found by way of sqlite
    Path(path).write_bytes(content)
    Path(f"{path}-wal").write_bytes(wal)
    opened = again()

    assert [each.id for each in made[200:]] == sorted(
        (each.id for each in opened.bans()), key=[each.id for each in made].index
    )


@pytest.mark.parametrize(
    ("place", "new"),
    [
        pytest.param(18, b"\x09", id="said-to-be-written-by-a-later-sqlite"),
        pytest.param(47, b"\x09", id="said-to-have-a-later-format"),
        pytest.param(56, b"\x00\x00\x00\x02", id="said-to-be-utf-16"),
        pytest.param(52, b"\x00\x00\x00\x01", id="said-to-be-vacuumed"),
    ],
)
def test_a_head_that_sqlite_believes(path, again, place, new):
    """A damaged head must not pass for a file that cannot be written."""
    ledger = Ledger(path)
    ledger.ban([ban()])
    ledger.close()
    content = bytearray(Path(path).read_bytes())
    content[place : place + len(new)] = new
    Path(path).write_bytes(content)
    opened = again()

    assert "head is damaged" in opened.warnings[0]
    assert [ban().bare()] == opened.bans()


def test_names_in_the_schema_that_are_no_text(path, again):
    """Sqlite says them in its errors, and Python cannot read these."""
    ledger = Ledger(path)
    ledger.ban([ban()])
    ledger.close()
    content = Path(path).read_bytes()
    damaged = content.replace(b"tablebansbans", b"tab\xffe\xc1\x80\xffsbans")
    assert content != damaged
    Path(path).write_bytes(damaged)
    opened = again()

    assert "set aside as" in opened.warnings[0]
    assert [ban().bare()] == opened.bans()


def test_a_row_that_was_changed_bans_nobody(path, again):
    """One flipped bit in an address would refuse somebody else."""
    ledger = Ledger(path)
    ledger.ban([ban("192.0.2.7"), ban("192.0.2.8")])
    ledger.close()
    content = Path(path).read_bytes()
    Path(path).write_bytes(content.replace(b"192.0.2.7", b"192.0.2.\xf7"))
    opened = again()

    assert ["192.0.2.8"] == [each.id for each in opened.bans()]
    assert 1 == opened.damaged


def test_an_empty_file_is_said(path):
    """Nothing is left of it, but that there was something."""
    Path(path).parent.mkdir()
    Path(path).touch()
    ledger = Ledger(path)

    assert "was empty" in ledger.warnings[0]
    ledger.close()


def test_a_ledger_of_a_newer_agent_is_set_aside(path, again):
    """A downgrade takes over what it understands."""
    ledger = Ledger(path)
    ledger.ban([ban()])
    ledger.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    opened = again()

    assert "schema 99" in opened.warnings[0]
    assert [ban().bare()] == opened.bans()


def test_the_wal_of_an_earlier_copy(path, again):
    """Whoever was killed while he saved leaves a copy whose WAL is not that of the next one."""
    ledger = Ledger(path)
    ledger.ban([ban("192.0.2.66")])
    ledger.commit()
    Path(f"{path}.corrupt-copy-wal").write_bytes(Path(f"{path}-wal").read_bytes())
    ledger.close()
    Path(path).unlink()
    ledger = Ledger(path)
    ledger.ban([ban("192.0.2.7")])
    ledger.close()
    content = bytearray(Path(path).read_bytes())
    content[:100] = b"\xff" * 100
    Path(path).write_bytes(content)

    assert ["192.0.2.7"] == [each.id for each in again().bans()]
    assert not list(Path(path).parent.glob("*-copy*"))


@pytest.mark.lab
def test_a_full_disk_does_not_cost_what_is_left(tmp_path):
    """A damaged ledger stays where it is until there is room for what it holds."""
    script = textwrap.dedent("""\
        import os, sys
        from pathlib import Path
        from agent.ledgers import ban
        from stockade_agent.errors import LedgerError
        from stockade_agent.ledger import Ledger

        folder = Path(sys.argv[1])
        path = folder / "ledger.sqlite3"
        ledger = Ledger(str(path))
        ledger.ban([ban(f"2001:db8::{n:x}") for n in range(2000)])
        ledger.close()
        content = bytearray(path.read_bytes())
        content[:100] = b"\\xff" * 100
        path.write_bytes(content)
        for left in (0, 60_000):
            with (folder / "filler").open("wb", buffering=0) as filler:
                try:
                    while filler.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
                filler.truncate(filler.tell() - left)
            try:
                Ledger(str(path))
            except LedgerError as error:
                print(str(error).rpartition(": ")[2], path.read_bytes() == content)
            (folder / "filler").unlink()
        print(len(Ledger(str(path)).bans()))
    """)
    mount = f'mount -t tmpfs -o size=4m none {tmp_path} && exec {sys.executable} -c "$0" "$@"'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["unshare", "-m", "sh", "-c", mount, script, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert ["database or disk is full True"] * 2 + ["2000"] == done.stdout.splitlines()
