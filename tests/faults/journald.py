# SPDX-License-Identifier: MIT
"""journald restarted, rotated and vacuumed while every entry is numbered and counted."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.cost import until
from faults.host import seeded
from faults.rows import Row
from lab import Lab
from stockade import bundle


CONF = """\
[Definition]
dbfile = /var/lib/faults/ledger.sqlite3
socket = /run/faults.sock
controllers = /etc/faults/controllers
"""
JAIL = """\
[numbers]
enabled = true
filter = numbers
backend = systemd
maxretry = 1000000
usedns = no
"""
FILTER = r"""
[Definition]
failregex = numbers(?:\[\d+\])?: entry \d+ from <HOST>$
journalmatch = SYSLOG_IDENTIFIER=numbers
"""
WRITER = """\
import sys, syslog, time
syslog.openlog("numbers")
for n in range(int(sys.argv[1])):
    syslog.syslog(f"entry {n} from 198.51.100.{n % 250}")
    time.sleep(float(sys.argv[2]))
"""
FAULTS = (
    "systemctl restart systemd-journald",
    "journalctl --rotate",
    "journalctl --rotate --vacuum-files=2",
    "systemctl kill --signal=KILL systemd-journald",
)
AGENT = "python3 /opt/faults.pyz"


def journald(_folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield how many of the numbered entries were not counted once."""
    number, chance = (1000 if small else 20_000), seeded("journald")
    with Lab() as lab:
        host = lab.boot("debian12-77")
        (host.root / "opt/faults.pyz").write_bytes(bundle.build())
        for folder in ("/etc/faults/filter.d", "/var/lib/faults", "/var/log/journal"):
            host.run(["mkdir", "-p", folder])
        host.run("journalctl --flush")
        host.write("/etc/faults/stockade.conf", CONF)
        host.write("/etc/faults/jail.conf", JAIL)
        host.write("/etc/faults/filter.d/numbers.conf", FILTER)
        host.write("/opt/writer.py", WRITER)
        run = f"exec {AGENT} run -c /etc/faults --firewall memory >/var/log/faults 2>&1"
        agent = host.popen(["sh", "-c", run])
        status = f"{AGENT} status --json -c /etc/faults"
        until(lambda: not host.run(status, check=False).rc, 30, "an agent")
        made = 0

        def write() -> None:
            host.run(["python3", "/opt/writer.py", str(number), "0.002"], timeout=600)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        while writer.is_alive():
            host.run(chance.choice(FAULTS), check=False)
            made += 1
            time.sleep(chance.uniform(1.0, 3.0))
        writer.join()
        kept = int(host.run("journalctl -t numbers -o cat | grep -c entry").stdout)

        def counted() -> int:
            return int(json.loads(host.run(status).stdout)["jails"][0]["failed_total"])

        before = -1
        while before != counted():
            before = counted()
            time.sleep(2)
        agent.kill()
        agent.wait()
    # A journald that is killed may lose what it had not written; no reader can know of that.
    wrong = [f"{before:,} counted"] if not kept <= before <= number else []
    yield Row.broken(
        "journald restarted, rotated, vacuumed, killed: entries not counted once",
        wrong,
        f"{made} faults, {number:,} entries written, {kept:,} kept, {before:,} counted",
    )
