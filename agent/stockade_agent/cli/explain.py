# SPDX-License-Identifier: MIT
"""``explain``: where an option's value comes from, and what jails make of a line."""

from __future__ import annotations

import argparse
import sys

from stockade_agent.cli.codes import DIRECTORY, USAGE
from stockade_agent.cli.parser import Commands


EXPLAIN = """\
say where a jail's options come from, or what jails make of a log line
  stockade-agent explain sshd
  stockade-agent explain sshd bantime
  stockade-agent explain --line 'May  1 10:00:00 web1 app: bad login from 192.0.2.7'
  stockade-agent explain --line 'May  1 10:00:00 web1 app: bad login from 192.0.2.7' app sshd"""


def add(commands: Commands) -> None:
    """Add the command."""
    explain = commands.add("explain", _explain, EXPLAIN, commands.output)
    explain.intermixed = True
    explain.add_argument("-c", "--config", metavar="DIR", default=DIRECTORY)
    explain.add_argument(
        "--line",
        metavar="TEXT",
        action="append",
        default=[],
        help="a log line; more of them are lines that follow it. Jails: all that are enabled",
    )
    explain.add_argument("words", metavar="JAIL [OPTION] | JAIL…", nargs="*", default=[])


def _explain(asked: argparse.Namespace) -> int:
    if asked.line:
        from stockade_agent.cli import verdicts  # noqa: PLC0415 - `ping` needs none of it

        return verdicts.show(asked.config, asked.line, asked.words, json=asked.json)
    if not 1 <= len(asked.words) <= len(("JAIL", "OPTION")):
        print("stockade-agent explain: give JAIL [OPTION], or --line TEXT", file=sys.stderr)
        return USAGE
    from stockade_agent.cli import origins  # noqa: PLC0415 - see above

    return origins.show(asked.config, *asked.words, json=asked.json)
