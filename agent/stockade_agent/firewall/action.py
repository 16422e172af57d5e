# SPDX-License-Identifier: MIT
"""An action of action.d: which commands, in what order, for what happens to a jail.

Pure: every method is a generator that yields the ``Step`` to be run next, is sent whether that
went well, and returns whether all did. ``actions`` runs them.

    start ─▶ actionstart, for each family; with actionstart_on_demand at a family's first ban
    ban ───▶ actionban ─ failed ─▶ actioncheck ─ failed ─▶ actionrepair, or actionstop + actionstart
                  ▲                     │ well                          │
                  └───────── once more ─┴──────────── actioncheck ◀─────┘
    stop ──▶ actionstop, for each family that was started

Source:
    jail.conf(5), "ACTION FILES", and what fail2ban 1.1 does. Where we differ on purpose:
    docs/conformance.md, "Actions".
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.script import Script, compiled
from stockade_agent.firewall.tags import FAMILIES, Facts, Names, Values, expand, is_kept
from stockade_agent.model import Ban
from stockade_agent.specs import ActionSpec


COMMANDS = (
    "actionstart",
    "actionban",
    "actionreban",
    "actionunban",
    "actioncheck",
    "actionrepair",
    "actionflush",
    "actionstop",
    "actionreload",
    "actiondigest",
)
TIMEOUT = 60.0
"""Seconds that a command may take unless the action has a ``timeout``."""

_CONDITIONAL = re.compile(r"\w+\?family=")
_TRUE = frozenset(("1", "on", "true", "yes"))


@dataclass(frozen=True)
class Step:
    """One command to be run.

    Attributes:
        command: ``actionban``, ``actioncheck``, …
        family: ``inet4``, ``inet6`` or "".
        script: its text, the same for every ban.
        values: what its variables hold.
    """

    command: str
    family: str
    script: Script
    values: Values
    timeout: float


Steps = Generator[Step, bool, bool]


class Action:
    """What one action of one jail has been told to do, and what it takes to do more.

    Args:
        names: for ``<ip-host>`` and the like.
        timeout: of each command, in seconds.
        inet6: whether this host has IPv6 at all.

    Attributes:
        name: the ``actname``.
        norestored: it is not to be told of bans that were in force before the agent started.
        prolongs: it has an ``actionprolong``.
        flushes: it can undo all bans at once.
        digests: it can tell of many bans at once.
        holds: it has bans in force, rather than only telling of them.
        tags: the run-time tags in its commands.
        recalls: the commands that need a ban's matches or data.
        epoch: how often its bans were lost: their chain or set had to be made anew.

    Raises:
        FirewallError: a command has a tag that leads to itself, or stands where no value can.
    """

    def __init__(
        self, spec: ActionSpec, names: Names, *, timeout: float = TIMEOUT, inet6: bool = True
    ) -> None:
        self.names = names
        self.epoch = 0
        # family -> whether it has bans, or None if it has to be started again.
        self._started: dict[str, Optional[bool]] = {}
        self._executed: dict[str, dict[str, object]] = {}
        self._configure(spec, timeout, inet6=inet6)

    def _configure(self, spec: ActionSpec, timeout: float, *, inet6: bool) -> None:
        properties = dict.fromkeys(COMMANDS, "")
        properties.update(spec.definition)
        properties.update(spec.parameters)
        properties.pop("bantime", None)  # a ban has its own
        properties["timeout"] = f"{timeout:g}"
        conditional = any(_CONDITIONAL.match(name) for name in properties)
        families = properties.get("families", "").replace(",", " ").split()
        if not families and conditional:
            families = [*FAMILIES] if inet6 else [FAMILIES[0]]
        scripts: dict[tuple[str, str], Script] = {}
        for command in (*COMMANDS, "actionprolong"):
            for family in ("", *FAMILIES):
                scripts[command, family] = _script(command, family, properties)
        self.name = spec.name
        self._scripts = scripts
        self._timeout = timeout
        self._families = families or [""]
        on_demand = properties.get("actionstart_on_demand")
        self._on_demand = conditional if on_demand is None else _true(on_demand)
        self._repairs_on_unban = _true(properties.get("actionrepair_on_unban", ""))
        self._checks = properties["actioncheck"] != ""
        self._rebans = properties["actionreban"] != ""
        self.norestored = not spec.restores
        self.prolongs = properties.get("actionprolong", "").strip() != ""
        self.flushes = properties["actionflush"] != ""
        self.holds = spec.holds
        self.digests = self.norestored and properties["actiondigest"].strip() != ""
        self.tags = frozenset(tag for script in scripts.values() for tag in script.tags)
        self.recalls = frozenset(
            command
            for (command, _), script in scripts.items()
            if any(is_kept(tag) for tag in script.tags)
        )

    # ---- what happens to a jail ---------------------------------------------------------------

    def start(self, facts: Facts, *, left: bool = False) -> Steps:
        """Begin; where it starts on demand, nothing is to be done yet.

        Args:
            left: an agent before this one may have left it started.
        """
        if self._on_demand:
            return True
        missing = [family for family in self._families if not self._runs(family)]
        done = yield from self._start(missing, facts)
        if not done and left:
            missing = [family for family in missing if not self._runs(family)]
            yield from self._stop(missing, facts)
            done = yield from self._start(missing, facts)
        return done

    def ban(self, ban: Ban, facts: Facts, *, left: bool = False) -> Steps:
        """Refuse an id.

        Args:
            left: an agent before this one may have left it refused.
        """
        done = yield from self._ban("actionban", ban, facts)
        values = Values(facts, self.names, ban)
        if done or not left or not self._scripts["actionunban", values.family].text:
            return done
        yield self._step("actionunban", values)
        return (yield from self._ban("actionban", ban, facts))

    def reban(self, ban: Ban, facts: Facts) -> Steps:
        """Refuse an id again whose ban was lost."""
        command = "actionreban" if self._rebans else "actionban"
        return (yield from self._ban(command, ban, facts))

    def digest(self, ban: Ban, facts: Facts) -> Steps:
        """Tell of many bans, for which one stands."""
        return (yield self._step("actiondigest", Values(facts, self.names, ban)))

    def prolong(self, ban: Ban, facts: Facts) -> Steps:
        """Move the end of a ban."""
        return (yield from self._process("actionprolong", Values(facts, self.names, ban)))

    def unban(self, ban: Ban, facts: Facts, *, left: bool = False) -> Steps:
        """Accept an id again; nothing is to be done if nothing of its family was refused.

        Args:
            left: an agent before this one may have left it refused; nobody knows.
        """
        values = Values(facts, self.names, ban)
        if left:
            if self._scripts["actionunban", values.family].text:
                yield self._step("actionunban", values)
            return True
        if not self._started.get(values.family):
            return True
        return (yield from self._process("actionunban", values))

    def flush(self, facts: Facts) -> Steps:
        """Accept everything again."""
        full = [family for family, has_bans in self._started.items() if has_bans]
        self._executed.pop("actionflush", None)
        well = True
        for family in full:
            done = yield from self._operate("actionflush", family, facts)
            if done and self._runs(family):
                self._started[family] = False
            well = well and done
        return well

    def stop(self, facts: Facts) -> Steps:
        """End; what was started is undone."""
        families = self._running()
        self._started = {}
        return (yield from self._stop(families, facts))

    def reload(
        self, spec: ActionSpec, facts: Facts, *, timeout: float = TIMEOUT, inet6: bool = True
    ) -> Steps:
        """Take on another specification; what was started stays."""
        self._configure(spec, timeout, inet6=inet6)
        self._executed.clear()
        well = True
        for family in self._running():
            well = (yield from self._operate("actionreload", family, facts)) and well
        return well

    def check(self, facts: Facts, *, stopping: bool = False) -> Steps:
        """See whether all that was started is still there, and repair what is not.

        Args:
            stopping: it is not worth repairing, but for ``actionrepair_on_unban``.
        """
        well = True
        if self._checks:
            repair = self._repairs_on_unban or not stopping
            for family in self._running():
                if not self._runs(family):
                    continue  # it was one thing with another one
                sane = yield from self._sane(family, facts, repair=repair)
                if not sane:
                    self._started[family] = None
                    self._forget("actionstart", family)
                well = well and sane
        return well

    def _runs(self, family: str) -> bool:
        return self._started.get(family) is not None

    def _running(self) -> list[str]:
        return [family for family in self._started if self._runs(family)]

    # ---- commands for each family -------------------------------------------------------------

    def _start(self, families: Iterable[str], facts: Facts) -> Steps:
        well = True
        for family in families:
            done = yield from self._operate("actionstart", family, facts)
            if done:
                self._forget("actionstop", family)
                self._started[family] = False
            well = well and done
        return well

    def _stop(self, families: Iterable[str], facts: Facts) -> Steps:
        well = True
        for family in families:
            done = yield from self._operate("actionstop", family, facts)
            if done:
                self._forget("actionstart", family)
            well = well and done
        return well

    def _operate(self, command: str, family: str, facts: Facts) -> Steps:
        """Run a command for a family, unless the same has been run for the other one."""
        script = self._scripts[command, family]
        same = (script.text, family if "family" in script.tags else "")
        executed = self._executed.setdefault(command, {})
        done = True
        if script.text and same not in (what for who, what in executed.items() if who != family):
            done = yield self._step(command, Values(facts, self.names, family=family))
        if done:
            executed[family] = same
        else:
            self._forget(command, family)
        return done

    def _forget(self, command: str, family: str) -> None:
        """Let a command be run once more, for this family and those that share it."""
        executed = self._executed.get(command, {})
        same = executed.pop(family, None)
        for other in [who for who, what in executed.items() if what == same]:
            del executed[other]

    def _step(self, command: str, values: Values) -> Step:
        family = values.family
        return Step(command, family, self._scripts[command, family], values, self._timeout)

    # ---- commands for a ban -------------------------------------------------------------------

    def _ban(self, command: str, ban: Ban, facts: Facts) -> Steps:
        values = Values(facts, self.names, ban)
        family = values.family
        if self._on_demand and not self._runs(family):
            started = yield from self._start([family] if family else self._families, facts)
            if not started:
                return False
        done = yield from self._process(command, values)
        if done:
            self._started[family] = True
        return done

    def _process(self, command: str, values: Values) -> Steps:
        """Run a command; if it fails, see whether its ground is sound and run it once more."""
        if self._scripts[command, values.family].text == "":
            return True
        if (yield self._step(command, values)):
            return True
        if self._checks:
            unban = command == "actionunban"
            sane = yield from self._sane(
                values.family,
                values.facts,
                repair=self._repairs_on_unban or not unban,
                # For an unban nothing is started that a ban will start on demand.
                start=not unban or not self._on_demand,
            )
            if not sane:
                return False
        return (yield self._step(command, values))

    def _sane(self, family: str, facts: Facts, *, repair: bool, start: bool = True) -> Steps:
        """Check, and repair if that fails and is wanted; return whether all is well then."""
        values = Values(facts, self.names, family=family)
        if not self._scripts["actioncheck", family].text:
            return True
        if (yield self._step("actioncheck", values)):
            return True
        if not repair:
            return False
        self.epoch += 1
        if self._scripts["actionrepair", family].text:
            if not (yield self._step("actionrepair", values)):
                self._started[family] = None
                return False
            self._started[family] = False
        elif not (yield from self._restart(family, facts, start=start)):
            return False
        alone = family in self._families
        if not (self._runs(family) if alone else self._running()):
            return True
        return (yield self._step("actioncheck", values))

    def _restart(self, family: str, facts: Facts, *, start: bool) -> Steps:
        # What was started for no family in particular is one thing for all of them.
        alone = family in self._families
        stopped = [each for each in self._running() if each == family or not alone]
        for each in stopped:
            self._started[each] = None
        # It may be broken so that it cannot even be stopped.
        yield from self._stop(stopped, facts)
        if not start:
            return True
        return (yield from self._start([family] if alone else self._families, facts))


def _script(command: str, family: str, properties: Mapping[str, str]) -> Script:
    try:
        return compiled(expand(properties.get(command, ""), properties, family))
    except FirewallError as error:
        error.command = command
        raise


def _true(text: Optional[str]) -> bool:
    return text is not None and text.lower() in _TRUE
