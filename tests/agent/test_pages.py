# SPDX-License-Identifier: MIT
"""Are the rows read from bare pages those that sqlite itself finds?"""

import random
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade_agent import pages


WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.none(),
    WHOLE,
    st.integers(-200, 200),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    st.binary(max_size=40),
)


def filled(path, rows):
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA page_size = {pages.SIZE}")
    db.execute("CREATE TABLE t (key TEXT PRIMARY KEY, a, b, c, d) WITHOUT ROWID")
    db.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    db.commit()
    db.close()


def found(path):
    with path.open("rb") as file:
        return sorted(pages.rows(file), key=lambda row: row[0])


@settings(max_examples=40)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), max_size=60), st.data())
def test_rows_of_every_kind(tmp_path_factory, rows, data):
    """Numbers of each length, text, bytes, nothing: all as they were written."""
    path = tmp_path_factory.mktemp("pages") / "db"
    keyed = [(f"{n:04}", *row) for n, row in enumerate(rows)]
    filled(path, keyed)

    assert keyed == found(path)


@pytest.mark.parametrize("length", [900, 1000, 1002, 1003, 1010, 4090, 5000, 8200, 70_000])
def test_rows_that_stand_in_several_pages(tmp_path, length):
    """Where a row leaves its page, the rest is found in those that follow."""
    text = "".join(random.Random(length).choices("abcdefgh", k=length))
    rows = [(f"{n:04}", text[n:], n, None, 1.5) for n in range(30)]
    filled(tmp_path / "db", rows)

    assert rows == found(tmp_path / "db")


def test_many_rows(tmp_path):
    """A tree of three levels has rows in its inner pages too."""
    rows = [(f"{n:08}", "x" * 300, n, n / 2, None) for n in range(10_000)]
    filled(tmp_path / "db", rows)

    assert rows == found(tmp_path / "db")


@pytest.mark.parametrize("seed", range(20))
def test_damage(tmp_path, seed):
    """Whatever stands in a page, nothing but rows comes of it."""
    path, chance = tmp_path / "db", random.Random(seed)
    filled(path, [(f"{n:08}", "x" * chance.randrange(3000), n, None, b"y") for n in range(300)])
    content = bytearray(path.read_bytes())
    for _ in range(len(content) // 50):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)

    with path.open("rb") as file:
        assert all(isinstance(row, tuple) for row in pages.rows(file))


def test_a_chain_of_pages_that_is_a_ring_ends(tmp_path):
    """A row ends with its length, wherever its pages lead."""
    path = tmp_path / "db"
    filled(path, [("one", "x" * 20_000, 1, 2, 3)])
    content = bytearray(path.read_bytes())
    for number in range(3, len(content) // pages.SIZE + 1):
        start = (number - 1) * pages.SIZE
        content[start : start + 4] = (3).to_bytes(4, "big")
    path.write_bytes(content)

    (row,) = found(path)
    assert ("one", 20_000) == (row[0], len(row[1]))


def test_the_head_of_a_real_file(tmp_path):
    """It is told from any that sqlite would read in another way."""
    path = tmp_path / "db"
    filled(path, [])
    head = path.read_bytes()[: pages.HEAD]
    assert pages.is_head(head)
    assert not pages.is_head(head[:-1])

    for place in (0, 16, 18, 19, 20, 22, 44, 47, 52, 56, 59, 64):
        changed = bytearray(head)
        changed[place] ^= 0x40
        assert not pages.is_head(bytes(changed)), place
