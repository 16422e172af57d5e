# SPDX-License-Identifier: MIT
"""Seeded logs for ``conformance.live``: sample lines of a filter, as a host would write them today.

A log has four blocks that are there when the servers start, and one that is appended:

    too old │ bans that are over │ bans that end soon │ bans in force ║ new lines

Dates become those of the block, in one format a log (what a mixed log does to the choice of date
templates is told in docs/conformance.md); addresses and process numbers change from one group of
lines to the next, and groups interleave. Between them stand lines of other filters, lines
without a date, and damaged ones.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from conformance.samples import Tree
from conformance.verdicts import PID, sample_lines
from stockade_agent.config import filter_spec
from stockade_agent.dates import DateDetector, years
from stockade_agent.errors import StockadeError
from stockade_agent.filter import Filter
from stockade_agent.model import Block
from stockade_agent.protected import gateways, own_addresses
from stockade_agent.specs import FilterSpec


LINES = 2000
FINDTIME = 7200
BANTIME = 1800
RETRIES = 6
"""The largest maxretry; a marker fails as often."""

CANDIDATES = 60
"""Samples of a filter that are tried as a marker's."""

MARKERS = ("203.0.113.201", "203.0.113.202", "203.0.113.203")
"""Banned behind all that ends soon, behind what was there at the start, and behind new lines."""

_FORMS = (
    "%b %d %H:%M:%S",
    "%b %d %H:%M:%S.%f",
    "%b %d %Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S.%f %Y",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S,%f",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y/%m/%d %H:%M:%S",
    "%Y.%m.%d %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S",
    "%d-%b-%Y %H:%M:%S",
    "%d-%b-%Y %H:%M:%S.%f",
    "%d/%m/%Y %H:%M:%S",
    "%d-%m-%Y %H:%M:%S",
    "%m/%d/%Y:%H:%M:%S",
    "%Y%m%dT%H%M%S",
    "%y%m%d %H:%M:%S",
)
_OFFSET = re.compile(r" ?[+-]\d\d:?\d\d$|Z$")
_EPOCH = re.compile(r"\d{10}(\.\d+)?$")
_ADDRESS = re.compile(r"(?<![\w.-])(?:::ffff:)?(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])")
_OWN = re.compile(r"(?<![\w:])::1(?![\w:])")
_NOISE = (
    "kernel: eth0: link is up",
    "Failed password for root from somewhere",
    "192.0.2.77 says nothing",
    "\xe4\xf6\xfc \u20ac",
    "",
    "x" * 300,
)


class Sample(NamedTuple):
    """A sample line, without its date.

    Attributes:
        form: of the date; "" where we cannot write one like it.
    """

    before: str
    form: str
    after: str


@dataclass
class Log:
    """A log, and the jails that watch it.

    Attributes:
        filter: a stock one, with parameters.
        retries: maxretry of each jail.
        present: what is there when the servers start.
        later: what is appended, in pieces that need not end with a line; made when it is time.
    """

    seed: int
    filter: str
    retries: tuple[int, ...]
    present: bytes
    lines: int
    maker: "_Maker" = field(repr=False)

    @property
    def jails(self) -> list[str]:
        """Their names."""
        return [f"log{self.seed}-{number}" for number in range(len(self.retries))]

    def later(self, now: float) -> list[bytes]:
        """Return new lines."""
        return self.maker.later(now, self.lines)


def form_of(text: str) -> str:
    """Return how to write a date like this one, for strftime; "" if we do not know."""
    if _EPOCH.match(text):
        return "%s" + ("." + "0" * (len(text) - 11) if "." in text else "")
    offset = _OFFSET.search(text)
    plain, tail = (text[: offset.start()], offset[0]) if offset else (text, "")
    for form in _FORMS:
        try:
            datetime.strptime(plain, form)  # noqa: DTZ007 - only whether it fits
        except ValueError:
            continue
        return form + re.sub(r"\d", "0", tail).replace("-", "+")
    return ""


def written(form: str, at: float) -> str:
    """Return a moment in a form."""
    if form.startswith("%s"):
        return form.replace("%s", str(int(at)))
    return datetime.fromtimestamp(at, UTC).strftime(form)


