# SPDX-License-Identifier: MIT
"""Does the ledger keep what was committed, whatever happens to its process or its file?"""

import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.ledgers import ban
from stockade_agent import schema
from stockade_agent.errors import LedgerError
from stockade_agent.ledger import Ledger
from stockade_agent.model import FOREVER, target


AGENT = Path(schema.__file__).parents[1]


@pytest.fixture
def ledger(path):
    ledger = Ledger(path)
    yield ledger
    ledger.close()


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(ban(), id="address"),
        pytest.param(ban("2001:db8::/64"), id="network"),
        pytest.param(ban("some-user"), id="other-id"),
        pytest.param(ban("a-user", address=target("192.0.2.7")), id="address-beside-the-id"),
        pytest.param(ban(bantime=FOREVER), id="permanent"),
        pytest.param(ban(count=4, failures=0, matches=(), data={}), id="by-hand"),
    ],
)
def test_a_ban_comes_back_as_it_was(ledger, again, kept):
    """What is committed is there for the next process: bare, and on demand with the matches."""
    ledger.ban([kept])
    ledger.commit()
    other = again()

    assert [kept.bare()] == other.bans()
    assert [kept] == [other.whole(each) for each in other.bans()]


def test_a_bare_ban_keeps_the_matches_it_began_with(ledger):
    """Prolonged or restored, its end moves and nothing else; a later ban has its own lines."""
    ledger.ban([ban()])
    ledger.enforced([ban()])
    ledger.ban([ban(bantime=900, prolonged=True).bare(), ban(bantime=900, restored=True).bare()])
    assert [ban(bantime=900)] == [ledger.whole(each) for each in ledger.bans()]
    ledger.ban([ban(at=5000.0, matches=("another",))])

    assert [("another",)] == [ledger.whole(each).matches for each in ledger.bans()]
    assert ban("192.0.2.9").bare() == ledger.whole(ban("192.0.2.9").bare())


@pytest.mark.parametrize("count", [1, 5000])
def test_a_batch_costs_a_few_statements(ledger, monkeypatch, count):
    """What 5,000 bans, their outcome and their end take of Python is the same as for one."""
    bans = [ban(f"2001:db8::{n:x}") for n in range(count)]
    statements, run_each = [], ledger._run_each
    monkeypatch.setattr(
        ledger,
        "_run_each",
        lambda statement, rows: (statements.append(statement), run_each(statement, rows)),
    )
    ledger.ban(bans)
    ledger.enforced(bans)
    assert count == len(ledger.bans())
    ledger.unban(bans, forget=True)

    assert 5 == len(statements)
    assert [] == ledger.bans()


def test_only_root_may_read_it(ledger, path):
    """Log lines of a host are nobody else's business."""
    assert 0o600 == stat.S_IMODE(Path(path).stat().st_mode)


def test_nothing_is_kept_before_the_commit(ledger, again):
    """Bans, totals and positions of one turn are kept together or not at all."""
    ledger.ban([ban()])
    ledger.read_to({"/var/log/auth.log": "1:2:3:0"}, 1000.0)
    ledger.count({"sshd": (5, 1)})
    before = again()
    assert ([], {}, {}) == (before.bans(), before.positions(), before.totals())
    ledger.commit()

    assert {"/var/log/auth.log": "1:2:3:0"} == before.positions()
    assert {"sshd": (5, 1)} == before.totals()


def test_notes(ledger, again):
    """A note is what was noted last."""
    ledger.set_note("firewall", "iptables")
    ledger.set_note("firewall", "nftables")
    ledger.commit()

    assert ("nftables", "") == (again().note("firewall"), again().note("other"))


def test_lifted_bans_leave_their_history(ledger):
    """The end of a ban is remembered for ``bantime.increment``."""
    ledger.ban([ban(), ban("192.0.2.8")])
    ledger.unban([ban()])

    assert [ban("192.0.2.8").bare()] == ledger.bans()
    assert (1, 1000.0) == ledger.past("192.0.2.7", "sshd")


