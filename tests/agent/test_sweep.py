# SPDX-License-Identifier: MIT
"""Blocks judged by the shapes of lines: the same verdicts as line by line?"""

import re
from random import Random

import pytest

from stockade_agent.filter import Filter
from stockade_agent.model import Block
from stockade_agent.specs import FilterSpec
from stockade_agent.sweep import Sweep


BEGIN = "{^LN-BEG}"
NOW = 1714557600.0  # 2024-05-01 10:00:00 UTC
PREFIX = (
    r"^<F-MLFID>\s*(?:\S+\s+)?d(?:\[\d+\])?:?\s+</F-MLFID>(?:(?:error|fatal): )?"
    r"<F-CONTENT>.+</F-CONTENT>$"
)
SESSIONS = (
    (
        r"^Failed \S+ for (?P<cond_inv>invalid user )?<F-USER>(?P<cond_user>\S+)|(?(cond_inv)"
        r"(?:(?! from ).)*?|[^:]+)</F-USER> from <HOST>(?: port \d+)?(?: ssh\d*)?"
        r"(?(cond_user): |(?:(?:(?! from ).)*)$)"
    ),
    r"^Invalid user <F-USER>.*?</F-USER> from <HOST>(?: port \d+)?\s*$",
    (
        r"^<F-NOFAIL>pam: failure;</F-NOFAIL> ruser=<F-ALT_USER>\S*</F-ALT_USER> rhost=<HOST>"
        r"(?: user=<F-USER>\S*</F-USER>)?$"
    ),
    r"^User <F-USER>\S+</F-USER> not allowed$",
    r"^<F-NOFAIL>Received <F-MLFFORGET>disconnect</F-MLFFORGET></F-NOFAIL> from <HOST>:\s*11:",
    r"^Received <F-MLFFORGET>disconnect</F-MLFFORGET> from <HOST>:\s*3:",
    r"^<F-NOFAIL><F-MLFFORGET>(?:Closed|Reset)</F-MLFFORGET></F-NOFAIL> by <HOST>",
    (
        r"^<F-MLFFORGET><F-MLFGAINED>Accepted \w+</F-MLFGAINED></F-MLFFORGET> for "
        r"<F-USER>\S+</F-USER> from <HOST>(?:\s|$)"
    ),
    r"^<F-NOFAIL>Connection from</F-NOFAIL> <HOST>",
)
FILTERS = {
    "sessions": {"failregex": SESSIONS, "prefregex": PREFIX},
    "no-names": {"failregex": SESSIONS, "prefregex": PREFIX, "usedns": "no"},
    "no-prefix": {
        "failregex": (
            r"^ \S+ d\[\d+\]: Failed .* for <F-USER>\S+</F-USER> from <ADDR>",
            r"Invalid user <F-USER>.*?</F-USER> from <HOST>(?: port <F-PORT>[1-4]\d*</F-PORT>)?",
            r" d\[<F-ID>\d+</F-ID>\]: (?:Closed|Reset) by <ADDR>",
            r": Received .* from (?:<IP4>|<IP6>):<F-CODE>\d+</F-CODE>: ",
        )
    },
    "subnets": {"failregex": (r"from <SUBNET>", r"by (?:<IP6>|<DNS>)"), "prefregex": None},
    "parts": {
        "failregex": (
            r"for <F-TUPLE_X_1>\S+</F-TUPLE_X_1> from (?:<ADDR>) <F-TUPLE_X_2>\S+</F-TUPLE_X_2>",
            r"rhost=<HOST>",
        )
    },
}
USERS = ("root", "adm1n", "user 7", "a b", "", "x from 192.0.2.9", "ünï", "root\x01", "d[7]: ")
ADDRESSES = (
    *("192.0.2.{}", "198.51.100.{}", "2001:db8::{}", "2001:db8:{}:1de::d0{}", "::ffff:192.0.2.{}"),
    *("[2001:db8::{}]", "999.1.1.{}", "host{}.example.com", "192.0.2.{}/28", "fe80::{}:a\x01c"),
)
MESSAGES = (
    *(
        "Failed password for {user} from {who} port {port} ssh2",
        "Failed none for {user} from {who}",
    ),
    *("Failed password for invalid user {user} from {who} port {port} ssh2", "error: Bad {port}"),
    *("Invalid user {user} from {who} port {port}", "Invalid user {user} from {who}"),
    *("pam: failure; ruser={user} rhost={who}", "pam: failure; ruser= rhost={who} user={user}"),
    *("User {user} not allowed", "Received disconnect from {who}:11: Bye", "Closed by {who}"),
    *("Received disconnect from {who}: 3: x: Auth fail", "Reset by {who} port {port}"),
    *("Received disconnect from {who}:1{port}: x", "Accepted key for {user} from {who}", ""),
    *("fatal: Failed password for {user} from {who} port {port}", "pam: check; user unknown"),
    *("Connection from {who} port {port}", "Received disconnect from {who}:{port}: x\r"),
)
DATES = (
    *("May  1 09:5{}:{}{}", "May  1 10:00:{}{}", "May 31 09:59:{}{}", "Feb 30 09:59:{}{}"),
    *("Apr 30 23:59:{}{} 2024", "2024-05-01T09:5{}:{}{}", "2024-05-01 09:59:{}{},{}"),
)


