# SPDX-License-Identifier: MIT
"""The steps that bring one host what it lacks; called in that host's greenlet."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from pyinfra.api.exceptions import NestedOperationError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import State
from pyinfra.facts.server import Command
from pyinfra.operations import apt, dnf, server

from stockade.bootstrap.epel import epel


Tell = Callable[[str], None]
Did = list[tuple[str, str, str]]

FRESH = 1440
"""Minutes that an apt index is good for, unless a package cannot be had by it."""


class StepError(Exception):
    """A step failed; the text is one line for a person."""


def bring(state: State, host: Host, job: Mapping[str, Any], tell: Tell, did: Did) -> None:
    """Install what the job names, then run the deploys of the host's roles.

    ``did`` collects ``(kind, name, action)`` as things change.

    Raises:
        StepError: with the package manager's own last words.
    """
    packages = list(job["packages"])
    if packages and job["manager"] == "apt":
        _apt(state, host, packages, tell)
    elif packages and job["manager"] == "dnf":
        if job["epel"]:
            _epel(state, host, job, tell, did)
        tell(f"dnf install {' '.join(packages)}")
        _run(state, host, lambda: dnf.packages(name="install", packages=packages))
    elif packages:
        raise StepError(f"no package manager of ours on {job['distribution']}")
    did += [("package", name, "install") for name in packages]
    for place in job["deploys"]:
        tell(f"deploy {place}")
        try:
            if _run(state, host, _deploy(place)):
                did.append(("deploy", place, "update"))
        except StepError as error:
            raise StepError(f"deploy {place}: {error}") from error


def _apt(state: State, host: Host, packages: list[str], tell: Tell) -> None:
    words = shlex.join(packages)
    # Debian's lists carry the mirror's dates; only the folder tells when they were fetched.
    asked = (
        f'[ -n "$(find /var/lib/apt/lists -maxdepth 0 -mmin -{FRESH})" ]'
        f" && apt-get --simulate install {words} >/dev/null 2>&1 && echo fresh || echo old"
    )
    tell("looking at apt's index")
    if host.get_fact(Command, asked) != "fresh":
        tell("apt-get update")
        _run(state, host, lambda: apt.update(name="update", _retries=2, _retry_delay=5))
    tell(f"apt-get install {' '.join(packages)}")
    _run(
        state,
        host,
        lambda: apt.packages(
            name="install",
            packages=packages,
            no_recommends=True,
            extra_install_args="-o DPkg::Lock::Timeout=300",
        ),
    )


def _epel(state: State, host: Host, job: Mapping[str, Any], tell: Tell, did: Did) -> None:
    """Bring the EPEL repository, unless the enabled ones have the packages already."""
    wanted = list(job["epel"])
    tell("looking for EPEL")
    query = f"dnf -q repoquery --qf '%{{name}}\\n' {shlex.join(wanted)} 2>/dev/null || true"
    offered = (host.get_fact(Command, query) or "").split()
    if set(wanted) <= set(offered):
        return
    way = epel(job["distribution"], job["epel_url"])
    if way.refusal:
        raise StepError(f"{', '.join(wanted)}: {way.refusal}")
    tell(f"dnf install {way.release}")
    if _run(state, host, lambda: dnf.packages(name="EPEL", packages=[way.release])):
        did.append(("package", way.release, "install"))
    if way.builder:
        tell("enabling the repository that EPEL leans on")
        # Best effort: most packages of EPEL do without, and the install below tells.
        _run(state, host, lambda: server.shell(name="CRB", commands=[f"( {way.builder} ) || true"]))


def _deploy(place: str) -> Callable[[], Any]:
    module, _, function = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise StepError(str(error)) from error
    if not callable(found):
        raise StepError("it is no function")
    return found  # type: ignore[no-any-return] # what a user's module holds


def _run(state: State, host: Host, operation: Callable[[], Any]) -> bool:
    """Run operations at once and return whether any of them changed the host."""
    before = len(host.op_hash_order)
    try:
        operation()
    except NestedOperationError:
        raise StepError(_last_words(state, host)) from None
    except PyinfraError as error:
        raise StepError(f"{type(error).__name__}: {error}") from error
    if host in state.failed_hosts:
        raise StepError("a fact could not be read from the host")
    return any(_meta(state, host, done).did_change() for done in host.op_hash_order[before:])


def _meta(state: State, host: Host, done: str) -> OperationMeta:
    return state.get_op_data_for_host(host, done).operation_meta


def _last_words(state: State, host: Host) -> str:
    meta = _meta(state, host, host.op_hash_order[-1])
    lines = [line.strip() for line in (meta.stderr_lines or meta.stdout_lines) if line.strip()]
    return " / ".join(lines[-3:])[:500] or "it failed without a word"
