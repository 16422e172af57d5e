# SPDX-License-Identifier: MIT
"""How the daemon behaves: start, latency, bans, restarts, memory, idleness.

Each work runs in namespaces of its own (network, processes, mounts), made by ``unshare``; all
that is in them ends with it, whatever happens to us.
"""

import json
import subprocess
import sys
from typing import Any

from bench import peers
from bench.cost import TIED, Failed, spread
from bench.rows import Row


WORKS = "bench.inside"


def start() -> list[Row]:
    """From the start of the process to READY=1."""
    answers = [inside("start") for _ in range(5)]
    figure = sorted(answer["cpu"] for answer in answers)[2]
    row = Row("start to ready, warm, sshd jail", figure, "CPU-s", "<= 0.25", figure <= 0.25)
    peers.unpacked("python3-pyinotify")
    row.peers["fail2ban"] = inside("start_fail2ban")["cpu"]
    return [row]


def latency(small: int) -> list[Row]:
    """From the line that earns a ban to the kernel's set."""
    ours = spread(inside("latency", 50 // small or 2)["seconds"])
    rows = [
        Row("line to rule, median", ours[0] * 1000, "ms", "<= 10 ms", ours[0] <= 0.010),
        Row("line to rule, p95", ours[1] * 1000, "ms", "<= 25 ms", ours[1] <= 0.025),
    ]
    peers.unpacked("python3-pyinotify")
    peers.unpacked("sshguard")
    for contender in ("fail2ban", "sshguard"):
        theirs = spread(inside(f"latency_{contender}", 20 // small or 1)["seconds"])
        for row, value in zip(rows, theirs, strict=True):
            row.peers[contender] = value * 1000
    return rows


def bans(small: int) -> list[Row]:
    """Many bans earned at once: CPU of the agent, its children, and the judging of the lines."""
    number = 5000 // small
    answer = inside("bans", number)
    row = Row(f"{number:,} bans at once, nftables", answer["cpu"], "CPU-s", "<= 0.6")
    row.met, row.verdicts = answer["cpu"] <= 0.6, {"agent": answer["banned"]}
    peers.unpacked("python3-pyinotify")
    row.peers["fail2ban"] = inside("bans_fail2ban", number)["cpu"]
    return [row]


def restart(small: int) -> list[Row]:
    """From a stop to READY=1 with bans in the ledger, kernel emptied meanwhile or not."""
    rows = []
    for number, goal in ((5000 // small, 0.5), (100_000 // small, 6.0)):
        answer = inside("restart", number)
        if answer["missing"] or answer["gaps"]:
            raise Failed(
                f"{number} bans: {answer['missing']} missing when ready, "
                f"{answer['gaps']} of {answer['looks']} looks found none"
            )
        for name, key in (("bans in the kernel", "kept"), ("bans, kernel empty", "seconds")):
            figure = answer[key]
            words = f"<= {goal:g} s, in force when ready"
            row = Row(f"restart, {number:,} {name}", figure, "s", words, figure <= goal)
            row.verdicts = {"in force": number - answer["missing"], "looks": answer["looks"]}
            rows.append(row)
    return rows


def memory(small: int) -> list[Row]:
    """Resident size."""
    answer = inside("memory", 5000 // small, 1_000_000 // small)
    goals = {"idle": 20.0, "bans": 25.0, "failures": 64.0}
    names = {
        "idle": "RSS idle, sshd and tightvnc jails",
        "bans": f"RSS with {5000 // small:,} bans",
        "failures": f"RSS after {1_000_000 // small:,} failing addresses",
    }
    return [
        Row(names[key], answer[key], "MiB", f"<= {goal:g}", answer[key] <= goal)
        for key, goal in goals.items()
    ]


def idle(small: int) -> list[Row]:
    """How often the agent wakes up when nothing happens."""
    seconds = 30 if small == 1 else 2
    count = inside("idle", seconds)["switches"]
    return [Row(f"wakeups when idle, {seconds} s", count, "", "0", count == 0)]


def inside(work: str, *arguments: int) -> dict[str, Any]:
    """Run a function of ``bench.inside`` in namespaces of its own, and return its answer.

    Raises:
        Failed: it failed.
    """
    unshare = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    command = (*TIED, *unshare, sys.executable, "-m", WORKS, work, *map(str, arguments))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{work}: {done.stderr.strip().rpartition(chr(10))[2]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