class Samples:
    """The sample lines of all stock filters that the logs can be made of.

    Attributes:
        usable: filter -> its lines.
        left_out: filters whose dates we cannot write, or of which no line fails by itself.
    """

    def __init__(self, root: Path, now: float) -> None:
        tree = Tree(root)
        self.base, self._now = tree.config, now
        self._spared = {str(one) for one in gateways() | own_addresses()}
        self._lines = sample_lines(tree)
        self.usable: dict[str, list[Sample]] = {}
        self.failing: dict[str, list[Sample]] = {}
        self.left_out: list[str] = []
        for name, base in tree.filters():
            if base != tree.config:
                continue
            try:
                spec = filter_spec(str(base), name, {})
            except StockadeError:
                self.left_out.append(name)
                continue
            detector = self._detector(spec)
            lines = [self._sample(detector, line) for line in self._lines[name][:400]]
            kept = [one for one in lines if one.form and not self._never(one)]
            judge = Filter(spec, findtime=FINDTIME, now=now)
            able = [one for one in kept[:CANDIDATES] if self._fails(judge, one)]
            if able:
                self.usable[name], self.failing[name] = kept, able
            else:
                self.left_out.append(name)

    def _never(self, sample: Sample) -> bool:
        """Tell whether a line names, where we do not replace it, an address that we never ban."""
        left = _ADDRESS.sub("", sample.before + sample.after)
        return bool(_OWN.search(left)) or any(own in left for own in self._spared)

    def _detector(self, spec: FilterSpec) -> DateDetector:
        exact = years(self._now)
        return DateDetector(spec.datepattern, zone=spec.logtimezone, exact_years=exact)

    def _sample(self, detector: DateDetector, line: str) -> Sample:
        line = line.rstrip("\r\n")[:900]
        date = detector.find(line, self._now)
        if date is None or date[2] is None:
            return Sample(line, "", "")
        sample = Sample(line[: date[0]], form_of(line[date[0] : date[1]]), line[date[1] :])
        again = sample.before + written(sample.form, self._now) + sample.after
        found = detector.find(again, self._now)
        fits = found is not None and found[2] is not None and abs(found[2] - self._now) < 1
        return sample if fits else sample._replace(form="")

    def _fails(self, judge: Filter, sample: Sample) -> bool:
        line = marked(sample, sample.form, MARKERS[0], self._now)
        return failing(judge, f"{line}\n" * 2, self._now) == [MARKERS[0]] * 2

    def other(self, rng: random.Random) -> Sample:
        """Return a line of any filter."""
        return rng.choice(self.usable[rng.choice(sorted(self.usable))])


def marked(sample: Sample, form: str, address: str, at: float) -> str:
    """Return a sample as if that address had done it then."""
    before, after = (_ADDRESS.sub(address, part) for part in (sample.before, sample.after))
    return before + written(form, at) + after


def failing(judge: Filter, text: str, now: float) -> list[str]:
    """Return whose failures a filter finds in a text."""
    block = Block(("w",), "log", text.encode(), "")
    return [failure.id for failure in judge.failures(block, now, live=False)]


