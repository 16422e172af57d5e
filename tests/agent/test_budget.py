# SPDX-License-Identifier: MIT
"""Does a line that takes too long cost its filter little, and all others nothing?"""

import random
import re
import time
from itertools import islice, product
from string import ascii_lowercase

import pytest

from stockade_agent.budget import BURST, PAUSES, Budget
from stockade_agent.errors import OverrunError
from stockade_agent.failregex import LONG, compile_pattern
from stockade_agent.filter import Filter
from stockade_agent.model import Block
from stockade_agent.reach import reach
from stockade_agent.specs import FilterSpec


NOW = 1714557600.0  # 2024-05-01 10:00:00 UTC
DATE = "May  1 10:00:00"
SECONDS = 0.1
LONG_ENOUGH = 40
"""Letters for which a repeat within a repeat needs more steps than anybody has time."""


@pytest.fixture(autouse=True)
def utc(zone):
    zone("UTC")


class Scene:
    """A filter with its budget."""

    def __init__(self, *failregex, seconds=SECONDS, **options):
        self.budget = Budget(seconds)
        spec = FilterSpec("f", failregex, **options)
        self.filter = Filter(spec, now=NOW, budget=self.budget)

    def read(self, *lines, now=NOW, live=True, times=None):
        data = "".join(f"{line}\n" for line in lines).encode()
        block = Block(("w",), "log", data, "", times)
        if not self.budget.lets(block, now):
            return None
        self.budget.begin(block, now)
        found = [failure.id for failure in self.filter.failures(block, now, live=live)]
        self.budget.end(now)
        return found


def evil(text="", letters=LONG_ENOUGH):
    return f"{DATE} {'a' * letters}! from 192.0.2.66{text}"


def good(number):
    return f"{DATE} aaa from 192.0.2.{number}"


LETTERS = "^ (?:a+)+ from <ADDR>$"
PLACES = [
    pytest.param({}, LETTERS, id="failregex"),
    pytest.param({"prefregex": "^ (?:a+)+ <F-CONTENT>.+</F-CONTENT>$"}, "^from <ADDR>$", id="pre"),
    pytest.param({"ignoreregex": ("(?:a+)+#",)}, "^ a+!? from <ADDR>$", id="ignoreregex"),
    pytest.param(
        {"ignoreregex": ("(?:a+)+#",)},
        ("^ a+!? from <ADDR>$", "x<ADDR>", "y<ADDR>", "z<ADDR>"),
        id="ignoreregex-first",
    ),
    pytest.param({"maxlines": 2}, "^ (?:a+)+ from <ADDR>$", id="maxlines"),
]


@pytest.mark.parametrize("options, failregex", PLACES)
def test_a_line_that_takes_for_ever(options, failregex):
    """It is given up, whichever regex it hangs in; the lines around it count, each once."""
    scene = Scene(*([failregex] if isinstance(failregex, str) else failregex), **options)
    begun = time.thread_time()

    assert ["192.0.2.1", "192.0.2.2"] == scene.read(good(1), evil(), good(2))
    assert 1 == scene.budget.given_up
    assert SECONDS < time.thread_time() - begun < 20 * SECONDS
    assert "1 line was given up after 0.1 s each" == scene.budget.problem


def test_what_is_said_of_it():
    """The log is told the regex and the line, both cut."""
    scene = Scene(LETTERS)
    scene.read(evil("x" * 1000))
    (note,) = scene.budget.notes()

    assert note.startswith(
        "a line took more than 0.1 s of CPU time and was given up, "
        f"in '^ (?:a+)+ from <ADDR>$'; the line: {DATE} aaaa"
    )
    assert len(note) < 400
    assert [] == list(scene.budget.notes())


def test_a_date_that_is_looked_for_for_ever():
    """The same with a date pattern; it is named."""
    scene = Scene("from <ADDR>$", datepattern="(?:a+)+#%S\n^%b %d %H:%M:%S")

    assert ["192.0.2.1"] == scene.read(evil()[len(DATE) :], good(1))
    assert [True] == ["(?:a+)+#%S" in note for note in scene.budget.notes()]


