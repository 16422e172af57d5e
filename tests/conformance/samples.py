# SPDX-License-Identifier: MIT
"""fail2ban's own annotated sample logs, judged by our filter.

    python -m conformance.samples [VERSION | DIR ...]

A sample log says above each line what a filter must make of it. The format is described in
fail2ban's developers' guide; the files come from its package and are never copied.
"""

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from conformance.tally import Difference, Tally, Tell, by_hand, plain
from conformance.zone import zone
from stockade_agent.config import filter_spec
from stockade_agent.errors import StockadeError
from stockade_agent.filter import Filter, Found
from stockade_agent.identity import of_text


ZONE = "CET-01CEST-02,M3.5.0,M10.5.0"
NOW = 1124013600.0
"""The moment at which the samples are read: 2005-08-14 12:00 in their zone."""

_DIRECTIVE = re.compile(r"#+ ?(failJSON|fileOptions|filterOptions|addFILE):(.+)$")
_META = {"match", "time", "desc", "constraint"}


class Tree:
    """An unpacked fail2ban: Debian's package, or the git repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if (root / "etc/fail2ban").is_dir():
            # Two of its test filters include a stock file by the repository's relative path.
            for place in ("usr/config", "usr/lib/python3/dist-packages/config"):
                link = root / place
                if not link.is_symlink():
                    link.symlink_to(root.resolve() / "etc/fail2ban")

    @property
    def config(self) -> Path:
        """The stock configuration."""
        package, repository = self.root / "etc/fail2ban", self.root / "config"
        return package if package.is_dir() else repository

    @property
    def tests(self) -> Path:
        """fail2ban's own tests."""
        package = self.root / "usr/lib/python3/dist-packages/fail2ban/tests"
        return package if package.is_dir() else self.root / "fail2ban/tests"

    def filters(self) -> Iterator[tuple[str, Path]]:
        """Yield the name of each filter that has samples, and where its filter.d is."""
        for base in (self.config, self.tests / "config"):
            for path in sorted((base / "filter.d").glob("*.conf")):
                wanted = path.stem.startswith("zzz-") or base == self.config
                if wanted and (self.tests / "files/logs" / path.stem).is_file():
                    yield path.stem, base


@dataclass
class Judged:
    """What came of the samples: each is a ``file:line``, read once or by several filters."""

    judged: set[str] = field(default_factory=set)
    unjudged: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    journal: dict[str, set[str]] = field(default_factory=dict)
    """Of each filter, the samples that are judged as entries of the journal."""

    def add(self, other: "Judged") -> None:
        self.judged |= other.judged
        self.unjudged |= other.unjudged
        self.silent |= other.silent
        for name, places in other.journal.items():
            self.journal.setdefault(name, set()).update(places)
        for place, faults in other.wrong.items():
            self.wrong.setdefault(place, []).extend(faults)

    @property
    def total(self) -> int:
        """How many samples there are."""
        return len(self.judged | self.unjudged)

    @property
    def passed(self) -> int:
        """How many of them got the verdict that they ask for, whatever the options."""
        return len(self.judged - self.wrong.keys())

    def differences(self) -> list[Difference]:
        """Return each sample with a verdict that it does not ask for, or with none."""
        lines = {place: "; ".join(faults) for place, faults in self.wrong.items()}
        lines |= dict.fromkeys(self.unjudged - self.judged, "nothing judges it")
        return plain(sorted((_key(place), text) for place, text in lines.items()))


