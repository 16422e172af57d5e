# SPDX-License-Identifier: MIT
"""What runs in namespaces of its own: ``python -m bench.inside WORK [NUMBER ...]``, by daemons."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import cost, peers
from bench.agent import Agent, tree
from bench.cost import Failed


TABLE = ("inet", "stockade")
SET = ("v4-sshd",)
F2B_SET = ("inet", "f2b-table", "addr-set-sshd")


def start(folder: Path) -> dict[str, Any]:
    """Return the CPU seconds from start to ready."""
    _tree(folder)
    for _ in range(2):  # the second is warm
        with Agent(folder, "nftables") as agent:
            agent.ready()
            spent = agent.cpu()
            agent.stop()
    return {"cpu": spent}


def latency(folder: Path, trials: int) -> dict[str, Any]:
    """Return seconds from a line to its rule, a trial each."""
    log = _tree(folder)
    with Agent(folder, "nftables") as agent:
        agent.ready()
        seconds = _trials(log, trials)
        agent.stop()
    return {"seconds": seconds}


def latency_fail2ban(folder: Path, trials: int) -> dict[str, Any]:
    """Return the same of fail2ban's server, with pyinotify."""
    log = _tree(folder, backend="pyinotify")
    with _fail2ban(folder):
        # The first ban makes its tables; that is not what is measured.
        return {"seconds": _trials(log, trials + 1)[1:]}


def start_fail2ban(folder: Path) -> dict[str, Any]:
    """Return the CPU seconds and MiB of its server when its jail runs."""
    _tree(folder, backend="pyinotify")
    with _fail2ban(folder):  # the second is warm
        pass
    (folder / "f2b.log").unlink()
    with _fail2ban(folder) as pid:
        return {"cpu": cost.cpu(pid), "rss": cost.rss(pid)}


def bans_fail2ban(folder: Path, number: int) -> dict[str, Any]:
    """Return the CPU seconds that its server and its children need for many bans."""
    log = _tree(folder, maxretry=1, backend="pyinotify")
    with _fail2ban(folder) as pid:
        before = cost.cpu(pid)
        _write(log, [_failure(address) for address in _addresses(number)])

        def done() -> bool:
            time.sleep(1)
            return F2B_SET[1] in _nft("list", "tables") and _elements(*F2B_SET) == number

        cost.until(done, 600, f"{number} bans of fail2ban")
        return {"cpu": cost.cpu(pid) - before, "rss": cost.rss(pid)}


