# SPDX-License-Identifier: MIT
"""Our ``regex`` beside the real fail2ban-regex: its filters and sample logs, with all options.

    python -m conformance.regex [VERSION | DIR ...]

Exit code, every number, the lists of regexes, failures, date templates and lines must be the
same, and so must all that ``-o`` prints. Words around them are our own.
"""

import ast
import io
import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from ipaddress import ip_address
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unittest import mock

from conformance.oracle import asked as asked_of
from conformance.samples import NOW, ZONE, Tree
from conformance.tally import Difference, Tally, Tell, by_hand
from conformance.zone import zone
from stockade_agent import cli
from stockade_agent.cli import attempt
from stockade_agent.config import filter_spec
from stockade_agent.plain import printable


COUNT = 1000
WRONG = 255

# Tokens of date patterns and what fail2ban calls them where it lists templates.
_WORDS = {
    "%ExY": "ExYear", "%Exy": "ExYear2", "%Exm": "ExMonth", "%Exd": "ExDay", "%ExH": "Ex24hour",
    "%ExM": "ExMinute", "%ExS": "ExSecond", "%Y": "Year", "%y": "Year2", "%m": "Month", "%d": "Day",
    "%H": "24hour", "%I": "12hour", "%M": "Minute", "%S": "Second", "%f": "Microseconds",
    "%z": "Zone offset", "%Z": "Zone name", "%a": "DAY", "%b": "MON", "%p": "AMPM",
    "EPOCH": "Epoch", "%A": "DAYNAME", "%B": "MONTHNAME",
}  # fmt: skip
_TOKEN = re.compile("|".join(sorted(map(re.escape, _WORDS), key=len, reverse=True)))
# The compact date takes a minus since 1.1.1.
_COMPACT = re.compile(
    re.escape("(?:T|  ?)Ex24hourExMinute") + "|" + re.escape("(?:-|T|  ?)Ex24hour:?ExMinute:?")
)
_ADDRESSES = (
    "192.0.2.7",
    "2001:db8::7",
    "198.51.100.23",
    "gateway.example.org",
    "::ffff:192.0.2.9",
)
_OUTPUTS = (
    "row", "id", "ip", "msg", "user", "host", "ip4", "ip6", "dns", "matches", "users",
    "<ip>|<F-USER>|<time>", "<family> <ip-rev> <fid> <F-NOTHING> <nothing>",
    "<msg>", "<ip> <msg>", "<matches>",
)  # fmt: skip


