# SPDX-License-Identifier: MIT
"""Commands that run the agent, and that ask the one that runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from stockade_agent import __version__
from stockade_agent.cli import service
from stockade_agent.cli.codes import DIRECTORY, FAIL2BAN_CLIENT, OK, USAGE
from stockade_agent.cli.parser import Commands
from stockade_agent.errors import ConfigError, ControlError
from stockade_agent.model import target
from stockade_agent.plain import plain, printable
from stockade_agent.specs import AgentSpec


RUN = """\
follow the logs and ban, until a signal ends it
  stockade-agent run
  stockade-agent run -c ./etc --firewall nftables"""
CHECK = """\
read a configuration and say all that is wrong with it, each with file and line
  stockade-agent check
  stockade-agent check ./etc --strict
  stockade-agent check ./etc --json"""
STATUS = """\
show jails, failures and bans
  stockade-agent status
  stockade-agent status sshd
  stockade-agent status --json"""
BAN = """\
ban addresses or networks in a jail
  stockade-agent ban sshd 192.0.2.7
  stockade-agent ban sshd 2001:db8::/64 198.51.100.3"""
UNBAN = """\
lift bans
  stockade-agent unban 192.0.2.7
  stockade-agent unban sshd 192.0.2.7 192.0.2.8
  stockade-agent unban --all
  stockade-agent unban sshd --all"""
PANIC = """\
lift every ban and make no further one, until resume
  stockade-agent panic
  stockade-agent panic --for 2h
  stockade-agent panic nginx-botsearch"""
RESUME = """\
end what panic began: bans go on
  stockade-agent resume
  stockade-agent resume nginx-botsearch"""
RELEASE = """\
make the bans of a surge that a jail with surge = hold keeps back
  stockade-agent release
  stockade-agent release sshd --drop"""
RELOAD = """\
read the configuration again; one that is wrong changes nothing
  stockade-agent reload"""
PING = """\
ask whether the agent answers
  stockade-agent ping"""
VERSION = "show the version"
SPEAK = """\
answer in the words of fail2ban's client; its --help shows them
  stockade-agent fail2ban-client status sshd
  stockade-agent fail2ban-client set sshd unbanip 192.0.2.7"""


def add(commands: Commands) -> None:
    """Add the commands that run the agent and ask it."""
    run = commands.add(service.NAME, _run, RUN)
    run.add_argument("-c", "--config", metavar="DIR", default=DIRECTORY)
    run.add_argument(
        "--firewall",
        choices=service.FIREWALLS,
        default="",
        help="instead of what stockade.conf says",
    )
    check = commands.add("check", _check, CHECK, commands.output)
    check.add_argument("config", metavar="DIR", nargs="?", default=DIRECTORY)
    check.add_argument("--strict", action="store_true", help="a warning is a fault, too")
    check.add_argument("--no-lint", action="store_true", help="only what keeps jails from running")
    show = commands.add("status", _status, STATUS, commands.output, commands.where)
    show.add_argument("jail", metavar="JAIL", nargs="?", default="")
    ban = commands.add("ban", _ban, BAN, commands.output, commands.where)
    ban.add_argument("jail", metavar="JAIL")
    ban.add_argument("ids", metavar="ADDR", nargs="+")
    unban = commands.add("unban", _unban, UNBAN, commands.output, commands.where)
    unban.add_argument("words", metavar="[JAIL] ADDR", nargs="*", default=[])
    unban.add_argument("--all", action="store_true", help="every ban of JAIL, or of all jails")
    panic = commands.add("panic", _panic, PANIC, commands.output, commands.where)
    panic.add_argument("jails", metavar="JAIL", nargs="*", help="default: all, later ones too")
    panic.add_argument("--for", metavar="TIME", dest="time", help="resume after that long: 30m, 2h")
    resume = commands.add("resume", _resume, RESUME, commands.output, commands.where)
    resume.add_argument("jails", metavar="JAIL", nargs="*", help="default: all")
    release = commands.add("release", _release, RELEASE, commands.output, commands.where)
    release.add_argument("jail", metavar="JAIL", nargs="?", default="", help="default: all")
    release.add_argument("--drop", action="store_true", help="forget them instead")
    commands.add("reload", _reload, RELOAD, commands.output, commands.where)
    commands.add("ping", _ping, PING, commands.output, commands.where)
    commands.add("version", _version, VERSION, commands.output)
    commands.add(FAIL2BAN_CLIENT, _speak, SPEAK)


def _run(asked: argparse.Namespace) -> int:
    return service.agent(asked.config, asked.firewall)


def _check(asked: argparse.Namespace) -> int:
    from stockade_agent.audit import audit  # noqa: PLC0415 - `ping` needs none of it

    found = audit(asked.config, time.time(), lint=not asked.no_lint)
    if asked.json:
        _print_json(asdict(found))
    else:
        for finding in (*found.faults, *found.warnings):
            print(printable(str(finding)))
        if not found.faults:
            print(_fine(asked.config, found.jails))
    return USAGE if found.faults or (asked.strict and found.warnings) else OK


def _fine(directory: str, jails: Sequence[str]) -> str:
    count = "1 jail is" if len(jails) == 1 else f"{len(jails)} jails are"
    return f"{plain(directory)}: {count} fine: {', '.join(map(plain, jails)) or 'none is enabled'}"


def _status(asked: argparse.Namespace) -> int:
    result = _ask(asked, "status", asked.jail)
    if asked.json:
        _print_json(result)
        return OK
    from stockade_agent.control.protocol import AgentStatus  # noqa: PLC0415 - see _check
    from stockade_agent.table import lines  # noqa: PLC0415 - see _check

    try:
        answer = AgentStatus.from_json(result)
    except (TypeError, KeyError) as error:
        raise ControlError(f"this is no status that we understand: {error}") from error
    for line in lines(answer, detailed=bool(asked.jail)):
        print(line)
    return OK


def _ban(asked: argparse.Namespace) -> int:
    changed = _ask(asked, "ban", asked.jail, asked.ids)["changed"]
    return _changed(asked, changed, "banned", "banned already")


def _unban(asked: argparse.Namespace) -> int:
    jail, ids = "", list(asked.words)
    if ids and target(ids[0]) is None:
        jail = ids.pop(0)
    if asked.all == bool(ids):
        print("stockade-agent unban: give addresses, or --all", file=sys.stderr)
        return USAGE
    told = _ask(asked, "unban", jail, ids or ["all"])
    if asked.json:
        _print_json({name: told[name] for name in ("changed", "within") if name in told})
        return OK
    _changed(asked, told["changed"], "unbanned", "not banned")
    for id_, holding in told.get("within", {}).items():
        for name, network in holding:
            print(f"{plain(id_)} is within {plain(network)}, which {plain(name)} bans")
    return OK


def _panic(asked: argparse.Namespace) -> int:
    words: tuple[str, ...] = ()
    if asked.time is not None:
        from stockade_agent.config.values import BadValue, duration  # noqa: PLC0415 - see _check

        try:
            seconds = duration(asked.time)
        except BadValue as error:
            print(f"stockade-agent panic: --for: {plain(str(error))}", file=sys.stderr)
            return USAGE
        if not seconds > 0:
            print("stockade-agent panic: --for: for example 30m", file=sys.stderr)
            return USAGE
        words = (str(seconds),)
    changed = _ask(asked, "panic", "", asked.jails, words, _person())["changed"]
    return _changed(asked, changed, "paused; unbanned", "paused; nobody was banned")


def _resume(asked: argparse.Namespace) -> int:
    changed = _ask(asked, "resume", "", asked.jails)["changed"]
    return _changed(asked, changed, "resumed", "nothing is paused")


def _release(asked: argparse.Namespace) -> int:
    words = ("drop",) if asked.drop else ()
    told = _ask(asked, "release", asked.jail, (), words)
    held = told.get("held", 0) if asked.drop else 0
    none = f"dropped: {held}" if held else "none was held back"
    return _changed(asked, told["changed"], "banned", none)


def _reload(asked: argparse.Namespace) -> int:
    result = _ask(asked, "reload")
    if asked.json:
        _print_json(result)
    else:
        print(f"reloaded: {', '.join(result['jails']) or 'no jails'}")
    return OK


def _ping(asked: argparse.Namespace) -> int:
    answer = _ask(asked, "ping")
    if asked.json:
        _print_json(answer)
    else:
        print(answer)
    return OK


def _version(asked: argparse.Namespace) -> int:
    python = ".".join(str(part) for part in sys.version_info[:3])
    if asked.json:
        _print_json({"version": __version__, "python": python})
    else:
        print(f"stockade-agent {__version__} (Python {python})")
    return OK


def _speak(_asked: argparse.Namespace) -> int:
    return speak(())


def speak(words: Sequence[str]) -> int:
    """Run a command line of fail2ban's client, whose options are its own."""
    from stockade_agent.cli import fail2ban_client  # noqa: PLC0415 - most never ask it

    return fail2ban_client.main(words)


