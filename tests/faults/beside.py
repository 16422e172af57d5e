# SPDX-License-Identifier: MIT
"""The same faults for the agent and for fail2ban, in the same namespace, one after the other."""

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import peers
from bench.cost import TIED, Failed, until
from faults.files import damage
from faults.host import Host, failure, kernel, seeded
from faults.rows import Row


ADDRESS = "192.0.2.1"
HANGING = """\
[Definition]
actionban = sleep 300
actionunban =
"""


def beside(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield restart, hanging action and corrupt database, the agent's figure and fail2ban's."""
    bans = 200 if small else 2000
    with _agent(folder / "restart") as ours:
        mine = _open_door(ours, bans)
    with Fail2ban(folder / "f2b-restart") as theirs:
        other = _open_door(theirs, bans)
    row = Row(f"restart with {bans:,} bans: how long a banned address was let in", mine, "s", "0",
              mine == 0)  # fmt: skip
    row.others["fail2ban"] = f"{other:.2f} s"
    yield row
    mine = _behind_a_hanging_action(_agent(folder / "hang", hanging=True))
    row = Row("an action hangs: the next ban of another jail", mine, "s", "<= 1", mine <= 1)
    other = _behind_a_hanging_action(Fail2ban(folder / "f2b-hang", hanging=True))
    row.others["fail2ban"] = f"{other:.1f} s, its action's timeout being 20 s"
    yield row
    seeds = 2 if small else 10
    kept, total = zip(*(_corrupted(folder / f"db{n}", n) for n in range(seeds)), strict=True)
    share = 100 * sum(kept) / sum(total)
    row = Row("corrupt database: bans saved, on the average", share, "%", "> 50", share > 50)
    theirs = [_corrupted_fail2ban(folder / f"f2b-db{n}", n) for n in range(seeds)]
    share = 100 * sum(one for one, _ in theirs) / sum(all_ for _, all_ in theirs)
    row.others["fail2ban"] = f"{share:.0f} % with the same damage"
    yield row


def _agent(folder: Path, *, hanging: bool = False) -> Host:
    host = Host(
        folder, firewall="nftables", options={"maxretry": 1, "logpath": f"{folder}/auth.log"}
    )
    if hanging:
        _hang(host)
    return host


def _hang(host: Host) -> None:
    """Give it a second jail, whose action hangs."""
    (host.etc / "action.d").mkdir(exist_ok=True)
    (host.etc / "action.d/hanging.conf").write_text(HANGING)
    other = host.folder / "other.log"
    other.touch()
    text = (host.etc / "jail.conf").read_text()
    mine = text.replace("[sshd]", "[hanging]").replace(str(host.log), str(other))
    mine = "\n".join(line for line in mine.splitlines() if not line.startswith("action ="))
    (host.etc / "jail.conf").write_text(f"{text}{mine}\naction = hanging[timeout=20]\n")


class Fail2ban(Host):
    """fail2ban's server as a host: the same filter and jails, its own actions and database."""

    def __init__(self, folder: Path, *, hanging: bool = False) -> None:
        super().__init__(folder, options={"maxretry": 1, "backend": "pyinotify"})
        stock = peers.fail2ban() / "etc/fail2ban"
        shutil.copytree(stock / "action.d", self.etc / "action.d")
        if hanging:
            _hang(self)
        files = {"dbfile": self.ledger, "socket": self.socket, "pidfile": folder / "pid"}
        rest = {"logtarget": folder / "said", "syslogsocket": "auto", "dbpurgeage": "30d"}
        text = "".join(f"{key} = {value}\n" for key, value in {**files, **rest}.items())
        (self.etc / "fail2ban.conf").write_text(
            f"[Definition]\nloglevel = INFO\nallowipv6 = auto\ndbmaxmatches = 10\n{text}"
        )

    def start(self, *, ready: bool = True) -> "Fail2ban":
        """Start its server, and wait until its jails run."""
        words = ("-c", str(self.etc), "-x", "-f", "start")
        env = {**peers.fail2ban_env(inotify=True), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        said = self.folder / "said"
        begin = said.stat().st_size if said.exists() else 0
        with (self.folder / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                (*TIED, *peers.fail2ban_program("fail2ban-server"), *words),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        jails = (self.etc / "jail.conf").read_text().count("enabled = true")
        if ready:
            until(
                lambda: said.exists() and said.read_text()[begin:].count("' started") >= jails,
                60,
                "fail2ban's jails",
            )
        return self


def held(jail: str = "sshd") -> set[str]:
    """Return what the kernel refuses for either of the two."""
    command = ("nft", "-j", "list", "set", "inet", "f2b-table", f"addr-set-{jail}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    theirs: set[str] = set()
    if not done.returncode:
        for entry in json.loads(done.stdout)["nftables"]:
            theirs.update(entry.get("set", {}).get("elem", ()))
    return theirs | kernel(jail)


def _open_door(host: Host, number: int) -> float:
    """Return for how long the first of many banned addresses is not refused over a restart."""
    addresses = [f"198.51.{n >> 8}.{n & 255}" for n in range(number)]
    _flushed()
    host.start()
    host.write(*map(failure, addresses))
    until(lambda: len(held()) == number, 600, f"{number} bans")
    over, gaps = threading.Event(), []

    def look() -> None:
        since = None
        while not over.is_set():
            there = addresses[-1] in held()
            now = time.monotonic()
            if not there and since is None:
                since = now
            if there and since is not None:
                gaps.append(now - since)
                since = None

    watcher = threading.Thread(target=look)
    watcher.start()
    host.signal(signal.SIGTERM)
    assert host.process is not None
    host.process.wait(120)
    host.start()
    until(lambda: len(held()) == number, 600, "all bans again")
    over.set()
    watcher.join()
    return sum(gaps)


def _behind_a_hanging_action(host: Host) -> float:
    """Return how long a ban waits while another jail's action hangs."""
    with host:
        _flushed()
        host.start()
        other = host.folder / "other.log"
        with other.open("a") as log:
            log.write(failure("192.0.2.9") + "\n")
        until(_sleeps, 30, "the action hangs")
        began = time.monotonic()
        host.write(failure(ADDRESS))
        until(lambda: ADDRESS in held(), 120, "the other jail's ban")
        return time.monotonic() - began


def _flushed() -> None:
    """Take away what the one before has left in the kernel."""
    subprocess.run(("nft", "flush", "ruleset"), check=True)


def _sleeps() -> bool:
    """Return whether the hanging command runs; nobody else is in this namespace."""
    return not subprocess.run(
        ("pgrep", "-f", "sleep 300"), capture_output=True, check=False
    ).returncode


@contextmanager
def _banned(host: Host, number: int) -> Iterator[set[str]]:
    addresses = {f"198.51.{n >> 8}.{n & 255}" for n in range(number)}
    with host:
        _flushed()
        host.start()
        host.write(*map(failure, sorted(addresses)))
        until(lambda: len(held()) >= number, 300, f"{number} bans")
        host.signal(signal.SIGTERM)
        assert host.process is not None
        host.process.wait(120)
        _flushed()
        host.log.write_bytes(b"")  # so that nothing is found there once more
        yield addresses


def _corrupted(folder: Path, seed: int) -> tuple[int, int]:
    with _banned(_agent(folder), 500) as addresses:
        host = Host(folder, firewall="nftables", options={"maxretry": 1})
        with host:
            damage(host.ledger, seeded(f"corrupt {seed}"))
            host.start()
            found = len(held() & addresses)
            host.stop()
            return found, len(addresses)


def _corrupted_fail2ban(folder: Path, seed: int) -> tuple[int, int]:
    theirs = Fail2ban(folder)
    with _banned(theirs, 500) as addresses:
        damage(theirs.ledger, seeded(f"corrupt {seed}"))
        try:
            theirs.start()
            time.sleep(3)  # it says nothing when it has restored its bans
        except Failed:
            return 0, len(addresses)
        found = len(held() & addresses)
        theirs.kill()
        return found, len(addresses)
