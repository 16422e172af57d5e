# SPDX-License-Identifier: MIT
"""The same faults for the agent and for others, in the same namespace, one after the other."""

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.cost import Failed, until
from faults.contenders import Crowdsec, Fail2ban, Ours, Sshguard
from faults.files import damage
from faults.host import failure, seeded
from faults.rows import Broken, Row


Contender = Ours | Fail2ban | Sshguard | Crowdsec
ALL: tuple[type[Contender], ...] = (Ours, Fail2ban, Sshguard, Crowdsec)
ADDRESS, NEXT = "192.0.2.1", "192.0.2.2"
PATIENCE = 30.0
"""Seconds that a contender gets for what it may never do."""
HANGING = """\
[Definition]
actionban = sleep 300
actionunban =
"""


def beside(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield, for each fault, the agent's figure and what the others do."""
    bans = 100 if small else 1000
    name = f"restart with {bans:,} bans: how long a banned address was let in"
    yield _row(name, "0", lambda figure: figure == 0, folder / "restart",
               lambda one: _door(one, bans, one.end))  # fmt: skip
    name = f"kill -9 with {bans:,} bans and a new start: how long a banned address was let in"
    yield _row(name, "0", lambda figure: figure == 0, folder / "kill",
               lambda one: _door(one, bans, one.kill))  # fmt: skip
    name = "`nft flush ruleset`: until the ban was in force again"
    yield _row(name, "< 2", lambda figure: figure < 2, folder / "flush", _flushed)
    name = "log renamed before its last 100 lines were read: addresses not banned"
    row = _row(name, "0", lambda figure: figure == 0, folder / "rotation", _tail)
    row.unit = "of 200"
    yield row
    mine = _behind_a_hanging_action(Ours(folder / "hang"))
    row = Row("an action hangs: the next ban of another jail", mine[0], "s", "<= 1", mine[0] <= 1)
    other = _behind_a_hanging_action(Fail2ban(folder / "f2b-hang"))
    row.others["fail2ban"] = f"{other[0]:.1f} s, its action's timeout being 20 s"
    yield row
    yield _corrupted(folder / "corrupt", 2 if small else 10)


Outcome = tuple[float, str]
"""Figure, and a word on it."""


def _row(
    name: str,
    goal: str,
    passes: Callable[[float], bool],
    folder: Path,
    fault: Callable[[Contender], Outcome],
) -> Row:
    """Return the row of a fault that is made for each contender in turn."""
    row = Row(name, 0, "s", goal, passed=False)
    for kind in ALL:
        _clean()
        with kind(folder / kind.name) as one:
            try:
                one.start()
                figure, word = fault(one)
            except (Broken, Failed) as error:
                figure, word = PATIENCE, f"did not work: {error}"
        if kind is Ours:
            row.figure, row.seen = round(figure, 3), word
            row.passed = passes(figure)
        else:
            row.others[kind.name] = word or f"{figure:.2f} s"
    return row


def _clean() -> None:
    """Take away what the one before has left in the kernel."""
    subprocess.run(("nft", "flush", "ruleset"), check=True)


# ---- restarts


def _door(one: Contender, number: int, end: Callable[[], None]) -> Outcome:
    """Return for how long the last of many banned addresses is not refused over a restart."""
    addresses = [f"198.51.{n >> 8}.{n & 255}" for n in range(number)]
    one.attack(addresses)
    until(lambda: len(one.held()) == number, 240, f"{number} bans")
    over, gaps = threading.Event(), []

    def look() -> None:
        since = None
        while not over.is_set():
            there, now = addresses[-1] in one.held(), time.monotonic()
            if there and since is not None:
                gaps.append(now - since)
            since = None if there else since or now
        if since is not None:
            gaps.append(time.monotonic() - since)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        end()
        one.start()
        back = _settled(lambda: len(one.held()), number)
    finally:
        over.set()
        watcher.join()
    word = "" if back == number else f"{back:,} of {number:,} bans are back after {PATIENCE:g} s"
    return sum(gaps), word


def _settled(count: Callable[[], int], number: int) -> int:
    """Wait until there are so many, or no more for long; return how many there are."""
    most, since = count(), time.monotonic()
    while most < number and time.monotonic() < since + PATIENCE:
        if (now := count()) > most:
            most, since = now, time.monotonic()
        time.sleep(0.02)
    return most


# ---- flush


def _flushed(one: Contender) -> Outcome:
    """Return how long a ban is out of force after somebody flushed the rules."""
    one.attack([ADDRESS])
    until(lambda: ADDRESS in one.held(), PATIENCE, "a ban")
    _clean()
    began = time.monotonic()
    try:
        until(lambda: ADDRESS in one.held(), PATIENCE, "it is back")
    except Failed:
        one.attack([NEXT])
        try:
            until(lambda: NEXT in one.held(), PATIENCE, "the next ban")
        except Failed:
            return PATIENCE, f"not back after {PATIENCE:g} s; no further ban is in force either"
        back = "is back with it" if ADDRESS in one.held() else "is not back with it"
        return (
            PATIENCE,
            f"not back after {PATIENCE:g} s; the next ban is in force, the first {back}",
        )
    return time.monotonic() - began, ""


# ---- rotation


def _tail(one: Contender) -> Outcome:
    """Return how many of 200 addresses are not banned, half of which are in the old log's end.

    It is stopped while they are written, as a busy host may hold it up; the new log is there
    when it goes on.
    """
    old = [f"198.51.100.{n}" for n in range(1, 101)]
    new = [f"203.0.113.{n}" for n in range(1, 101)]
    one.attack([ADDRESS])
    until(lambda: ADDRESS in one.held(), PATIENCE, "a ban")
    one.freeze(signal.SIGSTOP)
    one.attack(old)
    one.log.rename(f"{one.log}.1")
    one.attack(new)
    one.freeze(signal.SIGCONT)
    try:
        until(lambda: {*old, *new} <= one.held(), PATIENCE, "all of both logs")
    except Failed:
        absent = [len(set(part) - one.held()) for part in (old, new)]
        return sum(absent), f"{absent[0]} of 100 in the old log's end lost, {absent[1]} in the new"
    return 0, "none lost" if one.name != "stockade" else ""


# ---- actions


def _behind_a_hanging_action(host: Ours) -> Outcome:
    """Return how long a ban waits while another jail's action hangs."""
    (host.etc / "action.d").mkdir(exist_ok=True)
    (host.etc / "action.d/hanging.conf").write_text(HANGING)
    other = host.folder / "other.log"
    other.touch()
    text = (host.etc / "jail.conf").read_text()
    mine = text.replace("[sshd]", "[hanging]").replace(str(host.log), str(other))
    mine = "\n".join(line for line in mine.splitlines() if not line.startswith("action ="))
    (host.etc / "jail.conf").write_text(f"{text}{mine}\naction = hanging[timeout=20]\n")
    _clean()
    with host:
        host.start()
        with other.open("a") as log:
            log.write(failure("192.0.2.9") + "\n")
        until(_sleeps, 30, "the action hangs")
        began = time.monotonic()
        host.attack([ADDRESS])
        until(lambda: ADDRESS in host.held(), 120, "the other jail's ban")
        return time.monotonic() - began, ""


def _sleeps() -> bool:
    """Return whether the hanging command runs; nobody else is in this namespace."""
    return not subprocess.run(
        ("pgrep", "-f", "sleep 300"), capture_output=True, check=False
    ).returncode


# ---- databases


DATABASE = {"stockade": "state/ledger.sqlite3", "fail2ban": "state/ledger.sqlite3"}
DATABASE["crowdsec"] = "data/crowdsec.db"


def _corrupted(folder: Path, seeds: int) -> Row:
    """Return the row of databases damaged while nobody has them open."""
    row = Row("corrupt database: bans saved, on the average", 0, "%", "> 50", passed=False)
    addresses = {f"198.51.{n >> 8}.{n & 255}" for n in range(300)}
    for kind in (Ours, Fail2ban, Crowdsec):
        _clean()
        number = seeds if kind is not Crowdsec else max(1, seeds // 3)
        place, copy, kept = folder / kind.name, folder / f"{kind.name}-copy", 0
        with kind(place) as one:
            one.start()
            one.attack(sorted(addresses))
            until(lambda one=one: addresses <= one.held(), 300, "bans")
            one.end()
            one.log.write_bytes(b"")  # so that nothing is found there once more
            shutil.copytree(place, copy, symlinks=True, ignore=shutil.ignore_patterns("notify"))
        for n in range(number):
            _clean()
            shutil.rmtree(place)
            shutil.copytree(copy, place, symlinks=True)
            damage(place / DATABASE[kind.name], seeded(f"corrupt {n}"))
            kept += _restored(kind(place), addresses)
        share = 100 * kept / number / len(addresses)
        if kind is Ours:
            row.figure, row.passed, row.seen = round(share, 1), share > 50, f"{number} seeds"
        else:
            row.others[kind.name] = f"{share:.0f} %, {number} seeds"
    row.others["sshguard"] = "keeps none"
    return row


def _restored(one: Contender, addresses: set[str]) -> int:
    """Return how many bans are in force after a start, once their number does not grow."""
    with one:
        try:
            one.start()
        except (Broken, Failed):
            return 0
        # None of the others says when it has restored its bans; crowdsec's bouncer asks each 10 s.
        patience = {"stockade": 0.5, "fail2ban": 3.0, "crowdsec": 12.0}[one.name]
        count, since = -1, time.monotonic()
        while time.monotonic() < since + patience:
            if (now := len(addresses & one.held())) != count:
                count, since = now, time.monotonic()
        return count
