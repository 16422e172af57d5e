# SPDX-License-Identifier: MIT
"""The lab's own command: ``python -m lab --help``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from lab import kinds, packages, rootfs, supervisor
from lab.client import Lab
from lab.errors import LabError
from lab.network import PLACES
from lab.paths import DEFAULT_LAB
from lab.progress import say


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="Real throwaway hosts.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("packages", help="install the Debian packages that the lab needs")
    build = commands.add_parser("build", help="build root file systems that are not cached")
    build.add_argument("kinds", nargs="*", metavar="KIND", help=f"one of {', '.join(kinds.KINDS)}")
    up = commands.add_parser("up", help="boot hosts that run on until `down`")
    up.add_argument("hosts", nargs="*", metavar="HOST", help="KIND or KIND-NUMBER")
    up.add_argument("--without", action="append", default=[], metavar="PACKAGE")
    commands.add_parser("status", help="what runs")
    commands.add_parser("down", help="end all that `up` began, and what killed labs left over")
    shell = commands.add_parser("shell", help="a shell, or a command, inside a host")
    shell.add_argument("host")
    shell.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    ssh = commands.add_parser("ssh", help="log in from the controller")
    ssh.add_argument("host", metavar="[USER@]HOST")
    ssh.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    run = commands.add_parser("run", help="a command in the network of a place")
    run.add_argument("place", choices=sorted(PLACES))
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    return parser


def _up(names: Sequence[str], without: Sequence[str]) -> None:
    wanted = list(dict.fromkeys(names or kinds.DEFAULT_KINDS))
    rootfs.ensure([kinds.kind_of(name) for name in wanted])
    lab = Lab.detached()
    absent = [name for name in wanted if name not in lab.hosts]
    if absent:
        lab.boot_all(absent, without=without)
    else:
        say(f"{', '.join(wanted)}: up already")
    _status(lab)


def _status(lab: Lab) -> None:
    for host in lab.hosts.values():
        state = "up" if host.leader else "down"
        print(f"{host.name:14} {host.kind:9} {state:5} {host.address:15} {host.address6}")
    for place in PLACES:
        print(f"{place:14} {'-':9} {'up':5} {lab.address(place):15} {lab.address6(place)}")


def _down() -> None:
    lab = Lab(DEFAULT_LAB)
    ran = lab.folder.exists()
    lab.down()
    with supervisor.all_labs():
        supervisor.sweep()
    rootfs.prune()
    say("down" if ran else "nothing was up")


def _replace_by(prefix: Sequence[str], argv: Sequence[str]) -> None:
    words = [*prefix, *(argv[1:] if argv[:1] == ["--"] else argv)]
    os.execvp(words[0], words)


def main(argv: Sequence[str]) -> int:
    """Do what the command line asks and return the exit status."""
    words = _parser().parse_args(argv)
    try:
        match words.command:
            case "packages":
                packages.ensure()
            case "build":
                rootfs.ensure([kinds.kind_of(name) for name in words.kinds or kinds.DEFAULT_KINDS])
            case "up":
                _up(words.hosts, words.without)
            case "status":
                _status(Lab.attach())
            case "down":
                _down()
            case "shell":
                host = Lab.attach().host(words.host)
                _replace_by(host.prefix(), words.argv or ["bash", "-l"])
            case "ssh":
                lab = Lab.attach()
                user, _, name = words.host.rpartition("@")
                login = lab.ssh(lab.host(name), user or "root", *(() if words.argv else ("-t",)))
                _replace_by([*lab.prefix("controller"), *login], words.argv)
            case "run":
                _replace_by(Lab.attach().prefix(words.place), words.argv or ["--", "bash", "-l"])
            case other:
                raise LabError(f"{other}: no such command")  # noqa: TRY301, argparse was first
    except LabError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
