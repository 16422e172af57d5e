# SPDX-License-Identifier: MIT
"""What a regex cannot tell apart; see stockade_agent.alike."""

import re
from random import Random

import pytest

from stockade_agent.alike import HEX, alike


CHARS = {"0": "0123456789", HEX: "0123456789abcdef"}


def places(regex, shape, *, anywhere=False):
    found = alike(re.compile(regex)).tested(shape, anywhere=anywhere).places
    return [place for place in range(len(shape) + 1) if found >> place & 1]


@pytest.mark.parametrize(
    "regex, shape, expected",
    [
        pytest.param(r"port \d+", "port 000", [], id="all-digits-are-alike"),
        pytest.param(r"\w+:\s*11:", "a000: 00: x", [6, 7], id="a-literal"),
        pytest.param(r"x[0-4]\d", "x00", [1], id="a-range"),
        pytest.param(r"x\d", f"x{HEX}", [1], id="a-digit-among-letters"),
        pytest.param(r"x[0-9a-f]", f"x{HEX}", [], id="all-of-hex"),
        pytest.param(r"x(?=1)", "x0", [1], id="looked-at"),
        pytest.param(r"x0?(?<=3)\d", "x00", [1], id="looked-back-at"),
        pytest.param(r"(?i)[A-E]x", f"{HEX}x", [0], id="any-case"),
        pytest.param(r"y0", "x0", [], id="never-reached"),
        pytest.param(r"0([-/])0\1[1-3]", "0-0-00", [0, 2, 4], id="the-same-separator"),
        pytest.param(r"(a)?(?(1)b|1)", "0", [0], id="condition"),
    ],
)
def test_places(regex, shape, expected):
    """The places are those at which the regex could tell lines of a shape apart."""
    assert expected == places(regex, shape)


def test_searched():
    """A regex that is searched for may begin anywhere."""
    assert [] == places("1", "x00")
    assert [1, 2] == places("1", "x00", anywhere=True)


def test_unknown():
    """A backreference compares text: nothing is claimed."""
    assert not alike(re.compile(r"(\d)\1")).known
    assert not alike(re.compile("(?i)\u017f")).known


def test_blind():
    """A regex is blind where no digit of it is any special one."""
    assert alike(re.compile(r"^a\d{1,3}[\w.]+[^\s:]")).blind
    assert not alike(re.compile(r"^a\d{1,3}[1-9]")).blind


def test_furthest():
    """What stands behind the last place that is looked at makes no difference."""
    assert 3 == alike(re.compile(r"ab$")).tested("ab cdef", anywhere=False).furthest
    assert 8 == alike(re.compile(r"ab.*$")).tested("ab cdef", anywhere=False).furthest


def test_long_walks_end():
    """Repeats of repeats are left alone in a text in which they would take long."""
    tree = alike(re.compile(r"(?:(?:\w\w|\d\d\d)+ ?)*y"))

    assert tree.tested("a0000b" * 4, anywhere=False) is not None
    assert tree.tested("a0000b" * 400, anywhere=False) is None


ATOMS = (
    *(r"\d", r"\w", r"\S", r"\s", r"\D", ".", "[0-9a-f]", "[^:]", "[^0-4]", "[1-3x]", "1", "a"),
    *("x", ":", " ", "(?i:B)", "[a-d]", "[^a]", r"\b", r"\B", "^", "$", "(?<=1)", "(?<![0-5a])"),
    *("(?=[5-9])", "(?!b)", r"\Z", r"(?P<s>[:x ])0?(?P=s)"),
)
REPEATS = ("", "", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{2,}", "{0,20}?")


def any_regex(random, depth=0):
    made = []
    for _ in range(random.randint(1, 4)):
        kind = random.random()
        if kind < 0.55 or depth > 2:
            atom = random.choice(ATOMS)
        elif kind < 0.75:
            atom = f"({any_regex(random, depth + 1)})"
        elif kind < 0.9:
            atom = f"(?:{any_regex(random, depth + 1)}|{any_regex(random, depth + 1)})"
        else:
            atom = f"(a)?(?(1){any_regex(random, 3)}|{any_regex(random, 3)})"
            atom = f"(?:{atom})" if "(a)" not in "".join(made) and depth == 0 else "a?"
        if (
            atom[:4] != "(?P<"
            and atom not in ("^", "$", r"\b", r"\B", r"\Z")
            and not atom.startswith(("(?<", "(?=", "(?!"))
        ):
            # Repeats of repeats would keep the engine busy for hours.
            atom += random.choice(REPEATS if kind < 0.55 or depth > 2 else ("", "", "?", "{2}"))
        made.append(atom)
    return "".join(made)


@pytest.mark.parametrize("seed", range(8))
def test_lines_of_a_shape_match_alike(seed):
    """Texts of a shape that agree at the places are matched alike, in all groups."""
    random, proved = Random(seed), 0
    for _ in range(400):
        source = any_regex(random)
        try:
            regex = re.compile(source)
        except re.error:  # the number of a group that a condition names
            continue
        tree = alike(regex)
        if not tree.known:
            continue
        shape = "".join(random.choices(f"00{HEX}{HEX}ax: \nbB", k=random.randint(1, 9)))
        for anywhere, find in ((False, regex.match), (True, regex.search)):
            tested = tree.tested(shape, anywhere=anywhere)
            assert tested is not None
            fixed = {p: random.choice(CHARS.get(c, c)) for p, c in enumerate(shape)}
            seen = set()
            for _ in range(6):
                text = "".join(
                    fixed[p] if tested.places >> p & 1 else random.choice(CHARS.get(c, c))
                    for p, c in enumerate(shape)
                )
                if not anywhere and tested.furthest < len(shape):
                    text = text[: tested.furthest + 1] + random.choice(("", "x", "1 a"))
                match = find(text)
                seen.add(match and match.regs)
            assert len(seen) == 1, (source, shape, seen)
            proved += tested.places == 0
    assert proved > 100