def test_an_unban_by_hand_forgives(ledger):
    """Who is unbanned by hand begins anew."""
    ledger.ban([ban()])
    ledger.unban([ban()], forget=True)

    assert ledger.past("192.0.2.7", "sshd") is None


def test_history_counts_per_jail_and_over_all(ledger):
    """Each new ban counts; a prolonged or restored one does not."""
    ledger.ban([ban(), ban(at=2000.0), ban(jail="vnc", at=1500.0)])
    ledger.ban([ban(at=2000.0, prolonged=True), ban(at=2000.0, restored=True)])

    assert (2, 2000.0) == ledger.past("192.0.2.7", "sshd")
    assert (3, 2000.0) == ledger.past("192.0.2.7", None)
    assert ledger.past("192.0.2.9", None) is None


def test_purge(ledger):
    """What is long over, and positions of logs long gone, are forgotten; what stands is not."""
    ledger.ban([ban("192.0.2.1"), ban("192.0.2.2", bantime=FOREVER), ban("192.0.2.3", at=9000.0)])
    ledger.read_to({"gone": "1", "followed": "2"}, 1000.0)
    ledger.purge(9500.0, 3600.0, ["followed"])

    assert {"followed": "2"} == ledger.positions()
    assert ledger.past("192.0.2.1", "sshd") is None
    assert ledger.past("192.0.2.2", "sshd")
    assert ledger.past("192.0.2.3", "sshd")
    assert ["192.0.2.2", "192.0.2.3"] == [each.id for each in ledger.bans()]


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from stockade_agent.ledger import Ledger
from stockade_agent.model import Ban, target
ledger = Ledger(sys.argv[2])
for n in range(100000):
    id = f"2001:db8::{n:x}"
    ledger.ban([Ban("sshd", id, target(id), float(n), 600)])
    ledger.read_to({"log": str(n)}, float(n))
    ledger.commit()
    print(n, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 17, 150])
def test_kill_9(path, again, lines):
    """A killed process loses nothing that it had committed, and leaves a sound file."""
    command = [sys.executable, "-c", WRITER, str(AGENT), path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        for _ in range(lines):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    last = int(rest[-1]) if rest else last
    ledger = again()
    count = len(ledger.bans())

    assert () == ledger.warnings
    assert last + 1 <= count <= last + 2
    assert {"log": str(count - 1)} == ledger.positions()


def test_a_ledger_of_an_older_agent_is_brought_up_to_date(path, again):
    """Bans, history and positions of the first schema stay."""
    Path(path).parent.mkdir()
    db = sqlite3.connect(path)
    db.executescript(f"{schema.MIGRATIONS[0]} PRAGMA user_version = 1;")
    db.execute(
        "INSERT INTO bans VALUES ('sshd', '192.0.2.7', '192.0.2.7', 1, 2, 3, 4, '[]', '{}', 1)"
    )
    db.commit()
    db.close()
    opened = again()

    assert () == opened.warnings
    assert ["192.0.2.7"] == [each.id for each in opened.bans()]
    assert [] == list(opened.tallies("sshd"))


def test_a_place_that_cannot_be_written(tmp_path):
    """A path that cannot be a file is a LedgerError, in one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"Not a directory|File exists"):
        Ledger(str(tmp_path / "file" / "ledger.sqlite3"))


def test_a_failed_write_leaves_the_ledger_usable(ledger):
    """An id that sqlite cannot take is an error of that transaction only."""
    with pytest.raises(LedgerError):
        ledger.ban([ban("\udcff")])
    ledger.ban([ban()])
    ledger.commit()

    assert [ban().bare()] == ledger.bans()


def test_in_memory():
    """``dbfile = :memory:`` keeps nothing on disk."""
    ledger = Ledger(":memory:")
    ledger.ban([ban()])
    ledger.commit()

    assert [ban().bare()] == ledger.bans()
    ledger.close()
