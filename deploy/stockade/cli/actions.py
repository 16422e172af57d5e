# SPDX-License-Identifier: MIT
"""What each command does, and the exit code that its outcome earns."""

from __future__ import annotations

import getpass
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, NamedTuple

import typer
from rich.console import Console

from stockade import bundle, inventory, roles
from stockade.cli.options import Options
from stockade.errors import InputError, StockadeError
from stockade.inventory import Inventory
from stockade.model import Host, HostResult, Manifest, Mode
from stockade.plan import plan as compile_manifests
from stockade.push import Fleet, Settings
from stockade.remote import KnownHosts, Remote
from stockade.report import agents, answers, json, keys, terminal
from stockade.report.text import names
from stockade_agent.control.protocol import Request


OK, WRONG, CHANGES, FAILED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130
PARALLEL = 50
STATUS = Request("status")
VERBS: dict[Mode, str] = {"check": "planning", "push": "pushing", "ask": "asking"}


class Ended(NamedTuple):
    """A run over hosts: results in the inventory's order, and the exit code they earn."""

    results: tuple[HostResult, ...]
    code: int


def plan(options: Options, *, diff: bool) -> int:
    """Say what a push would change."""
    ended = _compiled("plan", options, "check", diff=diff)
    if not options.json:
        console = Console()
        terminal.show_changes(console, ended.results, diff=diff)
        terminal.show_notes(console, ended.results)
        terminal.show_problems(console, ended.results)
        answers.show_pauses(console, ended.results)
        console.print(terminal.summary(ended.results, planned=True), highlight=False)
    return ended.code


def push(options: Options, *, diff: bool) -> int:
    """Make the hosts what the inventory says."""
    ended = _compiled("push", options, "push", diff=diff)
    if not options.json:
        console = Console()
        if diff:
            terminal.show_changes(console, ended.results, diff=True)
        terminal.show_results(console, ended.results)
        terminal.show_notes(console, ended.results)
        terminal.show_problems(console, ended.results)
        answers.show_pauses(console, ended.results)
        console.print(terminal.summary(ended.results, planned=False), highlight=False)
    return ended.code


def status(options: Options, host: str | None, jail: str | None) -> int:
    """Ask the agents."""
    fleet = _inventory(options)
    ended = _asked(options, fleet, fleet.hosts(host or options.limit), Request("status"))
    if not options.json:
        console = Console()
        if host is not None and len(ended.results) == 1:
            agents.show_host(console, ended.results[0], jail)
        else:
            agents.show_status(console, ended.results, jail)
        answers.show_pauses(console, ended.results)
    return ended.code


def order(options: Options, request: Request, question: str = "", *, sure: bool = True) -> int:
    """Have the agents do something.

    Args:
        question: what is asked of a person before more hosts than one are told, ``{}`` being
            which; unless he is ``sure``.

    Raises:
        StockadeError: nobody is there who could say that he is sure.
    """
    fleet = _inventory(options)
    chosen = fleet.hosts(options.limit)
    if not sure and len(chosen) > 1:
        many = f"{len(chosen)} hosts ({names([host.name for host in chosen])})"
        if not sys.stdin.isatty():
            raise StockadeError(
                f"{request.command} would be for {many}, and there is no terminal to ask",
                remedy="--yes does it, --limit names fewer",
            )
        if not typer.confirm(question.format(many), err=True):
            print("stockade: nothing was done", file=sys.stderr)
            return WRONG
    ended = _asked(options, fleet, chosen, request)
    if not options.json:
        console = Console()
        answers.show_answers(console, request, ended.results)
        console.print(answers.summary(request, ended.results), highlight=False)
    return ended.code


