# SPDX-License-Identifier: MIT
"""Leads an action through an order, one command after the other, and says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Protocol

from stockade_agent.firewall.action import Action, Step, Steps
from stockade_agent.firewall.pool import Slow
from stockade_agent.firewall.process import Ended, Shell


_ASKED = ("ip-host", "fq-hostname")


class Run(Protocol):
    """Runs a step's command, in a worker's thread."""

    def __call__(self, step: Step, slow: Slow) -> Ended:
        """Run it to its end; call ``slow`` when that takes long."""


@dataclass(frozen=True)
class Result:
    """What became of an order to one action.

    Attributes:
        order: ``start``, ``ban``, ``reban``, ``digest``, ``prolong``, ``unban``, ``flush``,
            ``check``, ``reload`` or ``stop``.
        id: whose ban it was about, or "".
        problem: which command failed and what it said, even where a repair made all well;
            hostile text.
        again: seconds until it is tried again, or None.
        lost: its chain or set had to be made anew, so its bans are gone: ``reban`` them.
    """

    jail: str
    action: str
    order: str
    id: str
    ok: bool
    problem: str = ""
    again: Optional[float] = None
    lost: bool = False


def in_shell(shell: Shell) -> Run:
    """Return the ``Run`` that asks for the values and starts processes."""

    def run(step: Step, slow: Slow) -> Ended:
        if not step.script.tags.isdisjoint(_ASKED):
            slow()  # a name server may be
        variables = step.script.environment(step.values, echo_escapes=shell.echo_escapes)
        return shell.run(step.script.text, variables, step.timeout, slow)

    return run


def done(
    run: Run, jail: str, action: Action, order: str, id_: str, steps: Steps, slow: Slow
) -> Result:
    """Run what an order takes; never raises.

    Args:
        steps: of the action, for the order.
    """
    epoch, problem = action.epoch, ""
    try:
        step = next(steps)
        while True:
            ended = run(step, slow)
            if not ended.ok and step.command != "actioncheck":
                problem = f"{step.command}: {ended.problem}"
            step = steps.send(ended.ok)
    except StopIteration as stop:
        ok = bool(stop.value)
    except Exception as error:  # noqa: BLE001 - it is tried again, and the lane goes on
        ok, problem = False, f"{type(error).__name__}: {error}"
    return Result(
        jail=jail,
        action=action.name,
        order=order,
        id=id_,
        ok=ok,
        problem=problem,
        lost=action.epoch != epoch,
    )
