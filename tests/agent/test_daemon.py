# SPDX-License-Identifier: MIT
"""Does the whole agent, as a process, ban who fails, and keep its bans over anything?"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

import stockade_agent
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import AgentStatus, Request
from stockade_agent.errors import ControlError, NoAgentError
from stockade_agent.ledger import Ledger


AGENT = str(Path(stockade_agent.__file__).parents[1])
DEADLINE = 20.0

JAIL_CONF = """\
[DEFAULT]
filter = sshd
maxretry = 3
findtime = 600
bantime = {bantime}
banaction = nftables-multiport
action = %(banaction)s[port="%(port)s"]
backend = auto

[sshd]
enabled = true
port = 22
logpath = {folder}/auth.log
{more}
"""
FILTER = """\
[Definition]
failregex = ^\\s*\\S+ sshd\\[\\d+\\]: Failed password for .* from <HOST> port \\d+
"""


class Host:
    """A directory that is a host for the agent: configuration, log, ledger, socket."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        self.environment = {**os.environ, "PYTHONPATH": AGENT, "PYTHONWARNINGS": "error"}
        (folder / "filter.d").mkdir()
        (folder / "filter.d/sshd.conf").write_text(FILTER)
        self.socket = str(folder / "agent.sock")
        self.settings()
        self.configure()

    def settings(self, **options):
        known = {
            "dbfile": f"{self.folder}/ledger.sqlite3",
            "socket": self.socket,
            "controllers": f"{self.folder}/controllers",
            **options,
        }
        text = "".join(f"{key} = {value}\n" for key, value in known.items())
        (self.folder / "stockade.conf").write_text(f"[Definition]\n{text}")

    def configure(self, more="", bantime=600):
        text = JAIL_CONF.format(folder=self.folder, more=more, bantime=bantime)
        (self.folder / "jail.conf").write_text(text)

    def command(self, *words):
        return [sys.executable, "-m", "stockade_agent", *words]

    def start(self, *, ready=True):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("run", "-c", str(self.folder), "--firewall", "memory"),
                stderr=log,
                env=self.environment,
            )
        if ready:
            self.until(self.answers)
        return self

    def answers(self):
        with contextlib.suppress(NoAgentError):
            return ask(self.socket, Request("ping")) == "pong"

    def end(self, number=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE) if self.process else None

    def until(self, condition):
        end = time.monotonic() + DEADLINE
        while not (found := condition()):
            assert time.monotonic() < end, f"not in time; the log: {self.log()}"
            assert self.process is None or self.process.poll() is None, self.log()
            time.sleep(0.01)
        return found

    def fail(self, address, times=3, name="auth.log"):
        stamp = datetime.now().strftime("%b %d %H:%M:%S")  # noqa: DTZ005 - as syslog writes it
        line = f"{stamp} host sshd[7]: Failed password for root from {address} port 22 ssh2\n"
        with (self.folder / name).open("a") as log:
            log.write(line * times)

    def status(self):
        return AgentStatus.from_json(ask(self.socket, Request("status")))

    def jail(self, name="sshd"):
        return next(jail for jail in self.status().jails if jail.name == name)

    def banned(self, name="sshd"):
        return {ban.id for ban in self.jail(name).bans if ban.enforced}

    def log(self):
        return (self.folder / "log").read_text()

    def run(self, *words):
        return subprocess.run(
            self.command(*words, "-c", str(self.folder)),
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=DEADLINE,
            check=False,
        )


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    yield host
    host.end(signal.SIGKILL)


def test_three_failures_are_a_ban(host):
    """Lines go in, a ban comes out, and the log says so in fail2ban's words."""
    host.start()
    host.fail("192.0.2.7", 2)
    host.fail("192.0.2.8", 3)
    host.until(lambda: host.banned() == {"192.0.2.8"})
    jail = host.jail()

    assert ("running", "file", "22", 1, 5, 1, 1) == (
        jail.state,
        jail.source,
        jail.ports,
        jail.failed_now,
        jail.failed_total,
        jail.banned_now,
        jail.banned_total,
    )
    assert "<6>[sshd] Found 192.0.2.8\n" in host.log()
    assert "<5>[sshd] Ban 192.0.2.8\n" in host.log()


def test_a_flood_is_banned_whole(host):
    """Hundreds of attackers in one write are all banned."""
    host.start()
    addresses = {f"198.51.100.{n}" for n in range(1, 255)}
    for address in addresses:
        host.fail(address)

    host.until(lambda: host.banned() == addresses)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill-9"])
