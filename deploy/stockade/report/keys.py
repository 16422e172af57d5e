# SPDX-License-Identifier: MIT
"""Host keys, for comparing and approving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stockade.errors import HostError
from stockade.report.text import count, plain


STYLES = {"known": "green", "approved": "green", "new": "yellow", "changed": "bold red"}


class Shown(NamedTuple):
    """A host's key as it is now, and what known_hosts says of it."""

    name: str
    address: str
    port: int
    kind: str
    fingerprint: str
    state: str


def show(
    console: Console, shown: Sequence[Shown], troubles: Sequence[HostError], path: Path
) -> None:
    """Print the keys, and what to do about those that are not on record."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Host", "State", "Key"):
        table.add_column(heading, overflow="fold")
    for one in shown:
        table.add_row(
            Text(plain(one.name)),
            Text(one.state, STYLES[one.state]),
            Text(f"{plain(one.kind)} {one.fingerprint}"),
        )
    if shown:
        console.print(table)
    for error in troubles:
        console.print(Text(f"{plain(error.host)}: {plain(str(error))}", "magenta"), soft_wrap=True)
    states = [one.state for one in shown]
    if "changed" in states:
        console.print(
            Text(
                "CHANGED keys may be somebody in between. If you know why a key changed, "
                f"remove its line from {path} and run this again.",
                "bold red",
            ),
            soft_wrap=True,
        )
    if "new" in states:
        console.print(
            f"{count(states.count('new'), 'key')} not in {path}: compare, then add --approve",
            soft_wrap=True,
            highlight=False,
        )
