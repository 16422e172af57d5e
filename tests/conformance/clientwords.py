# SPDX-License-Identifier: MIT
"""What is said to fail2ban and to us by fail2ban-client's words, and where answers may differ."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Words, and the name of the difference if the answers differ."""

    words: tuple[str, ...]
    differs: str = ""

    def __str__(self) -> str:
        return " ".join(self.words)


def case(text: str, differs: str = "") -> Case:
    """Return the case of words without spaces in them."""
    return Case(tuple(text.split()), differs)


def before(newer: str) -> Iterator[Case]:
    """Yield what is said while nobody is banned."""
    yield from map(case, ("ping", "ping 2", "status", "status sshd", "status web", "banned"))
    yield from map(case, ("echo a b", "server-status", "flushlogs"))
    yield from (case(text, newer) for text in ("status --all", "stats", "statistics"))
    yield from (case(text, "release") for text in ("version", "-V", "--version"))
    yield from map(case, ("--str2sec 1d12h", "--str2sec 90", "-t", "--test"))
    yield from (case(text, "usage") for text in ("-h", "--help", "", "-Z", "--nonsense"))
    options = "bantime findtime maxretry maxmatches maxlines usedns ignoreself ignoreip logpath"
    options += " journalmatch failregex ignoreregex prefregex ignorecommand ignorecache actions"
    options += " banned banip logtimezone datepattern"
    for jail in ("sshd", "web", "another-jail", "nojail"):
        for option in options.split():
            yield case(f"get {jail} {option}", "as-written" if (jail, option) in COMPILED else "")
    yield case("get sshd logencoding")
    yield from map(case, ("get loglevel", "get logtarget", "get syslogsocket", "get dbpurgeage"))
    yield from (case(text, "ledger") for text in ("get dbfile", "get dbmaxmatches"))
    yield from map(case, INVALID)
    yield from (case(text, "error") for text in WRONG)
    yield from (case(text, "in-files") for text in IN_FILES)
    yield case("start")


COMPILED = {
    ("sshd", "failregex"),
    ("sshd", "prefregex"),
    ("web", "failregex"),
    ("another-jail", "failregex"),
    ("another-jail", "prefregex"),
    ("another-jail", "datepattern"),
}
INVALID = (
    "nonsense",
    "get",
    "get sshd",
    "get sshd nonsense",
    "get nojail nonsense",
    "set",
    "set sshd",
    "set sshd nonsense 1",
    "set sshd nonsense",
    "set sshd bantime",
    "set sshd unbanip",
    "set sshd banip",
    "set nojail bantime 1",
    "set nojail banip 203.0.113.1",
    "set nojail unbanip 203.0.113.1",
    "unban",
    "status nojail",
    "status sshd short more",
    "reload nojail",
    "reload sshd web",
)
WRONG = (
    "set sshd attempt",
    "set sshd maxretry three",
    "set sshd idle perhaps",
    "set loglevel LOUD",
)
IN_FILES = ("set sshd maxlines 3", "set sshd usedns warn")


def during(newer: str) -> Iterator[Case]:
    """Yield what is said when some are banned, by logs and by hand."""
    yield from map(case, ("status", "status sshd", "status web", "status another-jail", "banned"))
    yield from map(case, ("status sshd short", "status sshd basic", "status sshd cymru"))
    yield from map(case, ("status web nonsense",))
    yield from (case(t, newer) for t in ("status --all", "status --all short", "stats"))
    yield case("status sshd stats", "" if newer else "flavor")
    yield case("status --all stats", "flavor")
    yield case("statistic", newer or "flavor")
    for jail in ("sshd", "web"):
        for form in ("banip", "banip ,", "banip --with-time", "banned", "banned 203.0.113.9"):
            yield case(f"get {jail} {form}")
        yield case(f"get {jail} banned 203.0.113.9 203.0.113.10 nobody")
    yield from map(case, ("banned 203.0.113.9", "banned 203.0.113.9 203.0.113.10 203.0.113.99"))


