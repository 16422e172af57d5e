# SPDX-License-Identifier: MIT
"""One run of ``regex``: what is asked for, each line tried, and what is told of it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Optional

from stockade_agent.cli import subject
from stockade_agent.cli.blocks import Blocks, Detail
from stockade_agent.cli.progress import Progress
from stockade_agent.errors import ConfigError, RegexError, StockadeError
from stockade_agent.extract import can_invert, inverted, texts
from stockade_agent.plain import plain, printable
from stockade_agent.resolver import lookup
from stockade_agent.sources import past
from stockade_agent.specs import FilterSpec, Origin
from stockade_agent.trial import KINDS, SHOWN, Outcome, Trial, is_context


_LEVELS = ("heavydebug", "tracedebug", "debug", "info", "notice", "warning", "error", "critical")
_TRACED = _LEVELS[:3]
_SHORT = 53


class Attempt:
    """A filter and a log, as a command line names them.

    Raises:
        StockadeError: options contradict each other or mean nothing.
    """

    def __init__(self, asked: argparse.Namespace) -> None:
        _refuse(asked)
        self._asked = asked
        self._quiet = bool(asked.out) or asked.json
        self._now = time.time()
        self._detail, self._given_up = Detail(), 0
        level = asked.log_level.lower()
        self._traced = level in _TRACED or (level.isdigit() and int(level) <= 10)
        self._traced = self._traced or asked.verbose > 1

    def run(self) -> None:
        """Try the filter on every line, and print what came of it.

        Raises:
            StockadeError: the filter or the log is wrong.
        """
        asked = self._asked
        self._say("", "Running tests", "=============", "")
        journal = None if os.path.isfile(asked.log) else subject.journal(asked.log)
        spec = self._spec(subject.FILE if journal is None else subject.JOURNAL)
        every = [kind for kind in KINDS if getattr(asked, f"print_all_{kind}")]
        none = [kind for kind in ("missed", "ignored") if getattr(asked, f"print_no_{kind}")]
        none += [] if "matched" in every else ["matched"]
        trial = self._trial(spec, every, none)
        lines, source = self._lines(spec, journal)
        self._say("")
        progress = Progress(0 if source is None else source.size)
        for number, (line, at) in enumerate(lines, start=1):
            progress.step(0 if source is None else source.read())
            if at is None and (not line or line.startswith("#")):
                continue
            outcome = trial.line(line, self._now, at)
            self._tell(number, line, outcome)
            self._slow(number, trial)
        seconds = progress.end()
        if asked.out:
            return
        blocks = Blocks(
            spec,
            trial,
            self._detail,
            kinds=[kind for kind in KINDS if kind not in none],
            verbose=asked.verbose > 0,
            dates=asked.verbose_date,
            seconds=seconds,
        )
        if asked.json:
            sys.stdout.writelines(blocks.json())
        else:
            for line in blocks.text():
                print(printable(line))

    # ---- what is asked for

    def _trial(self, spec: FilterSpec, every: Sequence[str], none: Sequence[str]) -> Trial:
        asked = self._asked
        try:
            return Trial(
                spec,
                check_all=not asked.no_check_all and not asked.out,
                raw_host=asked.raw,
                pending=not asked.out,
                limit=asked.maxlines or SHOWN,
                every=() if asked.out else every,
                none=KINDS if asked.out else none,
                look_up=lru_cache(maxsize=10_000)(lookup),
            )
        except RegexError as error:
            raise _located(error, spec) from error

    def _spec(self, logtype: str) -> FilterSpec:
        asked = self._asked
        chosen = subject.choose(asked.filter, asked.config, logtype)
        spec = chosen.spec
        self._use(*_named(chosen, "failregex"))
        if asked.ignore:
            ignore = subject.choose(asked.ignore, asked.config, logtype, identifies=False)
            own = ignore.kind != "regex"
            further = ignore.spec.ignoreregex if own else ignore.spec.failregex
            spec = replace(spec, ignoreregex=(*spec.ignoreregex, *further))
            spec = replace(spec, origins=_without(spec, "ignoreregex"))
            self._use(*_named(ignore, "ignoreregex"))
        changed: dict[str, Any] = {
            "maxlines": asked.maxlines or None,
            "datepattern": asked.datepattern,
            "logtimezone": asked.timezone,
            "usedns": asked.usedns,
        }
        changed = {name: value for name, value in changed.items() if value}
        spec = replace(spec, **changed, origins=_without(spec, *changed))
        if spec.maxlines > 1 or asked.maxlines:
            self._use("maxlines", str(spec.maxlines))
        if spec.datepattern and logtype == subject.FILE:
            self._use("datepattern", spec.datepattern.replace("\n", " | "))
        if not spec.failregex:
            raise StockadeError(f"{asked.filter}: it has no failregex")
        return spec

    def _lines(
        self, spec: FilterSpec, journal: Optional[dict[str, str]]
    ) -> tuple[Iterable[subject.Line], Optional[subject.LogFile]]:
        log = self._asked.log
        if log == "-" or os.path.exists(log):
            source = subject.LogFile(log, self._asked.encoding)
            self._use("log file", log)
            self._use("encoding", source.encoding)
            return source, source
        if journal is not None:
            given = self._asked.journalmatch
            matches = spec.journalmatch if given is None else (given,)
            self._use("systemd journal", "")
            if matches:
                self._use("journal match", " + ".join(matches))
            return past.entries(matches, journal), None
        hint = subject.no_file(log)
        if hint:
            print(f"stockade-agent regex: {plain(hint)}", file=sys.stderr)
        several = log.split("\n") if "\n" in log or spec.maxlines > 1 else [log]
        if len(several) == 1:
            self._use("single line", _short(log))
        else:
            self._use("multi line", f"{len(several)} lines")
        return [(line, None) for line in several], None

    # ---- what is told

    def _say(self, *lines: str) -> None:
        if not self._quiet:
            for line in lines:
                print(printable(line))

    def _use(self, what: str, value: str) -> None:
        self._say(f"Use {what:>16} : {value}" if value else f"Use {what:>16}")

    def _tell(self, number: int, line: str, outcome: Outcome) -> None:
        asked = self._asked
        if self._traced and not self._quiet:
            print(f"DEBUG line {number}: {printable(_way(outcome))}")
        if asked.invert:
            if outcome.kind != "matched":
                print(printable(inverted(line, outcome.trace.at, asked.out)))
        elif asked.out:
            for found in outcome.failures if outcome.kind == "matched" else ():
                for text in texts(found, asked.out, self._now):
                    print("\n".join(map(printable, text.split("\n"))))
        elif asked.verbose:
            self._remember(outcome)

    def _slow(self, number: int, trial: Trial) -> None:
        """Say that a line took too long, where it did.

        Raises:
            StockadeError: too many did.
        """
        for why in trial.given_up[self._given_up :]:
            self._given_up += 1
            print(f"ERROR: line {number}: {printable(why)}", file=sys.stderr)
        if trial.hopeless:
            raise StockadeError(
                f"{self._given_up} lines took too long: an agent would suspend this filter",
                remedy="stockade-agent check warns of regexes that can be hung",
            )

    def _remember(self, outcome: Outcome) -> None:
        limit = self._asked.maxlines or SHOWN
        if outcome.trace.prefregex and len(self._detail.captured) <= limit:
            full = len(self._detail.captured) == limit
            self._detail.captured.append("..." if full else repr(outcome.trace.captured))
        failures = 0
        for found in outcome.found:
            who = "None" if found.identity is None else found.identity.id
            when = time.localtime(self._now if found.at is None else found.at)
            several = " (multiple regex matched)" if failures > 1 else ""
            said = f"{plain(who)}  {time.strftime('%a %b %d %H:%M:%S %Y', when)}{several}"
            self._detail.failure(found.number, said)
            failures += not is_context(found)


def _refuse(asked: argparse.Namespace) -> None:
    """Raise for options that contradict each other or mean nothing here."""
    for kind in ("missed", "ignored"):
        if getattr(asked, f"print_no_{kind}") and getattr(asked, f"print_all_{kind}"):
            raise StockadeError(f"--print-no-{kind} and --print-all-{kind}: choose one")
    if asked.debuggex:
        raise StockadeError(
            "-D: no links to other sites are made, as they would carry log lines there",
            remedy="paste regex and line there yourself",
        )
    if asked.log_level.lower() not in _LEVELS and not asked.log_level.isdigit():
        raise StockadeError(f"-l {asked.log_level}: no such level ({', '.join(_LEVELS)})")
    if asked.out and asked.json:
        raise StockadeError("-o prints text; leave it out with --json")
    if asked.invert and not asked.out:
        raise StockadeError("-i works with -o only: -i -o msg")
    if asked.invert and not can_invert(asked.out):
        raise StockadeError("-i: nothing is known of such lines but <msg> and <time>")
    if asked.usedns and asked.usedns.lower() not in ("yes", "warn", "no", "raw"):
        raise StockadeError(f"--usedns {asked.usedns}: yes, warn, no or raw")


def _without(spec: FilterSpec, *options: str) -> dict[str, Origin]:
    """Return the origins of a filter but for those of options that the command line changes."""
    return {name: origin for name, origin in spec.origins.items() if name not in options}


def _located(error: RegexError, spec: FilterSpec) -> StockadeError:
    """Return a fault of a regex with its option, and the place of that if it is in a file."""
    message, origin = f"{error.option}: {error.message}", spec.origins.get(error.option)
    if origin is None:
        return StockadeError(message, remedy=error.remedy)
    return ConfigError(message, path=origin.path, line=origin.line, remedy=error.remedy)


def _named(chosen: subject.Choice, option: str) -> tuple[str, str]:
    if chosen.kind == "regex":
        return f"{option} line", _short(chosen.name)
    given = "".join(f" [{name}={value}]" for name, value in chosen.parameters.items())
    return ("jail" if chosen.kind == "jail" else "filter file"), chosen.name + given


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def _way(outcome: Outcome) -> str:
    """Return a line's way through the filter, in one line."""
    trace = outcome.trace
    date = trace.line.date if trace.line else ""
    told = [f"date {date!r}" if date else "no date"]
    if trace.prefregex is not None:
        told.append(f"prefregex {'matches' if trace.prefregex else 'does not match'}")
    if trace.matched:
        told.append(f"failregex {', '.join(str(n + 1) for n in trace.matched)}")
    if trace.ignoring:
        told.append(f"ignoreregex {', '.join(str(n + 1) for n in trace.ignoring)}")
    who = [f.identity.id for f in outcome.failures if f.identity]
    return f"{'; '.join(told)}: {outcome.kind}{' ' + ', '.join(who) if who else ''}"