class _Maker:
    """Makes one log."""

    def __init__(self, samples: Samples, seed: int, now: float) -> None:
        self.rng = random.Random(seed)
        self.samples, self.now = samples, now
        self.name = self.rng.choice(sorted(samples.usable))
        self.marker = self.rng.choice(samples.failing[self.name])
        self.form = self.marker.form
        self.lines = samples.usable[self.name]

    def text(self, sample: Sample, at: float, named: dict[str, str]) -> str:
        """Return a sample at a moment, with other addresses and process numbers."""
        parts = [sample.before, sample.after]
        for number, part in enumerate(parts):
            moved = _ADDRESS.sub(lambda found: named.setdefault(found[0], named["*"]), part)
            parts[number] = PID.sub(named["pid"], moved)
        return parts[0] + written(self.form, at) + parts[1]

    def named(self, own: int) -> dict[str, str]:
        """Return the addresses and the process of a group of lines."""
        kind = self.rng.random()
        number = self.rng.randrange(12)
        address = f"198.51.100.{number}" if kind < 0.4 else f"192.0.2.{own * 40 + number}"
        if kind > 0.85:
            address = f"2001:db8::{own}:{number + 1}"
        return {"*": address, "pid": f"[{self.rng.randrange(1000, 9999)}]"}

    def block(self, own: int, count: int, begin: float, end: float) -> Iterator[str]:
        """Yield lines between two moments, of groups that interleave."""
        groups: list[tuple[dict[str, str], list[Sample]]] = []
        for number in range(count):
            at = begin + (end - begin) * number / count
            if self.rng.random() < 0.1:
                at = max(begin, at - self.rng.randrange(4))
            yield self._line(own, at, groups)

    def _line(self, own: int, at: float, groups: list[tuple[dict[str, str], list[Sample]]]) -> str:
        chance = self.rng.random()
        if chance < 0.02:
            return self.rng.choice(_NOISE)
        if chance < 0.1:
            return self.text(self.samples.other(self.rng), at, self.named(own))
        if not groups or (len(groups) < 3 and self.rng.random() < 0.3):
            first = self.rng.randrange(len(self.lines))
            group = self.lines[first : first + self.rng.randrange(1, 9)]
            groups.append((self.named(own), group * self.rng.choice((1, 1, 2, 4))))
        named, group = self.rng.choice(groups)
        line = self.text(group.pop(0), at, named)
        groups[:] = [one for one in groups if one[1]]
        if chance < 0.12:
            place = self.rng.randrange(len(line) + 1)
            return line[:place] + self.rng.choice(("", "x", " ", "\xe9", "[")) + line[place + 1 :]
        return line

    def edge(self, at: float) -> list[str]:
        """Return lines of whom nobody ever hears again, whose bans are over.

        fail2ban looks for the first line within findtime by halving the file, and may step over a
        few of these.
        """
        return [marked(self.marker, self.form, f"203.0.113.{n}", at) for n in range(1, 17)]

    def mark(self, number: int, at: float) -> list[str]:
        """Return the lines that ban a marker."""
        return [marked(self.marker, self.form, MARKERS[number], at)] * RETRIES

    def present(self, margin: float, lines: int) -> bytes:
        """Return what is there at the start; bans that end soon do so ``margin`` after it."""
        soon = self.now - BANTIME + margin
        parts = [
            *self.block(0, lines // 10, self.now - 3 * FINDTIME, self.now - FINDTIME - 900),
            *self.edge(self.now - FINDTIME + 900),
            *self.block(1, lines // 5, self.now - FINDTIME + 901, self.now - BANTIME - 300),
            *self.block(2, lines // 5, soon, soon + 6),
            *self.mark(0, soon + 10),
            *self.block(3, lines // 4, soon + 600, self.now - 2),
            *self.mark(1, self.now - 1),
        ]
        return "".join(f"{line}\n" for line in parts).encode()

    def later(self, now: float, lines: int) -> list[bytes]:
        """Return new lines, some of them with dates of minutes ago, cut anywhere."""
        half = lines // 8
        parts = [
            *self.block(4, half, now - 4, now),
            *self.block(3, half // 2, now - 400, now - 300),
            *self.block(2, half - half // 2, now - 4, now),
            *self.mark(2, now),
        ]
        data = "".join(f"{line}\n" for line in parts).encode()
        cuts = sorted(self.rng.randrange(len(data)) for _ in range(3))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def log(samples: Samples, seed: int, now: float, margin: float, lines: int = LINES) -> Log:
    """Return the log of a seed."""
    for attempt in range(100):
        maker = _Maker(samples, seed * 100 + attempt, now)
        present = maker.present(margin, lines)
        judge = Filter(filter_spec(str(samples.base), maker.name, {}), findtime=FINDTIME, now=now)
        ids = failing(judge, present.decode(), now)
        # Within what is not yet whole (a multi-line regex), a marker may count less often.
        if all(ids.count(marker) == RETRIES for marker in MARKERS[:2]):
            retries = (maker.rng.randrange(1, 4), maker.rng.randrange(2, RETRIES + 1))
            count = maker.rng.choice((1, 1, 2))
            return Log(seed, maker.name, retries[:count], present, lines, maker)
    raise StockadeError(f"seed {seed}: no filter that a marker works with")
