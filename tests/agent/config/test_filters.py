# SPDX-License-Identifier: MIT
"""Do a filter's files, parameters and tags make the right regexes?"""

import pytest

from stockade_agent.config import filter_origin, filter_spec
from stockade_agent.errors import ConfigError
from stockade_agent.specs import Origin


COMMON = """\
    [DEFAULT]
    logtype = file
    _daemon = any
    __prefix_line = <lt_<logtype>/__prefix_line>
    [lt_file]
    __prefix_line = \\S+ <_daemon>:\\s
    datepattern = {^LN-BEG}
    [lt_journal]
    __prefix_line = <_daemon>\\s
    datepattern = %(lt_file/datepattern)s
"""
FILTER = """\
    [INCLUDES]
    before = common.conf
    [Definition]
    _daemon = web
    prefregex = ^%(__prefix_line)s<F-CONTENT>.+</F-CONTENT>$
    mode = normal
    mdre-normal =
    mdre-strict = ^strict <HOST>
        <mdre-normal>
    failregex = ^bad <HOST>
        <mdre-<mode>>
        %(again)s
    again = ^again <kind> <HOST>
    ignoreregex =
    datepattern = <lt_<logtype>/datepattern>
    journalmatch = _COMM=<_daemon>
        _UID=0 + _COMM=x
    [Init]
    kind = one
    maxlines = 3
"""
FILES = {"filter.d/web.conf": FILTER, "filter.d/common.conf": COMMON}


def test_resolved(write):
    """Includes, sections, references and tags become plain regexes; regex tags stay."""
    spec = filter_spec(write(FILES), "web")

    assert ("^bad <HOST>", "^again one <HOST>") == spec.failregex
    assert () == spec.ignoreregex
    assert "^\\S+ web:\\s<F-CONTENT>.+</F-CONTENT>$" == spec.prefregex
    assert ("{^LN-BEG}", 3) == (spec.datepattern, spec.maxlines)
    assert ("_COMM=web", "_UID=0 + _COMM=x") == spec.journalmatch


def test_parameters_win(write):
    """What stands in the brackets wins over [Definition] and [Init]."""
    parameters = {"mode": "strict", "kind": "two", "logtype": "journal", "maxlines": "7"}
    spec = filter_spec(write(FILES), "web", parameters)

    assert ("^bad <HOST>", "^strict <HOST>", "^again two <HOST>") == spec.failregex
    assert ("^web\\s<F-CONTENT>.+</F-CONTENT>$", 7) == (spec.prefregex, spec.maxlines)


def test_local_extends(write):
    """A .local takes up the .conf's value as known/."""
    local = "[Definition]\nfailregex = %(known/failregex)s\n  ^more <HOST>\n"
    spec = filter_spec(write({**FILES, "filter.d/web.local": local}), "web")

    assert "^more <HOST>" == spec.failregex[-1]
    assert "^bad <HOST>" == spec.failregex[0]


def test_known_of_init(write):
    """<known/x> is [Init]'s own value where a parameter covers it."""
    text = "[Definition]\nfailregex = ^<known/a>-<a> <HOST>\n[Init]\na = mine\n"

    spec = filter_spec(write({"filter.d/f.conf": text}), "f", {"a": "passed"})

    assert ("^mine-passed <HOST>",) == spec.failregex


def test_path(write):
    """A filter may be given as a path; its includes are found beside it."""
    directory = write(FILES)

    spec = filter_spec("/nowhere", f"{directory}/filter.d/web.conf")

    assert filter_spec(directory, "web").failregex == spec.failregex


def test_origins(write):
    """Each option has its file and line."""
    directory = write(FILES)

    origins = filter_spec(directory, "web").origins

    assert Origin(f"{directory}/filter.d/web.conf", 10) == origins["failregex"]
    assert Origin(f"{directory}/filter.d/web.conf", 20) == origins["maxlines"]


@pytest.mark.parametrize(
    "regex, line",
    [("^bad <HOST>", 10), ("^strict <HOST>", 8), ("^again one <HOST>", 13)],
    ids=["itself", "by-tag", "by-reference"],
)
def test_origin_of_a_regex(write, regex, line):
    """A regex is found where it was written, through tags and references."""
    directory = write(FILES)

    found = filter_origin(directory, "web", {"mode": "strict"}, "failregex", regex)

    assert Origin(f"{directory}/filter.d/web.conf", line) == found


def test_missing(write):
    """A filter that is not there is answered with the nearest one."""
    with pytest.raises(ConfigError, match=r"no filter named wbe \(did you mean web\?\)"):
        filter_spec(write(FILES), "wbe")


@pytest.mark.parametrize(
    "text, message",
    [
        ("[Definition]\nfailregex = <a>\na = <b>\nb = <a>\n", ":2:13: <a> in failregex refers"),
        ("[Definition]\nfailregex = %(a)s\n", ":2:13: failregex refers to %\\(a\\)s, which"),
        ("[Definition]\nmaxlines = x\n", ":2:12: maxlines: 'x' is no whole number"),
        ("[Definition]\njunk\n", ":2:1: neither"),
    ],
    ids=["tag-circle", "reference", "value", "file"],
)
def test_wrong(write, text, message):
    """A filter that cannot be used says where it is wrong."""
    with pytest.raises(ConfigError, match=message):
        filter_spec(write({"filter.d/f.conf": text}), "f")
