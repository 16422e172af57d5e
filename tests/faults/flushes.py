# SPDX-License-Identifier: MIT
"""Bans taken out of the kernel, with nft and with iptables: how soon they are back."""

import os
import re
import shutil
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.cost import Failed, until
from faults.host import Host
from faults.rows import Broken, Row


IDS = ("192.0.2.1", "192.0.2.2", "198.51.100.0/24", "2001:db8::7")
SAVED = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
IN_TIME = 2.0
"""Seconds that the contract gives where the kernel tells of a change."""
SILENT = 30.0
"""Where it does not."""
DEADLINE = 20.0
NFT = "nft list table inet stockade"
IPTABLES = "iptables-save -t filter; ip6tables-save -t filter"
LEGACY = "iptables-legacy-save -t filter; ip6tables-legacy-save -t filter"

NFT_FAULTS = {
    "flush-ruleset": "nft flush ruleset",
    "delete-table": "nft delete table inet stockade",
    "flush-table": "nft flush table inet stockade",
    "flush-chain": "nft flush chain inet stockade input",
    "flush-set": "nft flush set inet stockade v4-sshd",
    "delete-element": "nft delete element inet stockade v4-sshd '{ 192.0.2.1 }'",
    "delete-ipv6": "nft delete element inet stockade v6-sshd '{ 2001:db8::7 }'",
    "accept-all": "nft insert rule inet stockade input accept",
    "policy": "nft chain inet stockade input '{ policy drop; }'",
}
IPTABLES_FAULTS = {
    "flush": "iptables -F",
    "flush-and-delete": "iptables -F && iptables -X",
    "flush-ipv6": "ip6tables -F",
    "flush-chain": "iptables -F f2b-sshd",
    "delete-jump": "iptables -D INPUT 1",
    "delete-rule": "iptables -D f2b-sshd -s 192.0.2.1 -j REJECT",
    "restore": "iptables-restore < saved",
    "flush-ruleset": "nft flush ruleset",
}
_TIMES = re.compile(r"(\d+(d|h|m|s|ms))+,?")


def rules(text: str) -> list[str]:
    """Return the words of rules as tools list them, without what changes by itself."""
    words = " ".join(line for line in text.splitlines() if not line.startswith("#")).split()
    return sorted(w.strip(",") for w in words if not _TIMES.fullmatch(w) and w[0] != "[")


class Struck:
    """A host with bans in force, and what the kernel held when it was whole."""

    def __init__(self, host: Host, look: str) -> None:
        self.host, self.look = host, look
        host.start()
        host.ask("ban", "sshd", *IDS)
        until(lambda: IDS[0] in self.shown(), 20, "bans in force")
        self.whole = rules(self.shown())

    def shown(self) -> str:
        """Return what the kernel holds, as its tool lists it."""
        return _shell(self.look, self.host.folder)

    def refuses(self) -> bool:
        """Return whether all that was there is, whatever else may be."""
        return not Counter(self.whole) - Counter(rules(self.shown()))

    def again(self) -> None:
        """Let another agent go on: who takes again and again is answered more slowly."""
        self.host.stop()
        self.host.start()
        until(lambda: rules(self.shown()) == self.whole, 20, "all in force after a restart")

    def strike(self, command: str, within: float = DEADLINE) -> float:
        """Run a command that takes something, and return the seconds until all was back.

        Raises:
            Broken: it was not, or status does not tell of it.
        """
        before = self.host.status().firewall.healed
        _shell(command, self.host.folder)
        begun = time.monotonic()
        until(lambda: rules(self.shown()) == self.whole, within, f"{command}: all put back")
        taken = time.monotonic() - begun
        until(lambda: self.host.status().firewall.healed > before, 5, f"{command}: counted")
        if problem := self.host.status().firewall.problem:
            raise Broken(f"{command}: {problem}")
        return taken


def flush(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield, for each command that takes bans away, how soon they are back."""
    runs = 1 if small else 5
    for backend, look, faults in (
        ("nftables", NFT, NFT_FAULTS),
        ("iptables", IPTABLES, IPTABLES_FAULTS),
    ):
        with Host(folder / backend, firewall=backend) as host:
            (host.folder / "saved").write_text(SAVED)
            struck = Struck(host, look)
            for command in [*faults.values()][:: 4 if small else 1]:
                yield _row(struck, f"`{command}` ({backend})", command, runs)
            host.stop()
        _shell("nft flush ruleset", folder)
    if not small:
        yield _silent(folder)


def _row(struck: Struck, name: str, command: str, runs: int) -> Row:
    taken, wrong = [], ""
    try:
        for _ in range(runs):
            taken.append(struck.strike(command))
            struck.again()
    except (Broken, Failed) as error:
        wrong = str(error)
    return timed(f"{name}: bans out of force", taken, wrong, IN_TIME)


def timed(name: str, taken: list[float], wrong: str, goal: float) -> Row:
    """Return the row of a fault after which everything must be back in time."""
    figure = statistics.median(taken) if taken else DEADLINE
    seen = f"median of {len(taken)}, at most {max(taken):.2f} s" if len(taken) > 1 else ""
    passed = not wrong and max(taken) < goal
    return Row(name, figure, "s", f"< {goal:g}", passed, "; ".join(filter(None, (seen, wrong))))


def _silent(folder: Path) -> Row:
    """Legacy tables change without a word of the kernel."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("iptables", "ip6tables"):
        for part in ("", "-save", "-restore"):
            (tools / f"{name}{part}").symlink_to(shutil.which("xtables-legacy-multi") or "")
    env = {"PATH": f"{tools}:{os.environ['PATH']}"}
    taken, wrong = [], ""
    with Host(folder / "legacy", firewall="iptables", env=env) as host:
        struck = Struck(host, LEGACY)
        try:
            taken.append(struck.strike("iptables-legacy -F", SILENT + DEADLINE))
        except (Broken, Failed) as error:
            wrong = str(error)
    name = "`iptables-legacy -F`, of which the kernel does not tell: bans out of force"
    return timed(name, taken, wrong, SILENT)


def _shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout
