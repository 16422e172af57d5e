# SPDX-License-Identifier: MIT
"""The result of ``regex``: blocks in the layout that scripts know from fail2ban-regex, and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stockade_agent.specs import FilterSpec
from stockade_agent.trial import KINDS, Kept, Trial


class Detail:
    """What ``-v`` adds.

    Attributes:
        failures: of each failregex, by its number.
        captured: what the first matches of prefregex captured.
    """

    def __init__(self) -> None:
        self.failures: dict[int, Kept] = {}
        self.captured: list[str] = []

    def failure(self, number: int, text: str) -> None:
        """Add a failure of a failregex."""
        self.failures.setdefault(number, Kept()).add(text)


class Blocks:
    """Everything that a trial told.

    Args:
        kinds: of lines to be listed.
        verbose: regexes and templates that matched nothing, too.
        dates: the regexes of the date templates, too.
    """

    def __init__(
        self,
        spec: FilterSpec,
        trial: Trial,
        detail: Detail,
        *,
        kinds: Sequence[str],
        verbose: bool,
        dates: bool,
        seconds: float,
    ) -> None:
        self._spec, self._trial, self._detail = spec, trial, detail
        self._kinds, self._verbose, self._dates = kinds, verbose, dates
        self._seconds = seconds

    def text(self) -> Iterator[str]:
        """Yield the lines of the report."""
        trial = self._trial
        yield from ("", "Results", "=======")
        if self._spec.prefregex:
            yield from ("", f"Prefregex: {trial.prefregex} total")
            captured = (f"    {one}" for one in self._detail.captured)
            yield from _block([self._spec.prefregex, *captured])
        yield from self._regexes("Failregex", self._spec.failregex, trial.failregex)
        yield from self._regexes("Ignoreregex", self._spec.ignoreregex, trial.ignoreregex)
        yield from ("", "Date template hits:")
        yield from _block(self._templates(), "[# of hits] date format")
        counts = ", ".join(f"{trial.counts[kind]} {kind}" for kind in ("ignored", *_REST))
        yield from ("", f"Lines: {trial.tested} lines, {counts}")
        yield from (f"[processed in {self._seconds:.2f} sec]", "")
        for kind in self._kinds:
            if not trial.counts[kind]:
                continue
            title = f"{kind.capitalize()} line(s):"
            if trial.listed(kind):
                yield from _block((line.rstrip() for line in trial.kept[kind]), title)
            else:
                yield (
                    f"{title} too many to print.  Use --print-all-{kind} "
                    f"to print all {trial.counts[kind]} lines"
                )

    def _regexes(self, title: str, texts: Sequence[str], hits: Counter[int]) -> Iterator[str]:
        yield from ("", f"{title}: {sum(hits.values())} total")
        yield from _block(self._rows(texts, hits), " #) [# of hits] regular expression")

    def _rows(self, texts: Sequence[str], hits: Counter[int]) -> Iterator[str]:
        failures: Mapping[int, Iterable[str]] = self._detail.failures
        shown = failures if texts is self._spec.failregex else {}
        for number, text in enumerate(texts):
            if hits[number] or self._verbose:
                yield f"{number + 1:2d}) [{hits[number]}] {text}"
                yield from (f"    {one}" for one in shown.get(number, ()))

    def _templates(self) -> Iterator[str]:
        detector = self._trial.filter.detector
        for (name, hits), regex in zip(detector.hits(), detector.regexes()):
            if hits or self._verbose:
                yield f"[{hits}] {name}"
                if self._dates:
                    yield f"    # regex:   {regex}"

    def json(self) -> Iterator[str]:
        """Yield the pieces of one JSON document; lists of lines come one by one."""
        trial = self._trial
        told: dict[str, Any] = {
            "lines": {"tested": trial.tested, **trial.counts},
            "prefregex": None,
            "failregex": _numbered(self._spec.failregex, trial.failregex),
            "ignoreregex": _numbered(self._spec.ignoreregex, trial.ignoreregex),
            "dates": [
                {"template": name, "hits": hits}
                for name, hits in trial.filter.detector.hits()
                if hits or self._verbose
            ],
            "seconds": round(self._seconds, 3),
        }
        if self._spec.prefregex:
            told["prefregex"] = {"regex": self._spec.prefregex, "hits": trial.prefregex}
        yield json.dumps(told, indent=2)[:-2]
        for kind in self._kinds:
            yield f',\n  "{kind}": '
            yield from _array(trial.kept[kind]) if trial.listed(kind) else ("null",)
        yield "\n}\n"


_REST = tuple(kind for kind in KINDS if kind != "ignored")


def _block(lines: Iterable[str], title: str = "") -> Iterator[str]:
    """Yield lines with a rule beside them, and nothing where there are none."""
    begun = False
    for line in lines:
        if not begun and title:
            yield f"|- {title}"
        begun = True
        yield f"|  {line}"
    if begun:
        yield "`-"


def _numbered(texts: Sequence[str], hits: Counter[int]) -> list[dict[str, Any]]:
    return [
        {"number": number + 1, "regex": text, "hits": hits[number]}
        for number, text in enumerate(texts)
    ]


def _array(lines: Iterable[str]) -> Iterator[str]:
    before = "["
    for line in lines:
        yield f"{before}\n    {json.dumps(line)}"
        before = ","
    yield "[]" if before == "[" else "\n  ]"
