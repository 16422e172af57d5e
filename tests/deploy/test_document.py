# SPDX-License-Identifier: MIT
"""Does a YAML file keep the place of every value, and say what is wrong with it?"""

import pytest
from pydantic import BaseModel, ConfigDict

from stockade import document
from stockade.errors import InputError
from stockade.model import Place


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read_text(text):
        path = tmp_path / "file.yml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return document.read(path.relative_to(tmp_path))

    return read_text


def test_values_and_keys_know_their_places(read):
    """A key and its value stand at two places; lists and mappings begin at their first member."""
    root = read("one: 1\ntwo:\n  - a\n  - {b: c}\n")

    assert Place("file.yml", 1, 1) == root.entries["one"].key
    assert Place("file.yml", 1, 6) == root.entries["one"].node.place
    assert Place("file.yml", 3, 3) == root.entries["two"].node.place
    assert Place("file.yml", 4, 9) == root.entries["two"].node.items[1].entries["b"].node.place


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("a: 1", 1, id="number"),
        pytest.param("a: 1.5", 1.5, id="fraction"),
        pytest.param("a: yes", True, id="switch"),
        pytest.param("a:", None, id="nothing"),
        pytest.param("a: ~", None, id="null"),
        pytest.param("a: '1'", "1", id="quoted"),
        pytest.param("a: 22:25", "22:25", id="port-range-is-no-base-60-number"),
        pytest.param("a: 1:30.5", "1:30.5", id="nor-is-a-time"),
        pytest.param("a: 2024-05-01", "2024-05-01", id="date-stays-text"),
        pytest.param("a: 0644", 0o644, id="octal"),
        pytest.param("a: |\n  x\n  y\n", "x\ny\n", id="block"),
        pytest.param("a: [1, [b]]", [1, ["b"]], id="lists"),
        pytest.param("x: &x {b: 1, c: 2}\na: {<<: *x, c: 3}", {"b": 1, "c": 3}, id="merge-key"),
        pytest.param(
            "x: &x {b: 1}\ny: &y {b: 2, c: 3}\na: {<<: [*x, *y]}",
            {"b": 1, "c": 3},
            id="merge-keys-first-wins",
        ),
    ],
)
def test_values_are_read(read, text, expected):
    """Values are what YAML 1.1 says, dates and numbers with colons aside."""
    assert expected == read(text).plain()["a"]


def test_keys_are_text_as_written(read):
    """``on``, ``1`` and a date are keys like any other."""
    assert {"on": 1, "1": 2, "2024-05-01": 3} == read("on: 1\n1: 2\n2024-05-01: 3\n").plain()


def test_empty_file_is_an_empty_mapping(read):
    """A file with nothing but comments has no entries and no fault."""
    assert {} == read("# nothing\n").plain()


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param(
            "a:\n\tb: 1\n",
            "file.yml:2:1: not YAML: found character '\\t' that cannot start any token "
            "(indent with spaces)",
            id="tab",
        ),
        pytest.param(
            "a: b: c\n", "file.yml:1:5: not YAML: mapping values are not allowed here", id="colon"
        ),
        pytest.param(
            "a:\n- [b\n",
            "file.yml:3:1: not YAML: expected ',' or ']', but got '<stream end>', "
            "while parsing a flow sequence that begins in line 2",
            id="unclosed-list",
        ),
        pytest.param(
            "a: 1\n---\nb: 1\n",
            "file.yml:2:1: not YAML: found another document, "
            "expected a single document in the stream that begins in line 1",
            id="two-documents",
        ),
        pytest.param(
            "a: 1\nb: 2\na: 3\n",
            "file.yml:3:1: 'a' is given twice (first in line 1)",
            id="key-twice",
        ),
        pytest.param(
            "[a]: 1\n", "file.yml:1:1: a key must be a word, not a list or mapping", id="key-list"
        ),
        pytest.param(
            "a: !vault |\n  61\n",
            "file.yml:1:4: values of ansible-vault cannot be read "
            "(give the variable as {env: NAME})",
            id="vault",
        ),
        pytest.param("a: !!set {b}\n", "file.yml:1:4: values of type set cannot be read", id="set"),
        pytest.param("a: !x 1\n", "file.yml:1:4: values of type !x cannot be read", id="tag"),
        pytest.param("a: !!int x\n", "file.yml:1:4: 'x' is not a number", id="not-a-number"),
        pytest.param("a: &a [*a]\n", "file.yml:1:4: an alias that contains itself", id="loop"),
        pytest.param(
            "a: {<<: 1}\n",
            "file.yml:1:9: <<: takes a mapping, or a list of mappings",
            id="merge-scalar",
        ),
        pytest.param(
            "a: 1\nb: \x01\n", "file.yml:2: not YAML: character U+0001 is not allowed", id="control"
        ),
        pytest.param(b"a: 1\nb: \xff\n", "file.yml:2: not UTF-8 text", id="latin-1"),
    ],
)
def test_faults_name_line_and_column(read, text, expected):
    """What is not YAML is answered with its place and what to do."""
    with pytest.raises(InputError) as caught:
        read(text)

    assert expected == str(caught.value)


def test_missing_file_is_said(tmp_path, monkeypatch):
    """A file that is not there is an input error, not a traceback."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InputError, match=r"^no\.yml: cannot be read: No such file or directory$"):
        document.read(tmp_path.relative_to(tmp_path) / "no.yml")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: int = 0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    inner: Inner = Inner()
    many: list[Inner] = []


def test_typed_gives_the_model(read):
    """A mapping that fits becomes the model."""
    assert Outer(name="x", inner=Inner(count=3)) == document.typed(
        read("name: x\ninner: {count: 3}\n"), Outer
    )


def test_typed_names_every_fault(read):
    """All faults come at once, unknown keys with the nearest name of their own level."""
    root = read("nam: x\ninner: {cuont: 3, count: many}\nmany: [{}, {count: x}]\n")
    with pytest.raises(InputError) as caught:
        document.typed(root, Outer)

    number = "input should be a valid integer, unable to parse string as an integer"
    assert [
        "file.yml:1:1: name is missing",
        "file.yml:1:1: unknown key 'nam' (did you mean name?)",
        "file.yml:2:9: unknown key 'cuont' (did you mean count?)",
        f"file.yml:2:26: inner.count: {number}",
        f"file.yml:3:20: many.1.count: {number}",
    ] == [str(error) for error in caught.value.errors]
