# SPDX-License-Identifier: MIT
"""fail2ban-client's words put to both: a fail2ban server and our agent on one configuration.

    python -m conformance.client [VERSION | DIR ...]

Both read the same tree and the same logs and are told the same words in the same order; what is
printed and the exit code must be the same. ``DIFFERENCES`` names where they are not, and why; one
that is none any more is a failure, too.
"""

import contextlib
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Self

import stockade_agent
from conformance import oracle, trees
from conformance.tally import Tally, Tell, by_hand, plain
from stockade_agent.cli import main as our_main
from stockade_agent.config.dump import dump


DEADLINE = 20.0
COMMANDS = 400

DIFFERENCES = {
    "newer": "a word of 1.1 is spoken whatever the release beside us",
    "release": "we tell the newest release whose words we speak",
    "usage": "the text of --help is our own",
    "systemd": "the agent, and each jail of it, is not started and stopped by its client",
    "ledger": "the agent's database is its own, and keeps as many lines as a jail does",
    "as-written": "a regex or a date pattern is told as it was written, not as it was compiled",
    "error": "the reason of a refusal is told in our words",
    "in-files": "what cannot be set at run time is written to a file and reloaded",
    "in-force": "bans in force keep their end when bantime is set",
    "if-exists": "reload --if-exists of a jail that is nowhere is no error",
    "order": "bans restored by a restart of their jail stand in the order in which they began",
    "forgotten": "who is freed by hand begins anew: failures are forgotten, too",
    "spared": "whom the jail ignores is not banned by hand either",
    "no-address": "only addresses and networks are banned by hand",
    "parameter": "in -d, a parameter stands for all families, as since 1.1.1",
    "flavor": "a flavor that breaks fail2ban's output is the nearest that works",
}

# Stock jails whose action has a parameter in place of one that has a variant for IPv6.
REWRITTEN = {"pass2allow-ftp"}

FAIL2BAN_CONF = """\
[Definition]
loglevel = INFO
logtarget = STDERR
syslogsocket = auto
socket = {folder}/f2b.sock
pidfile = {folder}/f2b.pid
dbfile = {folder}/f2b.sqlite3
dbpurgeage = 1d
dbmaxmatches = 10
"""
STOCKADE_CONF = """\
[Definition]
socket = {folder}/agent.sock
dbfile = {folder}/ledger.sqlite3
controllers = {folder}/controllers
"""
JAIL_CONF = """\
[DEFAULT]
backend = polling
maxretry = 3
findtime = 600
bantime = 3600
usedns = no
ignoreself = false
logencoding = utf-8
enabled = true
action = quiet

[sshd]
filter = sshd
logpath = {folder}/auth.log

[web]
filter =
failregex = ^ web failed from <HOST>$
            ^ web refused <HOST>$
ignoreregex = from 203\\.0\\.113\\.1$
logpath = {folder}/web.log
          {folder}/web2.log
maxretry = 1
bantime = -1
ignoreip = 198.51.100.0/24
action = quiet
         quiet[actname=second]

[another-jail]
filter = sshd
logpath = {folder}/auth.log
maxretry = 50
bantime = 1d
datepattern = ^%%Y-%%m-%%d %%H:%%M:%%S
ignoreip = 203.0.113.7
"""
FILTER = """\
[Definition]
prefregex = ^<F-CONTENT>.+</F-CONTENT>$
failregex = ^ sshd\\[\\d+\\]: failed for \\S+ from <HOST>$
"""
ACTION = """\
[Definition]
actionban = :
actionunban = :
"""


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


