# SPDX-License-Identifier: MIT
"""Is a file read in fail2ban's dialect, and does every value know its line?"""

import configparser
import os
import random
from textwrap import dedent

import pytest

from stockade_agent.config.inifile import parse, read_file


def texts(source):
    """Return section -> option -> text."""
    ini = parse(dedent(source), "x.conf")
    return {
        section: {option: value.text for option, value in options.items()}
        for section, options in ini.sections.items()
    }


def faults(source):
    """Return line and message of each fault."""
    return [(fault.line, fault.message) for fault in parse(dedent(source), "x.conf").faults]


@pytest.mark.parametrize(
    "source, expected",
    [
        pytest.param("a = 1", {"a": "1"}, id="equals"),
        pytest.param("a: 1", {"a": "1"}, id="colon"),
        pytest.param("a = b:c=d", {"a": "b:c=d"}, id="first-delimiter-counts"),
        pytest.param("MaxRetry = X", {"maxretry": "X"}, id="names-in-lower-case"),
        pytest.param("a =", {"a": ""}, id="empty"),
        pytest.param("a = 1 ; why", {"a": "1"}, id="inline-comment"),
        pytest.param("a = 1;2", {"a": "1;2"}, id="semicolon-without-space"),
        pytest.param("a = x # y", {"a": "x # y"}, id="hash-is-no-inline-comment"),
        pytest.param("a = 1\n  2\n\t3", {"a": "1\n2\n3"}, id="continued"),
        pytest.param("a =\n  1\n  # c\n  2", {"a": "\n1\n2"}, id="comment-within-vanishes"),
        pytest.param("a = 1\n\n  2\n\n", {"a": "1\n\n2"}, id="blank-lines-inside-stay"),
        pytest.param("  a = 1\n  b = 2", {"a": "1", "b": "2"}, id="indented-options"),
        pytest.param("a?family=inet6 = 1", {"a?family": "inet6 = 1"}, id="conditional-by-section"),
    ],
)
def test_option(source, expected):
    """Delimiters, comments and continued lines mean what fail2ban takes them for."""
    assert {"s": expected} == texts("[s]\n" + source)


def test_default_may_appear_twice():
    """[DEFAULT] alone may be taken up again in the same file."""
    assert {"DEFAULT": {"a": "1", "b": "2"}} == texts("[DEFAULT]\na=1\n[DEFAULT]\nb=2\n")


def test_section_names_keep_their_case():
    """[A] and [a] are two sections."""
    assert {"A": {"x": "1"}, "a": {"x": "2"}} == texts("[A]\nx=1\n[a]\nx=2\n")


def test_lines_of_a_value():
    """Each line of a value knows its line of the file, comments between them notwithstanding."""
    ini = parse("[s]\n# c\na = one\n  # c\n  two\n\n  three\nb = x\n", "x.conf")

    value = ini.sections["s"]["a"]

    assert ("one\ntwo\n\nthree", 3, (3, 5, 6, 7)) == (value.text, value.line, value.lines)
    assert 7 == value.line_at(value.text.index("three"))


@pytest.mark.parametrize(
    "source, expected",
    [
        pytest.param(
            "[s]\na = 1\na = 2\n",
            [(3, "option a appears twice in [s] (first at line 2)")],
            id="option-twice",
        ),
        pytest.param(
            "[s]\na = 1\n[t]\n[s]\nb = 2\n",
            [(4, "section [s] appears twice (first at line 1)")],
            id="section-twice",
        ),
        pytest.param("a = 1\n", [(1, "text before the first [section]")], id="no-section"),
        pytest.param("[s]\njunk\n", [(2, "neither [section] nor option = value")], id="junk"),
        pytest.param("[s]\n= 1\n", [(2, "neither [section] nor option = value")], id="no-name"),
    ],
)
def test_fault(source, expected):
    """What cannot be read is told with its line and, where there are two sites, both."""
    assert expected == faults(source)


def test_fault_names_its_section():
    """A fault knows whose it is, so that other sections can be spared."""
    ini = parse("[s]\na = 1\n[t]\njunk\n[u]\nb = 2\n", "x.conf")

    assert ["t"] == [fault.section for fault in ini.faults]
    assert "2" == ini.sections["u"]["b"].text


def test_undecodable_bytes(tmp_path):
    """A value that is no UTF-8 is a fault of its line; a comment may contain what it likes."""
    path = tmp_path / "x.conf"
    path.write_bytes(b"# caf\xe9\n[s]\na = caf\xe9\nb = caf\xc3\xa9\n")

    ini = read_file(str(path))

    assert [(3, "not UTF-8")] == [(fault.line, fault.message) for fault in ini.faults]
    assert "café" == ini.sections["s"]["b"].text


def test_absent_file(tmp_path):
    """A file that is not there, or behind a link that leads nowhere, has that as its fault."""
    ini = read_file(str(tmp_path / "absent.conf"))

    assert ["leads to no file"] == [f.message for f in ini.faults]


@pytest.mark.parametrize(
    "kind, said",
    [
        pytest.param("mkdir", ["no file that could hold options"], id="directory"),
        pytest.param("mkfifo", ["no file that could hold options"], id="fifo"),
        pytest.param("null", [], id="dev-null"),
        pytest.param("link", ["leads to no file"], id="dangling-link"),
    ],
)
def test_what_is_no_file(tmp_path, kind, said):
    """Only files are read; what else has their name is told, and harms no jail."""
    path = tmp_path / "x.conf"
    if kind in ("null", "link"):
        path.symlink_to("/dev/null" if kind == "null" else "nowhere")
    else:
        getattr(os, kind)(path)
    faults = read_file(str(path)).faults

    assert said == [fault.message for fault in faults]
    assert all("" == fault.error().jail for fault in faults)


def test_nul_bytes():
    """No option can have a NUL byte, which no path and no command can hold."""
    assert [(2, "a NUL byte")] == faults("[s]\na = x\0y\n# \0\nb = 1")


def test_byte_order_mark():
    """A file that an editor began with a mark reads like any other."""
    assert {"s": {"a": "1"}} == texts("\ufeff[s]\na=1\n")


LINES = (
    "[s]", "[t] ; c", "[DEFAULT]", "[a]b]", "[]", "[ s ]", "  [s]", "a = 1", "A: 2", "b=", "b",
    "c = x ; y", "c = x;y", " d = 1", "  e = 2", "\tf : 3", "  more", "    deeper", "\tmore ; c",
    "# note", "  ; note", ";x", "", "   ", " ; c", "g == 1", "h : = 2", "= 1", "i = [x]",
    "j = 1 # kept", "\x0ck = 1", "l = \u00a0x\u00a0", "\u2003m = 1", "n\x85 = 1",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(300))
def test_as_configparser_reads_it(seed):
    """Every text is read as by the standard library's parser, which is fail2ban's."""
    chance = random.Random(seed)
    source = "[s]\n" * chance.randint(0, 1)
    source += "\n".join(chance.choice(LINES) for _ in range(chance.randint(1, 12)))
    parser = configparser.ConfigParser(inline_comment_prefixes=";", interpolation=None)
    try:
        parser.read_string(source)
    except configparser.Error:
        assert parse(source, "x.conf").faults
        return

    ini = parse(source, "x.conf")

    assert [] == ini.faults
    expected = {name: dict(parser._sections[name]) for name in parser.sections()}
    if parser.defaults():
        expected["DEFAULT"] = dict(parser.defaults())
    ours = {
        name: {option: value.text for option, value in options.items()}
        for name, options in ini.sections.items()
        if options or name != "DEFAULT"
    }
    assert expected == ours