def latency_sshguard(folder: Path, trials: int) -> dict[str, Any]:
    """Return the same of sshguard, as its own script pipes it.

    An attack scores 10: its threshold is set so that the fifth bans, as everybody's does here.
    """
    log = _tree(folder)
    home = peers.unpacked("sshguard") / "usr/libexec/sshguard"
    pipe = (
        f"tail -F -n 0 '{log}' | '{home}/sshg-parser' | '{home}/sshg-blocker' -a 50 -s 1800 "
        f"| '{home}/sshg-fw-nft-sets'"
    )
    with _process(("sh", "-c", pipe), {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, folder):
        cost.until(lambda: "sshguard" in _nft("list", "tables"), 30, "sshguard's table")
        return {"seconds": _trials(log, trials + 1)[1:]}


def bans(folder: Path, number: int) -> dict[str, Any]:
    """Return the CPU seconds that many bans cost that are earned by lines written at once."""
    log = _tree(folder, maxretry=1)
    with Agent(folder, "nftables") as agent:
        agent.ready()
        before = agent.cpu()
        _write(log, [_failure(address) for address in _addresses(number)])
        agent.caught_up(number)
        count = cost.until(lambda: _elements() == number and number, 60, f"{number} bans")
        spent = agent.cpu() - before
        agent.stop()
    return {"cpu": spent, "banned": count}


def restart(folder: Path, number: int) -> dict[str, Any]:
    """Return the seconds to ready with many bans, and what was missing then, or meanwhile."""
    _tree(folder)
    addresses = _addresses(number)
    with Agent(folder, "nftables") as agent:
        agent.ready()
        for begin in range(0, number, 5000):
            agent.ask("ban", "sshd", addresses[begin : begin + 5000])
        agent.stop()
    looks: list[bool] = []
    over = threading.Event()
    probe = ("nft", "get", "element", *TABLE, *SET, f"{{ {addresses[0]} }}")

    def look() -> None:
        while not over.is_set():
            done = subprocess.run(probe, capture_output=True, check=False)
            looks.append(done.returncode == 0)

    watcher = threading.Thread(target=look)
    watcher.start()
    with Agent(folder, "nftables") as agent:
        kept = agent.ready()
        over.set()
        watcher.join()
        agent.stop()
    _nft("delete", "table", *TABLE)
    with Agent(folder, "nftables") as agent:
        seconds = agent.ready()
        found = _elements()
        agent.stop()
    gaps = looks.count(False)
    return {
        "kept": kept,
        "seconds": seconds,
        "missing": number - found,
        "looks": len(looks),
        "gaps": gaps,
    }


def memory(folder: Path, banned: int, failing: int) -> dict[str, Any]:
    """Return the resident size idle, with bans, and after many addresses failed once."""
    log = _tree(folder, tightvnc=True)
    with Agent(folder, "nftables") as agent:
        agent.ready()
        agent.caught_up(0)
        idle_ = agent.rss()
        agent.ask("ban", "sshd", _addresses(banned))
        agent.caught_up(0)
        with_bans = agent.rss()
        agent.ask("unban", "sshd", ["all"])
        agent.stop()
    with Agent(folder, "nftables") as agent:
        agent.ready()
        agent.caught_up(0)
        with log.open("a") as file:
            for n in range(failing):
                file.write(_failure(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") + "\n")
        agent.caught_up(failing)
        after = agent.rss()
        agent.stop()
    return {"idle": idle_, "bans": with_bans, "failures": after}


def idle(folder: Path, seconds: int) -> dict[str, Any]:
    """Return how often the agent's threads went to sleep again in so many seconds."""
    _tree(folder, tightvnc=True)
    with Agent(folder, "nftables") as agent:
        agent.ready()
        time.sleep(3)  # the first commit and the like are not idleness
        before = agent.switches()
        time.sleep(seconds)
        count = agent.switches() - before
        agent.stop()
    return {"switches": count}


def _tree(
    folder: Path, *, maxretry: int = 5, backend: str = "auto", tightvnc: bool = False
) -> Path:
    """Write a configuration with an sshd jail whose log is empty; return the log."""
    subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
    log = folder / "auth.log"
    log.touch()
    times = {"maxretry": maxretry, "findtime": "1h", "bantime": "1d", "backend": backend}
    jails: dict[str, dict[str, object]] = {"sshd": {"filter": "sshd", "logpath": log, **times}}
    if tightvnc:
        (folder / "vnc.log").touch()
        jails["tightvnc"] = {"filter": "tightvnc", "logpath": folder / "vnc.log", "port": "5901"}
    tree(folder, jails)
    return log


def _addresses(number: int) -> list[str]:
    return [f"198.{18 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(1, number + 1)]


def _failure(address: str) -> str:
    stamp = time.strftime("%b %e %H:%M:%S", time.gmtime())
    return f"{stamp} web1 sshd[4711]: Failed password for root from {address} port 40022 ssh2"


def _write(log: Path, lines: list[str]) -> None:
    with log.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def _trials(log: Path, trials: int) -> list[float]:
    """Earn a ban after the other; return the seconds from each last line to the kernel's news."""
    command = ("stdbuf", "-oL", "nft", "monitor", "elements")
    monitor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert monitor.stdout
    time.sleep(0.5)
    found = []
    watchdog = threading.Timer(trials * 5 + 20, monitor.kill)
    watchdog.start()
    try:
        for address in _addresses(trials):
            _write(log, [_failure(address)] * 4)
            time.sleep(0.3)
            began = time.monotonic()
            _write(log, [_failure(address)])
            for line in monitor.stdout:
                if "add element" in line and f" {address} " in f"{line} ".replace("/32", " "):
                    break
            else:
                raise Failed(f"{address} is not banned")
            found.append(time.monotonic() - began)
    finally:
        watchdog.cancel()
        monitor.kill()
        monitor.wait()
    return found


def _elements(*name: str) -> int:
    document = json.loads(_nft("-j", "list", "set", *(name or (*TABLE, *SET))))
    return sum(len(item["set"].get("elem", ())) for item in document["nftables"] if "set" in item)


def _nft(*words: str) -> str:
    done = subprocess.run(("nft", *words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"nft: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def _fail2ban(folder: Path) -> Iterator[int]:
    """Run its server until the block ends; give its pid when its jail runs."""
    (folder / "etc/fail2ban.local").write_text("[Definition]\ndbfile = None\n")
    files = ("-s", f"{folder}/f2b.sock", "-p", f"{folder}/f2b.pid", "-c", f"{folder}/etc")
    words = (*files, "-x", "--logtarget", f"{folder}/f2b.log")
    server = (*peers.fail2ban_program("fail2ban-server"), *words, "-f", "start")
    env = {**peers.fail2ban_env(inotify=True), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with _process(server, env, folder) as pid:
        said = folder / "f2b.log"
        cost.until(lambda: said.exists() and "Jail 'sshd' started" in said.read_text(), 30, "start")
        yield pid


@contextmanager
def _process(command: tuple[str, ...], env: dict[str, str], folder: Path) -> Iterator[int]:
    with (folder / "said").open("wb") as said:
        child = subprocess.Popen(command, env=env, stdout=said, stderr=said, start_new_session=True)
    try:
        yield child.pid
    finally:
        # What it has started ends with the namespace of processes.
        child.kill()
        child.wait()


WORKS: dict[str, Callable[..., dict[str, Any]]] = {
    work.__name__: work
    for work in (
        start,
        start_fail2ban,
        latency,
        latency_fail2ban,
        latency_sshguard,
        bans,
        bans_fail2ban,
        restart,
        memory,
        idle,
    )
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(WORKS[sys.argv[1]](Path(name), *map(int, sys.argv[2:]))))
