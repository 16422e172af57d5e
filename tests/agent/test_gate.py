# SPDX-License-Identifier: MIT
"""Does the gate ever keep a line that its filter would have matched?"""

import re
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stockade_agent.dates import DateDetector, years
from stockade_agent.failregex import compile_pattern
from stockade_agent.filter import Filter
from stockade_agent.gate import _SAME_LETTER, Gate, Word, required
from stockade_agent.model import Block, FilterSpec


NOW = 1714557600.0  # 2024-05-01 10:00:00 UTC

WORDS = ("sshd", "Failed", " password", "[", "]: ", "error", "from ", "k", "user", "é", "-", ": ")
DATES = ("May  1 10:00:00", "2024-05-01 10:00:00", "[01/May/2024:10:00:00 +0000]", "10:00:00", "")
PATTERNS = (None, "{^LN-BEG}", r"^\[{DATE}\]", "%H:%M:%S**", "**%Y-%m-%d %H:%M:%S**", "{NONE}")


def kept(gate, data):
    return [data[start:end] for start, end in gate.lines(data)]


def words(regex, flags=0):
    return [sorted(word.text for word in clause) for clause in required(re.compile(regex, flags))]


@pytest.mark.parametrize(
    "regex, expected",
    [
        pytest.param(r"^sshd\[\d+\]: Failed", [["sshd["], ["]: Failed"]], id="sequence"),
        pytest.param(r"(?:Failed|refused) login", [["Failed", "refused"], [" login"]], id="either"),
        pytest.param(r"a(?:b|)c", [["a"], ["c"]], id="one-branch-empty"),
        pytest.param(r"(?:abc)?def", [["def"]], id="optional"),
        pytest.param(r"(?:abc)+def", [["abc"], ["def"]], id="repeated"),
        pytest.param(r"ab(?=cd)ef(?!gh)(?<!ij)", [["abef"]], id="lookarounds-take-no-room"),
        pytest.param(r"(?P<a>x)yz(?P=a)uv", [["xyz"], ["uv"]], id="backreference"),
        pytest.param(r"(?P<a>x)?(?(a)yes|no)", [["no", "yes"]], id="conditional"),
        pytest.param(r"abc\ndef", [["abc"], ["def"]], id="newline-is-no-byte-of-a-line"),
        pytest.param("ü[ab]c", [["c"]], id="beyond-ascii"),
        pytest.param(r".*\d+", [], id="nothing-proved"),
    ],
)
def test_required(regex, expected):
    """What every match must contain is read from the syntax tree."""
    assert expected == words(regex)


def test_case_is_kept_per_group():
    """A local flag holds for its group only."""
    clauses = required(re.compile("(?i:error) Code"))

    assert [{Word("error", ignorecase=True)}, {Word(" Code", ignorecase=False)}] == [
        set(c) for c in clauses
    ]


def test_same_letters():
    """The table of letters that Python takes for the same in any case is complete."""
    beyond_ascii = "".join(map(chr, range(128, sys.maxunicode + 1)))
    found = {}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        others = set(re.findall(letter, beyond_ascii, re.IGNORECASE))
        if others:
            found[letter] = others

    assert found == {letter: set(others) for letter, others in _SAME_LETTER.items()}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "shift_jis", "utf-7", "cp037"])
def test_open_for_encodings_that_hide_ascii(encoding):
    """Where an ASCII letter is not its own byte, nothing is rejected."""
    assert Gate(None, [re.compile("sshd")], encoding=encoding).open


def test_open_without_a_word():
    """Where nothing can be proved, every line goes through, the last one without newline too."""
    gate = Gate(None, [re.compile(r"\d+ .*")])

    assert [b"a", b"", b"b"] == kept(gate, b"a\n\nb")


def test_prefregex_and_any_failregex():
    """A line needs the word of prefregex and that of one failregex."""
    gate = Gate(
        re.compile(r"sshd\[\d+\]"), [re.compile("Failed"), re.compile("Invalid")], cut=False
    )
    data = b"sshd[1]: Failed x\ncron[1]: Failed\nsshd[1]: Accepted\nsshd[1]: Invalid\n"

    assert [b"sshd[1]: Failed x", b"sshd[1]: Invalid"] == kept(gate, data)


