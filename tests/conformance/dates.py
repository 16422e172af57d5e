# SPDX-License-Identifier: MIT
"""Our date detector beside fail2ban's, on random logs.

    python -m conformance.dates [VERSION | DIR ...]

Each case is a short log: lines with dates of one or several formats, with noise around them
that may hold further dates; for the default templates and for patterns of all kinds.
"""

import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from conformance.oracle import asked as asked_of
from conformance.oracle import version
from conformance.tally import Difference, Tally, Tell, by_hand
from conformance.zone import zone
from stockade_agent.dates import DateDetector, years
from stockade_agent.errors import RegexError


COUNT = 1000
ZONES = ("UTC", "CET-01CEST-02,M3.5.0,M10.5.0", "EST5EDT,M3.2.0,M11.1.0")

FORMATS = (
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y.%m.%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S,%f",
    "%Y-%m-%dT%H:%M:%S+02:00",
    "%Y-%m-%d %H:%M:%S -0330",
    "%Y-%m-%dT%H:%M:%SZ",
    "%b %d %H:%M:%S",
    "%b %e %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S.%f %Y",
    "%b %d %Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%d-%m-%y %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S +0100",
    "%d-%b-%Y %H:%M:%S.%f",
    "%m/%d/%Y:%H:%M:%S",
    "%m-%d-%Y %H:%M:%S",
    "%s",
    "[%s]",
    "%s.123",
    "audit(%s.123:45)",
    "%H:%M:%S",
    "<%m/%d/%y@%H:%M:%S>",
    "%y%m%d %H:%M:%S",
    "%y%m%d  %k:%M:%S",
    "%b %d, %Y %I:%M:%S %p",
    "%b-%d-%y %H:%M:%S",
    "%Y%m%dT%H%M%S",
    "%Y%m%d %H%M%S",
    "PDT %b %d %H:%M:%S",
    "CEST %b %d %H:%M:%S",
    "+02:00 %b %d %H:%M:%S",
    "@4000000%x{tai}0abcdef0",
)

PATTERNS = (
    "{DEFAULT}",
    "{^LN-BEG}",
    "{^ln-beg}",
    "EPOCH",
    "epoch",
    "LEPOCH",
    "{^LN-BEG}EPOCH",
    "^EPOCH",
    "^LEPOCH",
    "TAI64N",
    "{^LN-BEG}TAI64N",
    "{NONE}",
    r"^\[{EPOCH}\]",
    r"\[({EPOCH})\]",
    r"ts={LEPOCH}",
    "^{DATE}",
    r"\[{DATE}\]",
    r"^[^\[]*\[({DATE})\]",
    r"time=\"?{DATE}",
    "%d/%m/%y %H:%M:%S",
    "^%d/%m/%y %H:%M:%S",
    "{^LN-BEG}%d/%m/%y %H:%M:%S",
    "{UNB}%d/%m/%y %H:%M:%S",
    "**%H:%M:%S**",
    "%H:%M:%S**",
    "**%Y-%m-%d %H:%M:%S",
    r"\b%H:%M:%S\b",
    "%Y-%m-%d[T ]%H:%M:%S$",
    r"%b %d %H:%M:%S\s",
    "%a, %d %B %Y %I:%M %p",
    "%Y-%j %H:%M:%S",
    "%A week %W of %Y %H:%M:%S",
    "%a week %U of %Y %H:%M:%S",
    "%ExY%Exm%Exd%ExH%ExM%ExS",
    "^%Y%m%d%H%M%S",
    "%Exd.%Exm.%Exy",
    "%k:%M",
    "%l:%M:%S %p",
    "%Exk:%ExM",
    "%Exl:%ExM %p",
    "%b %d %H:%M:%S %Z",
    "%b %d %H:%M:%S %z",
    "%b %d %H:%M:%S %ExZ",
    "%b %d %H:%M:%S %Exz",
    "%Y-%m-%d %H:%M:%S(?:[.,]%f)?(?: %z)?",
    r"(?:^|\s)(%H:%M:%S)",
    r"at (%b %d %H:%M:%S) on",
    r"(?iu)at %b %d %H:%M:%S",
    "100%% %H:%M",
    "%x %X",
    "%c",
    "%b %d",
    "%Y",
    "%d %H:%M",
    "%q",
    "%H:%M:%S\n%Y-%m-%d %H:%M:%S",
    "%b %d %H:%M:%S\n{DEFAULT}",
    "%H:%M\n%H:%M",
    "(%H:%M",
)

NOISE = (
    "host sshd[12]: Failed password for root from 192.0.2.7 port 22 ssh2",
    "192.0.2.7 - - ",
    '"GET / HTTP/1.1" 200',
    "[error] client",
    "x" * 30,
    "uid=1000",
    "Ä ö ü ß ł",
    "at noon on",
    "ts=",
    'time="',
    "<38>1 ",
    "12:34",
    "2024",
    "a.b.c:1:2:3",
    "",
)
ZONE_OPTIONS = (None, None, None, "UTC", "UTC+0200", "EST", "CET+01:30", "-0730")


