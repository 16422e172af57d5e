# SPDX-License-Identifier: MIT
"""Our jail beside fail2ban's: who is banned by the same failures, for how long, and freed when.

python -m conformance.bans [VERSION | DIR ...]
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conformance.oracle import asked as asked_of
from conformance.tally import Difference, Tally, Tell, by_hand
from stockade_agent.jail import Jail
from stockade_agent.model import Failure
from stockade_agent.specs import Escalation, FilterSpec, JailSpec


COUNT = 1000
START = 1_700_000_000


def case(seed: int) -> dict[str, Any]:
    """Return a jail and a random course of failures."""
    rng = random.Random(seed)
    extra: dict[str, str] = {}
    if rng.random() < 0.5:
        extra["increment"] = "true"
        for option, values in (
            ("factor", ("1", "2", "0.5", "3.0/2")),
            (
                "formula",
                ("ban.Time * (1 << ban.Count)", "ban.Time * math.exp(ban.Count * banFactor)"),
            ),
            ("multipliers", ("1 2 4 8", "1 5 30 60 300")),
            ("maxtime", ("1h", "1d")),
            ("rndtime", ("10m",)),
            ("overalljails", ("true",)),
        ):
            if rng.random() < 0.3:
                extra[option] = rng.choice(values)
    jail = {
        "maxretry": rng.choice((1, 2, 3, 5, 10)),
        "findtime": rng.choice((10, 60, 600)),
        "bantime": rng.choice((-1, 5, 60, 600, 3600)),
        "maxmatches": rng.choice((0, 1, 5)),
        "extra": extra,
    }
    ids = [f"192.0.2.{n}" for n in range(rng.choice((1, 2, 5)))]
    now, events = START, []
    pace = rng.choice((1, 10, 100, 1000))
    for _ in range(rng.choice((10, 60, 200))):
        now += rng.randrange(pace + 1)
        at = now - rng.choice((0, 0, 0, 1, 5, rng.randrange(jail["findtime"])))
        events.append([now, at, rng.choice(ids) if rng.random() < 0.97 else ""])
    return {"jail": jail, "events": events}


class Remembered:
    """What the ledger remembers of bans that are over."""

    def __init__(self) -> None:
        self._past: dict[str, tuple[int, float]] = {}

    def past(self, who: str, jail: str | None) -> tuple[int, float] | None:
        return self._past.get(who)

    def note(self, ban: Any) -> None:
        self._past[ban.id] = (ban.count, ban.at)


def ours(asked: dict[str, Any]) -> list[Any]:
    """Return what our jail does, in the words of the oracle."""
    options, extra = asked["jail"], asked["jail"]["extra"]
    seconds = {"1h": 3600, "1d": 86400, "10m": 600}
    multipliers = extra.get("multipliers", "").split()
    spec = JailSpec(
        name="jail",
        filter=FilterSpec("f", ()),
        maxretry=options["maxretry"],
        findtime=options["findtime"],
        bantime=options["bantime"],
        maxmatches=options["maxmatches"],
        escalation=Escalation(
            enabled="increment" in extra,
            factor=extra.get("factor", "1"),
            formula=extra.get("formula", ""),
            multipliers=tuple(map(float, multipliers)),
            maxtime=seconds.get(extra.get("maxtime")),
            rndtime=seconds.get(extra.get("rndtime")),
            overalljails="overalljails" in extra,
        ),
    )
    history = Remembered()
    jail, said = Jail(spec, history=history, rand=lambda: 0.5), []
    for now, at, who in asked["events"]:
        freed = [ban.id for ban in jail.due(now)]
        ban = jail.add(Failure(at=at, id=who, matches=(who,)), now) if who else None
        if ban and not ban.prolonged:
            history.note(ban)
        bans = [[ban.id, ban.at, ban.bantime, ban.count]] if ban else []
        said.append([bans, sorted(freed)])
    return said


def differences(root: Path, seeds: Sequence[int]) -> Iterator[Difference]:
    """Yield each case in which our jail and that of an unpacked fail2ban differ."""
    cases = [case(seed) for seed in seeds]
    answers = asked_of(root, "asked_bans.py", cases)
    for seed, asked, answer in zip(seeds, cases, answers, strict=True):
        for event, theirs, got in zip(asked["events"], answer, ours(asked), strict=True):
            if theirs != got:
                words = f"{asked['jail']}: at {event}: fail2ban {theirs}, we {got}"
                yield Difference(f"seed {seed}", words)
                break


def run(root: Path, tell: Tell) -> Tally:
    """Return what comes of all courses."""
    return Tally(COUNT, list(differences(root, range(COUNT))))


if __name__ == "__main__":
    by_hand("bans", run)
