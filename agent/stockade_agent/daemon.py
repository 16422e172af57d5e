# SPDX-License-Identifier: MIT
"""The agent as a process: one loop, signals, timers, the control socket, systemd.

Nothing else in the agent asks the clock.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Callable, Optional, TextIO

from stockade_agent import __version__, answers, heap, status
from stockade_agent.control.access import Peer
from stockade_agent.control.protocol import READS, Request
from stockade_agent.control.server import Server
from stockade_agent.errors import ConfigError, ControlError
from stockade_agent.guards import read
from stockade_agent.log import Log
from stockade_agent.loop import Loop
from stockade_agent.notify import Notify
from stockade_agent.outlets.choice import outlet
from stockade_agent.pipe import JOURNALCTL, Pipe
from stockade_agent.specs import AgentSpec


COMMIT = 1.0
"""Seconds that positions and totals may wait for being written; a ban never waits."""
HEAL = 10.0
"""Seconds until a ledger that failed is tried again."""
PURGE = 3600.0
"""Seconds between two looks for what the ledger may forget."""
JUMP = 2.0
"""Seconds by which the clock must have been set to matter: timeouts in the kernel go by another."""
LATE = 0.001
"""Seconds after its end that a ban is lifted: it is in force up to that moment."""


class Daemon:
    """The agent at work.

    Args:
        directory: the configuration.
        stream: where log lines go.
        firewall: a backend instead of the configured one; ``memory`` for tests.
        environment: what systemd says is in it.
        journalctl: the command.

    Raises:
        ConfigError: the configuration cannot be used at all.
        ControlError: another agent runs on the same socket.
    """

    def __init__(
        self,
        directory: str,
        *,
        stream: TextIO,
        environment: Mapping[str, str],
        firewall: str = "",
        journalctl: Sequence[str] = JOURNALCTL,
    ) -> None:
        self._directory, self._over = directory, False
        self._drift = time.time() - time.monotonic()
        self._notify = Notify(environment, os.getpid())
        found = read(directory)
        self._log = Log(stream, found.agent.loglevel, prefixed=not stream.isatty())
        self._outlet = partial(
            outlet, stream=stream, environment=environment, now=time.time, clock=time.monotonic
        )
        self._log.to(self._outlet(found.agent))
        self._server = Server(found.agent.socket, time.monotonic)
        self._admit(found.agent)
        self._loop = Loop(time.monotonic)
        self._pipe = Pipe(found, time.time(), self._log, firewall, journalctl, clock=time.monotonic)

    def run(self, settled: Callable[[], None] = lambda: None) -> None:
        """Protect the host until a signal ends it; bans stay in force afterwards.

        Args:
            settled: is called once it is ready.
        """
        self._log.info(f"stockade-agent {__version__} on Python {status.python()}")
        self._loop.on_signal(signal.SIGTERM, self._end)
        self._loop.on_signal(signal.SIGINT, self._end)
        self._loop.on_signal(signal.SIGHUP, self._hangup)
        try:
            with self._log.together():
                self._pipe.start(time.time())
            self._loop.listen("control", (self._server.fileno(),), self._serve)
            self._loop.listen("names", (self._pipe.resolver.fileno,), self._names_resolved)
            self._loop.listen("rules", self._pipe.healing.filenos(), self._rules_changed)
            self._follow()
            self._sign_of_life()
            self._purge()
            self._notify.ready(self._pipe.summary())
            self._log.info(f"ready: {self._pipe.summary()}")
            settled()
            heap.trim()
            while not self._over:
                self._look_at_the_clock()
                self._schedule()
                self._loop.turn()
        finally:
            self._notify.stopping()
            self._pipe.close(time.time())
            self._server.close()
            self._loop.close()
            self._log.info("stopped; bans stay in force")

    # ---- sources

    def _follow(self) -> None:
        """Wait for all sources; what they have already is not announced by anything."""
        for name in self._pipe.intake.sources:
            self._loop.after(name, 0.0, partial(self._take, name))

    def _take(self, name: str) -> None:
        with self._log.together():
            self._pipe.take(name, time.time())
        source, take = self._pipe.intake.sources[name], partial(self._take, name)
        self._loop.listen(name, source.filenos(), take)
        self._loop.after(name, source.due(), take)

    def _names_resolved(self) -> None:
        self._pipe.names_resolved(time.time())

    def _rules_changed(self) -> None:
        self._pipe.healing.changed(time.time())

    # ---- timers

    def _look_at_the_clock(self) -> None:
        """See whether it was set, or the machine slept: each ban is to end when the ledger says."""
        now = time.time()
        drift = now - time.monotonic()
        if abs(drift - self._drift) < JUMP:
            return
        self._log.warning(f"the clock was set by {drift - self._drift:+.0f} s")
        self._drift = drift
        self._pipe.unban_due(now)
        self._pipe.retry(now)

    def _schedule(self) -> None:
        """Set the timers that what has just happened asks for."""
        end = self._pipe.guards.next_due()
        wait = None if end is None else end - time.time() + LATE
        self._loop.after("unban", wait, self._unban_due)
        late = self._pipe.resolver.wait(time.time())
        self._loop.after("names late", late, self._names_resolved)
        records = self._pipe.records
        self._once("commit", COMMIT if records.behind else None, self._commit)
        ails = records.problem or self._pipe.brake.file.problem
        self._once("heal", HEAL if ails else None, self._heal)
        self._once("firewall", self._pipe.enforcement.retry, self._retry)
        self._once("mend", self._pipe.healing.wait, self._mend)
        self._once("poll", self._pipe.healing.pace, self._mend)
        self._once("batch", self._pipe.wait, self._carry_out)
        if self._pipe.actions is not None:
            self._loop.listen("actions", (self._pipe.actions.fileno,), self._acted)

    def _once(self, name: str, seconds: Optional[float], call: Callable[[], None]) -> None:
        if seconds is None or not self._loop.waiting(name):
            self._loop.after(name, seconds, call)

    def _unban_due(self) -> None:
        self._pipe.unban_due(time.time())

    def _commit(self) -> None:
        self._pipe.records.commit(time.time())
        self._notify.status(self._pipe.summary())
        heap.trim()

    def _heal(self) -> None:
        self._pipe.heal_ledger(time.time())

    def _carry_out(self) -> None:
        self._pipe.carry_out(time.time())

    def _acted(self) -> None:
        self._pipe.acted(time.time())

    def _retry(self) -> None:
        self._pipe.retry(time.time())

    def _mend(self) -> None:
        self._pipe.healing.look(time.time())

    def _purge(self) -> None:
        self._pipe.purge(time.time())
        self._loop.after("purge", PURGE, self._purge)

    def _sign_of_life(self) -> None:
        if self._notify.interval is not None:
            self._notify.alive()
            self._loop.after("watchdog", self._notify.interval, self._sign_of_life)

    # ---- requests and signals

    def _serve(self) -> None:
        self._server.serve(self._answer)
        self._loop.after("control", self._server.due(), self._serve)
        heap.trim()

    def _answer(self, request: Request, peer: Peer) -> Any:
        """Return the result of a request; see ``control.protocol``."""
        if request.command not in READS and not peer.rules:
            raise ControlError(f"only root may {request.command}")
        if request.command == "reload":
            return self._reload(request)
        result = answers.answer(self._pipe, request, time.time())
        if request.command == "status":
            result["faults"] = (*result["faults"], *self._troubles())
        return result

    def _admit(self, spec: AgentSpec) -> None:
        """Let the group read that the settings name, or note why it cannot."""
        self._closed_to = ""
        try:
            self._server.admit(spec.socketgroup)
        except ControlError as error:
            self._closed_to = str(error)
        self._log.problem("control socket", self._closed_to, "WARNING")

    def _troubles(self) -> list[str]:
        """Return what is wrong with the process itself, a line each."""
        return [trouble for trouble in (self._closed_to, self._log.trouble) if trouble]

    def _reload(self, request: Request) -> dict[str, list[str]]:
        """Take the configuration as it is now, or raise and keep the old one."""
        former, now = self._pipe.intake, time.time()
        found, afresh = answers.asked(self._pipe, request, read(self._directory))
        self._pipe.reload(now, found, afresh)
        self._admit(found.agent)
        # A file is opened anew: somebody may have taken it away.
        self._log.to(self._outlet(found.agent))
        for name in former.sources:
            self._loop.forget(name)
        self._follow()
        if answers.UNBAN in request.words and request.jail in ("", *self._pipe.guards):
            self._pipe.unban(request.jail, ["all"], now)
        self._log.info(f"reloaded: {self._pipe.summary()}")
        guards = self._pipe.guards
        return {"jails": sorted(guards), "faults": [str(fault) for fault in guards.faults]}

    def _hangup(self) -> None:
        self._notify.reloading(time.monotonic())
        try:
            self._reload(Request("reload"))
        except (ConfigError, ControlError) as error:
            self._log.error(f"reload: {error}")
        self._notify.ready(self._pipe.summary())

    def _end(self) -> None:
        self._over = True
