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
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Self

import stockade_agent
from conformance import oracle
from conformance.clientwords import BY_HAND, LAST, REFUSED, Case, before, drawn, during
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
        oracle.link(oracle.stock(root.resolve()), directory)
        names = oracle.stock_jails(oracle.stock(root))
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