def person() -> str:
    """Return who sits here, and at which machine."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a number that has no name
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


def hosts(options: Options) -> int:
    """List the hosts."""
    chosen = _inventory(options).hosts(options.limit)
    if options.json:
        print(json.listing("hosts", [_plain(host) for host in chosen], OK))
    else:
        terminal.show_hosts(Console(), chosen)
    return OK


def hostkeys(options: Options, *, approve: bool) -> int:
    """Show hosts' keys, and put new ones on record."""
    fleet = _inventory(options)
    known = KnownHosts.load(fleet.known_hosts)
    chosen = fleet.hosts(options.limit)
    offers, troubles = Remote(known).offers(chosen, options.parallel or PARALLEL)
    new = [offer for offer in offers if offer.state == "new"]
    if approve and new:
        known.approve((offer.host.address, offer.host.port, offer.key) for offer in new)
    changed = any(offer.state == "changed" for offer in offers)
    code = UNREACHABLE if troubles or changed else OK
    shown = [
        keys.Shown(
            offer.host.name,
            offer.host.address,
            offer.host.port,
            offer.key.kind,
            offer.key.fingerprint,
            "approved" if approve and offer.state == "new" else offer.state,
        )
        for offer in offers
    ]
    if options.json:
        lines = [one._asdict() for one in shown]
        lines += [{"name": error.host, "error": str(error)} for error in troubles]
        print(json.listing("hostkeys", lines, code))
    else:
        keys.show(Console(), shown, troubles, fleet.known_hosts)
    return code


def _inventory(options: Options) -> Inventory:
    if not options.folder.exists():
        raise InputError(
            "there is no inventory here",
            path=str(options.folder),
            remedy="stockade init DIR writes one, -i DIR names another",
        )
    return inventory.load(options.folder)


def _compiled(command: str, options: Options, mode: Mode, *, diff: bool) -> Ended:
    fleet = _inventory(options)
    chosen = fleet.hosts(options.limit)
    manifests = compile_manifests(fleet, roles.load(fleet.folder), chosen, bundle.build())
    jobs = list(zip(chosen, manifests, strict=True))
    return _over_hosts(command, options, fleet, jobs, mode, diff=diff)


def _asked(options: Options, fleet: Inventory, chosen: Sequence[Host], request: Request) -> Ended:
    jobs = [(host, Manifest(host.name, ())) for host in chosen]
    return _over_hosts(request.command, options, fleet, jobs, "ask", diff=False, ask=request)


def _over_hosts(
    command: str,
    options: Options,
    fleet: Inventory,
    jobs: Sequence[tuple[Host, Manifest]],
    mode: Mode,
    *,
    diff: bool,
    ask: Request = STATUS,
) -> Ended:
    console = Console(stderr=True)
    results: dict[str, HostResult] = {}
    left: dict[str, str] = {}
    remote = Remote(KnownHosts.load(fleet.known_hosts))
    with terminal.Progressing(console, VERBS[mode], len(jobs)) as shown:
        run = Fleet(
            remote,
            parallel=options.parallel or PARALLEL,
            settings=Settings(diff=diff or options.json, trace=options.debug, ask=ask),
            progress=shown.phase,
            folders=(fleet.folder, fleet.folder / "roles"),
        )
        with _gentle_interrupt(run, shown.say) as interrupts:
            try:
                for result in run.run(jobs, mode):
                    results[result.host] = result
                    shown.done(result)
            except KeyboardInterrupt:
                left = run.under_way
    ordered = tuple(results[host.name] for host, _ in jobs if host.name in results)
    code = _code(ordered, planned=mode == "check")
    waiting = [host.name for host, _ in jobs if host.name not in results and host.name not in left]
    if interrupts:
        code = INTERRUPTED
        terminal.show_interrupted(console, len(ordered), left, waiting)
    if options.json:
        print(
            json.document(
                command,
                ordered,
                code,
                under_way=left,
                not_begun=waiting,
                interrupted=bool(interrupts),
            )
        )
    return Ended(ordered, code)


@contextmanager
def _gentle_interrupt(run: Fleet, say: Callable[[str], None]) -> Iterator[list[int]]:
    """Let the first Ctrl-C end the run after the hosts under way, and the second at once."""
    seen: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        seen.append(number)
        run.stop()
        if len(seen) > 1:
            raise KeyboardInterrupt
        say(f"finishing {len(run.under_way)} hosts under way; Ctrl-C again leaves them")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _code(results: Sequence[HostResult], *, planned: bool) -> int:
    outcomes = {result.outcome for result in results}
    if outcomes & {"failed", "refused"} or answers.has_no_jail(results):
        return FAILED
    if "unreachable" in outcomes:
        return UNREACHABLE
    return CHANGES if planned and "changed" in outcomes else OK


def _plain(host: Host) -> dict[str, Any]:
    data = {key: value for key, value in vars(host).items() if key != "become_password"}
    data["variables"] = dict(host.variables)
    data["places"] = {name: asdict(place) for name, place in host.places.items()}
    return data
