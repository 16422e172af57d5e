# SPDX-License-Identifier: MIT
"""The commands, as typer wants them."""

# ruff: noqa: D301, FBT002 - \b keeps help's examples in lines; flags are how typer takes options
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stockade import __version__, example
from stockade.cli import actions
from stockade.cli.options import (
    DebugOption,
    DiffOption,
    ForOption,
    InventoryOption,
    JailOption,
    JailsOption,
    JsonOption,
    LimitOption,
    Options,
    ParallelOption,
)
from stockade_agent.control.protocol import Request


app = typer.Typer(
    name="stockade",
    help="Hardens a fleet of Linux servers against brute force, by push.",
    epilog="Exit codes: 0 well; 1 wrong input, nothing touched; 2 plan found changes; "
    "3 a host failed or refused; 4 a host was unreachable; 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def common(
    context: typer.Context,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> None:
    """Hardens a fleet of Linux servers against brute force, by push.

    \b
    From nothing to a protected host:
      stockade init fleet && cd fleet     # then name your hosts in hosts.yml
      stockade hostkeys --approve         # after comparing the fingerprints
      stockade plan --diff
      stockade push
      stockade status
    """
    context.obj = Options(inventory, limit, json, parallel, debug)


@app.command()
def init(directory: Annotated[Path, typer.Argument(metavar="DIR")]) -> int:
    """Write a working example of an inventory into DIR.

    \b
    Example:
      stockade init fleet
    """
    for path in example.init(directory):
        print(path)
    return actions.OK


@app.command()
def plan(
    context: typer.Context,
    diff: DiffOption = False,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> int:
    """Say what a push would change, and change nothing.

    The exit code is 2 when something would change.

    \b
    Examples:
      stockade plan
      stockade plan --diff --limit web1
      stockade plan --json
    """
    options = Options(inventory, limit, json, parallel, debug).over(context)
    return actions.plan(options, diff=diff)


@app.command()
def push(
    context: typer.Context,
    diff: DiffOption = False,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> int:
    """Make the hosts what the inventory says.

    A host on which the agent would not be healthy is put back as it was.

    \b
    Examples:
      stockade push
      stockade push --limit 'web:!web3' --diff
    """
    options = Options(inventory, limit, json, parallel, debug).over(context)
    return actions.push(options, diff=diff)


@app.command()
def status(
    context: typer.Context,
    host: Annotated[str | None, typer.Argument(metavar="[HOST]", show_default=False)] = None,
    jail: JailOption = None,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> int:
    """Ask the agents for jails, failures, bans and firewall.

    With HOST, everything that there is to know of that one.

    \b
    Examples:
      stockade status
      stockade status web1
      stockade status --jail sshd --json
    """
    options = Options(inventory, limit, json, parallel, debug).over(context)
    return actions.status(options, host, jail)


@app.command()
def panic(
    context: typer.Context,
    jails: JailsOption = None,
    seconds: ForOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> int:
    """Lift every ban and make no further one, until resume.

    Failures are counted meanwhile, and bans by hand are made. It holds over
    restarts and pushes; status and push say so.

    \b
    Examples:
      stockade panic
      stockade panic --limit web --for 2h
      stockade panic --jail nginx-botsearch --yes
    """
    options = Options(inventory, limit, json, parallel, debug).over(context)
    words = () if seconds is None else (str(seconds),)
    request = Request("panic", ids=tuple(jails or ()), words=words, by=actions.person())
    which = f" in {', '.join(jails)}" if jails else ""
    question = f"Lift all bans{which} on {{}} and make no more?"
    return actions.order(options, request, question, sure=yes)


@app.command()
def resume(
    context: typer.Context,
    jails: JailsOption = None,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> int:
    """End what panic began: bans go on.

    \b
    Examples:
      stockade resume
      stockade resume --limit web1 --jail nginx-botsearch
    """
    options = Options(inventory, limit, json, parallel, debug).over(context)
    return actions.order(options, Request("resume", ids=tuple(jails or ())))


@app.command()
def release(
    context: typer.Context,
    jail: JailOption = None,
    drop: Annotated[bool, typer.Option("--drop", help="Forget them instead.")] = False,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> int:
    """Make the bans of a surge that jails with surge = hold keep back.

    \b
    Examples:
      stockade release --limit web1
      stockade release --jail nginx-botsearch --drop
    """
    options = Options(inventory, limit, json, parallel, debug).over(context)
    return actions.order(options, Request("release", jail or "", words=("drop",) if drop else ()))


@app.command()
def ban(
    context: typer.Context,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS")],
    jail: Annotated[str, typer.Option("--jail", "-j", metavar="JAIL", help="The jail that bans.")],
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> int:
    """Ban addresses or networks; an agent refuses those that are never banned.

    \b
    Examples:
      stockade ban 192.0.2.7 --jail sshd
      stockade ban 2001:db8::/64 198.51.100.3 --jail sshd --limit web
    """
    options = Options(inventory, limit, json, parallel, debug).over(context)
    return actions.order(options, Request("ban", jail, tuple(addresses)))


@app.command()
def unban(
    context: typer.Context,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="ADDRESS", show_default=False)
    ] = None,
    jail: JailOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every ban.")] = False,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
    debug: DebugOption = False,
) -> int:
    """Lift bans; a network stands for all that is banned within it.

    \b
    Examples:
      stockade unban 192.0.2.7
      stockade unban 192.0.2.0/24 --jail sshd --limit web
      stockade unban --all --limit web1
    """
    if every == bool(addresses):
        raise typer.BadParameter("give addresses, or --all")
    options = Options(inventory, limit, json, parallel, debug).over(context)
    return actions.order(options, Request("unban", jail or "", tuple(addresses or ("all",))))


@app.command()
def hosts(
    context: typer.Context,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
) -> int:
    """List the hosts as the inventory resolves them; no host is asked.

    \b
    Example:
      stockade hosts --limit 'web:&paris'
    """
    return actions.hosts(Options(inventory, limit, json).over(context))


@app.command()
def hostkeys(
    context: typer.Context,
    approve: Annotated[
        bool, typer.Option("--approve", help="Append the new keys to DIR/known_hosts.")
    ] = False,
    inventory: InventoryOption = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    parallel: ParallelOption = None,
) -> int:
    """Show the keys by which hosts are known, and approve new ones.

    Compare each fingerprint with what the host itself says on its console:
    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub

    A changed key is never approved here: once you know why it changed, remove
    its old line from known_hosts first.

    \b
    Examples:
      stockade hostkeys --limit web1
      stockade hostkeys --limit web1 --approve
    """
    return actions.hostkeys(
        Options(inventory, limit, json, parallel).over(context), approve=approve
    )


@app.command()
def version() -> int:
    """Print the version."""
    print(__version__)
    return actions.OK