class Cases:
    """Random runs over the filters and sample logs of an unpacked fail2ban.

    Args:
        folder: for logs that are made up.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.tree, self.folder = Tree(root), folder
        self.jails = root.name != "1.0.2"
        logs = self.tree.tests / "files/logs"
        self.names = sorted(
            name
            for name, base in self.tree.filters()
            if base == self.tree.config and (logs / name).is_file()
        )
        self.lines = {
            name: [
                line
                for line in (logs / name).read_text("utf-8", "replace").split("\n")
                if line and not line.startswith("#")
            ]
            for name in self.names
        }

    def whole(self) -> list[tuple[str, ...]]:
        """Return the arguments of a run for each filter, on all of its samples, all told."""
        return [
            (
                self._log(random.Random(name), self.lines[name]),
                str(self.tree.config / f"filter.d/{name}.conf"),
                "-v",
                *(f"--print-all-{kind}" for kind in ("matched", "ignored", "missed")),
            )
            for name in self.names
        ]

    def case(self, seed: int) -> tuple[str, ...]:
        """Return the arguments of one random run."""
        rng = random.Random(seed)
        make: Callable[[random.Random], list[str]] = rng.choice(
            (self._stock, self._stock, self._mixed, self._literal, self._several, self._own)
        )
        words = make(rng)
        # An IGNORE beside those of the filter fail2ban counts under their numbers, and a prefregex
        # that was not searched because of one as if it were in the state of the line before.
        if rng.random() < 0.5 and not self._ignores(words[1]):
            words.append(_ignore(rng))
        return (*words, *self._options(rng))

    def _ignores(self, name: str) -> bool:
        path = Path(name)
        if not path.is_file():
            path = self.tree.config / f"filter.d/{name.partition('[')[0]}.conf"
        if not path.is_file():
            return False
        spec = filter_spec(str(self.tree.config), str(path))
        return bool(spec.ignoreregex or spec.prefregex)

    def _stock(self, rng: random.Random) -> list[str]:
        """A filter on its own sample log."""
        name = rng.choice(self.names)
        # Its last line may lack a newline; fail2ban waits for it, we do not.
        return [self._log(rng, self.lines[name]), self._filter(rng, name)]

    def _mixed(self, rng: random.Random) -> list[str]:
        """A filter on a log of several programs, some lines damaged."""
        name = rng.choice(self.names)
        lines = []
        for number in range(rng.choice((5, 19, 40, 120))):
            log = name if rng.random() < 0.7 or not self.lines[name] else rng.choice(self.names)
            line = rng.choice(self.lines[log] or [""])
            if rng.random() < 0.05:
                line = line[rng.randrange(len(line) + 1) :]
            if rng.random() < 0.05:
                line = f"#{number}" if rng.random() < 0.5 else ""
            lines.append(line)
        return [self._log(rng, lines), self._filter(rng, name)]

    def _literal(self, rng: random.Random) -> list[str]:
        """A line and a regex from the command line."""
        return [_line(rng), _regex(rng)]

    def _several(self, rng: random.Random) -> list[str]:
        """Several lines from the command line."""
        return ["\n".join(_line(rng) for _ in range(rng.randrange(2, 8))), _regex(rng)]

    def _own(self, rng: random.Random) -> list[str]:
        """A filter that is made up, in a file."""
        failregex = [_regex(rng) for _ in range(rng.randrange(1, 6))]
        ignoreregex = [_ignore(rng) for _ in range(rng.randrange(0, 3))]
        text = ["[Definition]"]
        if rng.random() < 0.3 and not 0 < len(ignoreregex) < len(failregex) - 2:
            text.append(f"prefregex = {rng.choice(_PREFREGEXES)}")
        text.append("failregex = " + "\n    ".join(failregex))
        text.append("ignoreregex = " + "\n    ".join(ignoreregex))
        if rng.random() < 0.2:
            text.append("datepattern = " + rng.choice(_DATEPATTERNS).replace("%", "%%"))
        if rng.random() < 0.2:
            text.append(f"maxlines = {rng.choice((1, 2, 5))}")
        path = self._path(rng, ".conf")
        path.write_text("\n".join(text) + "\n")
        return [self._log(rng, [_line(rng) for _ in range(rng.choice((3, 30)))]), str(path)]

    def _filter(self, rng: random.Random, name: str) -> str:
        if name in ("sshd", "postfix", "exim", "dovecot") and rng.random() < 0.5:
            return f"{name}[mode={rng.choice(('normal', 'aggressive'))}]"
        if self.jails and rng.random() < 0.5:
            return name
        return str(self.tree.config / f"filter.d/{name}.conf")

    def _log(self, rng: random.Random, lines: Sequence[str]) -> str:
        path = self._path(rng, ".log")
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(path)

    def _path(self, rng: random.Random, suffix: str) -> Path:
        return self.folder / f"f{rng.randrange(1 << 60)}{suffix}"

    def _options(self, rng: random.Random) -> list[str]:
        given: list[str] = []
        if rng.random() < 0.3:
            return ["-o", rng.choice(_OUTPUTS)]
        for chance, words in (
            (0.4, ["-v"]),
            (0.3, ["--print-all-matched"]),
            (0.3, ["--print-all-missed"]),
            (0.2, ["--print-all-ignored"]),
            (0.1, ["--print-no-missed"]),
            (0.1, ["--print-no-ignored"]),
            (0.2, ["--no-check-all"]),
            (0.2, ["-r"]),
            (0.2, ["--usedns", rng.choice(("yes", "no", "raw", "warn"))]),
            (0.1, ["-L", str(rng.choice((1, 3, 6)))]),
            (0.1, ["-d", rng.choice(_DATEPATTERNS)]),
            (0.1, ["--timezone", rng.choice(("UTC", "UTC+0300", "CEST", "nowhere"))]),
            (0.1, ["-e", rng.choice(("utf-8", "latin-1", "ascii"))]),
            (0.1, ["-l", rng.choice(("info", "ERROR", "critical"))]),
        ):
            if rng.random() < chance:
                given += words
        return given


_PREFREGEXES = (
    r"^\s*\S+ app\[\d+\]: <F-CONTENT>.+</F-CONTENT>$",
    r"^\s*\S+ <F-MLFID>app\[\d+\]</F-MLFID>: <F-CONTENT>.+</F-CONTENT>$",
    r"app",
)
_DATEPATTERNS = (
    "%Y-%m-%d", "{^LN-BEG}", "%b %d %H:%M:%S", "{NONE}", "EPOCH", r"^\[{DATE}", "%k:%M",
)  # fmt: skip
_MESSAGES = (
    "bad login of {user} from {ip}",
    "bad login from {ip} port 22",
    "login of {user} from {ip} ok",
    "disconnect {ip}",
    "connection from {ip}",
    "who is {user}?",
    "nothing to see",
)
_REGEXES = (
    r"bad login(?: of <F-USER>\S+</F-USER>)? from <HOST>",
    r"bad login of <F-USER>.*</F-USER> from <ADDR>",
    r"from <HOST>(?: port \d+)?$",
    r"^\s*\S+ app\[<F-ID>\d+</F-ID>\]: bad",
    r"<F-NOFAIL>connection</F-NOFAIL> from <HOST>",
    r"<F-MLFID>app\[\d+\]</F-MLFID>: bad login of <F-USER>\S+</F-USER>",
    r"<F-MLFID>app\[\d+\]</F-MLFID>: <F-NOFAIL>connection</F-NOFAIL> from <HOST>",
    r"<F-MLFID>app\[\d+\]</F-MLFID>: <F-NOFAIL><F-MLFFORGET>di\w+</F-MLFFORGET></F-NOFAIL> <ADDR>",
    r"<F-MLFID>app\[\d+\]</F-MLFID>: <F-MLFGAINED>login</F-MLFGAINED> of <F-USER>\S+</F-USER> from",
    r"who is <F-USER>\w+</F-USER>\?<SKIPLINES>.*bad login.* from <HOST>",
    r"<F-ALT_USER>nothing</F-ALT_USER>|from <ADDR>",
    r"from <SUBNET>",
    "no id at all",
    "from (<HOST>",
)


def _line(rng: random.Random) -> str:
    at = NOW - rng.randrange(100)
    date = time.strftime(rng.choice(("%b %d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "")), time.gmtime(at))
    user = rng.choice(("root", "o'x", "é", "a b", "$(x)", "from 192.0.2.66"))
    said = rng.choice(_MESSAGES).format(user=user, ip=rng.choice(_ADDRESSES))
    return f"{date} web1 app[{rng.randrange(3)}]: {said}"


def _regex(rng: random.Random) -> str:
    sound = rng.random() < 0.95
    return rng.choice(_REGEXES[:-2] if sound else _REGEXES[-2:])


def _ignore(rng: random.Random) -> str:
    return rng.choice(("root", r"from 192\.0\.2\.7", "port", "^never$", "nothing|who", "<HOST>"))


def theirs(root: Path, cases: Sequence[Sequence[str]]) -> list[tuple[Any, str]]:
    """Return exit code and output of fail2ban-regex for each case."""
    base = str(Tree(root).config)
    asked = [{"now": NOW, "arguments": ["-c", base, *case]} for case in cases]
    answers = asked_of(root, "asked_regex.py", asked, TZ=ZONE, PYTHONUTF8="1")
    return [tuple(answer) for answer in answers]


def ours(root: Path, case: Sequence[str]) -> tuple[Any, str]:
    """Return exit code and output of our ``regex``."""

    def look_up(name: str) -> tuple[Any, ...]:
        return (ip_address(f"198.51.100.{sum(name.encode()) % 256}"),)

    out = io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(io.StringIO()),
        mock.patch.object(attempt, "lookup", look_up),
        mock.patch.object(time, "time", return_value=NOW),
    ):
        try:
            code: Any = cli.main(["regex", "-c", str(Tree(root).config), *case])
        except SystemExit as end:
            code = end.code
    return code, out.getvalue()


def essence(output: str, case: Sequence[str]) -> list[Any]:
    """Return what must be the same, a line each."""
    if "-o" in case:
        return list(map(_value, output.split("\n")))
    _, _, results = output.partition("\nResults\n")
    found: list[Any] = []
    lines = iter(printable(output_line) for output_line in results.split("\n"))
    for line in lines:
        if line.startswith("[processed in"):
            continue
        if line.startswith("Prefregex:"):
            next(lines)  # ours as it was written, theirs with its tags resolved
        if line.startswith("|  ["):
            row = line.replace("] {NONE}", "] ^").replace("] {UNB}", "] ")
            row = _COMPACT.sub("COMPACT", _TOKEN.sub(lambda t: _WORDS[t[0]], row))
            # Within {DATE} an epoch is searched as that very word; we leave it out.
            if not (row.startswith("|  [0]") and re.search("Epoch|TAI64N", row)):
                found.append(row)
        else:
            found.append(line)
    return found


def _value(line: str) -> Any:
    """Return a line of ``-o``; where it is Python's notation, what it says."""
    line = printable(line)
    if line.startswith("None "):
        return line[len("None") :]  # <family> of what is no address
    try:
        said = ast.literal_eval(line.rstrip(","))
    except (ValueError, SyntaxError):
        return line
    if isinstance(said, list):
        # Lines are parted at their date there.
        return ["".join(one) if isinstance(one, tuple) else one for one in said]
    return said


