# SPDX-License-Identifier: MIT
"""Others as hosts: fail2ban, sshguard, crowdsec, Debian's, in the namespaces of their case.

Each has its own log and folder, bans by nftables, and is started and ended whole: what it needs
several processes for are all of them.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from bench import peers
from bench.cost import TIED, until
from faults.host import Host, failure, kernel
from faults.rows import Broken


SETS = {
    "fail2ban": ("inet", "f2b-table", "addr-set-sshd"),
    "sshguard": ("ip", "sshguard", "attackers"),
    "crowdsec": ("ip", "crowdsec", "crowdsec-blacklists"),
}
PACKAGES = ("sshguard", "crowdsec", "crowdsec-firewall-bouncer", "python3-pyinotify")


class Ours(Host):
    """The agent, as what the others are compared with."""

    name, burst = "stockade", 1

    def __init__(self, folder: Path) -> None:
        options = {"maxretry": 1, "logpath": f"{folder}/auth.log"}
        super().__init__(folder, firewall="nftables", options=options)

    def held(self) -> set[str]:
        """Return what the kernel refuses for it."""
        return kernel("sshd")

    def end(self) -> None:
        """End it as systemd does."""
        self.stop()

    def attack(self, addresses: Iterable[str]) -> None:
        """Write what makes it ban some addresses."""
        attack(self.log, addresses, self.burst)

    def freeze(self, number: int) -> None:
        """Send a signal to all of it."""
        self.signal(number)


class Fail2ban(Ours):
    """fail2ban's server: the same filter and jail, its own actions and database."""

    name = "fail2ban"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        stock = peers.fail2ban() / "etc/fail2ban"
        shutil.copytree(stock / "action.d", self.etc / "action.d", dirs_exist_ok=True)
        text = (self.etc / "jail.conf").read_text()
        (self.etc / "jail.conf").write_text(text.replace("backend = auto", "backend = pyinotify"))
        files = {"dbfile": self.ledger, "socket": self.socket, "pidfile": folder / "pid"}
        rest = {"logtarget": folder / "said", "syslogsocket": "auto", "dbpurgeage": "30d"}
        options = "".join(f"{key} = {value}\n" for key, value in {**files, **rest}.items())
        (self.etc / "fail2ban.conf").write_text(
            f"[Definition]\nloglevel = INFO\nallowipv6 = auto\ndbmaxmatches = 10\n{options}"
        )

    def start(self, *, ready: bool = True) -> Self:
        """Start its server, and wait until its jails run."""
        # What a killed one leaves behind it takes for another that runs.
        for path in (Path(self.socket), self.folder / "pid"):
            path.unlink(missing_ok=True)
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

    def held(self) -> set[str]:
        """Return what the kernel refuses for it."""
        return elements(*SETS[self.name])

    def end(self) -> None:
        """End it as systemd does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(300)
        self.process = None


class Piped:
    """One that is several processes, each the leader of a group of its own."""

    name, burst = "", 1

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "auth.log"
        folder.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self.groups: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def run(self, *command: object, env: dict[str, str] | None = None) -> None:
        """Start one of its programs."""
        with (self.folder / "said").open("ab") as said:
            self.groups.append(
                subprocess.Popen(
                    (*TIED, *map(str, command)),
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            )

    def freeze(self, number: int) -> None:
        """Send a signal to all of it."""
        for group in self.groups:
            try:
                os.killpg(group.pid, number)
            except ProcessLookupError as error:
                raise Broken(f"{self.name} is not there: {self.tail()}") from error

    def kill(self) -> None:
        """End all of it as the kernel does when memory runs out."""
        for group in self.groups:
            try:
                os.killpg(group.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            finally:
                group.wait()
        self.groups = []

    def end(self) -> None:
        """End it as systemd does, which sends SIGTERM to all processes."""
        self.freeze(signal.SIGTERM)
        for group in self.groups:
            group.wait(120)
        until(lambda: not any(map(_has_members, self.groups)), 60, f"{self.name} ended")
        self.groups = []

    def held(self) -> set[str]:
        """Return what the kernel refuses for it."""
        return elements(*SETS[self.name])

    def attack(self, addresses: Iterable[str]) -> None:
        """Write what makes it ban some addresses."""
        attack(self.log, addresses, self.burst)

    def tail(self) -> str:
        """Return the end of what it has written."""
        return (self.folder / "said").read_text(errors="replace")[-300:].replace("\n", " / ")


class Sshguard(Piped):
    """sshguard as its own script runs it, with Debian's configuration but for the log."""

    name, burst = "sshguard", 4

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tree = peers.unpacked("sshguard")
        conf = (tree / "etc/sshguard/sshguard.conf").read_text()
        mine = folder / "etc/sshguard"
        mine.mkdir(parents=True, exist_ok=True)
        kept = [line for line in conf.splitlines() if not line.startswith("LOGREADER")]
        kept = [line.replace("BLOCK_TIME=120", "BLOCK_TIME=86400") for line in kept]
        (mine / "sshguard.conf").write_text("\n".join([*kept, f'FILES="{self.log}"', ""]))
        # Its paths are fixed: they appear in this mount namespace alone.
        layers = {
            "/etc": f"{folder}/etc:{tree}/etc:/etc",
            "/usr/libexec": f"{tree}/usr/libexec:/usr/libexec",
        }
        for place, lower in layers.items():
            if (Path(place) / "sshguard").exists():
                subprocess.run(("umount", "-l", place), check=True)  # the one before
            mount = ("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower}", place)
            subprocess.run(mount, check=True)

    def start(self) -> Self:
        """Start it, and wait until its table is there."""
        self.run("sh", peers.unpacked("sshguard") / "usr/sbin/sshguard")
        until(lambda: _there(*SETS[self.name]), 30, "sshguard's table")
        until(lambda: _has_members(self.groups[0]), 30, "sshguard runs")
        time.sleep(1)  # it says nothing when it has come to the end of the log
        return self


