# SPDX-License-Identifier: MIT
"""``stockade-agent fail2ban-client``, and what a link of the name ``fail2ban-client`` runs.

The command line of fail2ban's client, so that what people know by heart and scripts know by
regular expression goes on: same words, same output, same exit codes.
"""

from __future__ import annotations

import getopt
import io
import pprint
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from stockade_agent import __version__
from stockade_agent.cli import words
from stockade_agent.cli.codes import DIRECTORY, FAIL2BAN_CLIENT, OK
from stockade_agent.cli.commands import socket_of
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import Request
from stockade_agent.errors import ControlError, NoAgentError, StockadeError
from stockade_agent.plain import plain, printable


NAME = FAIL2BAN_CLIENT
REFUSED = 255
TIMEOUT = 30.0
_SHORT = "hc:s:p:xfbdtviqV"
_LONG = (
    "async",
    "conf=",
    "dp",
    "dump-pretty",
    "help",
    "loglevel=",
    "logtarget=",
    "pidfile=",
    "pname=",
    "socket=",
    "str2sec=",
    "syslogsocket=",
    "test",
    "timeout=",
    "version",
)
_USAGE = f"""\
Usage: {NAME} [OPTIONS] <COMMAND>

stockade-agent {__version__} answers here in the words of fail2ban.

Options:
    -c, --conf <DIR>      configuration, instead of {DIRECTORY}
    -s, --socket <FILE>   the agent's socket, instead of what the configuration says
    -d, --dp              print the configuration as commands; --dp in more lines
    -t, --test            test the configuration
    --timeout <SECONDS>   wait for an answer no longer than this
    --str2sec <STRING>    print a duration in seconds
    -h, --help            this text
    -V, --version         the release of fail2ban whose words these are
    -v, -q, -p, -x, -b, -f, --loglevel, --logtarget, --pname, --syslogsocket: taken, without effect

Commands:
    status [--all | <JAIL>] [basic | short | stats | cymru]
    stats                                       a table of all jails
    banned [<IP> ...]                           who is banned, or by which jails
    unban --all | <IP> ...                      in all jails
    reload [--restart] [--unban] [--if-exists] [<JAIL>]
    restart <JAIL>
    ping | version | flushlogs
    get loglevel | logtarget | dbfile | dbpurgeage | dbmaxmatches
    set loglevel <LEVEL>
    get <JAIL> banned [<IP> ...]
    get <JAIL> banip [<SEPARATOR> | --with-time]
    get <JAIL> <OPTION>                         {{options}}
    set <JAIL> banip <IP> ...
    set <JAIL> unbanip [--report-absent] <IP> ...
    set <JAIL> attempt <IP> [<LINE> ...]
    set <JAIL> addignoreip | delignoreip <IP>
    set <JAIL> bantime | findtime | maxretry | maxmatches <VALUE>
    set <JAIL> ignoreself | ignorepeers <VALUE>
    set <JAIL> idle on | off

What is set lasts until the next reload. Exit codes: 0 done, 255 not."""


def main(arguments: Sequence[str]) -> int:
    """Do what a command line of fail2ban's client asks for, and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path or a jail need not be of the terminal's characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _call(arguments)
    except words.Refusal as refusal:
        print(refusal, file=sys.stderr if refusal.aside else sys.stdout)
    except StockadeError as error:
        print(f"{NAME}: {plain(str(error))}", file=sys.stderr)
    return REFUSED


def _call(arguments: Sequence[str]) -> int:
    try:
        pairs, rest = getopt.getopt(list(arguments), _SHORT, list(_LONG))
    except getopt.GetoptError as error:
        print(f"{NAME}: {plain(str(error))}", file=sys.stderr)
        print(_usage())
        return REFUSED
    options = dict(pairs)
    if "-h" in options or "--help" in options or rest[:1] == ["help"]:
        print(_usage())
        return OK
    if "-V" in options or "--version" in options:
        print(_version(short="-V" in options))
        return OK
    if "--str2sec" in options:
        print(_seconds(options["--str2sec"]))
        return OK
    if "-i" in options:
        raise ControlError("there is no interactive mode")
    directory = options.get("-c") or options.get("--conf") or DIRECTORY
    tests = "-t" in options or "--test" in options
    dumps = [option for option in ("-d", "--dp", "--dump-pretty") if option in options]
    if dumps:
        code = _dump(directory, pretty=dumps != ["-d"])
        if not tests:
            return code
    if tests:
        _test(directory)
        if not rest:
            print("OK: configuration test is successful")
            return OK
    if not rest:
        print(_usage())
        return REFUSED
    socket = options.get("-s") or options.get("--socket") or socket_of(directory)
    print(words.answer(rest, partial(_ask, socket, _timeout(options))))
    return OK


def _ask(socket: str, timeout: float, request: Request) -> Any:
    try:
        return ask(socket, request, timeout)
    except NoAgentError as error:
        remedy = "is the agent running? systemctl status stockade-agent"
        raise NoAgentError(error.message, remedy=error.remedy or remedy) from error


def _timeout(options: Mapping[str, str]) -> float:
    return _seconds(options["--timeout"]) if "--timeout" in options else TIMEOUT


def _test(directory: str) -> None:
    from stockade_agent.audit import audit  # noqa: PLC0415 - asks for the whole agent

    faults = audit(directory, time.time(), lint=False).faults
    for fault in faults:
        print(f"{NAME}: {printable(str(fault))}", file=sys.stderr)
    if faults:
        raise words.Refusal("ERROR: test configuration failed", aside=True)


def _dump(directory: str, *, pretty: bool) -> int:
    from stockade_agent.config.dump import dump  # noqa: PLC0415 - seldom asked

    commands, faults = dump(directory)
    for fault in faults:
        print(f"{NAME}: {printable(str(fault))}", file=sys.stderr)
    for command in commands:
        print(pprint.pformat(command, width=1000, indent=2) if pretty else command)
    started = any(command[0] == "start" for command in commands)
    return OK if started or not faults else REFUSED


def _seconds(text: str) -> float:
    from stockade_agent.config import BadValue, duration  # noqa: PLC0415 - seldom asked

    try:
        seconds = duration(text)
    except BadValue as error:
        raise ControlError(str(error), remedy=error.remedy) from error
    return int(seconds) if seconds == int(seconds) else seconds


def _version(*, short: bool) -> str:
    from stockade_agent.config.reading import FAIL2BAN_VERSION  # noqa: PLC0415 - seldom asked

    if short:
        return FAIL2BAN_VERSION
    return f"Fail2Ban v{FAIL2BAN_VERSION}, as stockade-agent {__version__} speaks it"


def _usage() -> str:
    return _USAGE.format(options=", ".join(words.OPTIONS))
