# SPDX-License-Identifier: MIT
"""The whole story on two real hosts, for a person: ``make demo``.

    python -m demo [--svg FILE]

Boots a Debian 12 and a RHEL-like host in the lab, lets hydra guess at both, pushes while it does,
and shows the guesses per second fall to zero, the firewall's own listing, and ``stockade status``.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import yaml
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from lab import Lab, LabError, attack


WIDTH = 92
KINDS = ("debian12", "el9")
BACKENDS = {"debian12": "nftables", "el9": "firewalld"}
LISTINGS = {
    "debian12": ("nft list set inet stockade v4-sshd", "nft list chain inet stockade input"),
    "el9": (
        "firewall-cmd --info-ipset=stockade-sshd-4",
        "firewall-cmd --policy=stockade --list-rich-rules",
    ),
}
OK, WOULD_CHANGE = 0, 2
ATTACK_SECONDS = 90
BEFORE_SECONDS = 4
QUIET_SECONDS = 3


class Attack:
    """Hydra against every host at once; counts the guesses of each second."""

    def __init__(self, lab, words: Path) -> None:
        self.began = time.time()
        self.guesses = {host.name: Counter() for host in lab.hosts.values()}
        self._processes = []
        for host in lab.hosts.values():
            argv = attack.hydra_argv(host.address, "victim", str(words), tasks=8)
            guarded = ["timeout", str(ATTACK_SECONDS), *argv]
            process = lab.popen(
                "attacker", guarded, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._processes.append(process)
            threading.Thread(target=self._count, args=(process, host.name), daemon=True).start()

    def _count(self, process, name) -> None:
        for line in process.stdout:
            if line.startswith("[ATTEMPT]"):
                self.guesses[name][int(time.time() - self.began)] += 1

    def second(self) -> int:
        """Return how many seconds the attack is old."""
        return int(time.time() - self.began)

    def over(self, name) -> bool:
        """Return whether this host has had no guess for a while."""
        recent = range(self.second() - QUIET_SECONDS, self.second() + 1)
        return not any(self.guesses[name][second] for second in recent)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()
            process.stdout.close()


class Demo:
    """The steps, in the order in which they are shown."""

    def __init__(self, console: Console, lab: Lab, folder: Path, began: float) -> None:
        self.console, self.lab, self.folder, self.began = console, lab, folder, began
        self.notes = {}

    def title(self, text: str) -> None:
        """Begin a step."""
        self.console.print()
        self.console.print(Rule(f"[bold]{text}", align="left", style="cyan"))

    def show(self, *words: str) -> None:
        """Run ``stockade`` in the controller's network and show what a person sees."""
        self.console.print(Text(f"$ stockade {' '.join(words)}", style="bold green"))
        self.console.print(Text.from_ansi(self.stockade(*words)))

    def stockade(self, *words: str) -> str:
        """Run ``stockade`` as if on a terminal of this width and return what it printed."""
        argv = [sys.executable, "-m", "stockade", "--inventory", str(self.folder), *words]
        colour = {} if "--json" in words else {"FORCE_COLOR": "1", "TERM": "xterm"}
        done = subprocess.run(
            [*self.lab.prefix("controller"), *argv],
            env={**os.environ, "COLUMNS": str(WIDTH), **colour},
            capture_output=True,
            text=True,
            check=False,
        )
        # On standard error a push that goes well shows nothing but its progress.
        return done.stdout if done.returncode in (OK, WOULD_CHANGE) else done.stdout + done.stderr

    def hosts(self) -> None:
        """Boot the hosts."""
        self.title("Two hosts, fresh from their distribution")
        started = time.monotonic()
        self.lab.boot_all(list(KINDS))
        table = Table("host", "address", "logs to", "firewall", box=None)
        for host in self.lab.hosts.values():
            log = "the journal" if host.kind == "debian12" else "/var/log/secure"
            table.add_row(host.name, host.address, log, BACKENDS[host.kind])
        self.console.print(table)
        self.console.print(f"up in {time.monotonic() - started:.1f} s; sshd asks for passwords")

    def inventory(self) -> None:
        """Write the inventory and show it."""
        self.title("The inventory, and the plan")
        hosts = {
            host.name: {
                "ansible_host": host.address,
                "ansible_ssh_private_key_file": str(self.lab.key),
            }
            for host in self.lab.hosts.values()
        }
        values = {"stockade_roles": ["base", "sshd", "tightvnc"], "sshd_maxretry": 3}
        text = yaml.safe_dump({"all": {"hosts": hosts, "vars": values}}, sort_keys=False)
        (self.folder / "hosts.yml").write_text(text)
        self.lab.known_hosts(self.folder / "known_hosts")
        self.console.print(Syntax(text.strip(), "yaml", background_color="default"))
        self.show("plan")

    def attack(self) -> None:
        """Let hydra guess, push meanwhile, and watch the guesses end."""
        self.title("hydra guesses, and stockade push answers")
        words = self.folder / "words"
        words.write_text("".join(f"guess-{number:04d}\n" for number in range(2000)))
        pushed: list[str] = []
        push = threading.Thread(target=lambda: pushed.append(self.stockade("push")))
        marks: dict[int, str] = {}
        with (
            Attack(self.lab, words) as running,
            Live(console=self.console, refresh_per_second=4, transient=True) as live,
        ):
            while running.second() < ATTACK_SECONDS:
                second = running.second()
                if second >= BEFORE_SECONDS and not push.ident:
                    push.start()
                    marks[second] = "stockade push begins"
                if push.ident and not push.is_alive() and pushed and "done" not in self.notes:
                    self.notes["done"] = second
                    marks.setdefault(second, "stockade push ends")
                live.update(chart(running, marks))
                if pushed and all(running.over(name) for name in running.guesses):
                    break
                time.sleep(0.2)
            push.join()
            self.console.print(chart(running, marks))
        self.console.print(Text("$ stockade push", style="bold green"))
        self.console.print(Text.from_ansi(pushed[0]))

    def listing(self) -> None:
        """Show the bans as the firewalls' own tools print them."""
        self.title("What the firewalls say themselves")
        for host in self.lab.hosts.values():
            for command in LISTINGS[host.kind]:
                self.console.print(Text(f"{host.name}# {command}", style="bold green"))
                self.console.print(Text(host.run(command).stdout.replace("\t", "  ").strip()))

    def status(self) -> None:
        """Show the fleet's status and the figures."""
        self.title("stockade status")
        self.show("status")
        document = json.loads(self.stockade("--json", "status"))
        sizes, memory, firsts = set(), [], []
        for entry in document["hosts"]:
            host = self.lab.host(entry["host"])
            sizes.add(int(host.run("stat -c %s /usr/lib/stockade/stockade-agent.pyz").stdout))
            memory.append(entry["agent"]["rss_bytes"] / 2**20)
            firsts.append(first_ban(host))
        table = Table.grid(padding=(0, 2))
        table.add_row("from make demo to the first ban", f"{min(firsts) - self.began:.1f} s")
        table.add_row("agent, one zipapp", f"{max(sizes) / 1000:.0f} kB")
        table.add_row("agent's memory (RSS)", f"{max(memory):.0f} MiB")
        self.console.print(Panel(table, title="figures of this run", expand=False))


