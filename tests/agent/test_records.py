# SPDX-License-Identifier: MIT
"""Does banning go on whatever befalls the ledger, and is nothing lost once it works again?"""

import io
import os
from pathlib import Path

import pytest

from stockade_agent.ledger import Ledger
from stockade_agent.log import Log
from stockade_agent.model import Ban, Tally, target
from stockade_agent.records import Records


NOW = 1000.0


def ban(id_, jail="sshd", **values):
    return Ban(jail, id_, target(id_), at=NOW, bantime=600, **values)


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.sqlite3"


@pytest.fixture
def records(path, said):
    records = Records(str(path), Log(said))
    yield records
    records.close(NOW)


def broken(records, monkeypatch):
    """Make every further write fail, as on a full disk."""
    monkeypatch.setattr(records._ledger, "_run", lambda *_: records._ledger._db.execute("nonsense"))


def test_what_is_noted_is_committed_together(records, path):
    """A ban, the totals and the log's position reach the file with one commit."""
    records.read_to("/var/log/auth.log", "1:2:3:0")
    records.count("sshd", 5, 1)
    records.count("sshd", 2, 0)
    records.intend([ban("192.0.2.7")])
    other = Ledger(str(path))
    assert ([], {}) == (list(other.bans()), other.positions())
    assert records.behind
    records.commit(NOW)

    assert [ban("192.0.2.7")] == list(other.bans())
    assert {"/var/log/auth.log": "1:2:3:0"} == other.positions()
    assert {"sshd": (7, 1)} == other.totals()
    assert not records.behind
    other.close()


def test_totals_go_on_after_a_restart(records, path, said):
    """The next agent counts from where this one was."""
    records.count("sshd", 5, 1)
    records.held_by("nftables")
    records.commit(NOW)
    again = Records(str(path), Log(said))
    again.count("sshd", 1, 1)

    assert {"sshd": (6, 2)} == again.totals
    assert "nftables" == again.backend
    again.close(NOW)


def test_a_ledger_that_fails_is_said_once_and_written_down_later(records, path, said, monkeypatch):
    """What was banned, lifted and counted meanwhile is in the file after it heals."""
    records.intend([ban("192.0.2.1"), ban("192.0.2.2"), ban("192.0.2.3", "vnc")])
    records.commit(NOW)
    broken(records, monkeypatch)
    records.intend([ban("192.0.2.4")])
    records.lifted([ban("192.0.2.1")])
    records.read_to("log", "1:2:3:0")
    records.count("sshd", 3, 1)
    records.commit(NOW)
    assert "nonsense" in records.problem
    assert 1 == said.getvalue().count("a restart would forget them")

    assert records.heal(NOW, {"sshd": []}, [ban("192.0.2.2"), ban("192.0.2.4")])
    kept = Ledger(str(path))
    assert {"192.0.2.2", "192.0.2.3", "192.0.2.4"} == {each.id for each in kept.bans()}
    assert ({"log": "1:2:3:0"}, {"sshd": (3, 1)}) == (kept.positions(), kept.totals())
    assert [1, 1] == [kept.past(f"192.0.2.{n}", "sshd")[0] for n in (2, 4)]
    assert "" == records.problem
    kept.close()


TALLY = Tally("192.0.2.9", 1.0, 2.0, 3.0, 3, ("a \x1b line",), {"user": "root"})


def test_failures_below_maxretry_are_kept_with_the_position(records, path, said):
    """The next agent has them, in the order of their last; those that are gone it has not."""
    other = TALLY._replace(id="192.0.2.8", last=1.0)
    records.recount("sshd", {TALLY.id: TALLY, other.id: other, "gone": TALLY._replace(id="gone")})
    records.commit(NOW)
    records.recount("sshd", {"gone": None})
    records.read_to("log", "1:2:3:0")
    records.commit(NOW)
    records.recount("sshd", {TALLY.id: None})  # never committed
    again = Records(str(path), Log(said))

    assert [other, TALLY] == list(again.tallies("sshd"))
    assert [] == list(again.tallies("vnc"))
    again.purge(602.0, 86400.0, [], {"sshd": 600})
    assert [] == list(again.tallies("sshd"))
    again.close(NOW)


