# SPDX-License-Identifier: MIT
"""Is JSON that is written in pieces the same JSON, and is no piece large?"""

import json

import pytest

from stockade_agent.control.rows import PIECE, TOGETHER, Rows, pieces


def row(number):
    return {"id": f"192.0.2.{number}", "at": number / 2}


@pytest.mark.parametrize("count", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 10 * TOGETHER + 7])
def test_the_same_json(count):
    """What a reader gets is what a list would have been, wherever rows stand."""
    rows = Rows(range(count), row)
    value = {"a": rows, "b": ['"', "é", {"c": rows}], "d": None}
    listed = [row(number) for number in range(count)]
    whole = b"".join(pieces(value))

    assert whole.endswith(b"\n")
    assert {"a": listed, "b": ['"', "é", {"c": listed}], "d": None} == json.loads(whole)


def test_a_piece_is_made_when_it_is_asked_for():
    """Of a hundred thousand rows no more are made than are taken, a few hundred at a time."""
    made = []
    found = pieces({"rows": Rows(range(100_000), lambda n: made.append(n) or row(n))})
    first = next(found)

    assert len(made) <= PIECE / 30 + TOGETHER
    assert len(first) < PIECE * 2
    assert max(map(len, found)) < PIECE * 2
    assert list(range(100_000)) == made


def test_a_sequence():
    """Rows are counted, indexed, cut and gone through as a list is; ``changed`` does it later."""
    rows = Rows("abc", str.upper)

    assert (3, "A", "C", ["B", "C"]) == (len(rows), rows[0], rows[-1], rows[1:])
    assert ["A", "B", "C"] == list(rows)
    assert ["A!", "B!", "C!"] == list(rows.changed(lambda text: text + "!"))


def test_what_is_no_json_is_said():
    """Only rows are taken for lists."""
    with pytest.raises(TypeError, match="set is not JSON"):
        list(pieces({"a": {1}}))