def test_entries_of_a_journal():
    """A line whose time is known without reading it is given up no less."""
    scene = Scene(LETTERS)

    assert ["192.0.2.1"] == scene.read(evil()[len(DATE) :], good(1)[len(DATE) :], times=(NOW, NOW))


def suspended(scene, now=NOW):
    """Have a filter suspended, and return after how many lines it was."""
    for count in range(1, 10):
        scene.read(evil(), now=now)
        if scene.budget.suspension:
            return count
    raise AssertionError(scene.budget.problem)


def test_a_filter_is_suspended():
    """After a few such lines the filter is; what comes then is passed over, and counted."""
    scene = Scene(LETTERS)

    assert BURST == suspended(scene)
    assert scene.read(good(1), good(2), now=NOW + PAUSES[0] - 1) is None
    assert (
        "filter suspended, as it took too much CPU time, last in '^ (?:a+)+ from <ADDR>$'; "
        "tried again with the first line after 10:01:00 UTC; what its logs say meanwhile is "
        "passed over (2 lines); 2 lines were given up after 0.1 s each"
    ) == scene.budget.problem


def test_it_is_tried_again():
    """After its pause it judges as before; one more such line suspends it for twice as long."""
    scene, now = Scene(LETTERS), NOW
    suspended(scene)
    for pause in (*PAUSES, PAUSES[-1]):
        assert scene.read(good(1), now=now + pause - 1) is None
        now += pause

        assert ["192.0.2.1"] == scene.read(f"{good(1)}", now=now)
        assert "" == scene.budget.suspension
        assert 1 == suspended(scene, now)


def test_a_quiet_hour_makes_good():
    """Who behaved for long begins anew: the pause is the first one again."""
    scene = Scene(LETTERS)
    suspended(scene)
    suspended(scene, NOW + PAUSES[0])
    later = NOW + PAUSES[0] + PAUSES[1] + 3601
    scene.read(good(1), now=later)

    assert BURST == suspended(scene, later + 50)
    assert scene.read(good(1), now=later + 50 + PAUSES[0] - 1) is None
    assert ["192.0.2.1"] == scene.read(good(1), now=later + 50 + PAUSES[0])


def test_now_and_then_is_no_reason():
    """Lines that take too long, but minutes apart, are given up; the filter goes on."""
    scene = Scene(LETTERS)
    for number in range(2 * BURST):
        assert ["192.0.2.1"] == scene.read(evil(), good(1), now=NOW + 60 * number)

    assert 2 * BURST == scene.budget.given_up


def test_a_clock_that_is_set_back():
    """It does not make a pause longer."""
    scene = Scene(LETTERS)
    suspended(scene)

    assert ["192.0.2.1"] == scene.read(good(1), now=NOW - 86400)


def test_many_lines_that_take_some_time_each():
    """None takes too long, all together do: the filter is suspended in the midst of the block."""
    scene = Scene(LETTERS)
    # Had some of them a shape, it would be known soon that nothing matches them.
    words = map("".join, islice(product(ascii_lowercase, repeat=3), 4000))
    lines = [evil(f" {word}", letters=17) for word in words]
    begun = time.thread_time()
    scene.read(*lines, good(1))
    taken = time.thread_time() - begun

    assert scene.budget.suspension
    assert 0 == scene.budget.given_up
    # A hundred lines of this length are worth 0.1 s * 100 * 50 bytes * 10 millionths.
    assert taken < 4000 * len(lines[0]) * 10e-6 * SECONDS + 10 * BURST * SECONDS


def test_old_lines():
    """The look at a block's age meets such a line too."""
    scene = Scene("from <ADDR>$", datepattern="^(?:a+)+#%S\n^%b %d %H:%M:%S")
    noise = [f"{DATE} nothing of interest to anybody at all"] * 2000

    assert ["192.0.2.1"] == scene.read(f"{'a' * LONG_ENOUGH}!", *noise, good(1), live=False)