class Both:
    """A fail2ban server and our agent on the same tree, as a context.

    Args:
        root: an unpacked fail2ban.
        folder: where the tree, the logs and the sockets are.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        package = (root / "usr/bin").is_dir()
        self._bin = root / ("usr/bin" if package else "bin")
        modules = root / "usr/lib/python3/dist-packages" if package else root
        self._theirs = {**os.environ, "PYTHONPATH": str(modules), "PYTHONWARNINGS": "ignore"}
        ours = Path(stockade_agent.__file__).parents[1]
        self._ours = {**os.environ, "PYTHONPATH": str(ours)}
        self._running: list[subprocess.Popen[bytes]] = []
        self._write()
        self._client = subprocess.Popen(
            (oracle.python(), str(Path(__file__).with_name("asked_words.py"))),
            env=self._theirs,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _write(self) -> None:
        for name, text in (
            ("fail2ban.conf", FAIL2BAN_CONF),
            ("stockade.conf", STOCKADE_CONF),
            ("jail.conf", JAIL_CONF),
            ("filter.d/sshd.conf", None),
            ("action.d/quiet.conf", None),
        ):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            whole = FILTER if name.startswith("filter") else ACTION
            path.write_text(whole if text is None else text.format(folder=self.folder))
        for name in ("auth.log", "web.log", "web2.log"):
            (self.folder / name).touch()

    def __enter__(self) -> Self:
        """Start both, and wait until both answer."""
        self._start((oracle.python(), self._bin / "fail2ban-server", "-f"), self._theirs)
        command = (sys.executable, "-m", "stockade_agent", "run", "--firewall", "memory")
        self._start(command, self._ours)
        self._until(lambda: self.theirs(["ping"]) == ("Server replied: pong\n", 0))
        self._until(lambda: self.ours(["ping"]) == ("Server replied: pong\n", 0))
        self._until(lambda: "Number of jail:\t3" in self.theirs(["status"])[0])
        return self

    def __exit__(self, *_: object) -> None:
        """End both."""
        self._client.communicate()
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(DEADLINE)

    def _start(self, command: Sequence[object], environment: dict[str, str]) -> None:
        with (self.folder / "said").open("ab") as said:
            started = subprocess.Popen(
                [*map(str, command), "-c", str(self.folder)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        self._running.append(started)

    def _until(self, condition: Callable[[], bool], told: Callable[[], str] = lambda: "") -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            said = (self.folder / "said").read_text(errors="replace")
            if time.monotonic() > end or any(p.poll() is not None for p in self._running):
                raise RuntimeError(f"not in time: {told()}\n{said[-2000:]}")
            time.sleep(0.02)

    def theirs(self, words: Sequence[str]) -> tuple[str, int]:
        """Return what fail2ban's client prints, and its exit code."""
        asked = json.dumps(["-c", str(self.folder), *words])
        self._client.stdin.write(f"{asked}\n")
        self._client.stdin.flush()
        said, code = json.loads(self._client.stdout.readline())
        return said, code

    def ours(self, words: Sequence[str]) -> tuple[str, int]:
        """Return what our client prints, and its exit code."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            code = our_main(["fail2ban-client", "-c", str(self.folder), *words])
        return said.getvalue(), code

    def fail(self, log: str, text: str, times: int) -> None:
        """Write failures to a log."""
        stamp = datetime.now().strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ005 - as a log has it
        with (self.folder / log).open("a") as stream:
            stream.write(f"{stamp} {text}\n" * times)

    def settle(self, jail: str, *lines: str) -> None:
        """Wait until both tell these lines of a jail."""
        for tell in (self.theirs, self.ours):
            self._until(
                lambda tell=tell: all(x in tell(["status", jail])[0] for x in lines),
                lambda tell=tell: f"{tell.__name__}: {tell(['status', jail])[0]}",
            )

    def compare(self, asked: Case) -> str:
        """Put words to both; return how the answers differ beyond what is listed, or ""."""
        theirs, ours = self.theirs(asked.words), self.ours(asked.words)
        same = plainly(theirs) == plainly(ours)
        if same and asked.differs:
            return f"{asked}: {asked.differs} is no difference here: {ours}"
        if same or asked.differs:
            return ""
        return f"{asked}: fail2ban {theirs}, we {ours}"


_BAN = re.compile(r"(?m)^(\S+ )\t([-0-9]+ [:0-9]+) \+ (-?\d+) = ([-0-9]+ [:0-9]+)$")


def plainly(answer: tuple[str, int]) -> tuple[str, int]:
    """Return an answer without the moment in which it was given."""
    text, code = answer

    def end(found: re.Match[str]) -> str:
        began, ended = (datetime.fromisoformat(found[n]) for n in (2, 4))
        seconds = (ended - began).total_seconds()
        # Each ends a ban in its own fraction of a second, and prolongs one when it is told to.
        right = ended.year == 9999 if found[3] == "-1" else abs(seconds - int(found[3])) <= 1
        return f"{found[1]}\tSTART + {int(found[3]) // 60} min = END" if right else found[0]

    told = _BAN.sub(end, text)
    return (told if told == text else "\n".join(sorted(told.split("\n")))), code


# ---- what is said


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


def differences(root: Path, seed: int, count: int, step: int = 1) -> Iterator[str]:
    """Yield how the answers differ, or "", for each thing said; ``count`` of them at random.

    Args:
        root: an unpacked fail2ban.
        seed: of what is said at random.
        count: how much that is.
        step: of what is said before anybody is banned, each, or each second and so on.
    """
    newer = "" if oracle.version(root) >= "1.1" else "newer"
    with tempfile.TemporaryDirectory() as folder, Both(root, Path(folder)) as both:
        for asked in islice(before(newer), 0, None, step):
            yield both.compare(asked)
        both.fail("auth.log", "sshd[7]: failed for root from 203.0.113.9", 3)
        both.fail("auth.log", "sshd[7]: failed for root from 203.0.113.10", 2)
        both.fail("web.log", "web failed from 203.0.113.9", 1)
        both.fail("web2.log", "web refused 2001:db8::9", 1)
        both.fail("web.log", "web refused 198.51.100.9", 1)
        both.settle("sshd", "Total failed:\t5", "Currently banned:\t1")
        both.settle("web", "Total banned:\t2")
        both.settle("another-jail", "Total failed:\t5")
        for asked in (*during(newer), *BY_HAND, *drawn(seed, count), *REFUSED, *LAST):
            yield both.compare(asked)


def dumped(root: Path) -> Iterator[str]:
    """Yield how the commands of ``-d`` differ, or "", for each jail of the stock tree."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        trees.link(oracle.stock(root.resolve()), directory)
        names = trees.stock_jails(oracle.stock(root))
        text = "".join(f"[{name}]\nenabled = true\n" for name in names)
        (directory / "jail.local").write_text(text)
        theirs, _ = oracle.dump(root, directory)
        ours, _ = dump(str(directory))
    if [c[1] for c in theirs if c[0] == "start"] != [c[1] for c in ours if c[0] == "start"]:
        yield "-d: the jails that start are others"
    for name in names:
        one, other = ([c for c in told if name in c[1:2]] for told in (theirs, ours))
        same = one == other and bool(one)
        if name in REWRITTEN and oracle.version(root) < "1.1.1":
            yield f"-d: {name}: parameter is no difference here" if same else ""
        else:
            yield "" if same else f"-d: {name}: fail2ban {one}, we {other}"


def run(root: Path, tell: Tell) -> Tally:
    """Return how many answers are the same, or differ as docs/fail2ban-client.md names it."""
    answers = enumerate([*dumped(root), *differences(root, 1, COMMANDS)])
    named = [(f"answer {number}", answer) for number, answer in answers]
    return Tally(len(named), plain((key, text) for key, text in named if text))


if __name__ == "__main__":
    by_hand("client", run)