def test_bans_and_totals_survive_a_restart(host, number):
    """The next agent has the bans in force before it answers, and repeats no line."""
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: host.banned() == {"192.0.2.7"})
    before = host.jail()
    host.end(number)
    host.fail("192.0.2.8")
    host.start()
    host.until(lambda: host.banned() == {"192.0.2.7", "192.0.2.8"})
    after = host.jail()

    assert before.bans[0] in after.bans
    assert (6, 2) == (after.failed_total, after.banned_total)
    assert "[sshd] Restore Ban 192.0.2.7" in host.log()


def test_failures_below_maxretry_survive_kill_9(host):
    """Two failures of three are remembered once they are committed, and not counted again."""
    host.start()
    host.fail("192.0.2.7", 2)
    host.until(lambda: host.jail().failed_total == 2)
    host.until(lambda: Ledger(f"{host.folder}/ledger.sqlite3").totals() == {"sshd": (2, 0)})
    host.end(signal.SIGKILL)
    host.start()
    assert (1, 2) == (host.jail().failed_now, host.jail().failed_total)
    host.fail("192.0.2.7", 1)
    host.until(lambda: host.banned() == {"192.0.2.7"})

    assert 3 == host.jail().bans[0].failures


def test_a_pause_survives_kill_9(host):
    """It is kept before it is answered, also where there was no ban to lift; so is its end."""
    for word, banned in (("panic", set()), ("resume", {"192.0.2.7"})):
        host.start()
        assert 0 == host.run(word).returncode
        host.end(signal.SIGKILL)
        host.start()
        before = host.jail().failed_total
        host.fail("192.0.2.7")
        host.until(lambda before=before: host.jail().failed_total == before + 3)
        assert banned == host.banned()
        assert ("PAUSED" in host.run("status").stdout) is (word == "panic")
        host.end()


def test_the_end_of_a_ban(host):
    """When bantime is over the address is free again, at once and without being asked for."""
    host.configure(bantime=1)
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: "[sshd] Unban 192.0.2.7" in host.log())

    assert set() == host.banned()


def test_ban_and_unban_by_hand(host):
    """Addresses and networks are banned and freed; what was changed is told."""
    host.start()
    ban, unban = Request("ban", "sshd", ("192.0.2.7", "2001:db8::1/64")), Request("unban")
    assert {"changed": ["192.0.2.7", "2001:db8::/64"]} == ask(host.socket, ban)
    assert {"192.0.2.7", "2001:db8::/64"} == host.banned()
    assert {"changed": []} == ask(host.socket, ban)
    one = Request("unban", "", ("192.0.2.7", "192.0.2.9"))
    told = {"changed": ["192.0.2.7"], "count": 1, "absent": ["192.0.2.9"], "within": {}}
    assert told == ask(host.socket, one)
    assert [] == ask(host.socket, unban)["changed"]
    told = {"changed": ["2001:db8::/64"], "count": 1, "absent": [], "within": {}}
    assert told == ask(host.socket, Request("unban", "sshd", ("all",)))

    assert set() == host.banned()


def test_a_reload_that_frees(host):
    """``unban`` frees all of a jail or of all jails; a jail that is nowhere has nobody to free."""
    host.start()
    ask(host.socket, Request("ban", "sshd", ("192.0.2.7",)))
    ask(host.socket, Request("reload", "nojail", words=("unban", "if-exists")))
    assert {"192.0.2.7"} == host.banned()
    ask(host.socket, Request("reload", "sshd", words=("unban",)))
    assert set() == host.banned()
    ask(host.socket, Request("ban", "sshd", ("192.0.2.7",)))
    ask(host.socket, Request("reload", words=("unban", "restart")))

    assert set() == host.banned()


@pytest.mark.parametrize(
    "id_, why",
    [
        pytest.param("127.0.0.1", "own address", id="own"),
        pytest.param("127.0.0.0/8", "own address", id="network-of-own"),
        pytest.param("203.0.113.9", "controller", id="controller"),
        pytest.param("203.0.113.0/24", "controller", id="network-of-a-controller"),
        pytest.param("198.51.100.77", "ip", id="ignoreip"),
        pytest.param("root", "no address", id="no-address"),
    ],
)
def test_who_is_never_banned_by_hand(host, id_, why):
    """The never-ban list holds against a person too, and nothing of the request is done."""
    (host.folder / "controllers").write_text("# who pushed\n203.0.113.9\n")
    host.configure("ignoreip = 198.51.100.64/26")
    host.start()
    with pytest.raises(ControlError, match=why):
        ask(host.socket, Request("ban", "sshd", ("192.0.2.7", id_)))

    assert set() == host.banned()


