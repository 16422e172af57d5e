# SPDX-License-Identifier: MIT
"""All that is wrong with a configuration, and what works but should not stay as it is.

A fault keeps a jail, or all of them, from running. Everything else is a warning: a name that
nobody knows, a regex that is dangerous, a filter that no sample proves, a log that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

from stockade_agent import config, inspection, intake
from stockade_agent.errors import ConfigError
from stockade_agent.lint import RegexFault, compile_check
from stockade_agent.sources.survey import Survey, is_glob
from stockade_agent.specs import Config, FilterSpec, JailSpec, Origin
from stockade_agent.trial import Trial


FAULT, WARNING = "fault", "warning"
SAMPLES = "samples"
"""The folder beside ``filter.d`` where ``NAME.log`` holds lines that prove filter NAME."""
_ALIKE = 0.8


@dataclass(frozen=True)
class Finding:
    """Something wrong, with its place.

    Attributes:
        severity: ``fault`` or ``warning``.
        path: file at fault.
        line, column: counted from 1, or None.
        jail: the jail that it concerns, or None.
        message: what and why.
        remedy: what to do, or "".
    """

    severity: str
    path: str
    message: str
    line: Optional[int] = None
    column: Optional[int] = None
    jail: Optional[str] = None
    remedy: str = ""

    def __str__(self) -> str:
        parts = (self.path, self.line, self.column)
        place = ":".join(str(part) for part in parts if part is not None)
        kind = "" if self.severity == FAULT else f"{self.severity}: "
        return f"{place}: {kind}{self.message}" + (f" ({self.remedy})" if self.remedy else "")


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        jails: those that can run.
        faults: what has to be mended.
        warnings: what should be; none where they were not asked for.
    """

    jails: tuple[str, ...]
    faults: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def audit(directory: str, now: float, *, lint: bool = True) -> Audit:
    """Return all that is wrong with the configuration of a directory, without any effect.

    Args:
        directory: such as ``/etc/stockade``.
        now: the present, for dates without a year.
        lint: look for what deserves a warning, too.
    """
    found = config.read(directory)
    regexes = {spec.name: compile_check(spec.filter, now) for spec in found.jails}
    faults = [_of_error(error, FAULT) for error in found.faults if isinstance(error, ConfigError)]
    for spec in found.jails:
        faults += _fatal(directory, spec, regexes[spec.name], now)
    broken = {fault.jail for fault in faults}
    warnings: list[Finding] = []
    if lint:
        warnings += (_of_error(error, WARNING) for error in config.check(directory))
        for spec in found.jails:
            warnings += _dangers(directory, spec, regexes[spec.name])
        warnings += _logs(directory, (spec for spec in found.jails if spec.name not in broken))
        warnings += _filters(directory, found, now)
    known = {(fault.path, fault.line, fault.message) for fault in faults}
    warnings = [one for one in warnings if (one.path, one.line, one.message) not in known]
    return Audit(
        tuple(spec.name for spec in found.jails if spec.name not in broken),
        _once(faults),
        _in_order(_once(warnings)),
    )


def _once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return each but once: one bad line may concern many jails, but is one to mend."""
    return tuple({str(one): one for one in reversed(list(findings))}.values())[::-1]


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return them by lines, files in the order in which they first come."""
    files = {one.path: number for number, one in reversed(list(enumerate(findings)))}
    return tuple(sorted(findings, key=lambda one: (files[one.path], one.line or 0)))


def _of_error(error: ConfigError, severity: str) -> Finding:
    return Finding(
        severity,
        error.path,
        error.message[len(error.place) + 2 :],
        error.line,
        error.column,
        error.jail,
        error.remedy,
    )


# ---- regexes ----------------------------------------------------------------------------------


def _fatal(
    directory: str, spec: JailSpec, regexes: Iterable[RegexFault], now: float
) -> Iterator[Finding]:
    """Yield why a jail cannot be built: its regexes, its formula, each of its commands."""
    fatal = [_of_jail(directory, spec, fault, FAULT) for fault in regexes if fault.fatal]
    yield from fatal
    error = None if fatal else inspection.regex_fault(spec, now)
    if error is not None:
        yield _of_error(error, FAULT)
    for other in inspection.other_faults(spec):
        yield _of_error(other, FAULT)


def _dangers(directory: str, spec: JailSpec, regexes: Iterable[RegexFault]) -> Iterator[Finding]:
    for fault in regexes:
        if not fault.fatal:
            yield _of_jail(directory, spec, fault, WARNING)


def _of_jail(directory: str, spec: JailSpec, fault: RegexFault, severity: str) -> Finding:
    text = _text(spec.filter, fault)
    origin = config.origin(directory, spec.name, fault.option, text) if text else None
    origin = origin or spec.filter.origins.get(fault.option) or spec.origins.get(fault.option)
    # A dangerous regex that ten jails share is one to mend.
    of = f"[{spec.name}] " if severity == FAULT else ""
    return _of_regex(f"{of}{fault.option}: {fault.message}", origin, fault, severity, spec)


