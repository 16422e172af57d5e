# SPDX-License-Identifier: MIT
"""How fast a log is judged: lines a CPU second, start and end of each contender included.

The agent's figure is that of its daemon in catch-up: it starts, reads the configuration and the
whole log, counts, bans (in a firewall that is a dict), notes all in its ledger, is asked for
its status once, and ends. fail2ban-regex only judges lines, sshg-parser only parses them.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import cost, logs, peers
from bench.agent import ALWAYS, Agent, tree
from bench.cost import Cost, Failed
from bench.rows import Row


AGENT, SSHGUARD, GREP = "agent", "sshg-parser", "grep"
WEB = (
    "apache-auth",
    "apache-badbots",
    "apache-botsearch",
    "apache-fakegooglebot",
    "apache-noscript",
    "apache-overflows",
    "nginx-bad-request",
    "nginx-botsearch",
    "nginx-http-auth",
    "nginx-limit-req",
)
"""Ten of fail2ban's stock filters; all are given the access log."""
WORDS = ("Accepted ", "Disconnect", "Received disconnect", "Connection ", "Failed ", "nvalid user ")
"""What nearly all lines contain that the stock filter for sshd must look at."""

Size = Callable[[str], int]
"""Kind of a log -> how many lines are measured."""


def scan(
    log: Path, filters: Mapping[str, str], times: int, maxretry: int = 5
) -> tuple[Cost, dict[str, int]]:
    """Return what the agent's catch-up costs, and the failures of each jail.

    Args:
        log: the file that all jails read.
        filters: jail -> its filter.
        times: the run with the median CPU time counts.
        maxretry: of all jails.
    """
    counts: dict[str, int] = {}
    lines = _lines(log)

    def once() -> Cost:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tree(folder, {jail: _jail(log, of, maxretry) for jail, of in filters.items()})
            with Agent(folder, "memory") as agent:
                agent.ready()
                status = agent.caught_up(lines)
                if status["faults"] or len(status["jails"]) != len(filters):
                    raise Failed(f"the agent runs other jails than it should: {status['faults']}")
                counts.update({jail["name"]: jail["failed_total"] for jail in status["jails"]})
                return agent.stop()

    return cost.median(times, once), counts


def server_scan(log: Path, failures: int) -> Cost:
    """Return what the same costs fail2ban's server with one jail that never bans."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        etc = tree(folder, {"sshd": _jail(log, "sshd", 100_000)})
        files = ("-s", f"{folder}/f2b.sock", "-p", f"{folder}/f2b.pid")
        words = (*files, "-c", str(etc), "--logtarget", f"{folder}/f2b.log")
        server = (*cost.TIED, *peers.fail2ban_program("fail2ban-server"), *words, "-f", "start")
        status = (*peers.fail2ban_program("fail2ban-client"), *words, "status", "sshd")
        (etc / "fail2ban.local").write_text("[Definition]\ndbfile = None\n")
        env = {**peers.fail2ban_env(), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        began = time.monotonic()
        with (folder / "said").open("wb") as said:
            child = subprocess.Popen(server, env=env, stdout=said, stderr=said)
        try:

            def done() -> bool:
                time.sleep(1)
                if child.poll() is not None:
                    raise Failed(f"fail2ban's server: {(folder / 'said').read_text()[-300:]}")
                answer = subprocess.run(
                    status, env=env, capture_output=True, text=True, check=False
                )
                return f"Total failed:\t{failures}\n" in answer.stdout

            cost.until(done, 300, f"fail2ban's server with {failures} failures")
        finally:
            child.terminate()
            found = cost.waited(child, began)
        return found


def auth_row(kind: str, size: Size, goals: Mapping[str, float], goal: str) -> Row:
    """Return the row of a log that sshd's stock filter judges."""
    log = logs.path(kind, size(kind))
    lines, times = _lines(log), 3 if kind == "attack" else 1
    ours, found = scan(log, {"sshd": "sshd"}, 3)
    theirs, failures = peers.fail2ban_regex(log, "sshd", times if lines <= 200_000 else 1)
    attack, attacks = peers.sshg_parser(log, 3)
    row = Row(
        f"scan {kind} log, {lines:,} lines",
        lines / ours.cpu,
        "lines/CPU-s",
        goal,
        peers={peers.REGEX: lines / theirs.cpu, SSHGUARD: lines / attack.cpu},
        verdicts={AGENT: found["sshd"], peers.REGEX: failures, SSHGUARD: attacks},
    )
    _agree(row, found["sshd"], failures)
    if kind == "host":
        grep, hits = peers.grep(log, list(WORDS), 3)
        row.peers[GREP], row.verdicts[GREP] = lines / grep.cpu, hits
    row.met = all(row.figure >= factor * row.peers[peer] for peer, factor in goals.items())
    return row


