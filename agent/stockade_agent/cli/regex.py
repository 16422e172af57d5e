# SPDX-License-Identifier: MIT
"""``regex``: a filter tried on a log, with the options and blocks of fail2ban-regex."""

from __future__ import annotations

import argparse
import sys

from stockade_agent import __version__
from stockade_agent.cli.codes import DIRECTORY, OK
from stockade_agent.cli.parser import Commands
from stockade_agent.errors import StockadeError
from stockade_agent.plain import printable


WRONG = 255
"""Exit code of fail2ban-regex where the command line, a filter or a log is wrong."""

REGEX = """\
try a filter on a log, as fail2ban-regex does
  stockade-agent regex /var/log/auth.log sshd
  stockade-agent regex auth.log.2.gz 'sshd[mode=aggressive]' --print-all-missed
  stockade-agent regex 'May  1 10:00:00 web1 app: bad login from 192.0.2.7' 'from <HOST>$'
  stockade-agent regex -m _SYSTEMD_UNIT=ssh.service journal sshd
  stockade-agent regex app.log ./filter.d/app.conf -o '<time> <ip> <F-USER>'"""
_LOG = "a file (gzip too), - for standard input, a log line, or journal[journalpath=…]"
_FILTER = "a jail, a filter as sshd[mode=ddos], the path of a filter's file, or a regex"
_IGNORE = "a regex of lines to ignore, or a filter whose ignoreregex says them"
_OUT = (
    "print of each failure only this: row, id, ip, msg, matches, the name of a group (user, ip4, "
    "ip6, dns, …), or a template of text and tags: <msg>, <F-USER> and the like, "
    "<ip>, <family>, <ip-rev>, <fid>, <failures>, <time>, <bancount>, <matches>, <restored>"
)


def add(commands: Commands) -> None:
    """Add the command."""
    regex = commands.add("regex", _regex, REGEX, commands.output)
    regex.wrong, regex.intermixed = WRONG, True
    regex.add_argument("log", metavar="LOG", help=_LOG)
    regex.add_argument("filter", metavar="FILTER", help=_FILTER)
    regex.add_argument("ignore", metavar="IGNORE", nargs="?", default="", help=_IGNORE)
    option = regex.add_argument
    option("-c", "--config", metavar="DIR", default=DIRECTORY, help=f"default: {DIRECTORY}")
    option("-d", "--datepattern", metavar="PATTERN", help="instead of the filter's")
    option("--timezone", "--TZ", metavar="ZONE", help="of dates that name none: UTC+0200")
    option("-e", "--encoding", default="auto", help="of the log; default: the locale's")
    option("-r", "--raw", action="store_true", help="leave host names as they are")
    option("--usedns", metavar="HOW", help="yes, warn, no or raw, instead of the filter's")
    option("-L", "--maxlines", metavar="N", type=int, default=0, help="lines a regex may span")
    option("-m", "--journalmatch", metavar="MATCH", help="instead of the filter's; journal only")
    option("-l", "--log-level", metavar="LEVEL", default="critical", help="debug: every line's way")
    option("-v", "--verbose", action="count", default=0, help="regexes without a hit, failures")
    option("--verbosity", dest="verbose", metavar="N", type=int, help="as often as -v")
    option("--verbose-date", "--VD", action="store_true", help="the regexes of date templates")
    option("-D", "--debuggex", action="store_true", help="refused: no link leaves this machine")
    option("--no-check-all", action="store_true", help="a line's first matching regex is enough")
    option("-o", "--out", metavar="WHAT", help=_OUT.replace("%", "%%"))
    option("-i", "--invert", action="store_true", help="with -o: lines that are no failure")
    option("--print-no-missed", action="store_true", help="list no missed lines")
    option("--print-no-ignored", action="store_true", help="list no ignored lines")
    option("--print-all-matched", action="store_true", help="list all matched lines")
    option("--print-all-missed", action="store_true", help="list all missed lines")
    option("--print-all-ignored", action="store_true", help="list all ignored lines")
    option("-t", "--log-traceback", action="store_true", help="the same as --debug")
    option("--full-traceback", action="store_true", help="the same as --debug")
    version = f"stockade-agent {__version__}"
    option("-V", action="version", version=__version__, help="print the version's number")
    option("--version", action="version", version=version, help="print name and version")


def _regex(asked: argparse.Namespace) -> int:
    from stockade_agent.cli.attempt import Attempt  # noqa: PLC0415 - `ping` needs none of it

    try:
        Attempt(asked).run()
    except StockadeError as error:
        if asked.debug or asked.log_traceback or asked.full_traceback:
            import traceback  # noqa: PLC0415 - what is not needed is not imported

            traceback.print_exc()
        sys.stdout.flush()
        # On standard output in fail2ban, where scripts look for it; here a pipe stays clean.
        print(f"ERROR: {printable(str(error))}", file=sys.stderr)
        return WRONG
    return OK