def _of_regex(
    message: str,
    origin: Optional[Origin],
    fault: RegexFault,
    severity: str,
    spec: JailSpec,
) -> Finding:
    return Finding(
        severity,
        origin.path if origin else f"filter.d/{spec.filter.name}.conf",
        message,
        origin.line if origin else None,
        jail=spec.name or None,
        remedy=fault.remedy,
    )


def _text(spec: FilterSpec, fault: RegexFault) -> str:
    """Return the regex that is at fault, or ""."""
    texts = {
        "failregex": spec.failregex,
        "ignoreregex": spec.ignoreregex,
        "prefregex": (spec.prefregex or "",),
    }.get(fault.option, ())
    return texts[fault.index] if fault.index < len(texts) else ""


# ---- filters ----------------------------------------------------------------------------------


def _filters(directory: str, found: Config, now: float) -> Iterator[Finding]:
    """Yield what is said of filters, whether a jail uses them yet or not."""
    used = {spec.filter.name for spec in found.jails}
    samples = os.path.join(directory, SAMPLES)
    keeps = os.path.isdir(samples)
    for name in sorted(config.whole_filters(directory)):
        if name in used and not keeps:
            continue
        try:
            spec = config.filter_spec(directory, name)
        except ConfigError as error:
            if name not in used:
                yield _of_error(error, WARNING)
            continue
        if not spec.failregex:
            continue
        faults = compile_check(spec, now)
        if name not in used:
            for fault in faults:
                yield _of_filter(directory, spec, fault)
        if keeps and not any(fault.fatal for fault in faults):
            yield from _unproved(directory, os.path.join(samples, f"{name}.log"), spec, now)


def _of_filter(directory: str, spec: FilterSpec, fault: RegexFault) -> Finding:
    text = _text(spec, fault)
    origin = config.filter_origin(directory, spec.name, None, fault.option, text) if text else None
    origin = origin or spec.origins.get(fault.option)
    return Finding(
        WARNING,
        origin.path if origin else _file(directory, spec),
        f"{fault.option}: {fault.message}",
        origin.line if origin else None,
        remedy=fault.remedy,
    )


def _file(directory: str, spec: FilterSpec) -> str:
    return os.path.join(directory, "filter.d", f"{spec.name}.conf")


def _unproved(directory: str, path: str, spec: FilterSpec, now: float) -> Iterator[Finding]:
    remedy = "keep real log lines there, and try them: stockade-agent regex"
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            lines = [line.rstrip("\n") for line in log]
    except OSError as error:
        yield Finding(
            WARNING,
            _file(directory, spec),
            f"filter {spec.name} has no samples: {path}: {error.strerror}",
            remedy=remedy,
        )
        return
    trial = Trial(spec, check_all=False, none=("matched", "ignored", "missed"))
    for number, line in enumerate(lines, start=1):
        if line and not line.startswith("#") and not trial.hopeless:
            before = len(trial.given_up)
            trial.line(line, now)
            for why in trial.given_up[before:]:
                yield Finding(WARNING, path, f"filter {spec.name}: {why}", number)
    if not trial.counts["matched"]:
        message = f"none of its {trial.tested} lines is a failure for filter {spec.name}"
        yield Finding(WARNING, path, message, remedy=remedy)


# ---- logs -------------------------------------------------------------------------------------


def _logs(directory: str, specs: Iterable[JailSpec]) -> Iterator[Finding]:
    """Yield the log paths that match nothing, of jails that would read them."""
    look = Survey(lambda _directory, _name: None)
    missing: dict[tuple[Optional[Origin], str], list[str]] = {}
    for spec in specs:
        if intake.chosen(spec) != intake.FILE:
            continue
        for log in spec.logpath:
            if not look.find(log.pattern):
                origin = config.origin(directory, spec.name, "logpath", log.pattern)
                origin = origin or spec.origins.get("logpath")
                missing.setdefault((origin, log.pattern), []).append(spec.name)
    for (origin, pattern), jails in missing.items():
        others = f" and {len(jails) - 1} more" if len(jails) > 1 else ""
        yield Finding(
            WARNING,
            origin.path if origin else directory,
            f"[{jails[0]}{others}] logpath: nothing matches {pattern}",
            origin.line if origin else None,
            jail=jails[0],
            remedy=_likely(pattern) or "until something does, nothing is read from there",
        )


def _likely(pattern: str) -> str:
    """Return ``did you mean X?`` for the file most like a path, or ""."""
    folder, name = os.path.split(pattern)
    try:
        entries = [] if is_glob(pattern) else os.listdir(folder)
    except OSError:
        return ""
    return config.nearest(name, [entry for entry in entries if entry[0] != "."], _ALIKE)
