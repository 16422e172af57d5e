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
    InventoryOption,
    JsonOption,
    LimitOption,
    Options,
    ParallelOption,
)


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
    jail: Annotated[
        str | None, typer.Option("--jail", "-j", metavar="JAIL", help="Only this jail.")
    ] = None,
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
