# SPDX-License-Identifier: MIT
"""What is said of a filter's regexes before they run?"""

import pytest

from stockade_agent.lint import compile_check
from stockade_agent.specs import FilterSpec


NOW = 1714557600.0


def check(*failregex, **options):
    spec = FilterSpec("f", failregex, **options)
    return [(f.option, f.index, f.fatal) for f in compile_check(spec, NOW)]


def test_every_fault_is_told():
    """All faults come in one run, each with its option and number."""
    found = check(
        "no id",
        "(unbalanced <HOST>",
        "^good <HOST>$",
        ignoreregex=("fine", "[bad"),
        datepattern="%q",
        logtimezone="Europe/Paris",
        logencoding="utf-9",
    )

    assert [
        ("failregex", 1, True),
        ("ignoreregex", 1, True),
        ("failregex", 0, True),
        ("datepattern", 0, True),
        ("logtimezone", 0, True),
        ("logencoding", 0, True),
    ] == found


def test_prefregex_may_identify():
    """An id in prefregex is enough; one that does not compile is told once."""
    assert [] == check("^Failed", prefregex="^<F-CONTENT>.+</F-CONTENT> from <ADDR>$")
    assert ("prefregex", 0, True) in check("^<HOST>", prefregex="(")


@pytest.mark.parametrize(
    "regex, greedy",
    [
        pytest.param("^.* from <HOST>", True, id="not-anchored"),
        pytest.param("^.+ from <HOST> port .*$", True, id="catch-all-after"),
        pytest.param("^.* from <HOST> port \\d+$", False, id="anchored"),
        pytest.param("^.*? from <HOST>", True, id="lazy"),
        pytest.param("^\\S* from <HOST>", False, id="no-catch-all"),
        pytest.param("^<F-USER>.*</F-USER> from (?:x|<ADDR>) port", True, id="in-groups"),
        pytest.param("^<HOST> .*", False, id="after-the-address-only"),
        pytest.param("^[^\\n]+<SKIPLINES>\\s+<HOST>", False, id="lines-in-between"),
    ],
)
def test_catch_all(regex, greedy):
    """A regex by which clients can forge an address is told, but it runs."""
    assert ([("failregex", 0, False)] if greedy else []) == check(regex)


@pytest.mark.parametrize(
    "regex, open_",
    [
        pytest.param("^.* app: <F-CONTENT>.+</F-CONTENT>$", True, id="before-the-content"),
        pytest.param("^\\S+ app: <F-CONTENT>.+</F-CONTENT>$", False, id="no-catch-all"),
        pytest.param("^.* <HOST>: <F-CONTENT>.+</F-CONTENT>$", True, id="before-the-address"),
        pytest.param("^<HOST> .*: <F-CONTENT>x</F-CONTENT>$", False, id="in-between"),
        pytest.param("^app <HOST>: <F-CONTENT>.+</F-CONTENT>$", False, id="address-first"),
    ],
)
def test_catch_all_in_prefregex(regex, open_):
    """A prefregex by which clients choose what failregexes see is told, but it runs."""
    found = check("^failed <HOST>$", prefregex=regex)

    assert ([("prefregex", 0, False)] if open_ else []) == found


@pytest.mark.parametrize(
    "regex, slow",
    [
        pytest.param("^(?:a+)+ <HOST>", True, id="nested"),
        pytest.param("^(?:\\s*\\S*)* <HOST>", True, id="all-optional"),
        pytest.param("^(?:x|\\w*)+ <HOST>", True, id="in-a-branch"),
        pytest.param("^(?:[^;]+ )* <HOST>", True, id="separator-is-repeated-too"),
        pytest.param("^(?:: (?:\\w+\\(x\\)|[^(]+))* <HOST>", True, id="in-a-branch-of-a-sequence"),
        pytest.param("^(?:\\w+=\\S*\\s)* <HOST>", False, id="separated"),
        pytest.param("^(?:[a-z]+\\s+)* <HOST>", False, id="separated-by-a-repeat"),
        pytest.param("^(?:ab)+ <HOST>", False, id="plain"),
    ],
)
def test_nested_repeats(regex, slow):
    """A regex that can take for ever is told, but it runs."""
    assert ([("failregex", 0, False)] if slow else []) == check(regex)
