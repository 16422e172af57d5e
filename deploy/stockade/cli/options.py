# SPDX-License-Identifier: MIT
"""The options that every command takes, before its name or after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from stockade_agent.config.values import BadValue, duration


def _seconds(text: str) -> float:
    try:
        seconds = duration(text)
    except BadValue as error:
        raise typer.BadParameter(str(error)) from error
    if not seconds > 0:
        raise typer.BadParameter(f"{text!r} is no time to pause for: for example 30m")
    return float(seconds)


ForOption = Annotated[
    float | None,
    typer.Option("--for", metavar="TIME", parser=_seconds, help="Resume after that long: 30m, 2h."),
]


@dataclass(frozen=True)
class Options:
    """What was given of them."""

    inventory: Path | None = None
    limit: str | None = None
    json: bool = False
    parallel: int | None = None
    debug: bool = False

    def over(self, context: typer.Context) -> Options:
        """Return these options, those not given taken from before the command's name."""
        other = context.obj if isinstance(context.obj, Options) else Options()
        return Options(
            self.inventory or other.inventory,
            self.limit or other.limit,
            self.json or other.json,
            self.parallel or other.parallel,
            self.debug or other.debug,
        )

    @property
    def folder(self) -> Path:
        """The inventory: as asked for, else here, else in ./inventory."""
        if self.inventory is not None:
            return self.inventory
        return Path() if Path("hosts.yml").is_file() else Path("inventory")


InventoryOption = Annotated[
    Path | None,
    typer.Option("--inventory", "-i", metavar="DIR", help="Inventory [default: . or ./inventory]."),
]
LimitOption = Annotated[
    str | None,
    typer.Option("--limit", "-l", metavar="HOSTS", help="Only these: names, groups, 'web*:!web3'."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
ParallelOption = Annotated[
    int | None,
    typer.Option("--parallel", metavar="N", min=1, max=1000, help="Hosts at a time [default: 50]."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Say more when something goes wrong.")]
JailOption = Annotated[
    str | None, typer.Option("--jail", "-j", metavar="JAIL", help="Only this jail.")
]
JailsOption = Annotated[
    list[str] | None,
    typer.Option("--jail", "-j", metavar="JAIL", help="Only this jail; may be given again."),
]
DiffOption = Annotated[bool, typer.Option("--diff", "-d", help="Show changed files by line.")]
