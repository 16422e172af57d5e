# SPDX-License-Identifier: MIT
"""The command line: reads files, drives the fleet, prints, and turns outcomes into exit codes.

0    all is well
1    the inventory, a role, an option or a file is wrong; nothing was touched
2    plan: a push would change something
3    at least one host failed or refused
4    at least one host was unreachable, and none failed or refused
5    reserved
130  interrupted
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from stockade.cli.actions import INTERRUPTED, WRONG
from stockade.cli.commands import app
from stockade.errors import InputError, StockadeError
from stockade.report import json
from stockade.report.text import plain


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="stockade", standalone_mode=False)
    except InputError as error:
        for single in error.errors:
            print(f"stockade: {plain(str(single))}", file=sys.stderr)
        if "--json" in arguments:
            print(json.document("", (), WRONG, errors=error.errors))
        return WRONG
    except StockadeError as error:
        print(f"stockade: {plain(str(error))}", file=sys.stderr)
        return WRONG
    except (KeyboardInterrupt, typer.Abort):
        print("stockade: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        # typer keeps a copy of click's errors of usage, whose names are not public.
        if not hasattr(error, "format_message"):
            raise
        said = error.format_message()
        print(said if said.startswith("Usage:") else f"stockade: {said}", file=sys.stderr)
        return WRONG
    return code if isinstance(code, int) else 0


__all__ = ["main", "run"]