def test_who_is_never_banned_by_a_log(host):
    """Own addresses, controllers, and ignoreip fail without consequence; others are banned."""
    (host.folder / "controllers").write_text("203.0.113.9\n")
    host.configure("ignoreip = 198.51.100.64/26")
    host.start()
    for address in ("127.0.0.1", "203.0.113.9", "198.51.100.77", "192.0.2.7"):
        host.fail(address, 5)
    host.until(lambda: host.banned() == {"192.0.2.7"})

    assert 5 == host.jail().failed_total


@pytest.mark.skipif(os.geteuid() != 0, reason="only a socket of root's may be sshd's")
def test_who_is_logged_in_by_a_key(host):
    """A real connection spares its address, over a kill of the agent too, until it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        host.configure("ignorepeers = true")
        jails = host.folder / "jail.conf"
        jails.write_text(jails.read_text().replace("port = 22\n", f"port = {port}\n"))
        client = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        end, (_, theirs) = server.accept()
        login = f"host sshd[7]: Accepted publickey for alice from 127.0.0.2 port {theirs} ssh2\n"
        stamp = datetime.now().strftime("%b %d %H:%M:%S")  # noqa: DTZ005 - as syslog writes it
        (host.folder / "auth.log").write_text(f"{stamp} {login}")
        host.start().fail("127.0.0.2", 5)
        host.fail("192.0.2.7", 3)
        host.until(lambda: {"192.0.2.7"} == host.banned())
        assert "127.0.0.2 (alice, by public key)" in host.status().never_banned
        host.end(signal.SIGKILL)
        host.start().fail("127.0.0.2", 1)
        host.fail("192.0.2.8", 3)
        host.until(lambda: {"192.0.2.7", "192.0.2.8"} == host.banned())
        assert 2 == host.log().count("127.0.0.2 would be banned, but is spared: alice is logged in")
        client.close()
        end.close()
        assert not any("127.0.0.2" in each for each in host.status().never_banned)
        host.fail("127.0.0.2", 1)

        host.until(lambda: "127.0.0.2" in host.banned())


def test_a_controller_that_comes_later(host):
    """The file of controllers is read again before a ban is made."""
    host.start()
    host.fail("203.0.113.9", 2)
    host.until(lambda: host.jail().failed_now == 1)
    time.sleep(1.1)  # the answer is taken for the present for one second
    (host.folder / "controllers").write_text("203.0.113.9\n")
    host.fail("203.0.113.9", 1)
    host.fail("192.0.2.7")
    host.until(lambda: host.banned() == {"192.0.2.7"})


def test_unknown_jails_are_answered_with_the_nearest(host):
    """A slip in a jail's name is answered with the name that was meant."""
    host.start()
    with pytest.raises(ControlError, match=r"no jail named shd \(did you mean sshd\?\)"):
        ask(host.socket, Request("status", "shd"))


def test_reload_takes_what_changed_and_keeps_the_rest(host):
    """New jails come, changed ones keep their bans, unchanged ones their counts."""
    host.start()
    host.fail("192.0.2.7")
    host.fail("192.0.2.8", 2)
    host.until(lambda: host.banned() == {"192.0.2.7"} and host.jail().failed_now)
    extra = f"[extra]\nenabled = true\nport = 23\nfilter = sshd\nlogpath = {host.folder}/extra.log"
    host.configure(extra)
    assert ["extra", "sshd"] == ask(host.socket, Request("reload"))["jails"]
    host.fail("192.0.2.8", 1)
    host.fail("192.0.2.9", 3, "extra.log")
    host.until(lambda: host.banned() == {"192.0.2.7", "192.0.2.8"})
    host.until(lambda: host.banned("extra") == {"192.0.2.9"})
    host.configure("maxretry = 5")
    ask(host.socket, Request("reload"))

    assert 5 == host.jail().maxretry
    assert {"192.0.2.7", "192.0.2.8"} == host.banned()
    assert ["sshd"] == [jail.name for jail in host.status().jails]
    assert "[extra] Unban 192.0.2.9" in host.log()


@pytest.mark.parametrize(
    "wrong, said",
    [
        pytest.param("no option", "jail.conf:", id="syntax"),
        pytest.param("maxretry = many", "maxretry", id="value"),
        pytest.param("filter = shd", "did you mean sshd", id="filter"),
        pytest.param("failregex = (<HOST>", "failregex", id="regex"),
    ],
)
def test_a_wrong_configuration_changes_nothing(host, wrong, said):
    """A reload that finds a fault says it with its place, and the old jails go on."""
    host.start()
    host.configure(wrong)
    with pytest.raises(ControlError, match=f"(?s)the old configuration stays: .*{said}|{said}"):
        ask(host.socket, Request("reload"))
    host.process.send_signal(signal.SIGHUP)
    host.until(lambda: "<3>reload: " in host.log())
    host.fail("192.0.2.7")

    host.until(lambda: host.banned() == {"192.0.2.7"})


