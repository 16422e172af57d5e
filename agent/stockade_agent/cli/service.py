# SPDX-License-Identifier: MIT
"""``run``: the agent itself, which stays in memory for months.

What only reads a command line, or is never called, is kept out of it: ``argparse`` and what it
brings take 1.1 MB, ``inspect`` for ``dataclasses`` 0.9 MB, ``locale`` for ``subprocess`` 0.4 MB.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, Callable, Optional

from stockade_agent.cli.codes import DIRECTORY, OK


NAME = "run"
FIREWALLS = ("auto", "nftables", "iptables", "firewalld", "memory")
_OPTIONS = {"-c": "config", "--config": "config", "--firewall": "firewall"}


def plain(words: Sequence[str]) -> Optional[Callable[[], int]]:
    """Return what a command line calls that runs the agent and needs no parser, else None.

    None does not mean that it is wrong: whatever is not as units write it goes to ``parser``.
    """
    names, values = words[1::2], words[2::2]
    known = list(words[:1]) == [NAME] and len(names) == len(values) and set(names) <= set(_OPTIONS)
    if not known or any(not value or value.startswith("-") for value in values):
        return None
    given = {_OPTIONS[name]: value for name, value in zip(names, values)}
    if given.get("firewall", FIREWALLS[0]) not in FIREWALLS:
        return None
    return partial(agent, **given)


def agent(config: str = DIRECTORY, firewall: str = "") -> int:
    """Run the agent until a signal ends it."""
    _later("inspect")
    _later("locale")
    from stockade_agent.daemon import Daemon  # noqa: PLC0415 - only `run` needs the whole agent

    daemon = Daemon(config, stream=sys.stderr, firewall=firewall, environment=os.environ)
    # The bans that it begins with stay: looking for garbage among them is a tenth of its start.
    gc.disable()
    daemon.run(_settle)
    return OK


def _settle() -> None:
    """Have garbage looked for from now on, but never again in what is there already."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _later(name: str) -> None:
    """Have a module loaded by whoever first wants something of it, if anybody ever does."""
    # ``importlib.util.LazyLoader`` would load it at the first ``import`` (before Python 3.12).
    if name in sys.modules:
        return
    promise = ModuleType(name)

    def wanted(attribute: str) -> Any:
        if sys.modules.get(name) is promise:
            del sys.modules[name]
        return getattr(import_module(name), attribute)

    promise.__getattr__ = wanted  # type: ignore[method-assign]
    sys.modules[name] = promise