def test_any_case():
    """Without case, letters that only Unicode takes for the same are let through."""
    gate = Gate(None, [re.compile("(?i)disk")], cut=False)
    lines = ["DISK", "d\u0131\u017f\u212a", "Disk", "disc"]

    assert lines[:3] == [one.decode() for one in kept(gate, "\n".join(lines).encode())]


@pytest.mark.parametrize(
    "line, regex, pattern",
    [
        pytest.param("[May  1 10:00:00] [error] <>", r"^\[\] \[error\]", None, id="brackets"),
        pytest.param("Fai10:00:00led", "^Failed$", "**%H:%M:%S**", id="inside-a-word"),
        pytest.param("sshd[May  1 10:00:00]: x", r"^sshd\[\]: x", None, id="between-marks"),
        pytest.param("foo@4000000066321f0000000000 bar", "^foo bar", None, id="tai64n"),
        pytest.param("<05/01/24@10:00:00>sshd: x", "^sshd: x", None, id="at-the-begin"),
    ],
)
def test_words_torn_by_the_date(line, regex, pattern):
    """A word that stands on both sides of the date is not looked for in one piece."""
    detector = DateDetector(pattern, exact_years=years(NOW))
    found = detector.find(line, NOW)
    assert re.search(regex, line[: found.start] + line[found.end :])
    gate = Gate(None, [re.compile(regex)], clean_cut=detector.clean_cut)

    assert [line.encode()] == kept(gate, line.encode() + b"\n")


@st.composite
def regexes(draw, depth=2):
    """Draw a failregex whose words are those that the lines are made of.

    One repetition without a bound at most, and none inside another: what is asked here is
    whether a match is lost, not how long a search can take.
    """
    parts = []
    for number in range(draw(st.integers(1, 4))):
        kind = draw(st.integers(0, 7 if depth else 2))
        if kind <= 2 or (kind == 3 and depth < 2):
            parts.append(re.escape(draw(st.sampled_from(WORDS))))
        elif kind == 3:
            free = (r"\d+", r"\s*", ".*", ".*?", r"\S+", "[a-z]*", "^", "$")
            bound = (r"\d{1,3}", r"\s?", ".{0,3}", ".{0,3}?", r"\S{1,3}", "[a-z]{0,3}", "^", "$")
            parts.append(draw(st.sampled_from(bound if number else free)))
        elif kind == 4:
            parts.append(f"(?:{draw(regexes(depth - 1))}|{draw(regexes(depth - 1))})")
        elif kind == 5:
            parts.append(f"(?:{draw(regexes(0))}){draw(st.sampled_from('?*+'))}")
        elif kind == 6:
            parts.append(f"(?i:{draw(regexes(depth - 1))})")
        else:
            look = draw(st.sampled_from("=!"))
            parts.append(f"(?{look}{draw(regexes(depth - 1))})")
    return "".join(parts)


@st.composite
def lines(draw):
    """Draw a line of the same words, with a date anywhere in it."""
    pieces = st.lists(st.sampled_from((*WORDS, *(w.upper() for w in WORDS), "1", " ", "\u017f")))
    return "".join(draw(pieces)) + draw(st.sampled_from(DATES)) + "".join(draw(pieces))


@settings(max_examples=600, deadline=None)
@given(
    st.lists(regexes(), min_size=1, max_size=3),
    st.none() | regexes(),
    st.lists(lines(), min_size=1, max_size=8),
    st.sampled_from(PATTERNS),
    st.booleans(),
)
@example(["Failed password"], None, ["Failed 10:00:00 password"], "**%H:%M:%S**", *[False])
def test_no_match_is_gated_away(failregexes, prefregex, log, pattern, journal):
    """What a filter finds line by line it finds in the block too."""
    try:
        for text in (*failregexes, prefregex or "x"):
            compile_pattern(text, option="failregex")
    except ValueError:
        return
    spec = FilterSpec(
        name="any",
        failregex=tuple(f"{text}(?P<fid>)" for text in failregexes),
        prefregex=prefregex,
        datepattern=pattern,
    )
    times = [NOW] * len(log) if journal else None
    block = Block(("w",), "log", "".join(f"{line}\n" for line in log).encode(), "", times)
    found = [failure.matches for failure in Filter(spec, now=NOW).failures(block, NOW)]
    every = Filter(spec, now=NOW)
    every._lines._cut_gate = every._lines._whole_gate = Gate(None, [])

    assert [failure.matches for failure in every.failures(block, NOW)] == found