def busy(size: Size) -> list[Row]:
    """A busy auth log."""
    goals = {peers.REGEX: 50.0, SSHGUARD: 2.0}
    return [auth_row("busy", size, goals, ">= 50x fail2ban-regex, 2x sshg-parser")]


def host(size: Size) -> list[Row]:
    """The system log of a web host."""
    goals = {peers.REGEX: 150.0, SSHGUARD: 5.0, GREP: 1 / 3}
    return [auth_row("host", size, goals, ">= 150x fail2ban-regex, 5x sshg-parser, grep/3")]


def attack(size: Size) -> list[Row]:
    """An attack, judged line by line, and by servers."""
    goals = {peers.REGEX: 20.0, SSHGUARD: 1.0}
    first = auth_row("attack", size, goals, ">= 20x fail2ban-regex, 1x sshg-parser")
    log = logs.path("attack", size("attack"))
    lines = _lines(log)
    ours, found = scan(log, {"sshd": "sshd"}, 3, maxretry=100_000)
    theirs = server_scan(log, first.verdicts[peers.REGEX])
    second = Row(
        f"server on {log.name.split('-')[0]} log, no ban",
        lines / ours.cpu,
        "lines/CPU-s",
        ">= 35x fail2ban's server",
        lines / ours.cpu >= 35 * lines / theirs.cpu,
        {peers.SERVER: lines / theirs.cpu},
        {AGENT: found["sshd"], peers.SERVER: first.verdicts[peers.REGEX]},
    )
    return [first, second]


def web(size: Size) -> list[Row]:
    """A web access log and ten jails; for fail2ban-regex ten runs, a filter each."""
    log = logs.path("web", size("web"))
    lines = _lines(log)
    ours, found = scan(log, {name: name for name in WEB}, 3)
    runs = {name: peers.fail2ban_regex(log, name, 1) for name in WEB}
    spent = sum(run.cpu for run, _ in runs.values())
    failures = {name: count for name, (_, count) in runs.items()}
    row = Row(
        f"scan web access log, {lines:,} lines, 10 jails",
        lines / ours.cpu,
        "lines/CPU-s",
        ">= 75x fail2ban-regex",
        lines / ours.cpu >= 75 * lines / spent,
        {peers.REGEX: lines / spent},
        {AGENT: sum(found.values()), peers.REGEX: sum(failures.values())},
    )
    if found != failures:
        raise Failed(f"{row.name}: verdicts differ: {found} and {failures}")
    return [row]


def dateless(size: Size) -> list[Row]:
    """Lines without any date.

    fail2ban-regex takes the few failures among them as of now. The daemons do not: a failure
    without any date before it, read after a stop, counts neither in fail2ban's server nor here.
    """
    log = logs.path("dateless", size("dateless"))
    lines = _lines(log)
    ours, found = scan(log, {"sshd": "sshd"}, 3)
    theirs, failures = peers.fail2ban_regex(log, "sshd", 1)
    row = Row(
        f"scan lines without date, {lines:,}",
        lines / ours.cpu,
        "lines/CPU-s",
        ">= 500x fail2ban-regex",
        lines / ours.cpu >= 500 * lines / theirs.cpu,
        {peers.REGEX: lines / theirs.cpu},
        {AGENT: found["sshd"], peers.REGEX: failures},
    )
    return [row]


def growth(size: Size, *, slow: bool = False) -> list[Row]:
    """Time against lines, and ten jails against one."""
    rows = []
    most = size("busy")
    for lines in (10_000, 100_000, 1_000_000, 10_000_000):
        if lines <= most or (slow and most == 1_000_000):
            spent = scan(logs.path("busy", lines), {"sshd": "sshd"}, 1)[0].cpu
            rows.append(Row(f"growth: busy log, {lines:,} lines", spent, "CPU-s"))
    if len(rows) > 2:
        ends = rows[1].figure, rows[-1].figure
        ratio = ends[1] / ends[0] / 10 ** (len(rows) - 2)
        met = ratio <= 1.1
        rows.append(Row("growth: a line of the longest / of 100,000", ratio, "x", "linear", met))
    log = logs.path("busy", min(most, 1_000_000))
    one, _ = scan(log, {"sshd": "sshd"}, 1)
    ten, _ = scan(log, {f"sshd{n}": "sshd" for n in range(10)}, 1)
    ratio = ten.cpu / one.cpu
    rows.append(Row("growth: 10 jails on one file / 1 jail", ratio, "x", "<= 2x", ratio <= 2))
    return rows


def _jail(log: Path, of: str, maxretry: int) -> dict[str, object]:
    return {
        "filter": of,
        "backend": "polling",
        "logpath": log,
        "maxretry": maxretry,
        "findtime": ALWAYS,
        "bantime": -1,
    }


def _agree(row: Row, ours: int, theirs: int) -> None:
    if ours != theirs:
        raise Failed(f"{row.name}: verdicts differ: {ours} failures, fail2ban says {theirs}")


def _lines(log: Path) -> int:
    return int(log.name.split("-")[1])