CONFIG = """\
common: {{daemonize: true, log_media: stdout, log_level: info, working_dir: .}}
config_paths:
  config_dir: {etc}/
  data_dir: {data}/
  simulation_path: {etc}/simulation.yaml
  hub_dir: {hub}/
  index_path: {hub}/.index.json
  notification_dir: {etc}/notifications
  plugin_dir: {etc}/notifications
crowdsec_service: {{acquisition_path: {etc}/acquis.yaml, parser_routines: 1}}
cscli: {{output: human}}
db_config:
  {{log_level: info, type: sqlite, db_path: {data}/crowdsec.db,
  flush: {{max_items: 5000, max_age: 7d}}}}
api:
  client: {{insecure_skip_verify: false, credentials_path: {etc}/local_api_credentials.yaml}}
  server: {{log_level: info, listen_uri: "127.0.0.1:8080", profiles_path: {etc}/profiles.yaml}}
prometheus: {{enabled: false}}
"""
BOUNCER = """\
mode: nftables
pid_dir: {folder}/
update_frequency: 10s
daemonize: true
log_mode: stdout
log_level: info
api_url: http://127.0.0.1:8080/
api_key: {key}
disable_ipv6: false
deny_action: DROP
deny_log: false
supported_decisions_types: [ban]
blacklists_ipv4: crowdsec-blacklists
blacklists_ipv6: crowdsec6-blacklists
nftables:
  ipv4: {{enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}}
  ipv6: {{enabled: true, set-only: false, table: crowdsec6, chain: crowdsec6-chain}}
prometheus: {{enabled: false}}
"""
ITEMS = (
    "parsers/s00-raw/crowdsecurity/syslog-logs.yaml",
    "parsers/s01-parse/crowdsecurity/sshd-logs.yaml",
    "parsers/s02-enrich/crowdsecurity/dateparse-enrich.yaml",
    "scenarios/crowdsecurity/ssh-bf.yaml",
)