def test_honest_lines():
    """A megabyte of them, all failures, is read whole and is never a reason."""
    scene = Scene(LETTERS, seconds=1.0)
    lines = [good(n % 200) for n in range(30_000)]

    assert len(lines) == len(scene.read(*lines))
    assert "" == scene.budget.problem


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("wait", [burn, time.sleep])
def test_only_searches_are_ended(monkeypatch, wait):
    """What is busy with anything but a search is let be, and so is a machine that stands still."""
    scene = Scene("^ <F-MLFID>a+</F-MLFID> from <ADDR>$")
    merge = scene.filter._sessions.merge

    def slow(*given):
        wait(3 * SECONDS)
        return merge(*given)

    monkeypatch.setattr(scene.filter._sessions, "merge", slow)

    assert ["192.0.2.1"] == scene.read(good(1))
    assert 0 == scene.budget.given_up
    if wait is time.sleep:
        assert "" == scene.budget.problem


def test_why_a_line_is_missed_is_not_looked_for_for_ever():
    """How far a regex gets is told by searches for its parts, which can be ended too."""
    with Budget(SECONDS).each_line(), pytest.raises(OverrunError):
        reach(re.compile("(?:a+)+b"), "a" * LONG_ENOUGH)


def test_no_budget():
    """With 0 no timer is set at all."""
    scene = Scene("^ (?:a+)+ from <ADDR>$", seconds=0)

    assert ["192.0.2.1"] == scene.read(evil(letters=16), good(1))
    assert "" == scene.budget.problem


# ---- long texts


@pytest.mark.parametrize(
    "regex, text, length",
    [("\\S+x", "a", 60_000), ("\\s*;\\s*x", " ", 60_000), (".*a.*b", "a", 3000)],
)
def test_searches_in_long_lines_can_be_ended(regex, text, length):
    """Also where a search begins anew at each place of a line that a client made long."""
    scene = Scene(f"{regex} from <ADDR>$", seconds=0.05)

    scene.read(f"{DATE} {text * length} from 192.0.2.2.")

    assert 1 == scene.budget.given_up


REGEXES = (
    "<HOST>",
    "a+b",
    "(?i)FROM <HOST>$",
    "(?x) from \\s <HOST>  # whose",
    "(?<=x)y <ADDR>",
    "(\\w)\\1 <HOST>",
    "^x|<ADDR>",
    "(?i)(?s)a.<ADDR>",
    "from <F-USER>\\S+</F-USER>? ?<ADDR>",
)


@pytest.mark.parametrize("source", REGEXES)
def test_long_texts_are_judged_the_same(source):
    """The search for long texts finds what the other one does."""
    pattern = compile_pattern(source, option="failregex")
    draw = random.Random(source)
    words = ["from ", "192.0.2.7", " ", "aa", "b", "xy ", "FROM", "\n", "2001:db8::1", "host"]
    seen = 0
    for _ in range(300):
        text = "".join(draw.choices(words, k=draw.randrange(40)))
        match, same = pattern.find(text), pattern.find_long(text)
        seen += match is not None

        assert (match and match.groupdict()) == (same and same.groupdict())
        assert (match and match.end()) == (same and same.end())
    assert seen
    assert isinstance(pattern.regex, re.Pattern)


def test_long_failures():
    """Lines of any length below a megabyte are judged."""
    scene = Scene("failed from <ADDR>$", "never <ADDR>", ignoreregex=("\\bnot\\b",))
    lines = [f"{DATE} {pad} failed from 192.0.2.{n}" for n, pad in enumerate(("x " * LONG, "not"))]
    lines += [f"{DATE} {'x' * 900_000} failed from 192.0.2.9", f"{DATE} not {'x ' * LONG} failed"]

    assert ["192.0.2.0", "192.0.2.9"] == scene.read(*lines)
