# SPDX-License-Identifier: MIT
"""How rows are shown: a table in a terminal, one in docs/performance.md, build/bench.json."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.rows import Row
from conformance.fetch import ROOT


JSON = ROOT / "build" / "bench.json"
DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench begins -->", "<!-- bench ends -->"
_MET = {True: "yes", False: "no", None: ""}


def text(rows: Iterable[Row]) -> str:
    """Return the table for a terminal, at most 80 columns wide."""
    lines = [f"{'work':<46} {'figure':>11} {'unit':<12} {'met':<3}"]
    for row in rows:
        lines.append(f"{row.name[:46]:<46} {number(row.figure):>11} {row.unit:<12} {_MET[row.met]}")
        if row.goal:
            lines.append(f"    goal {row.goal}")
        lines += [f"    {peer:<42} {figure}" for peer, figure in _peers(row)]
        if row.verdicts:
            counts = ", ".join(f"{who} {count:,}" for who, count in row.verdicts.items())
            lines.append(f"    verdicts: {counts}")
    return "\n".join(lines)


def markdown(rows: Iterable[Row], on: str) -> str:
    """Return the table for a document, of rows made on that machine and commit."""
    lines = [
        on,
        "",
        "| work | figure | goal | met | peers (we are so many times better) | verdicts |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        peers = "; ".join(f"{peer} {figure.strip()}" for peer, figure in _peers(row))
        verdicts = ", ".join(f"{who} {count:,}" for who, count in row.verdicts.items())
        goal = row.goal.replace("<", "&lt;")
        figure = f"{number(row.figure)} {row.unit}"
        lines.append(f"| {row.name} | {figure} | {goal} | {_MET[row.met]} | {peers} | {verdicts} |")
    return "\n".join(lines)


def save(rows: Iterable[Row]) -> None:
    """Write build/bench.json."""
    JSON.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "target": "bench",
        "commit": commit(),
        "machine": machine(),
        "rows": [row.to_json() for row in rows],
    }
    JSON.write_text(json.dumps(document, indent=1) + "\n")


def loaded() -> list[Row]:
    """Return the rows of build/bench.json."""
    return [Row(**row) for row in json.loads(JSON.read_text())["rows"]]


def made_on() -> str:
    """Return what the rows of build/bench.json were made on, their commit with it."""
    return str(json.loads(JSON.read_text())["machine"])


def document(rows: Iterable[Row], on: str) -> None:
    """Put the table between its marks in docs/performance.md."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{markdown(rows, on)}\n{END}{after}")


def number(value: float) -> str:
    """Return a figure as short as it is honest."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def commit() -> str:
    """Return which commit is measured, with a mark when the tree differs from it."""
    command = ("git", "describe", "--always", "--dirty")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine() -> str:
    """Return what the figures were made on."""
    words = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    model = words.partition(":")[2].partition("\n")[0].strip() or platform.machine()
    count, python = os.cpu_count(), platform.python_version()
    return f"{count} x {model}, Linux {platform.release()}, Python {python}, commit {commit()}"


def _peers(row: Row) -> list[tuple[str, str]]:
    """Return contender and its figure, with how many times better ours is."""
    return [
        (peer, f"{number(figure):>11} {row.unit:<12} {_ratio(row, figure)}".rstrip())
        for peer, figure in row.peers.items()
    ]


def _ratio(row: Row, figure: float) -> str:
    better, worse = (
        (row.figure, figure)
        if row.unit.endswith("-s") and "/" in row.unit
        else (
            figure,
            row.figure,
        )
    )
    return f"{better / worse:.3g}x" if worse else ""