class Log:
    """One sample log, read from its first line to the last."""

    def __init__(self, tree: Tree, name: str, base: Path) -> None:
        self._tree, self._name, self._base = tree, name, base
        self._filters: dict[str, Filter] = {}
        self._common: dict[str, Any] = {}
        self._variants: list[tuple[Filter, dict[str, Any]]] = []
        self._skipped = False
        self.tally = Judged()

    def read(self) -> Judged:
        """Judge every line and return what came of it."""
        files = [self._name]
        for file in files:
            path = self._tree.tests / "files/logs" / file
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = iter(enumerate(text.split("\n"), start=1))
            for number, line in lines:
                directive = _DIRECTIVE.match(line)
                if directive is None:
                    if line.strip() and not line.startswith("#"):
                        self._judge(line, {}, f"{path}:{number}")
                    continue
                value = json.loads(directive[2])
                if directive[1] == "addFILE":
                    files.append(value)
                elif directive[1] == "fileOptions":
                    self._common = value
                elif directive[1] == "filterOptions":
                    self._choose(value if isinstance(value, list) else [value])
                else:
                    place, judged = next(lines)
                    self._judge(judged, value, f"{path}:{place}")
        return self.tally

    def _choose(self, variants: Sequence[dict[str, Any]]) -> None:
        self._variants, self._skipped = [], False
        for variant in variants:
            options = {**self._common, **variant}
            condition = options.get("test.condition")
            if condition:
                # The expression is fail2ban's own, about the Python that runs it.
                self._skipped = not eval(condition, {"name": self._name, "sys": sys})
            if not self._skipped:
                self._variants.append((self._filter(options), options))

    def _filter(self, options: dict[str, Any]) -> Filter:
        given = {key: str(value) for key, value in options.items() if not key.startswith("test.")}
        key = options.get("test.filter-name") or repr(sorted(given.items()))
        if key not in self._filters:
            spec = filter_spec(str(self._base), self._name, given)
            self._filters[key] = Filter(
                spec, now=time.time(), check_all=True, raw_host=True, any_time=True
            )
        return self._filters[key]

    def _judge(self, line: str, expected: dict[str, Any], place: str) -> None:
        if self._skipped:
            self.tally.unjudged |= {place} if expected else set()
            return
        if not self._variants:
            self._variants = [(self._filter({}), {})]
        faults, judged = [], False
        for filter_, options in self._variants:
            constraint = expected.get("constraint")
            if constraint and not eval(constraint, {"opts": options, "name": self._name}):
                continue
            judged = True
            if expected and options.get("logtype") == "journal":
                self.tally.journal.setdefault(self._name, set()).add(place)
            fault = _fault(_examined(filter_, line, options), expected)
            if fault:
                given = {key: value for key, value in options.items() if key != "test.condition"}
                faults.append(f"{place}: {self._name}{given or ''}: {fault}")
        if not expected:
            self.tally.silent.add(place)
        elif judged:
            self.tally.judged.add(place)
        else:
            self.tally.unjudged.add(place)
        if faults:
            self.tally.wrong[place] = faults


def _examined(filter_: Filter, line: str, options: dict[str, Any]) -> list[Found]:
    line = line.rstrip("\r\n")
    journal = options.get("logtype") == "journal"
    if journal:
        line = options.get("test.prefix-line", "") + line
    found = filter_.examine(line, NOW, at=NOW if journal else None)
    return [one for one in found if one.identity is not None and not one.groups.get("nofail")]


def _fault(found: list[Found], expected: dict[str, Any]) -> str:
    if not found:
        return "should have matched" if expected.get("match") else ""
    if not expected.get("match"):
        return f"should not have matched failregex {[one.number for one in found]}"
    if len(found) > 1:
        return f"several matched: {[one.number for one in found]}"
    one = found[0]
    for key, value in expected.items():
        if key not in _META and not _equal(_value(one, key), value):
            return f"{key} is {_value(one, key)!r}, not {value!r}"
    if expected.get("time") is not None:
        form = "%Y-%m-%dT%H:%M:%S" + (".%f" if "." in expected["time"] else "")
        when = datetime.strptime(expected["time"], form).timestamp()  # noqa: DTZ007 - it is local
        if one.at != when:
            return f"time is {one.at}, not {when}"
    return ""


def _value(found: Found, key: str) -> Any:
    value = found.users if key == "users" else found.groups.get(key)
    if value is None and key == "host":
        return found.identity.id
    if value is None and key == "attempts":
        return len(found.matches)
    return value


def _equal(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, (list, set)):
        return got is not None and sorted(got) == sorted(wanted)
    if isinstance(got, str) and isinstance(wanted, str):
        return got == wanted or of_text(got) == of_text(wanted)
    return got == wanted


def judge(root: Path) -> Judged:
    """Return what came of all samples of an unpacked fail2ban."""
    tree, total = Tree(root), Judged()
    with zone(ZONE):
        for name, base in tree.filters():
            total.add(read(tree, name, base))
    return total


def read(tree: Tree, name: str, base: Path) -> Judged:
    """Return what came of one filter's samples."""
    try:
        return Log(tree, name, base).read()
    except StockadeError as error:
        return Judged(wrong={name: [f"{name}: {error}"]})


def _key(place: str) -> str:
    """Return a sample's log and line, wherever the tree is."""
    return place.rpartition("/logs/")[2] or place


def run(root: Path, tell: Tell) -> Tally:
    """Return what came of all samples."""
    judged = judge(root)
    counted = [f"{len(places)} of {name}" for name, places in sorted(judged.journal.items())]
    note = f"journal: {', '.join(counted)}" if counted else "none from the journal"
    return Tally(judged.total, judged.differences(), [note])


if __name__ == "__main__":
    by_hand("samples", run)
