# SPDX-License-Identifier: MIT
"""Time: clocks that jump, summer time, log time zones, late and future lines.

The agent gets its time as a value, so a day passes here in no time: everything between the log
and the ledger is the real thing, only the daemon's loop is not there.
"""

import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from faults.host import DAY, Host, failure
from faults.rows import Row
from stockade_agent.firewall.memory import Memory
from stockade_agent.guards import read
from stockade_agent.log import Log
from stockade_agent.pipe import Pipe


class Clocked:
    """A pipe and the time that it is told."""

    def __init__(self, host: Host, now: float) -> None:
        self.host, self.now, self.text = host, now, io.StringIO()
        log = Log(self.text, "WARNING", prefixed=False)
        self.pipe = Pipe(read(str(host.etc)), now, log, "memory", clock=time.monotonic)
        self.pipe.start(now)
        self.take()

    def take(self) -> None:
        """Read all that is there, and lift what is over."""
        before = -1
        while before != self.pipe.status(self.now).lines:
            before = self.pipe.status(self.now).lines
            self.pipe.take("file", self.now)
        self.pipe.carry_out(self.now, at_once=True)
        self.pipe.unban_due(self.now)

    def fail(self, address: str, times: int, at: float | None = None, text: str = "") -> None:
        """Let an address fail, now or at another time of its log."""
        line = text or failure(address, self.now if at is None else at)
        self.host.write(*[line] * times)
        self.take()

    def forget_calls(self) -> None:
        """Let the firewall that is a dict forget what it was told, which it keeps for tests."""
        firewall = self.pipe.enforcement.firewall
        assert isinstance(firewall, Memory)
        firewall.calls.clear()

    def banned(self) -> set[str]:
        """Return who is banned; what is over by now is lifted before."""
        return {ban.id for jail in self.pipe.status(self.now).jails for ban in jail.bans}


@contextmanager
def clocked(folder: Path, now: float, **options: object) -> Iterator[Clocked]:
    """Give a pipe whose time can be set."""
    usual: dict[str, object] = {"maxretry": 3, "findtime": 600, "bantime": 3600}
    one = Clocked(Host(folder, options={**usual, **options}), now)
    try:
        yield one
    finally:
        one.pipe.close(one.now)