BY_HAND = (
    case("set sshd banip 203.0.113.21"),
    case("set sshd banip 203.0.113.21"),
    case("set sshd banip 203.0.113.22 203.0.113.23 2001:db8::21"),
    case("set sshd banip 2001:DB8:0:0::22"),
    case("set web banip 198.18.7.128/25"),
    case("set web banip 203.0.113.21"),
    case("banned"),
    case("banned 203.0.113.21 2001:db8::21 2001:db8::22"),
    case("get sshd banip"),
    case("get sshd banned 203.0.113.22 203.0.113.30"),
    case("status sshd"),
    case("set sshd unbanip 203.0.113.22"),
    case("set sshd unbanip 203.0.113.22"),
    case("set sshd unbanip 203.0.113.23 203.0.113.22 203.0.113.99"),
    case("set sshd unbanip --report-absent 203.0.113.99"),
    case("set sshd unbanip --report-absent 203.0.113.99 2001:db8::21 203.0.113.98"),
    case("unban 203.0.113.21 203.0.113.77"),
    case("unban 198.18.7.128/25"),
    case("banned"),
    case("set sshd bantime 10m"),
    case("set sshd banip 203.0.113.31"),
    case("get sshd banip --with-time", "in-force"),
    case("get sshd bantime"),
    case("set sshd bantime -1"),
    case("set sshd banip 203.0.113.32"),
    case("get sshd banip --with-time", "in-force"),
    case("set sshd findtime 1h"),
    case("set sshd maxretry 2"),
    case("set sshd maxmatches 7"),
    case("get sshd maxmatches"),
    case("set sshd attempt 203.0.113.41"),
    case("set web ignoreself true"),
    case("set web addignoreip 198.18.7.64/26"),
    case("get web ignoreip"),
    case("set web delignoreip 198.18.7.64/26"),
    case("set web delignoreip 198.51.100.0/24"),
    case("get web ignoreip"),
    case("set web addignoreip 203.0.113.7"),
    case("set loglevel ERROR"),
    case("get loglevel"),
    case("set loglevel info"),
    case("set sshd idle on"),
    case("set sshd idle off"),
    case("reload"),
    case("get sshd bantime"),
    case("get sshd maxretry"),
    case("get web ignoreip"),
    case("banned"),
    case("reload sshd"),
    case("reload --if-exists nojail", "if-exists"),
    case("reload --restart web"),
    case("restart another-jail"),
    case("banned", "order"),
    case("reload --unban sshd"),
    case("banned", "order"),
    case("set web banip 203.0.113.51 203.0.113.52"),
    case("reload --unban"),
    case("banned"),
    case("set web banip 203.0.113.61 203.0.113.62"),
    case("set sshd banip 203.0.113.61"),
    case("unban --all"),
    case("banned"),
    case("status"),
)
REFUSED = (
    case("set another-jail attempt 203.0.113.150"),
    case("unban 203.0.113.150"),
    case("status another-jail", "forgotten"),
    case("set web banip 198.51.100.7", "spared"),
    case("set sshd banip not-an-address", "no-address"),
    case("set sshd banip 198.51.100.7 not/an/address", "no-address"),
)
LAST = tuple(case(text, "systemd") for text in ("stop nojail", "stop web", "stop"))


def drawn(seed: int, count: int) -> Iterator[Case]:
    """Yield random words about few addresses, so that they meet."""
    rng = random.Random(seed)
    addresses = [f"203.0.113.{n}" for n in range(100, 106)] + ["2001:db8::1", "198.18.7.0/25"]

    def some(most: int) -> str:
        return " ".join(rng.choice(addresses) for _ in range(rng.randint(1, most)))

    forms = (
        lambda jail: f"set {jail} banip {some(3)}",
        lambda jail: f"set {jail} banip {some(1)}",
        lambda jail: f"set {jail} unbanip {some(2)}",
        lambda jail: f"set {jail} unbanip --report-absent {some(2)}",
        lambda _: f"unban {some(2)}",
        lambda _: f"banned {some(3)}",
        lambda _: "banned",
        lambda jail: f"get {jail} banip --with-time",
        lambda jail: f"get {jail} banned {some(2)}",
        lambda jail: f"status {jail}",
        lambda jail: f"status {jail} short",
        # Never as many as make a ban: fail2ban makes it when it finds the time.
        lambda _: f"set another-jail attempt 203.0.113.{rng.randint(200, 205)}",
    )
    for _ in range(count):
        jail = rng.choice(("sshd", "web", "another-jail", "nojail"))
        yield case(rng.choice(forms)(jail))
