# SPDX-License-Identifier: MIT
"""Commands of actions that hang, that fail, and that leave children behind."""

import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.cost import until
from faults.host import Host, failure, kernel
from faults.rows import Row


SOON = 1.0
"""Seconds within which a ban must be in the kernel, whatever commands do."""
LIMIT = 3
"""Seconds that a command may take here."""
GRACE = 5.0
"""Seconds after that until nothing of it may be left."""
MARK = "987654"
"""Seconds that the children sleep: how they are found, nobody else being in this namespace."""
COMMANDS = {
    "hangs": f"sleep {MARK}",
    "hangs, deaf to SIGTERM, with children in the background": (
        f"trap '' TERM; sleep {MARK} & (trap '' TERM; sleep {MARK}; sleep {MARK}) & sleep {MARK}"
    ),
    "fails": "echo it does not work >&2; exit 3",
    "says a megabyte a second": f"yes | head -c 1000000; sleep {MARK}",
}


def hang(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield how long the next bans of the same jail wait, and what is left of the commands."""
    bans = 5 if small else 40
    for number, (words, command) in enumerate([*COMMANDS.items()][:: 2 if small else 1]):
        options = {"maxretry": 1, "action": f"%(banaction)s[port=22]\n bad[timeout={LIMIT}]"}
        with Host(folder / str(number), firewall="nftables", options=options) as host:
            (host.etc / "action.d").mkdir()
            text = f"[Definition]\nactionban = {command}\nactionunban =\n"
            (host.etc / "action.d/bad.conf").write_text(text)
            host.start()
            waits = [_banned(host, f"198.51.100.{n + 1}") for n in range(bans)]
            wrong = "" if max(waits) <= SOON else f"one waited {max(waits):.2f} s"
            until(lambda: host.jail().actions[0].problem, 20, "a word in status")
            host.stop()
            end = time.monotonic() + LIMIT + GRACE
            while left() and time.monotonic() < end:
                time.sleep(0.05)
            if left():
                wrong = f"{left()} processes are left"
            if "Traceback" in host.said():
                wrong = host.tail()
        subprocess.run(("nft", "flush", "ruleset"), check=True)
        yield Row(
            f"an action {words}: the next bans of the same jail",
            statistics.median(waits),
            "s",
            f"<= {SOON:g}, said in status, nothing left of it",
            not wrong,
            "; ".join(filter(None, (f"{bans} bans, at most {max(waits):.2f} s", wrong))),
        )


def _banned(host: Host, address: str) -> float:
    """Return how long it takes from a line in the log until the kernel refuses an address."""
    began = time.monotonic()
    host.write(failure(address))
    until(lambda: address in kernel(), 30, f"{address} refused")
    return time.monotonic() - began


def left() -> int:
    """Return how many of the commands' processes there are."""
    done = subprocess.run(
        ("pgrep", "-c", "-f", f"sleep {MARK}"), capture_output=True, text=True, check=False
    )
    return int(done.stdout or 0)
