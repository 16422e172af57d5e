# SPDX-License-Identifier: MIT
"""All families, with each fail2ban: ``python -m conformance [FAMILY ...] [VERSION | DIR ...]``.

A line a family says how many cases are the same, or differ as docs/conformance.md lists it. Any
other difference is shown, and so is a row of the list that nothing answers to; both exit with 1.
The figures go to build/conformance.json.
"""

import importlib
import json
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from conformance import listed, oracle
from conformance.fetch import ROOT, SUITES, Unavailable
from conformance.tally import SHOWN, Run, Tell, rooted


FAMILIES = (
    "configuration",
    "samples",
    "datetable",
    "dates",
    "verdicts",
    "bans",
    "actions",
    "shell",
    "regex",
    "client",
    "live",
)
JSON = ROOT / "build" / "conformance.json"


@dataclass
class Row:
    """What came of a family.

    Attributes:
        name: the family, and fail2ban's version.
        figure: how many cases are the same, or differ as listed.
        goal: how many cases there are.
        listed: how many of these differ as docs/conformance.md lists it.
    """

    name: str
    figure: int
    goal: int
    met: bool
    listed: int
    seconds: float
    unit: str = "cases"


def found(name: str) -> Run:
    """Return what runs a family."""
    run: Run = importlib.import_module(f"conformance.{name}").run
    return run


@contextmanager
def progress(name: str) -> Iterator[Tell]:
    """Show in a terminal, every second, that a family runs, how long, and how far it is."""
    ended, at, began = threading.Event(), [""], time.monotonic()

    def tell(done: int, total: int) -> None:
        at[0] = f"{done}/{total} "

    def show() -> None:
        while not ended.wait(1):
            words = f"{name}: {at[0]}… {time.monotonic() - began:.0f} s"
            print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)

    shower = threading.Thread(target=show)
    if sys.stderr.isatty():
        shower.start()
    try:
        yield tell
    finally:
        ended.set()
        if shower.is_alive():
            shower.join()
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def compared(
    family: str, run: Run, root: Path, table: Sequence[listed.Row], say: Callable[[str], None]
) -> Row:
    """Run a family with one fail2ban, say what came of it, and return that."""
    release = oracle.version(root)
    name, began = f"{family} {release}", time.monotonic()
    try:
        with progress(name) as tell:
            tally = run(root, tell)
    except Exception:  # noqa: BLE001 - one family that breaks off must not hide the others
        traceback.print_exc()
        say(f"{name}: broke off")
        return Row(name, 0, 0, met=False, listed=0, seconds=round(time.monotonic() - began, 1))
    judgement = listed.judge(family, release, tally, table)
    for key, text in judgement.faults[:SHOWN]:
        say(f"  {key}: {text}")
    if len(judgement.faults) > SHOWN:
        say(f"  and {len(judgement.faults) - SHOWN} more")
    for row in judgement.stale:
        say(f"  docs/conformance.md lists `{row.key}` of {row.release}, which is over: strike it")
    figure = tally.total - len(judgement.faults)
    notes = [f"{judgement.listed} differ as listed"] if judgement.listed else []
    notes += tally.notes
    say(f"{name}: {figure}/{tally.total}" + (f" ({', '.join(notes)})" if notes else ""))
    met = tally.total > 0 and not judgement.faults and not judgement.stale
    seconds = round(time.monotonic() - began, 1)
    return Row(name, figure, tally.total, met, judgement.listed, seconds)


def save(rows: Sequence[Row], path: Path = JSON) -> None:
    """Write the figures; rows of families that did not run this time stay."""
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    new = {row.name: asdict(row) for row in rows}
    merged = [new.pop(row["name"], row) for row in kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"target": "conformance", "commit": _commit(), "rows": [*merged, *new.values()]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def _commit() -> str:
    command = ("git", "describe", "--always", "--dirty")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; return 1 if anything differs that is not listed, 2 if it cannot."""
    families = [word for word in arguments if word in FAMILIES] or list(FAMILIES)
    trees = [word for word in arguments if word not in FAMILIES] or list(SUITES)
    try:
        table = listed.rows()
        roots = [rooted(tree) for tree in trees]
        versions = [oracle.version(root) for root in roots]
    except (Unavailable, listed.Unreadable, OSError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    unknown = sorted({row.family for row in table} - set(FAMILIES))
    if unknown:
        print(f"conformance: docs/conformance.md lists {unknown[0]!r}, which is no family")
        return 2
    rows = []
    for family in families:
        run = found(family)
        rows += [compared(family, run, root, table, _say) for root in roots]
    whole = len(families) == len(FAMILIES)
    if whole and versions == list(SUITES):
        JSON.unlink(missing_ok=True)
    save(rows)
    return int(not all(row.met for row in rows))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
