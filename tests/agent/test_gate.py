# SPDX-License-Identifier: MIT
"""Does the gate ever keep a line that its filter would have matched?"""

import re
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stockade_agent.dates import DateDetector, years
from stockade_agent.failregex import compile_pattern
from stockade_agent.filter import Filter
from stockade_agent.gate import Gate
from stockade_agent.gates import Gates
from stockade_agent.model import Block
from stockade_agent.specs import FilterSpec
from stockade_agent.syntax import SAME_LETTER, Syntax, Word, required


NOW = 1714557600.0  # 2024-05-01 10:00:00 UTC

WORDS = ("sshd", "Failed", " password", "[", "]: ", "error", "from ", "k", "user", "é", "-", ": ")
DATES = ("May  1 10:00:00", "2024-05-01 10:00:00", "[01/May/2024:10:00:00 +0000]", "10:00:00", "")
PATTERNS = (None, "{^LN-BEG}", r"^\[{DATE}\]", "%H:%M:%S**", "**%Y-%m-%d %H:%M:%S**", "{NONE}")


def kept(gate, data):
    return [data[start:end] for start, end in gate.lines(data)]


def syntax(regex):
    return Syntax(re.compile(regex))


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

    words = [Word("error", ignorecase=True), Word(" Code", ignorecase=False, offset=5)]
    assert words == [word for clause in clauses for word in clause]


def test_same_letters():
    """The table of letters that Python takes for the same in any case is complete."""
    beyond_ascii = "".join(map(chr, range(128, sys.maxunicode + 1)))
    found = {}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        others = set(re.findall(letter, beyond_ascii, re.IGNORECASE))
        if others:
            found[letter] = others

    assert found == {letter: set(others) for letter, others in SAME_LETTER.items()}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "shift_jis", "utf-7", "cp037"])
def test_open_for_encodings_that_hide_ascii(encoding):
    """Where an ASCII letter is not its own byte, nothing is rejected."""
    assert Gate(None, [syntax("sshd")], encoding=encoding).open


def test_open_without_a_word():
    """Where nothing can be proved, every line goes through, the last one without newline too."""
    gate = Gate(None, [syntax(r"\d+ .*")])

    assert [b"a", b"", b"b"] == kept(gate, b"a\n\nb")


def test_prefregex_and_any_failregex():
    """A line needs the word of prefregex and that of one failregex."""
    gate = Gate(syntax(r"sshd\[\d+\]"), [syntax("Failed"), syntax("Invalid")])
    data = b"sshd[1]: Failed x\ncron[1]: Failed\nsshd[1]: Accepted\nsshd[1]: Invalid\n"

    assert [b"sshd[1]: Failed x", b"sshd[1]: Invalid"] == kept(gate, data)


def test_any_case():
    """Without case, letters that only Unicode takes for the same are let through."""
    gate = Gate(None, [syntax("(?i)disk")])
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
    gate = Gate(None, [syntax(regex)], tears=detector.tears)

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
    open_ = Gates(Gate(None, []), None, marked=False)
    every._lines._dated_gates = every._lines._bare_gates = open_

    assert [failure.matches for failure in every.failures(block, NOW)] == found