# ---- what they share


def _ask(
    asked: argparse.Namespace,
    command: str,
    jail: str = "",
    ids: Sequence[str] = (),
    words: Sequence[str] = (),
    by: str = "",
) -> Any:
    from stockade_agent.control.client import ask  # noqa: PLC0415 - see _check
    from stockade_agent.control.protocol import Request  # noqa: PLC0415 - see _check

    return ask(
        asked.socket or socket_of(asked.config),
        Request(command, jail, tuple(ids), words=tuple(words), by=by),
    )


def _person() -> str:
    """Return who sits here: who became root by sudo, or else this process's user."""
    import pwd  # noqa: PLC0415 - see _check

    number = os.getuid()
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def socket_of(directory: str) -> str:
    """Return where the agent of a configuration listens."""
    names = ("fail2ban.conf", "stockade.conf", "stockade.d", "stockade.local")
    if not any(os.path.exists(f"{directory}/{name}") for name in names):
        if directory != DIRECTORY and not os.path.isdir(directory):
            raise ConfigError("no such directory", path=directory)
        return AgentSpec().socket
    from stockade_agent import config  # noqa: PLC0415 - most hosts have no such file

    return config.read(directory, jails=()).agent.socket


def _changed(asked: argparse.Namespace, changed: list[str], done: str, none: str) -> int:
    if asked.json:
        _print_json({"changed": changed})
    else:
        print(f"{done}: {', '.join(plain(id_) for id_ in changed)}" if changed else none)
    return OK


def _print_json(result: Any) -> None:
    print(json.dumps(result, indent=2))