@pytest.fixture(autouse=True)
def utc(zone):
    zone("UTC")


def lines(random, number):
    """Return random lines of few sessions, as an attack writes them, and some odd ones."""
    date = random.choice(DATES)
    # Of each so few that shapes come again.
    users, addresses = random.sample(USERS, 3), random.sample(ADDRESSES, 3)
    messages, hosts = random.sample(MESSAGES, 9), random.sample(("h ", "h1 ", "", "x y "), 2)
    for _ in range(number):
        if random.random() < 0.004:
            date = random.choice(DATES)
        stamp = re.sub(r"\{\}", lambda _: str(random.randint(0, 5)), date)
        who = re.sub(r"\{\}", lambda _: str(random.randint(7, 40)), random.choice(addresses))
        text = random.choice(messages).format(
            user=random.choice(users), who=who, port=random.choice((22, 3999, 1, 40000, 65535))
        )
        line = f"{stamp} {random.choice(hosts)}d[{random.randint(8, 13)}]: {text}"
        odd = random.random()
        if odd < 0.01:
            line = line[random.randint(0, len(line)) :]
        elif odd < 0.02:
            line = f"[{line}"
        yield line


def swept(judge, data, now, live):
    """Return what a filter finds in blocks, and what it keeps in mind."""
    found, position, times = [], 0, 0
    while position < len(data):
        end = data.find(b"\n", position + 9000) + 1 or len(data)
        block = Block(("w",), "log", data[position:end], "")
        found += judge.failures(block, now + times // 3, live=live)
        position, times = end, times + 1
    state = judge._lines
    return found, (state._last, state._last_text, state._tail, state.detector.hits())


@pytest.mark.parametrize("live", [False, True], ids=["catch-up", "live"])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("seed", range(6))
def test_same_verdicts(monkeypatch, seed, name, live):
    """Judged by shapes or line by line: failures and state are the same."""
    monkeypatch.setattr("stockade_agent.shapes._LONGER", 2)
    used, moment = [], Sweep._moment
    monkeypatch.setattr(Sweep, "_moment", lambda *of, **at: used.append(of[1]) or moment(*of, **at))
    random = Random(f"{seed} {name}")
    data = "".join(f"{line}\n" for line in lines(random, 3000)).encode()
    made = [
        Filter(FilterSpec("f", datepattern=BEGIN, **FILTERS[name]), findtime=3600, now=NOW)
        for _ in "ab"
    ]
    made[1]._sweep = None

    by_shapes, by_line = (swept(judge, data, NOW, live) for judge in made)

    assert by_line == by_shapes
    assert name == "parts" or len(set(used)) > 10
    assert {len(one._sessions) for one in made} == {len(made[0]._sessions)}
    assert made[0]._sessions.marks == made[1]._sessions.marks


def test_learned_lines_are_not_judged():
    """A line whose like was judged before costs no regex."""
    judge = Filter(
        FilterSpec("f", datepattern=BEGIN, **FILTERS["sessions"]), findtime=3600, now=NOW
    )
    asked = []
    line_by_line = judge._sweep._judge
    judge._sweep._judge = lambda *line: asked.append(line) or line_by_line(*line)
    text = "May  1 09:5{}:00 h d[{}]: Failed password for root from 192.0.2.{} port 2{} ssh2\n"
    data = "".join(text.format(n % 10, n, n, n) for n in range(10, 100))

    found = list(judge.failures(Block(("w",), "log", data.encode(), ""), NOW, live=False))

    assert [f"192.0.2.{n}" for n in range(10, 100)] == [failure.id for failure in found]
    assert [f"May  1 09:5{n % 10}:00" for n in range(10, 100)] == [
        failure.matches[0][:15] for failure in found
    ]
    assert 2 == len(asked)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"maxlines": 2}, id="buffer"),
        pytest.param({"ignoreregex": ("x",)}, id="ignoreregex"),
    ],
)
def test_stands_aside(options):
    """Where a line has no meaning of its own, every line is judged."""
    spec = FilterSpec("f", failregex=("from <HOST>",), **options)

    assert Filter(spec, findtime=3600, now=NOW)._sweep is None
    spec = FilterSpec("f", failregex=("from <HOST>",))
    assert Filter(spec, findtime=3600, now=NOW, check_all=True)._sweep is None


def test_shapes_are_bounded(monkeypatch):
    """Shapes of which no more lines come give way to others."""
    monkeypatch.setattr("stockade_agent.shapes.MOST", 8)
    judge = Filter(
        FilterSpec("f", datepattern=BEGIN, **FILTERS["sessions"]), findtime=3600, now=NOW
    )
    shapes = judge._sweep._shapes
    for number in range(200):
        line = f"May  1 09:50:00 h d[1]: Failed x for {'u' * (number % 60)} from 192.0.2.7\n"
        list(judge.failures(Block(("w",), "log", line.encode() * 3, ""), NOW, live=False))

    assert 0 < len(shapes.young) + len(shapes._old) <= 16