def clock(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield who was banned or freed wrongly, whatever the clock did."""
    del small  # it takes no time
    wrong = [
        f"{case.__name__.replace('_', ' ').strip()}: {what}"
        for number, case in enumerate(CASES)
        for what in case(folder / str(number))
    ]
    yield Row.broken(
        "clock jumps, summer time, log time zones, late and future lines",
        wrong,
        f"{len(CASES)} courses of events",
    )


BERLIN = "Europe/Berlin"
SUMMER = 1774746000.0  # 2026-03-29T01:00:00Z, when the clocks of Berlin go from 2 to 3
WINTER = 1792890000.0  # 2026-10-25T01:00:00Z, when they go from 3 to 2 again


def _forward_jump(folder: Path) -> Iterator[str]:
    with clocked(folder, SUMMER) as one:
        one.fail("192.0.2.1", 3)
        one.fail("192.0.2.2", 2)
        one.now += 30
        if one.banned() != {"192.0.2.1"}:
            yield f"banned {one.banned()} before the jump"
        one.now += DAY
        one.fail("192.0.2.2", 2)
        one.fail("192.0.2.3", 3)
        if one.banned() != {"192.0.2.3"}:
            yield f"banned {one.banned()} after it"


def _backward_jump(folder: Path) -> Iterator[str]:
    with clocked(folder, SUMMER) as one:
        one.fail("192.0.2.1", 3)
        one.now -= 7200
        one.fail("192.0.2.3", 3)
        if one.banned() != {"192.0.2.1", "192.0.2.3"}:
            yield f"banned {one.banned()} after the jump"
        one.now += 7200 + 3601
        one.take()
        if one.banned():
            yield f"{one.banned()} are banned for ever"


def _restart_in_the_past(folder: Path) -> Iterator[str]:
    """A host without a battery: its clock is years behind, and set after the start."""
    with clocked(folder, SUMMER) as one:
        one.fail("192.0.2.1", 3)
        one.pipe.records.commit(one.now)
    with clocked(folder, SUMMER - 3 * 365 * DAY) as one:
        if one.banned() != {"192.0.2.1"}:
            yield f"banned {one.banned()} after the start"
        one.fail("192.0.2.2", 3)
        one.now = SUMMER + 60
        one.fail("192.0.2.3", 3)
        if not {"192.0.2.1", "192.0.2.3"} <= one.banned():
            yield f"banned {one.banned()} once the clock is set"


def _local(now: float, address: str, zone: str) -> str:
    stamp = datetime.fromtimestamp(now, ZoneInfo(zone)).strftime("%b %d %H:%M:%S")
    number = round(now) % 30000 + 1000
    return f"{stamp} host sshd[{number}]: Failed password for root from {address} port 7 ssh2"


@contextmanager
def _zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ", "UTC")
    os.environ["TZ"] = name
    time.tzset()
    yield
    os.environ["TZ"] = before
    time.tzset()


def _summer_time(folder: Path) -> Iterator[str]:
    """Of an hour that is there twice, and of one that is not, no failure is lost."""
    for number, change in enumerate((SUMMER, WINTER)):
        with _zone(BERLIN), clocked(folder / str(number), change - 90) as one:
            for _ in range(3):
                one.now += 60
                one.fail("192.0.2.1", 1, text=_local(one.now, "192.0.2.1", BERLIN))
            if one.banned() != {"192.0.2.1"}:
                yield f"banned {one.banned()}"


def _another_zone(folder: Path) -> Iterator[str]:
    """A log that is written in another zone than the host's, which is told."""
    with clocked(folder, SUMMER + DAY, logtimezone="UTC-0500") as one:
        for _ in range(3):
            one.now += 10
            text = _local(one.now - 5 * 3600, "192.0.2.1", "UTC")
            one.fail("192.0.2.1", 1, text=text)
        if one.banned() != {"192.0.2.1"}:
            yield f"banned {one.banned()}"


def _late_lines(folder: Path) -> Iterator[str]:
    """Lines that a relay brings late count as of now, as fail2ban has it."""
    with clocked(folder, SUMMER) as one:
        one.fail("192.0.2.1", 3, SUMMER - 300)
        if one.banned() != {"192.0.2.1"}:
            yield f"banned {one.banned()}"


def _future_lines(folder: Path) -> Iterator[str]:
    """A line of next year neither bans for longer nor counts for ever."""
    with clocked(folder, SUMMER) as one:
        one.fail("192.0.2.1", 2, SUMMER + 300 * DAY)
        one.fail("192.0.2.2", 3, SUMMER + 300 * DAY)
        one.now += 3700
        one.fail("192.0.2.1", 1)
        if one.banned():
            yield f"banned {one.banned()} an hour later"


def _there_and_back(folder: Path) -> Iterator[str]:
    """A clock that is a day ahead for a while, until somebody sees it."""
    with clocked(folder, SUMMER) as one:
        one.now += DAY
        one.fail("192.0.2.1", 3)
        one.fail("192.0.2.2", 2)
        one.now -= DAY
        one.fail("192.0.2.3", 3)
        if one.banned() != {"192.0.2.1", "192.0.2.3"}:
            yield f"banned {one.banned()} after it"
        one.now += 3601
        one.take()
        if "192.0.2.3" in one.banned():
            yield "who failed after it is banned for longer than an hour"
        one.now += DAY
        one.take()
        if one.banned():
            yield f"{one.banned()} are banned for ever"


def _another_zone_untold(folder: Path) -> Iterator[str]:
    """A log that is written in another zone, which nobody tells: its lines are of now."""
    with clocked(folder, SUMMER + DAY) as one:
        for _ in range(3):
            one.now += 10
            one.fail("192.0.2.1", 1, text=_local(one.now - 5 * 3600, "192.0.2.1", "UTC"))
        if one.banned() != {"192.0.2.1"}:
            yield f"banned {one.banned()}"
        one.now += 3590
        if one.banned() != {"192.0.2.1"}:
            yield "freed too early"
        one.now += 11
        if one.banned():
            yield "freed too late"


def _lines_without_date(folder: Path) -> Iterator[str]:
    """Lines without any date are of now, also behind others that have one."""
    with clocked(folder, SUMMER) as one:
        text = failure("192.0.2.1", one.now).partition(" ")[2]
        one.fail("192.0.2.1", 2, text=text)
        one.now += 601
        one.fail("192.0.2.1", 1, text=text)
        if one.banned():
            yield "failures of eleven minutes ago count"
        one.fail("192.0.2.9", 1)
        one.now += 300
        one.fail("192.0.2.1", 2, text=text)
        if one.banned() != {"192.0.2.1"}:
            yield f"banned {one.banned()}"
        one.now += 3601
        if one.banned():
            yield f"{one.banned()} are banned for longer than an hour"


def _what_was_logged_before_the_start(folder: Path) -> Iterator[str]:
    """Of a log never read before, what is older than findtime is passed over; none is of later."""
    dates = {
        "192.0.2.1": SUMMER - 700,
        "192.0.2.2": SUMMER - 500,
        "192.0.2.3": SUMMER + 300 * DAY,
        "192.0.2.4": SUMMER - 400 * DAY,
    }
    lines = [failure(address, at) for address, at in dates.items() for _ in range(3)]
    folder.mkdir()
    (folder / "old.log").write_text("".join(f"{line}\n" for line in lines))
    with clocked(folder / "host", SUMMER, logpath=f"{folder}/old.log") as one:
        if not {"192.0.2.2"} <= one.banned() <= {"192.0.2.2", "192.0.2.3"}:
            yield f"banned {one.banned()}"
        one.now += 3601
        if one.banned():
            yield f"{one.banned()} are banned for longer than an hour"


def _before_the_start(folder: Path, now: float, zone: str, **options: object) -> Iterator[str]:
    """Of lines from before the start, whose dates are another zone's, those within findtime count.

    No line that is read late can be taken as of now there, whatever its date says.
    """
    ages = {"192.0.2.1": 300, "192.0.2.2": 900}
    folder.mkdir()
    lines = [_local(now - age, who, zone) for who, age in ages.items() for _ in range(3)]
    (folder / "old.log").write_text("".join(f"{line}\n" for line in sorted(lines)))
    with clocked(folder / "host", now, logpath=f"{folder}/old.log", **options) as one:
        if one.banned() != {"192.0.2.1"}:
            yield f"banned {one.banned()}"


def _summer_time_before_the_start(folder: Path) -> Iterator[str]:
    with _zone(BERLIN):
        yield from _before_the_start(folder, SUMMER + 120, BERLIN)


def _another_zone_before_the_start(folder: Path) -> Iterator[str]:
    yield from _before_the_start(folder, SUMMER + DAY, "Etc/GMT+5", logtimezone="UTC-0500")


def _slow_failures(folder: Path) -> Iterator[str]:
    """Who fails every nine minutes never fails three times within ten."""
    with clocked(folder, SUMMER) as one:
        for _ in range(20):
            one.fail("192.0.2.1", 1)
            one.fail("192.0.2.2", 2)
            one.now += 540
        if one.banned() != {"192.0.2.2"}:
            yield f"banned {one.banned()}"


CASES = (
    _summer_time_before_the_start,
    _another_zone_before_the_start,
    _slow_failures,
    _forward_jump,
    _backward_jump,
    _there_and_back,
    _another_zone_untold,
    _lines_without_date,
    _what_was_logged_before_the_start,
    _restart_in_the_past,
    _summer_time,
    _another_zone,
    _late_lines,
    _future_lines,
)
