# SPDX-License-Identifier: MIT
"""Can a value break out of its option in an INI file?"""

import configparser

import pytest
from hypothesis import given, settings, strategies

from stockade import ini


@pytest.mark.parametrize(
    "values, expected",
    [
        pytest.param({"a": 3, "b": "x y"}, "a = 3\nb = x y\n", id="scalars"),
        pytest.param({"a": True, "b": False}, "a = true\nb = false\n", id="switches"),
        pytest.param({"a": None, "b": 1}, "b = 1\n", id="null-is-left-out"),
        pytest.param({"a": ["/x", "/y"]}, "a = /x\n    /y\n", id="list"),
        pytest.param({"a": "x\n  [b]\n\n"}, "a = x\n    [b]\n", id="block-is-continued"),
        pytest.param({"bantime.increment": True}, "bantime.increment = true\n", id="dotted"),
        pytest.param({"a": "# x"}, "a = # x\n", id="hash-behind-the-equals-sign"),
        pytest.param({"a": []}, "a = \n", id="nothing"),
        pytest.param({}, "", id="no-options"),
    ],
)
def test_options(values, expected):
    """Options are written one a line, longer values indented."""
    assert expected == ini.options(values)


@pytest.mark.parametrize(
    "value, expected",
    [
        pytest.param("x\ry", r"'x\ry' is not one line of printable text", id="carriage-return"),
        pytest.param("x\x0by", r"'x\x0by' is not one line of printable text", id="vertical-tab"),
        pytest.param("x\u2028y", r"'x\u2028y' is not one line of printable text", id="separator"),
        pytest.param(["x", "#y"], "'#y' would be read as a comment", id="comment-line"),
        pytest.param(";y", "';y' would be read as a comment", id="semicolon"),
        pytest.param("x ;y", "what follows ' ;' in 'x ;y' would be read as a comment", id="inline"),
        pytest.param({"a": 1}, "{'a': 1} is not one value", id="mapping"),
    ],
)
def test_what_would_not_be_read_back_is_refused(value, expected):
    """A value that a reader of the format would take for something else is an error in words."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        ini.options({"a": value})

    assert expected == str(caught.value)


@pytest.mark.parametrize("name", ["a b", "a=b", "[a]", "", "a\nb", "#a"])
def test_names_are_checked(name):
    """A name cannot bring a value or a section of its own."""
    with pytest.raises(ValueError, match="cannot be the name of an option"):
        ini.options({name: 1})
    with pytest.raises(ValueError, match="cannot be the name of a section"):
        ini.sections({name: {"a": 1}})


def test_sections():
    """Sections follow each other; those that say nothing are left out."""
    values = {"sshd": {"maxretry": 3}, "empty": {"port": None}, "vnc": {"port": "5900:5999"}}

    assert "[sshd]\nmaxretry = 3\n\n[vnc]\nport = 5900:5999\n" == ini.sections(values)


@settings(deadline=None)
@given(strategies.text(), strategies.text())
def test_no_value_adds_or_ends_an_option(first, second):
    """Whatever text is accepted, a reader finds the two options and what they were."""
    try:
        text = ini.options({"a": first, "b": second})
    except ValueError:
        return
    parser = configparser.RawConfigParser(strict=True, inline_comment_prefixes=(" ;",))
    parser.read_string(f"[x]\n{text}")

    assert ["x"] == parser.sections()
    lines = [[line.strip() for line in t.split("\n") if line.strip()] for t in (first, second)]
    found = [[line for line in value.split("\n") if line] for value in parser["x"].values()]
    assert lines == found
