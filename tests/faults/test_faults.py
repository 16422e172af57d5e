# SPDX-License-Identifier: MIT
"""Does the agent keep its promises under a few of each kind of fault? `make faults` makes many."""

import os

import pytest

from faults import table
from faults.__main__ import made, main
from faults.cases import CASES
from faults.rows import Row


OURS = [name for name, case in CASES.items() if not case.lab and not case.needs]
BESIDE = [name for name, case in CASES.items() if case.needs]


@pytest.mark.lab
@pytest.mark.parametrize(
    "name",
    [
        *OURS,
        *(pytest.param(n, marks=[pytest.mark.slow, pytest.mark.conformance]) for n in BESIDE),
    ],
)
def test_small(name):
    """Each row of the small case is as it should be."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for namespaces")
    rows = list(made(name, small=True))

    assert rows
    assert [] == [table.line(row) for row in rows if not row.passed]


def test_a_case_that_breaks_fails(monkeypatch):
    """What a case raises is a row that failed, with its reason."""
    monkeypatch.setitem(CASES, "nonsense", next(iter(CASES.values()))._replace(lab=True))
    (row,) = made("nonsense", small=True)

    assert not row.passed
    assert "KeyError" in row.seen


@pytest.mark.parametrize("wrong, code", [([], 0), (["something"], 1)])
def test_the_exit_code_tells(monkeypatch, capsys, wrong, code):
    """A promise that was broken once fails the run, and its line says how."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    row = Row.broken("kills", wrong, "8 kills")
    monkeypatch.setattr("faults.__main__.made", lambda _name, *, small: iter([row]))

    assert code == main(["--small", "kill"])
    assert f"kills: {len(wrong)} wrong (goal 0); 8 kills" in capsys.readouterr().out


def test_a_case_that_is_made_again_takes_its_own_place(tmp_path, monkeypatch):
    """Rows of other cases are kept, and all stand in the order of the cases."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(table, "JSON", tmp_path / "faults.json")
    seen = iter("abc")
    monkeypatch.setattr(
        "faults.__main__.made",
        lambda name, *, small: iter(
            [Row(name, 0, "", "0", passed=True, seen=next(seen), case=name)]
        ),
    )
    for name in ("power", "kill", "power"):
        main([name])

    assert [("kill", "b"), ("power", "c")] == [(row.case, row.seen) for row in table.loaded()]


def test_the_table_takes_the_place_of_the_former(tmp_path, monkeypatch):
    """What stands between the marks in the document is replaced, and nothing else."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nformer\n{table.END}\nafter\n")
    monkeypatch.setattr(table, "DOCUMENT", page)
    row = Row(
        "kill -9",
        0,
        "wrong",
        "<= 0",
        passed=True,
        seen="a|b",
        others={"fail2ban": "loses"},
        case="kill",
    )

    table.document([row], "here")

    text = page.read_text()
    assert text.startswith(f"before\n{table.BEGIN}\n")
    assert text.endswith(f"\n{table.END}\nafter\n")
    assert "| kill -9 | 0 wrong | &lt;= 0 | yes | a\\|b | fail2ban: loses | kill |" in text
    assert "`make faults` on here:" in text
    assert "former" not in text