def test_sighup_reloads(host):
    """The signal does what the request does."""
    host.start()
    host.configure("maxretry = 7")
    host.process.send_signal(signal.SIGHUP)

    host.until(lambda: host.jail().maxretry == 7)


def test_one_bad_jail_never_stops_the_others(host):
    """A jail whose regex does not compile is reported, the others run."""
    bad = "[bad]\nenabled = true\nport = 1\nfilter = sshd\nfailregex = (<HOST>\nlogpath = /x\n"
    host.configure(bad)
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: host.banned() == {"192.0.2.7"})
    jail = host.jail("bad")

    assert "failed" == jail.state
    assert "jail.conf:" in jail.problem
    assert host.status().faults


def test_a_log_that_is_not_there_yet(host):
    """A jail waits for its log, says so, and picks it up when it appears."""
    host.start()
    host.until(lambda: host.jail().problem)
    waiting = host.jail()
    host.fail("192.0.2.7")
    host.until(lambda: host.banned() == {"192.0.2.7"})

    assert ("waiting", f"no file yet: {host.folder}/auth.log") == (waiting.state, waiting.problem)
    assert ("running", "") == (host.jail().state, host.jail().problem)


def test_the_journal_when_there_is_no_log(host):
    """``backend = auto`` takes the journal if the filter has a match and no log exists."""
    entry = {
        "__CURSOR": "s=1",
        "_HOSTNAME": "host",
        "SYSLOG_IDENTIFIER": "sshd",
        "_PID": "7",
        "_COMM": "sshd",
        "MESSAGE": "Failed password for root from 192.0.2.7 port 22 ssh2",
        "__REALTIME_TIMESTAMP": str(int(time.time() * 1e6)),
    }
    script = host.folder / "bin/journalctl"
    script.parent.mkdir()
    (host.folder / "entries").write_text((json.dumps(entry) + "\n") * 3)
    script.write_text(f"#!/bin/sh\ncat {host.folder}/entries\nexec sleep 60\n")
    script.chmod(0o755)
    host.environment["PATH"] = f"{script.parent}:{host.environment['PATH']}"
    host.configure("journalmatch = _COMM=sshd")
    host.start()
    host.until(lambda: host.banned() == {"192.0.2.7"})

    assert ("journal", ("_COMM=sshd",)) == (host.jail().source, host.jail().logs)


def test_a_corrupt_ledger_stops_nothing(host):
    """A ledger that is none is set aside, said, and banning goes on."""
    (host.folder / "ledger.sqlite3").write_bytes(b"nonsense" * 1000)
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: host.banned() == {"192.0.2.7"})

    assert "set aside as" in host.log()


def test_a_ledger_that_cannot_be_written(host):
    """Without a ledger the agent bans, and says that a restart would forget."""
    host.settings(dbfile="/proc/nowhere/ledger.sqlite3")
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: host.banned() == {"192.0.2.7"})

    assert any("ledger" in fault for fault in host.status().faults)
    assert "a restart would forget them" in host.log()


def test_hostile_lines_do_not_reach_the_log_raw(host):
    """What an attacker writes is escaped wherever the agent repeats it."""
    host.configure("failregex = ^.* sshd\\[\\d+\\]: user <F-ID>.*</F-ID> failed$\nmaxretry = 1\n")
    host.start()
    stamp = datetime.now().strftime("%b %d %H:%M:%S")  # noqa: DTZ005
    with (host.folder / "auth.log").open("a") as log:
        log.write(f"{stamp} host sshd[7]: user \x1b[31m[sshd] Ban 192.0.2.99 failed\n")
    host.until(lambda: "Found" in host.log())

    assert "\x1b" not in host.log()
    assert "\\x1b[31m" in host.log()


