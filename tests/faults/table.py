# SPDX-License-Identifier: MIT
"""How rows are shown: a line in a terminal, a table in docs/reliability.md, build/faults.json."""

import json
from collections.abc import Iterable

from bench.table import commit, machine, number
from conformance.fetch import ROOT
from faults.rows import Row


JSON = ROOT / "build" / "faults.json"
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults begins -->", "<!-- faults ends -->"


def line(row: Row) -> str:
    """Return a row for a terminal."""
    verdict = "ok    " if row.passed else "FAILED"
    figure = f"{number(row.figure)} {row.unit}"
    words = [f"{row.name}: {figure} (goal {row.goal})", row.seen]
    words += [f"{who}: {what}" for who, what in row.others.items()]
    return f"{verdict} {'; '.join(filter(None, words))}"


def markdown(rows: Iterable[Row], on: str) -> str:
    """Return the table for a document, of rows made on that machine and commit."""
    lines = [
        f"`make faults` on {on}:",
        "",
        "| fault | figure | goal | passed | seen | what others do | ROWS |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        others = "; ".join(f"{who}: {what}" for who, what in row.others.items())
        cells = (
            row.name,
            f"{number(row.figure)} {row.unit}",
            row.goal,
            "yes" if row.passed else "no",
            row.seen,
            others,
            row.case,
        )
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def save(rows: Iterable[Row]) -> None:
    """Write build/faults.json."""
    JSON.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "target": "faults",
        "commit": commit(),
        "machine": machine(),
        "rows": [row.to_json() for row in rows],
    }
    JSON.write_text(json.dumps(document, indent=1) + "\n")


def loaded() -> list[Row]:
    """Return the rows of build/faults.json, none where there is no such file."""
    if not JSON.exists():
        return []
    return [Row(**row) for row in json.loads(JSON.read_text())["rows"]]


def made_on() -> str:
    """Return what the rows of build/faults.json were made on, their commit with it."""
    return str(json.loads(JSON.read_text())["machine"])


def document(rows: Iterable[Row], on: str) -> None:
    """Put the table between its marks in docs/reliability.md."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{markdown(rows, on)}\n{END}{after}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
