# SPDX-License-Identifier: MIT
"""Lines that a filter needs for ever to judge: what becomes of the other jails meanwhile?

Debian 12's own dovecot filter is fed lines that its regexes can be matched with in
exponentially many ways, in the manner of what GHSA-33wh-ccjc-p397 tells of.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench import peers
from bench.cost import Failed, cpu, until
from faults.contenders import Fail2ban
from faults.host import Host, failure, stamp
from faults.rows import Row


PATIENCE = 60.0
PACE = 0.2
STOCK = ("dovecot.conf", "common.conf")


def evil(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield what a ban of another jail waits for at worst, the agent's figure and fail2ban's.

    The agent's is of CPU time, as the machine may have other work; fail2ban gets a minute.
    """
    rounds = 4 if small else 40
    with _with_mail(Host(folder / "ours", options={"maxretry": 1})) as ours:
        wall, mine = _under_fire(ours, rounds)
        state = ours.jail("dovecot").problem
    passed = mine <= 4 and wall < PATIENCE and "filter suspended" in state
    row = Row(
        "Debian's dovecot filter under lines made to hang it: the slowest ban of jail sshd",
        mine, "CPU-s", "<= 4, and said in status", passed,
        f"{rounds} bans, {wall:.1f} s by the clock; dovecot: {state.partition(',')[0]}",
    )  # fmt: skip
    with _with_mail(Fail2ban(folder / "theirs")) as theirs:
        other, _ = _under_fire(theirs, 1)
    within = f"{other:.1f} s" if other < PATIENCE else f"no ban within {PATIENCE:g} s"
    row.others["fail2ban"] = within
    yield row


def _with_mail(host: Host) -> Host:
    """Give it a second jail, with the stock filter."""
    for name in STOCK:
        shutil.copy(peers.fail2ban() / "etc/fail2ban/filter.d" / name, host.etc / "filter.d")
    _mail(host).touch()
    text = (host.etc / "jail.conf").read_text()
    mine = text.replace("[sshd]", "[dovecot]").replace("filter = sshd", "filter = dovecot")
    (host.etc / "jail.conf").write_text(text + mine.replace(str(host.log), str(_mail(host))))
    return host


def _mail(host: Host) -> Path:
    return host.folder / "mail.log"


def line(reasons: int = 40) -> str:
    """Return a line of a login that was ended for many reasons, which names no address."""
    why = ": gone" * reasons
    return (
        f"{stamp()} host dovecot: imap-login: Disconnected{why} (auth failed, 1 attempts in 2 secs)"
        ": user=<>, rip=nowhere, lip=192.0.2.1"
    )


def _under_fire(host: Host, rounds: int) -> tuple[float, float]:
    """Return how long the slowest ban took, of one in each of so many rounds.

    Returns:
        By the clock, and in CPU seconds of the host's process.
    """
    host.start()
    over = threading.Event()

    def fire() -> None:
        while not over.is_set():
            with _mail(host).open("a") as log:
                log.write(f"{line()}\n")
            over.wait(PACE)

    gun = threading.Thread(target=fire, daemon=True)
    gun.start()
    slowest = dearest = 0.0
    try:
        for number in range(rounds):
            over.wait(PACE * 1.7)
            address = f"198.51.100.{number + 1}"
            begin, spent = time.monotonic(), cpu(host.pid)
            host.write(failure(address))
            until(lambda said=address: f"Ban {said}\n" in host.said(), PATIENCE, "a ban")
            slowest = max(slowest, time.monotonic() - begin)
            dearest = max(dearest, cpu(host.pid) - spent)
    except Failed:
        return PATIENCE, PATIENCE
    finally:
        over.set()
        gun.join()
    return slowest, dearest