def test_what_systemd_is_told(host):
    """READY comes with the bans in force; signs of life and the end follow."""
    address = str(host.folder / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(DEADLINE)
        host.environment |= {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
        host.start(ready=False)
        assert b"WATCHDOG=1" == manager.recv(4096)
        assert b"READY=1\nSTATUS=1 jail, 0 banned" == manager.recv(4096)
        assert b"WATCHDOG=1" == manager.recv(4096)
        host.process.terminate()
        while (said := manager.recv(4096)) != b"STOPPING=1":
            assert said.startswith((b"WATCHDOG=1", b"STATUS="))


def test_stopping_is_orderly(host):
    """The agent ends with success, takes its socket with it, and leaves the bans."""
    host.start()
    host.fail("192.0.2.7")
    host.until(host.banned)

    assert 0 == host.end()
    assert not Path(host.socket).exists()
    assert "<6>stopped; bans stay in force\n" in host.log()


def test_a_second_agent_is_refused(host):
    """Two agents never share a ledger."""
    host.start()
    second = host.run("run")

    assert 3 == second.returncode
    assert "another agent answers there" in second.stderr
    assert host.answers()


NAMES_HANG = """
import runpy, sys, time
from stockade_agent import resolver
resolver.PATIENCE = 0.5
resolver.socket.getaddrinfo = lambda *_, **__: time.sleep(600)
runpy.run_module("stockade_agent", run_name="__main__")
"""


def test_a_name_server_that_hangs(host):
    """A name in ignoreip that nobody tells of is given up; the failures that waited are judged."""
    host.command = lambda *words: [sys.executable, "-c", NAMES_HANG, *words]
    host.configure("ignoreip = slow.example")
    host.start().fail("192.0.2.7")

    host.until(lambda: {"192.0.2.7"} == host.banned())


def test_an_idle_agent_sleeps(host):
    """Without events there is nothing that the process does."""
    host.fail("192.0.2.9", 1)
    host.start()
    pid = host.process.pid

    def switches():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return [line for line in lines if "ctxt_switches" in line]

    def quiet():
        before = switches()
        time.sleep(1.5)  # longer than the last commit may wait
        return before == switches()

    host.until(quiet)


def test_commands_run_beside_the_loop(host):
    """While one action hangs the agent bans, answers and ends, and leaves no process."""
    (host.folder / "action.d").mkdir()
    hangs = f"sleep 300 & echo $! > {host.folder}/pid; wait"
    for name, command in (("hangs", hangs), ("own", f"echo <ip> >> {host.folder}/own")):
        text = f"[Definition]\nactionban = {command}\nnorestored = 1\n"
        (host.folder / f"action.d/{name}.conf").write_text(text)
    host.configure("action = %(banaction)s[port=22]\n hangs\n own")
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: (host.folder / "pid").exists() and (host.folder / "pid").read_text())
    host.fail("192.0.2.8")
    host.until(lambda: host.banned() == {"192.0.2.7", "192.0.2.8"})
    own = host.folder / "own"
    host.until(lambda: own.exists() and "192.0.2.8\n" in own.read_text())
    states = {action.name: action.state for action in host.jail().actions}

    assert {"hangs": "busy", "own": "ready"} == states
    assert 0 == host.end()
    # Two bans, and the stop behind them.
    assert "actions: 3 orders were not carried out" in host.log()
    left = Path(f"/proc/{(host.folder / 'pid').read_text().strip()}")
    assert not left.exists() or "(sleep) Z" in (left / "stat").read_text()


def test_a_group_that_the_host_has_not(host):
    """It stands in the status until a reload finds it, or does not look for it any more."""
    host.settings(socketgroup="no-such-group")
    host.start()

    told = "socketgroup: this host has no group no-such-group (until then root alone may ask)"
    assert (told,) == host.status().faults
    host.settings(socketgroup="root")
    assert 0 == host.run("reload").returncode
    assert () == host.status().faults


def test_a_log_file_of_its_own(host):
    """It gets the lines, SIGHUP opens it anew, and what is wrong with it stands in the status."""
    own = host.folder / "agent.log"
    host.settings(logtarget=own)
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: "NOTICE   [sshd] Ban 192.0.2.7\n" in own.read_text())

    assert "" == host.log()
    assert str(own) == ask(host.socket, Request("get", option="logtarget"))["value"]
    host.settings(logtarget=host.folder)
    host.process.send_signal(signal.SIGHUP)
    host.until(lambda: "reloaded" in host.log())
    told = f"log: {host.folder}: Is a directory; lines go to standard error"
    host.until(lambda: (told,) == host.status().faults)
    host.settings(logtarget=own)
    assert 0 == host.run("reload").returncode
    assert () == host.status().faults
    assert own.read_text().endswith("reloaded: 1 jail, 1 banned\n")


def test_standard_error_that_leads_to_the_journal(host):
    """Where systemd says so, the agent speaks journald's protocol, or says that it cannot."""
    with (host.folder / "log").open("ab") as log:
        found = os.fstat(log.fileno())
    host.environment["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
    host.start()

    assert "SYSTEMD-JOURNAL" == ask(host.socket, Request("get", option="logtarget"))["value"]