SAYINGS = (
    "Invalid user u{} from 192.0.2.{}",
    "Failed password for u{} from 192.0.2.{}",
    "check: failure; rhost=192.0.2.{1}",
    "Locked user u{}",
    "Accepted key for u{} from 192.0.2.{}",
    "Connection closed by u{} 192.0.2.{}",
    "Connection closed by 192.0.2.{1}",
    "nothing of note {} {}",
)
SESSION = FilterSpec(
    name="any",
    prefregex=r"^<F-MLFID>\s*\S+ d(?:\[\d+\])?: </F-MLFID><F-CONTENT>.+</F-CONTENT>$",
    failregex=(
        "^Invalid user <F-USER>\\S+</F-USER> from <HOST>$",
        "^Failed password for <F-USER>\\S+</F-USER> from <HOST>$",
        "^<F-NOFAIL>check:</F-NOFAIL> failure; rhost=<HOST>$",
        "^Locked user <F-USER>\\S+</F-USER>$",
        (
            "^<F-MLFFORGET><F-MLFGAINED>Accepted</F-MLFGAINED></F-MLFFORGET> key for "
            "<F-USER>\\S+</F-USER> from <HOST>$"
        ),
        (
            "^<F-NOFAIL><F-MLFFORGET>Connection closed</F-MLFFORGET></F-NOFAIL> by "
            "(?:<F-USER>\\S+</F-USER> )?<ADDR>$"
        ),
    ),
)
CLOCKED = st.sampled_from(("May  1 10:00:00 ", "[May  1 10:00:00] ", "10:00:00", ""))


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(
            CLOCKED,
            st.sampled_from(("h1", "h2", "[h3]", "Ä")),
            st.sampled_from(("d[7]: ", "d[8]: ", "d: ", "d[77]: ", "x[7]: ")),
            st.sampled_from(SAYINGS),
            st.integers(1, 2),
        ),
        max_size=24,
    ),
    st.integers(1, 24),
    st.sampled_from((None, "{^LN-BEG}", r"\[{DATE}\]", "%H:%M:%S**", "{NONE}")),
    st.booleans(),
)
def test_ends_of_sessions_can_wait(said, cut, pattern, journal):
    """Lines that are looked at only while their session is open change no verdict."""
    log = [
        f"{date}{host} {tag}{saying.format(number, number)}\n".encode()
        for date, host, tag, saying, number in said
    ]
    blocks = [
        Block(("w",), "log", b"".join(part), "", [NOW] * len(part) if journal else None)
        for part in (log[:cut], log[cut:])
        if part
    ]
    spec = replace(SESSION, datepattern=pattern)
    waits, every = Filter(spec, now=NOW), Filter(spec, now=NOW)
    assert waits._lines._gates(dated=not journal).ending
    open_ = Gates(Gate(None, []), None, marked=False)
    every._lines._dated_gates = every._lines._bare_gates = open_

    for block in blocks:
        assert list(every.failures(block, NOW)) == list(waits.failures(block, NOW))


def test_ends_of_no_session_are_passed_over():
    """What can only end a session is not decoded while none is open."""
    seen, lines = [], Filter(SESSION, now=NOW)._lines
    data = b"May  1 10:00:00 h d[7]: Connection closed by 192.0.2.1\n" * 3
    for line, _ in lines.read(Block(("w",), "log", data, ""), NOW, live=True):
        seen.append(line)

    assert [] == seen


def test_few_words_stand_for_many_regexes():
    """One word that several regexes need is searched for once, and what else they need checked."""
    regexes = [f"^User not allowed because {why}" for why in ("listed", "locked", "expired")]
    gate = Gate(None, [syntax(regex) for regex in regexes])
    data = b"User not allowed because locked\nUser not allowed because old\n"

    assert [b"User not allowed because locked"] == kept(gate, data)
    assert [[b"User not allowed because "]] == [[n.key for n in way] for way in gate._ways]


def test_jails_that_search_for_the_same_do_it_once():
    """What is found in a block is found for all."""
    memo = {}
    first, second = Gate(None, [syntax("Failed")]), Gate(None, [syntax("Failed")])

    assert first.lines(b"x\nFailed\n", memo) is second.lines(b"x\nFailed\n", memo)


def test_the_cheapest_way_is_taken():
    """Where all lines have what prefregex needs, failregex's words are searched for, and back."""
    gate = Gate(syntax(r"daemon\["), [syntax(word) for word in ("Failed", "Refused", "Locked")])
    common = b"host daemon[7]: all is well\n" * 1000
    rare = b"host other[7]: Failed Refused Locked\n" * 1000

    assert {b"Failed", b"Refused", b"Locked"} == {n.key for n in gate._way(common, 0, len(common))}
    assert {b"daemon["} == {n.key for n in gate._way(rare, 0, len(rare))}