def first_ban(host) -> float:
    """Return when the host's agent first said that it banned somebody."""
    lines = host.run("journalctl -u stockade-agent -o json --no-pager").stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    times = [int(e["__REALTIME_TIMESTAMP"]) / 1e6 for e in entries if "] Ban " in e["MESSAGE"]]
    return min(times, default=time.time())


def chart(running: Attack, marks: dict[int, str]) -> Table:
    """Draw guesses per second, a row a second."""
    names = list(running.guesses)
    table = Table("second", *names, "", box=None, header_style="bold", min_width=WIDTH - 20)
    for second in range(running.second() + 1):
        bars = []
        for name in names:
            count = running.guesses[name][second]
            bars.append(
                Text(f"{count:2d} " + "█" * min(count, 20), style="red" if count else "dim")
            )
        table.add_row(str(second), *bars, Text(marks.get(second, ""), style="cyan"))
    return table


def main() -> int:
    """Show it all and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.splitlines()[0])
    parser.add_argument("--svg", type=Path, help="also write what was shown to this file")
    words = parser.parse_args()
    began = float(os.environ.get("STOCKADE_BEGAN", time.time()))
    console = Console(record=True, width=WIDTH)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
            lab = stack.enter_context(Lab())
            demo = Demo(console, lab, folder, began)
            demo.hosts()
            demo.inventory()
            demo.attack()
            demo.listing()
            demo.status()
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if words.svg:
        # The picture must not send its viewers to another site for fonts.
        svg = re.sub(
            r"@font-face \{.*?\}\s*", "", console.export_svg(title="make demo"), flags=re.DOTALL
        )
        words.svg.write_text(svg)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
