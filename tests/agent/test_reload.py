# SPDX-License-Identifier: MIT
"""Does a reload change what changed, and nothing else: no ban, no count, no place in a log?"""

import json
import os
import signal
import threading
import time

import pytest

from bench.cost import until
from faults.host import Host, failure
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import Request
from stockade_agent.errors import ControlError


SOON = 60.0
RELOADS = 12
JOURNALCTL = """\
#!/bin/sh
echo "$*" >> {folder}/asked
case "$*" in *--cursor*) ;; *) cat {folder}/entries ;; esac
exec sleep 60
"""


class Jails:
    """Two jails on one log, and what their options are."""

    def __init__(self, folder, **options):
        usual = {
            "enabled": "true",
            "filter": "sshd",
            "backend": "auto",
            "logpath": folder / "auth.log",
            "usedns": "no",
            "maxretry": 5,
            "findtime": "1d",
            "bantime": "7d",
            "port": "22",
            "ignoreself": "false",
            "action": 'nftables-multiport[port="%(port)s"]',
            **options,
        }
        self.sections = {"sshd": dict(usual), "other": dict(usual)}


@pytest.fixture
def jails(tmp_path):
    return Jails(tmp_path)


@pytest.fixture
def host(tmp_path, jails):
    with Host(tmp_path) as host:
        host.configure(**jails.sections)
        host.start()
        yield host


def reload(host):
    return ask(host.socket, Request("reload"), 60)


def fails(host, address, times=1):
    host.write(*[failure(address)] * times)


def counted(host, number, name="sshd"):
    until(lambda: host.jail(name).failed_total == number, SOON, f"{number} failures of {name}")


@pytest.mark.parametrize("changes", [False, True], ids=["unchanged", "changed"])
def test_no_line_is_lost_or_counted_twice(host, jails, changes):
    """While a log is written to, reload follows on reload, by signal and by request."""
    over, written = threading.Event(), []

    def write():
        while not over.is_set():
            number = len(written)
            fails(host, f"198.51.{number // 250}.{number % 250 + 1}")
            written.append(number)
            over.wait(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(RELOADS):
            if changes:
                jails.sections["other"]["maxretry"] = 6 + number
                host.configure(**jails.sections)
            if number % 2:
                host.signal(signal.SIGHUP)
                until(lambda: host.said().count("reloaded: ") > number, SOON, "a reload")  # noqa: B023
            else:
                reload(host)
    finally:
        over.set()
        writer.join()
    for name in ("sshd", "other"):
        counted(host, len(written), name)

    assert RELOADS <= len(written)
    assert [len(written)] * 2 == [jail.failed_now for jail in host.status().jails]
    assert (17 if changes else 5) == host.jail("other").maxretry
    assert 5 == host.jail("sshd").maxretry


def test_counts_and_bans_of_a_jail_that_changed(host, jails):
    """Another maxretry meets the failures that were there before; bans keep their end."""
    fails(host, "203.0.113.1", 5)
    fails(host, "203.0.113.2", 3)
    counted(host, 8)
    before = host.jail().bans
    jails.sections["sshd"]["maxretry"] = 4
    jails.sections["sshd"]["bantime"] = "14d"
    host.configure(**jails.sections)
    reload(host)

    assert before == host.jail().bans
    fails(host, "203.0.113.2")
    until(lambda: len(host.banned()) == 2, SOON, "the second ban")
    assert {"203.0.113.1", "203.0.113.2"} == host.banned()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"failregex": "(<HOST>"}, id="regex"),
        pytest.param({"bantime": "soon"}, id="value"),
        pytest.param({"filter": "none"}, id="filter"),
        pytest.param({"bantime.increment": "true", "bantime.formula": "x y"}, id="formula"),
        pytest.param({"action": "none"}, id="action"),
        pytest.param({"datepattern": "%%Y(("}, id="datepattern"),
        pytest.param({"logencoding": "klingon"}, id="encoding"),
    ],
)
def test_nothing_of_a_bad_configuration_is_taken(host, jails, options):
    """One fault of one jail: what is right with the others is not taken either, all stays."""
    fails(host, "203.0.113.1", 5)
    fails(host, "203.0.113.2", 4)
    counted(host, 9)
    bans, position = host.jail().bans, host.until_quiet() and host.position()
    jails.sections["sshd"]["maxretry"] = 9
    jails.sections["other"].update(options)
    jails.sections["third"] = dict(jails.sections["sshd"])
    host.configure(**jails.sections)
    with pytest.raises(ControlError, match=r"the old configuration stays: .*jail\.conf"):
        reload(host)

    assert ["sshd", "other"] == [jail.name for jail in host.status().jails]
    assert (5, 9, 1, bans) == (
        host.jail().maxretry,
        host.jail().failed_total,
        host.jail().failed_now,
        host.jail().bans,
    )
    assert () == host.status().faults
    assert position == host.position()
    fails(host, "203.0.113.2")
    until(lambda: len(host.banned()) == 2, SOON, "the fifth failure of the second")
    assert 10 == host.jail("other").failed_total


def test_a_configuration_that_cannot_be_read(host, jails):
    """Text that is no configuration at all is refused with its line; all stays."""
    fails(host, "203.0.113.1", 5)
    counted(host, 5)
    (host.etc / "jail.conf").write_text("[sshd\n")
    with pytest.raises(ControlError, match=r"jail\.conf:1"):
        reload(host)

    assert {"203.0.113.1"} == host.banned()
    fails(host, "203.0.113.2", 5)
    until(lambda: len(host.banned()) == 2, SOON, "the next ban")


def test_half_a_line(host):
    """A line that is being written while the agent reloads is read once it is whole."""
    text = failure("203.0.113.1")
    with host.log.open("a") as log:
        for _ in range(5):
            log.write(text[:30])
            log.flush()
            reload(host)
            log.write(text[30:] + "\n")
            log.flush()
            reload(host)
    until(lambda: host.banned() == {"203.0.113.1"}, SOON, "the ban")

    assert 5 == host.jail().failed_total


def test_the_journal_goes_on_behind_its_last_entry(tmp_path):
    """After a reload, the journal is asked for what came after the last entry dealt with."""
    entries = [
        {
            "__CURSOR": f"s=1;i={number}",
            "__REALTIME_TIMESTAMP": str(int(time.time() * 1e6)),
            "_HOSTNAME": "host",
            "_COMM": "sshd",
            "SYSLOG_IDENTIFIER": "sshd",
            "_PID": str(number),
            "MESSAGE": "Failed password for root from 203.0.113.1 port 22 ssh2",
        }
        for number in range(1, 4)
    ]
    (tmp_path / "entries").write_text("".join(json.dumps(one) + "\n" for one in entries))
    program = tmp_path / "bin/journalctl"
    program.parent.mkdir()
    program.write_text(JOURNALCTL.format(folder=tmp_path))
    program.chmod(0o755)
    options = {"backend": "systemd", "journalmatch": "_COMM=sshd"}
    with Host(tmp_path, env={"PATH": f"{program.parent}:{os.environ['PATH']}"}) as host:
        host.configure(sshd=Jails(tmp_path, **options).sections["sshd"])
        host.start()
        counted(host, 3)
        reload(host)
        asked = tmp_path / "asked"
        until(lambda: len(asked.read_text().splitlines()) == 2, SOON, "the second child")
        first, second = asked.read_text().splitlines()

        assert "--cursor" not in first
        assert "--cursor=s=1;i=3" in second.split()
        assert (3, 1) == (host.jail().failed_total, host.jail().failed_now)
