# SPDX-License-Identifier: MIT
"""Does the whole agent, as a process, go on whatever is changed or goes wrong around it?"""

import json
import os
import signal
import socket
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from agent.host import DEADLINE, Host
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import Request
from stockade_agent.errors import ControlError


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    yield host
    host.end(signal.SIGKILL)


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


def test_a_panic_outlives_kill_9_and_its_ledger(host):
    """What keeps its file from being written is told at once, and tried again until it is."""
    host.start()
    (host.folder / "ledger.sqlite3.paused.new").mkdir()
    with pytest.raises(ControlError, match=r"paused, but: .*Is a directory"):
        ask(host.socket, Request("panic"))
    (host.folder / "ledger.sqlite3.paused.new").rmdir()
    host.until(lambda: "pauses: well again" in host.log())
    host.end(signal.SIGKILL)
    for name in ("ledger.sqlite3", "ledger.sqlite3-wal"):
        (host.folder / name).write_bytes(b"nonsense" * 1000)
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: "192.0.2.7 would be banned, but bans are paused" in host.log())

    assert (True, set()) == (host.jail().paused, host.banned())


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
    states = {"hangs": "busy", "own": "ready"}
    host.until(lambda: states == {action.name: action.state for action in host.jail().actions})

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
