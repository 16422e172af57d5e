# SPDX-License-Identifier: MIT
"""The command line's grammar: what all commands have in common."""

from __future__ import annotations

import argparse
from typing import Any, Callable, NoReturn

from stockade_agent.cli.codes import DIRECTORY, USAGE


EPILOG = """\
exit codes:
  0  done
  1  the command line or the configuration is wrong
  3  it failed, or the agent refused
  4  no agent answers
"""

Call = Callable[[argparse.Namespace], int]
"""Does what a command line asks for and returns the exit code."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line and whose exit code is ours.

    Attributes:
        wrong: that exit code.
        intermixed: options may stand between optional arguments too.
    """

    wrong = USAGE
    intermixed = False

    def error(self, message: str) -> NoReturn:
        """End with the complaint."""
        self.exit(self.wrong, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as ``argparse`` does, or as it does for intermixed arguments."""
        if not self.intermixed:
            return super().parse_known_args(args, namespace)
        # What it calls in turn is this method.
        self.intermixed = False
        try:
            asked, rest = self.parse_known_intermixed_args(args, namespace)
        finally:
            self.intermixed = True
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return asked, rest


class Commands:
    """All commands, as the modules of this package add them.

    Attributes:
        parser: of the whole command line.
        output: options of a command that prints what a program may want to read.
        where: options of a command that asks the running agent.
    """

    def __init__(self) -> None:
        self._common = Parser(add_help=False)
        self._common.add_argument(
            "--debug", action="store_true", help="show the traceback of an error"
        )
        self.output = Parser(add_help=False)
        self.output.add_argument("--json", action="store_true", help="print JSON")
        self.where = Parser(add_help=False)
        self.where.add_argument(
            "-c", "--config", metavar="DIR", default=DIRECTORY, help=f"default: {DIRECTORY}"
        )
        self.where.add_argument(
            "--socket", metavar="PATH", help="default: what DIR/stockade.conf says"
        )
        self.parser = Parser(
            prog="stockade-agent",
            description="Bans brute-force attackers in this host's firewall, by fail2ban's rules.",
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._commands = self.parser.add_subparsers(
            required=True, metavar="COMMAND", parser_class=Parser
        )

    def add(self, name: str, call: Call, text: str, *parents: Parser) -> Parser:
        """Add a command and return its parser, for options of its own.

        Args:
            text: a summary; then, on lines of their own, examples.
            parents: ``output`` and ``where`` as it needs them.
        """
        summary, _, examples = text.partition("\n")
        added: Parser = self._commands.add_parser(
            name,
            parents=[self._common, *parents],
            help=summary,
            description=summary,
            epilog=f"examples:\n{examples}\n\n{EPILOG}" if examples else EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(call=call)
        return added