def test_alternatives_behind_a_mark():
    """Many alternatives are searched for together with what stands before them."""
    names = [f"{letter}{number}bot" for letter in "ABCD" for number in range(10)]
    gate = Gate(None, [syntax(f'^x .*"(?:{"|".join(names)})"$')])
    data = b'x "C7bot"\nx "C7"\nx C7bot\nx "Z7bot"\n'

    assert [b'x "C7bot"'] == kept(gate, data)


def test_alternatives_are_checked_in_the_line():
    """A line that has one word of a regex is asked for those of which it needs any."""
    gate = Gate(None, [syntax("^(?:GET|POST) /(?:mail|wp)-login 404 not found$")])

    assert [b"GET /mail-login 404 not found"] == kept(
        gate, b"GET /mail-login 404 not found\nGET /index 404 not found\n"
    )


def test_a_word_far_from_the_begin_stays_whole():
    """Where dates begin their lines, a word with enough before it cannot be torn by one."""
    detector = DateDetector("{^LN-BEG}", exact_years=years(NOW))

    assert {1} == set(detector.tears('"x', 0))
    assert {1} == set(detector.tears('"x', 1))
    assert set() == set(detector.tears('"x', 2))


def test_a_flood_is_not_searched():
    """Where most lines could match, each is looked at; a few cost a search only."""
    gate = Gate(syntax(r"daemon\["), [syntax(word) for word in ("Failed", "Refused", "Locked")])
    flood = b"host daemon[7]: Failed\n" * 4000
    quiet = b"host daemon[7]: all is well\n" * 4000

    assert gate.floods(flood, {})
    assert not gate.floods(quiet, {})
    assert not gate.floods(b"host daemon[7]: Failed\n", {})


def dated(minutes, text="Failed x"):
    stamp = time.strftime("%b %d %H:%M:%S", time.localtime(NOW - 60 * minutes))
    return f"{stamp} host d: {text} from 192.0.2.7\n".encode()


FAILED = FilterSpec(name="any", failregex=("Failed x from <HOST>",), datepattern="{^LN-BEG}")


@pytest.mark.parametrize(
    "blocks, failures",
    [
        pytest.param([[20] * 3000], 0, id="old"),
        pytest.param([[20] * 2999 + [1]], 1, id="last-line-is-young"),
        pytest.param([[1] + [20] * 2999], 1, id="first-line-is-young"),
        pytest.param([[20] * 3000, [1] * 3000], 3000, id="next-block-is-young"),
    ],
)
def test_old_blocks_are_passed_over(blocks, failures):
    """After a stop, a block that begins and ends before findtime is not read; others are."""
    judge = Filter(FAILED, now=NOW, findtime=600)
    found = [
        failure
        for block in blocks
        for failure in judge.failures(
            Block(("w",), "log", b"".join(map(dated, block)), ""), NOW, live=False
        )
    ]

    assert failures == len(found)


def test_old_blocks_cost_a_look_at_three_lines():
    """However long they are."""
    judge = Filter(FAILED, now=NOW, findtime=600)
    block = Block(("w",), "log", dated(20) * 3000, "")
    assert [] == list(judge.failures(block, NOW, live=False))

    assert 3 == sum(hits for _, hits in judge.detector.hits())


def test_a_line_without_date_has_that_of_an_old_block():
    """What is passed over is looked back at like what the gate rejects."""
    judge = Filter(FAILED, now=NOW, findtime=30)
    old = Block(("w",), "log", dated(0.75) * 3000, "")
    bare = Block(("w",), "log", b"host d: Failed x from 192.0.2.7\n", "")
    assert [] == list(judge.failures(old, NOW, live=False))

    assert [NOW - 45] == [failure.at for failure in judge.failures(bare, NOW, live=True)]