def difference(case: Sequence[str], fail2ban: tuple[Any, str], mine: tuple[Any, str]) -> str:
    """Return where our run departs from that of fail2ban-regex; "" where it does not."""
    if not isinstance(fail2ban[0], int) and mine[0] == WRONG:
        return ""  # it breaks off with a traceback
    if fail2ban[0] != mine[0]:
        return f"exit code {fail2ban[0]}, ours {mine[0]}: {mine[1]!r}"
    if fail2ban[0]:
        return ""
    for one, other in zip_longest(essence(fail2ban[1], case), essence(mine[1], case)):
        if one != other:
            return f"fail2ban {one!r}, we {other!r}"
    return ""


def compared(root: Path, seeds: Sequence[int]) -> tuple[int, int, list[Difference]]:
    """Return how many runs are the same, of how many, and each that is not.

    Args:
        root: an unpacked fail2ban.
        seeds: of the random runs, beside one for each of its filters.
    """
    with tempfile.TemporaryDirectory() as folder, zone(ZONE):
        made = Cases(root, Path(folder))
        cases = {f"filter {number}": case for number, case in enumerate(made.whole())}
        cases |= {f"seed {seed}": made.case(seed) for seed in seeds}
        found = [
            Difference(key, f"{list(case)}: {fault}")
            for (key, case), said in zip(
                cases.items(), theirs(root, list(cases.values())), strict=True
            )
            if (fault := difference(case, said, ours(root, case)))
        ]
    return len(cases) - len(found), len(cases), found


def run(root: Path, tell: Tell) -> Tally:
    """Return how many runs are the same."""
    _, total, found = compared(root, range(COUNT))
    return Tally(total, found)


if __name__ == "__main__":
    by_hand("regex", run)