def test_a_ledger_that_heals_is_told_of_all_failures(records, path, monkeypatch):
    """What changed meanwhile it has then, and what the jails have; the rest stays."""
    for jail in ("sshd", "vnc"):
        records.recount(jail, {TALLY.id: TALLY})
    records.commit(NOW)
    broken(records, monkeypatch)
    records.recount("sshd", {TALLY.id: None})
    records.read_to("log", "1:2:3:0")
    records.commit(NOW)
    assert records.problem
    other = TALLY._replace(id="192.0.2.8")

    assert records.heal(NOW, {"sshd": [other]}, [])
    assert ([other], [TALLY]) == tuple(list(records.tallies(jail)) for jail in ("sshd", "vnc"))


def test_a_ledger_that_cannot_be_opened(said, tmp_path):
    """The agent starts without one, and takes it once it can be had."""
    (tmp_path / "state").write_text("in the way")
    records = Records(str(tmp_path / "state" / "ledger.sqlite3"), Log(said))
    assert records.problem
    records.intend([ban("192.0.2.7")])
    assert not records.heal(NOW, {"sshd": []}, [ban("192.0.2.7")])
    os.unlink(tmp_path / "state")

    assert records.heal(NOW, {"sshd": []}, [ban("192.0.2.7")])
    assert [ban("192.0.2.7")] == list(records.bans())
    records.close(NOW)


def test_a_ledger_that_could_not_be_read_loses_nothing_by_healing(said, tmp_path):
    """Bans of a file that was out of reach at the start stay in it, and can be put into force."""
    state, away = tmp_path / "state", tmp_path / "away"
    ledger = Ledger(str(state / "ledger.sqlite3"))
    ledger.ban([ban("192.0.2.1")])
    ledger.close()
    state.rename(away)
    state.write_text("in the way")
    records = Records(str(state / "ledger.sqlite3"), Log(said))
    assert records.unread
    state.unlink()
    away.rename(state)

    assert records.heal(NOW, {"sshd": []}, [ban("192.0.2.7")])
    assert {"192.0.2.1", "192.0.2.7"} == {each.id for each in records.bans()}
    records.close(NOW)


@pytest.mark.parametrize("wal", [True, False], ids=["with-wal", "alone"])
def test_a_ledger_that_cannot_be_written_is_read(said, path, wal, monkeypatch):
    """Bans, positions and totals of a read-only file system hold; its owner is told."""
    records = Records(str(path), Log(said))
    records.intend([ban("192.0.2.1")])
    records.read_to("log", "1:2:3:0")
    records.commit(NOW)
    if not wal:
        records.close(NOW)

    def refused(_path):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("stockade_agent.ledger._open_file", refused)
    again = Records(str(path), Log(said))

    assert "Read-only file system" in again.problem
    assert ["192.0.2.1"] == [each.id for each in again.bans()]
    assert {"log": "1:2:3:0"} == again.positions
    assert not again.unread
    again.close(NOW)
    if wal:
        records.close(NOW)


def test_a_corrupt_ledger_is_said(path, said):
    """What was set aside is an error in the log, not the end."""
    path.parent.mkdir()
    path.write_bytes(b"nonsense" * 999)
    records = Records(str(path), Log(said))

    assert "" == records.problem
    assert "<3>ledger: " in said.getvalue()
    assert Path(f"{path}.corrupt").exists()
    records.close(NOW)


def test_past(records):
    """Earlier bans are told as the jail wants them."""
    records.intend([ban("192.0.2.7")])

    assert (1, NOW) == records.past("192.0.2.7", None)
    assert records.past("192.0.2.8", "sshd") is None