def text(rng: random.Random, when: datetime, form: str) -> str:
    """Return a date in one of our formats."""
    tai = f"{(1 << 62) + int(when.timestamp()):x}"[7:]
    form = form.replace("%x{tai}", tai).replace("%s", str(int(when.timestamp())))
    if "%f" in form:
        form = form.replace("%f", f"{rng.randrange(10**6):06d}"[: rng.choice((3, 6))])
    written = when.strftime(form)
    if rng.random() < 0.03:
        written = written.replace("0", rng.choice("9 x"), 1)
    return (
        rng.choice((written, written, written, written.upper())) if rng.random() < 0.1 else written
    )


def case(seed: int) -> dict[str, Any]:
    """Return one random case."""
    rng = random.Random(seed)
    start = datetime(2024, 5, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(525600))
    now = start + timedelta(seconds=rng.choice((0, 30, 86400, -86400, 40 * 86400, -7200)))
    main = rng.choice(FORMATS)
    pattern = None if rng.random() < 0.5 else rng.choice(PATTERNS)
    if pattern and rng.random() < 0.6:
        plain = pattern.replace("{^LN-BEG}", "").replace("{UNB}", "").replace("**", "")
        simple = plain.strip("^$").replace("Ex", "").replace("(?iu)", "").split("\n")[0]
        if not set("[](){}?\\") & set(simple):
            main = simple.replace("%q", "").replace("%z", "+0200").replace("%Z", "CEST")
    lines = []
    for number in range(rng.choice((1, 5, 25))):
        when = start + timedelta(seconds=number * rng.choice((0, 1, 60, 3600)))
        form = main if rng.random() < 0.85 else rng.choice(FORMATS)
        parts = [rng.choice(NOISE) if rng.random() < 0.35 else "", text(rng, when, form)]
        parts.append(rng.choice(NOISE))
        if rng.random() < 0.15:
            parts.append(text(rng, when - timedelta(days=3), rng.choice(FORMATS)))
        if rng.random() < 0.05:
            parts[1] = ""
        between = rng.choice((" ", " ", " ", "", "  ", "[", "]", ": "))
        lines.append(between.join(parts) if rng.random() < 0.9 else between + between.join(parts))
    return {
        "now": int(now.timestamp()),
        "pattern": pattern,
        "zone": rng.choice(ZONE_OPTIONS),
        "lines": lines,
    }


def ours(asked: dict[str, Any], exact_years: str) -> Any:
    """Return our detector's answer in the words of the oracle."""
    try:
        detector = DateDetector(asked["pattern"], zone=asked["zone"], exact_years=exact_years)
    except RegexError as error:
        return f"error: {error}"
    found = [detector.find(line, asked["now"]) for line in asked["lines"]]
    return [one and list(one) for one in found]


def rule(release: str, asked: dict[str, Any]) -> str:
    """Return the difference between fail2ban's releases that a case meets; "" for none."""
    return (
        "group-in-epoch" if release == "1.0.2" and "({EPOCH})" in (asked["pattern"] or "") else ""
    )


def differences(root: Path, seeds: Sequence[int]) -> Iterator[Difference]:
    """Yield each case in which our detector and that of an unpacked fail2ban differ."""
    release = version(root)
    for name in ZONES:
        cases = [case(seed) for seed in seeds]
        answers = asked_of(root, "asked_dates.py", cases, TZ=name)
        with zone(name):
            exact_years = years(time.time())
            for seed, asked, answer in zip(seeds, cases, answers, strict=True):
                fault = _difference(asked, answer, ours(asked, exact_years))
                if fault:
                    key = rule(release, asked) or f"seed {seed} in {name}"
                    yield Difference(key, f"{asked['pattern']!r}: {fault}")


def _difference(asked: dict[str, Any], theirs: Any, got: Any) -> str:
    if isinstance(theirs, str) or isinstance(got, str):
        return "" if type(theirs) is type(got) else f"fail2ban {theirs}, we {got}"
    for line, one, other in zip(asked["lines"], theirs, got, strict=True):
        if one != other and not _near(one, other):
            return f"zone {asked['zone']} now {asked['now']}: {line!r}: fail2ban {one}, we {other}"
    return ""


def _near(theirs: Any, got: Any) -> bool:
    """Whether both found the same, float or int: TAI64N reaches beyond a float's precision."""
    if not theirs or not got or theirs[2] is None or got[2] is None:
        return False
    return theirs[:2] == got[:2] and float(theirs[2]) == got[2]


def run(root: Path, tell: Tell) -> Tally:
    """Return what comes of all random logs in all zones."""
    return Tally(COUNT * len(ZONES), list(differences(root, range(COUNT))))


if __name__ == "__main__":
    by_hand("dates", run)