class Crowdsec(Piped):
    """crowdsec with its firewall bouncer, both as Debian configures them, without its network."""

    name, burst = "crowdsec", 6

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tree = peers.unpacked("crowdsec")
        self.etc, data, hub = (folder / name for name in ("etc", "data", "hub"))
        self.config = self.etc / "config.yaml"
        if self.etc.exists():
            return
        shared = self.tree / "usr/share/crowdsec"
        shutil.copytree(shared / "data", data)
        shutil.copytree(shared / "hub", hub)
        shutil.copytree(self.tree / "etc/crowdsec/patterns", self.etc / "patterns")
        shutil.copy(self.tree / "etc/crowdsec/profiles.yaml", self.etc)
        (self.etc / "notifications").mkdir()
        for item in ITEMS:
            # The folder of who wrote it stands in the hub only.
            kind, name = Path(item).parent.parent, Path(item).name
            (self.etc / kind).mkdir(parents=True, exist_ok=True)
            (self.etc / kind / name).symlink_to(hub / item)
        self.config.write_text(CONFIG.format(etc=self.etc, data=data, hub=hub))
        (self.etc / "simulation.yaml").write_text("simulation: false\n")
        acquired = {"filenames": [str(self.log)], "labels": {"type": "syslog"}}
        (self.etc / "acquis.yaml").write_text(json.dumps(acquired))
        credentials = self.etc / "local_api_credentials.yaml"
        credentials.touch()
        password = "not-a-secret-of-anybody"
        self.tool("machines", "add", "one", "--password", password, "--force", "-f", credentials)
        key = self.tool("bouncers", "add", "firewall", "-o", "raw")
        (self.etc / "bouncer.yaml").write_text(BOUNCER.format(folder=folder, key=key.strip()))

    def tool(self, *words: object) -> str:
        """Run its command line tool."""
        done = subprocess.run(
            (self.tree / "usr/bin/cscli", "-c", self.config, *map(str, words)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Broken(f"cscli {words[0]}: {done.stderr[-200:]}")
        return done.stdout

    def start(self) -> Self:
        """Start both, and wait until what they knew is in the kernel."""
        said = self.folder / "said"
        begin = said.stat().st_size if said.exists() else 0
        self.run(self.tree / "usr/bin/crowdsec", "-c", self.config)
        until(lambda: b"Starting processing data" in said.read_bytes()[begin:], 60, "crowdsec")
        bouncer = peers.unpacked("crowdsec-firewall-bouncer")
        self.run(bouncer / "usr/bin/crowdsec-firewall-bouncer", "-c", self.etc / "bouncer.yaml")
        until(lambda: b"Processing new and deleted" in said.read_bytes()[begin:], 60, "the bouncer")
        return self


OTHERS = (Fail2ban, Sshguard, Crowdsec)


def attack(log: Path, addresses: Iterable[str], burst: int) -> None:
    """Append the failures that make addresses banned."""
    with log.open("a") as file:
        file.write("".join(f"{failure(who)}\n" for who in addresses for _ in range(burst)))


def elements(family: str, table: str, name: str) -> set[str]:
    """Return the addresses in a set of the kernel's."""
    command = ("nft", "-j", "list", "set", family, table, name)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return set()
    found = set()
    for entry in json.loads(done.stdout)["nftables"]:
        for element in entry.get("set", {}).get("elem", ()):
            timed = isinstance(element, dict) and "elem" in element
            value = element["elem"]["val"] if timed else element
            if isinstance(value, dict) and "range" in value:
                found.update(_between(*value["range"]))
            else:
                found.add(str(value))
    return found


def _between(first: str, last: str) -> Iterable[str]:
    """Return the addresses of a range, as sets of intervals join neighbours."""
    begin, end = ip_address(first), ip_address(last)
    return [str(begin + n) for n in range(int(end) - int(begin) + 1)]


def _there(family: str, table: str, name: str) -> bool:
    command = ("nft", "list", "set", family, table, name)
    return not subprocess.run(command, capture_output=True, check=False).returncode


def _has_members(group: subprocess.Popen[bytes]) -> bool:
    """Return whether any process of a group is there; those that only wait to be reaped are not."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group.pid and state not in "ZX":
                return True
    return False
