# SPDX-License-Identifier: MIT
"""What stands between a decided ban and the firewall when bans themselves are the trouble.

    brake = Brake(records, log, peers)
    bans = brake.passed(guard, bans, now)   # what of them goes on
    brake.pause(["sshd"], until, now)       # panic: nothing goes on until then, or until
    brake.resume(["sshd"])
    brake.release(guard, now)               # what was held back for an answer

A jail that bans far more than it ever did has a wrong filter, a log whose format changed, a proxy
in front of it, or a large attack. Nobody can tell these apart by the number of bans, so what
happens then is the operator's choice (``surge``), and by default bans go on: whoever commands
many addresses must not be able to switch banning off.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from stockade_agent.guard import Guard
from stockade_agent.ignore import Networks
from stockade_agent.log import Log
from stockade_agent.model import Ban, Target, target
from stockade_agent.pausefile import PauseFile
from stockade_agent.pauses import EVERY, Pause, finite, noted, recalled
from stockade_agent.records import Records
from stockade_agent.specs import Shield


WINDOW = 3600.0
"""Seconds in which bans are counted together."""
HALF_LIFE = 30 * 86400.0
"""Seconds after which the most that a jail ever banned counts half."""
MOST_HELD = 1000
"""Ids that are held back at most; of further ones only the number is known."""
SNAPSHOT = 1.0
"""Seconds for which an answer to who is connected holds: with many, asking takes long."""
FEW_PEERS = 10
"""Peers below which their share tells nothing."""
_NOTE = "brake"

Connected = Callable[[Shield], Collection[Target]]
"""Returns who is connected to the ports that a shield closes."""


@dataclass
class _Crowd:
    """Who was connected to a jail's ports a moment ago, and how many of them were free then.

    Attributes:
        at: when.
        peers: all of them.
        free: those who are not banned, less who was banned since.
    """

    at: float
    peers: Collection[Target]
    free: int

    def hit(self, ban: Ban) -> int:
        """Return how many of them a ban is of."""
        if ban.address is None or "/" not in str(ban.address):
            return int(ban.address in self.peers)
        banned = Networks([ban.address])
        return sum(peer in banned for peer in self.peers)


@dataclass
class _Surge:
    """What is known of one jail's bans.

    Attributes:
        since: when the present window began.
        count: bans in it.
        live: those of them whose address was connected when it was banned.
        peak: the most in any window before.
        peak_at: when that was.
        why: in what it is far more than ever, or "".
        held: ids that wait for an answer.
        missed: how many more there were than are remembered.
    """

    since: float = 0.0
    count: int = 0
    live: int = 0
    peak: float = 0.0
    peak_at: float = 0.0
    why: str = ""
    held: list[str] = field(default_factory=list)
    missed: int = 0

    def move(self, at: float, now: float) -> None:
        """Begin another window if the present one is over by then, or the clock was set back."""
        if at < self.since + WINDOW and self.since <= now:
            return  # a line that came late counts with the present ones
        self.settle()
        self.since, self.count, self.live = at, 0, 0

    def settle(self) -> None:
        """Learn what was usual so far."""
        aged = self.usual(self.since)
        if self.count >= aged:
            self.peak, self.peak_at = float(self.count), self.since
        if not self.held and not self.missed:
            self.why = ""

    def usual(self, at: float) -> float:
        """Return the most that was ever seen, less what time has taken from it."""
        return self.peak * math.pow(2, (min(0.0, self.peak_at - at)) / HALF_LIFE)


class Brake:
    """Pauses, and the surges of all jails.

    Args:
        records: where all of it is noted, so that it holds over a restart.
        log: is told what does not go on.
        connected: who is connected to what a jail protects.
        file: where pauses stand beside the records, or "" for none.

    Attributes:
        file: that file.
    """

    def __init__(self, records: Records, log: Log, connected: Connected, file: str = "") -> None:
        self._records, self._log, self._connected = records, log, connected
        self.file = PauseFile(file, log)
        self._paused = self.file.read()
        self._surges: dict[str, _Surge] = {}
        self._crowds: dict[str, _Crowd] = {}
        self._changed = False
        self._recall()

    def passed(self, guard: Guard, bans: Sequence[Ban], now: float) -> list[Ban]:
        """Return those of a jail's new bans that go on to the firewall.

        The others are forgotten by the jail: it goes on counting, and decides again. Bans by hand
        and longer ones of who is banned already always go on.
        """
        if not bans:
            return []
        self._look(guard, bans, now)
        on = [ban for ban in bans if self._goes_on(guard, ban, now)]
        self._keep()
        return on

    # ---- pauses

    def pause(self, jails: Iterable[str], until: Optional[float], now: float, by: str = "") -> None:
        """Let no ban of these jails go on until then; for None until ``resume``.

        A pause that is in force goes on being the one of who began it.
        """
        standing, jails = self.pauses(now), list(jails)
        self.file.lift(jails, now)
        for jail in jails:
            begun = standing.get(jail, Pause(None, now, by))
            self._paused[jail] = Pause(until, begun.since, begun.by)
        self._changed = True
        self._keep()

    def resume(self, jails: Collection[str]) -> list[str]:
        """End pauses, for ``EVERY`` all of them; return which there were."""
        ended = [jail for jail in self._paused if EVERY in jails or jail in jails]
        for jail in ended:
            del self._paused[jail]
        self._changed = self._changed or bool(ended)
        self._keep()
        return ended

    def is_paused(self, jail: str, now: float) -> bool:
        """Return whether a jail's bans go on to nobody."""
        found = [name for name in dict.fromkeys((EVERY, jail)) if name in self._paused]
        for name in found:
            if self._paused[name].lasts(now):
                return True
            del self._paused[name]
            self._changed = True
            self._keep()
            self._log.notice(f"{f'[{name}] ' if name else ''}the pause is over: bans go on")
        return False

    def all_paused(self, now: float) -> bool:
        """Return whether bans of all jails are paused, not only of some that were named."""
        return self.is_paused(EVERY, now)

    def pauses(self, now: float) -> dict[str, Pause]:
        """Return what is in force, by jail; ``EVERY`` stands for all of them."""
        return {jail: pause for jail, pause in self._paused.items() if pause.lasts(now)}

    def standing(self, bans: Iterable[Ban]) -> Iterator[Ban]:
        """Yield the bans of a ledger but those that a panic lifted when it could not be written."""
        lifted = []
        for ban in bans:
            if not self.file.lifted(ban):
                yield ban
                continue
            lifted.append(ban)
            self._log.notice(f"[{ban.jail}] {ban.id} stays free: bans were paused since")
        self._records.lifted(lifted)

    @property
    def faults(self) -> list[str]:
        """What is wrong with the file of pauses, for the status."""
        return [f"pauses: {self.file.fault}"] if self.file.fault else []

    # ---- surges

    def problem(self, jail: str, now: float) -> str:
        """Return what an operator must know of a jail's bans, pauses apart, or ""."""
        surge = self._surges.get(jail)
        if surge is None or not surge.why:
            return ""
        if not self.held(jail) and now >= surge.since + WINDOW:
            return ""  # it is over, and nothing waits for an answer
        held = self.held(jail)
        ask = f"; {held} held back: stockade-agent release {jail} [--drop]" if held else ""
        return f"surge: {surge.why}{ask}"

    def held(self, jail: str) -> int:
        """Return how many bans of a jail wait for an answer."""
        surge = self._surges.get(jail)
        return len(surge.held) + surge.missed if surge else 0

    def release(self, guard: Guard, now: float, *, drop: bool = False) -> list[Ban]:
        """Take what was held back as usual from now on, and return the bans that it comes to.

        Args:
            guard: the jail's.
            now: seconds, UTC.
            drop: forget them instead; nothing becomes usual by that.
        """
        surge = self._surges.get(guard.name)
        if surge is None:
            return []
        held, surge.held, surge.missed, surge.why = surge.held, [], 0, ""
        if drop:
            surge.count = surge.live = 0
        else:
            surge.peak = max(surge.usual(now), float(surge.count + len(held)))
            surge.peak_at = now
        self._changed = True
        self._keep()
        bans = (self._again(guard, id_, now) for id_ in ([] if drop else held))
        return [ban for ban in bans if ban is not None]

    def _again(self, guard: Guard, id_: str, now: float) -> Optional[Ban]:
        address = target(id_)
        ban = guard.jail.ban(id_, now, address=address)
        why = guard.shelter.never(ban, now) or guard.shelter.peer(ban.address, now) if ban else ""
        if ban is None or not why:
            return ban
        guard.jail.take_back(ban)
        self._log.warning(f"[{guard.name}] {id_} stays free, though it was held back: {why}")
        return None

    def _goes_on(self, guard: Guard, ban: Ban, now: float) -> bool:
        if ban.prolonged or not ban.failures:
            return True
        if self.is_paused(guard.name, now):
            self._log.warning(f"[{guard.name}] {ban.id} would be banned, but bans are paused")
        elif self._is_usual(guard, ban, now):
            return True
        guard.jail.take_back(ban)
        return False

    def _is_usual(self, guard: Guard, ban: Ban, now: float) -> bool:
        limits, name = guard.spec.surge, guard.name
        if limits.mode == "off":
            return True
        surge = self._surges.setdefault(name, _Surge())
        surge.move(ban.at, now)
        self._changed = True
        if limits.mode == "hold" and surge.why:
            if ban.id not in surge.held:
                if len(surge.held) < MOST_HELD:
                    surge.held.append(ban.id)
                else:
                    surge.missed += 1
                self._log.warning(f"[{name}] {ban.id} would be banned, but is held back: surge")
            return False
        surge.count += 1
        if surge.why:
            return True
        surge.why = self._why(guard, ban, surge)
        if not surge.why:
            return True
        self._log.error(f"[{name}] surge: {surge.why}")
        # With ``hold``, this ban is the first of those that wait.
        return limits.mode != "hold" or self._is_usual(guard, ban, now)

    def _why(self, guard: Guard, ban: Ban, surge: _Surge) -> str:
        """Return in what a jail's bans are far too many, or ""."""
        limits = guard.spec.surge
        usual = surge.usual(ban.at)
        if surge.count > max(limits.floor, limits.ratio * usual):
            before = f"never more than {usual:.0f} before" if usual >= 1 else "none before"
            return f"{surge.count} bans within an hour, {before}"
        crowd = self._crowds.get(guard.name)
        hit = crowd.hit(ban) if limits.share and crowd is not None else 0
        if crowd is not None and hit:
            surge.live += hit
            crowd.free = max(0, crowd.free - hit)
            there = surge.live + crowd.free
            if there >= FEW_PEERS and 100 * surge.live > limits.share * there:
                return f"{surge.live} of {there} who were connected would be banned within an hour"
        return ""

    def _look(self, guard: Guard, bans: Sequence[Ban], now: float) -> None:
        """See who is connected, once in a while: a flood must not make the agent ask for each."""
        limits, shield = guard.spec.surge, guard.spec.shield
        known = self._crowds.get(guard.name)
        if not limits.share or limits.mode == "off" or shield is None:
            self._crowds.pop(guard.name, None)
        elif known is None or not known.at <= now < known.at + SNAPSHOT:
            peers = self._peers(guard.name, shield)
            # The jail has the new bans already; they count one by one.
            new = Networks([b.address for b in bans if b.address is not None and not b.prolonged])
            free = sum(peer in new or not guard.holds(peer) for peer in peers)
            self._crowds[guard.name] = _Crowd(now, peers, free)

    def _peers(self, jail: str, shield: Shield) -> Collection[Target]:
        problem = ""
        try:
            return self._connected(shield)
        except OSError as error:
            problem = f"who is connected cannot be told: {error}"
            return ()
        finally:
            self._log.problem(f"[{jail}] surge", problem, "WARNING")

    # ---- over a restart

    def _keep(self) -> None:
        if not self._changed:
            return
        self._changed = False
        surges = {jail: vars(surge) for jail, surge in self._surges.items()}
        self.file.write(self._paused)
        self._records.note(_NOTE, json.dumps({**noted(self._paused), "surges": surges}))

    def _recall(self) -> None:
        text = self._records.noted(_NOTE)
        if not text:
            return
        try:
            kept: Any = json.loads(text)
            for jail, pause in recalled(kept).items():
                if jail not in self._paused or pause.outlasts(self._paused[jail]):
                    self._paused[jail] = pause
            self.file.write(self._paused)
            self._surges = {jail: _surge(**surge) for jail, surge in kept["surges"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # A pause that can be read stays: whoever panicked wants no bans.
            self._log.error(f"ledger: what it says of pauses and surges is damaged: {error}")


def _surge(**kept: Any) -> _Surge:
    """Return what was noted of a surge, or raise if it is of other types."""
    surge = _Surge(**kept)
    for name, standard in vars(_Surge()).items():
        value = getattr(surge, name)
        if isinstance(standard, float):
            setattr(surge, name, finite(value))
        elif type(value) is not type(standard):
            raise TypeError(f"{name} is {value!r}")
    return surge
