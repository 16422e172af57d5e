# SPDX-License-Identifier: MIT
"""Does a push protect a real host from a real attacker, with each firewall that it has?"""

import json
import time

import pytest

from lab import attack
from system import kernel


WRONG = [f"guess-{number}" for number in range(8)]
ALLOWED_SECONDS = 1.0


def eventually(question, *, seconds=15):
    """Ask until the answer is true, and return it; the last answer when time is up."""
    deadline = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def can_connect(lab, place, address, port):
    """Return whether a TCP connection from this place opens within two seconds."""
    with attack.Probe(lab, place, address, port, until="never", deadline=2, patience=1.5) as probe:
        return next(probe.tries()).open


def failed_passwords(host, address):
    """Return when sshd logged each failed password of this address, seconds since the epoch."""
    entries = host.run("journalctl -o json --no-pager SYSLOG_FACILITY=10 SYSLOG_FACILITY=4").stdout
    found = [json.loads(line) for line in entries.splitlines()]
    return [
        int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        for entry in found
        if "Failed password" in str(entry["MESSAGE"]) and f"from {address} " in entry["MESSAGE"]
    ]


def test_before_the_push_an_attacker_can_keep_guessing(guarded):
    """Without stockade, hydra gets an answer for each of its guesses."""
    assert 5 == guarded.before.tried
    assert () == guarded.before.found


def test_push_installs_and_proves(guarded):
    """The first push changes the host, and the agent that it started guards both services."""
    found = guarded.pushed.host(guarded.host.name)

    assert "changed" == found["outcome"]
    assert {"sshd": "running", "tightvnc": "running"} == {
        jail["name"]: jail["state"] for jail in found["agent"]["jails"]
    }
    assert guarded.backend == found["agent"]["firewall"]["backend"]
    assert found["agent"]["firewall"]["proved_at"] is not None


def test_second_push_changes_nothing(guarded):
    """A push right after a push finds nothing to do, and neither does a plan."""
    again = guarded.controller.push()
    plan = guarded.controller.stockade("plan")

    assert "ok" == again.host(guarded.host.name)["outcome"]
    assert not again.document["changed"]
    assert 0 == plan.rc


def test_filters_can_be_tried_on_the_host(lab, guarded):
    """The host's own journal is read, its options are traced to the push, its log lines judged."""
    host = guarded.host
    failed = failed_passwords(host, lab.address("attacker"))
    tried = json.loads(host.run("stockade-agent regex journal sshd --json").stdout)
    retries = host.run("stockade-agent explain sshd maxretry").stdout
    line = "Nov  2 10:00:00 host sshd[7]: Failed password for root from 203.0.113.7 port 9 ssh2"
    told = json.loads(host.run(["stockade-agent", "explain", "--json", "--line", line]).stdout)
    verdicts = {one["jail"]: one["verdict"] for one in told[0]["jails"]}

    # What hydra counts is no measure: sshd need not have judged each of its guesses.
    assert failed
    assert len(failed) <= tried["lines"]["matched"]
    assert "[sshd] maxretry = 3\nmade of\n  /etc/stockade/jail.d/10-sshd.conf:" in retries
    assert {"sshd": "failure", "tightvnc": "missed"} == verdicts
    assert "2 jails are fine: sshd, tightvnc" in host.run("stockade-agent check").stdout


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_ssh_guesses_end_within_a_second(lab, guarded, attacker, family, record_property):
    """Connections are refused within 1 s of the third failure; others still get in."""
    host = guarded.host
    source, there = attacker.address, host.address
    if family == "IPv6":
        source, there = attacker.address6, host.address6

    with attack.Probe(lab, "attacker", there, 22, until="refused", deadline=60) as probe:
        guesses = attack.hydra(lab, "attacker", host, "victim", WRONG, timeout=60, address=there)
        refused = probe.last()
    failures = failed_passwords(host, source)

    assert 3 <= len(failures) < len(WRONG)
    seconds = refused.at + refused.took - failures[2]
    record_property("seconds", seconds)
    assert seconds < ALLOWED_SECONDS
    assert () == guesses.found
    assert source in kernel.banned(host, guarded.backend)
    assert can_connect(lab, "attacker2", there, 22)
    assert 0 == lab.run("controller", [*lab.ssh(host), "true"], check=False).rc


def test_unban_lets_the_attacker_back(lab, guarded, attacker):
    """An operator's unban opens the port again, and is gone from kernel and status."""
    host = guarded.host
    attack.hydra(lab, "attacker", host, "victim", WRONG[:4], tasks=4, timeout=60)
    assert eventually(lambda: attacker.address in kernel.banned(host, guarded.backend))

    host.run(["stockade-agent", "unban", "sshd", attacker.address])

    assert attacker.address not in kernel.banned(host, guarded.backend)
    assert can_connect(lab, "attacker", host.address, 22)
    jail = guarded.controller.jail(host, "sshd")
    assert attacker.address not in [ban["id"] for ban in jail["bans"]]


def test_vnc_guesses_end_and_the_ban_too(lab, guarded, attacker):
    """A real TightVNC is closed to who guesses, ssh stays open to him, and bantime ends."""
    host = guarded.host

    outcomes = attack.fail_vnc(lab, "attacker", host, count=3)
    closed = eventually(lambda: not can_connect(lab, "attacker", host.address, 5901))
    banned = attacker.address in kernel.banned(host, guarded.backend)
    ssh_open = can_connect(lab, "attacker", host.address, 22)
    others = can_connect(lab, "attacker2", host.address, 5901)
    reopened = eventually(lambda: can_connect(lab, "attacker", host.address, 5901), seconds=30)

    assert ["auth-failed"] * 3 == outcomes
    assert closed
    assert banned
    assert ssh_open
    assert others
    assert reopened
    assert attacker.address not in kernel.banned(host, guarded.backend)


def test_status_agrees_with_the_kernel(lab, guarded, attacker):
    """The ids in ``status --json`` are the addresses in the kernel, and the table shows them."""
    host = guarded.host
    host.run(["stockade-agent", "ban", "sshd", attacker.address, attacker.address6])

    status = guarded.controller.stockade("status")
    table = guarded.controller.stockade("status", json=False)

    agent = status.host(host.name)["agent"]
    listed = {ban["id"] for jail in agent["jails"] for ban in jail["bans"]}
    assert kernel.banned(host, guarded.backend) == listed
    assert {attacker.address, attacker.address6} <= listed
    assert host.name in table.stdout
    assert "sshd" in table.stdout
    assert max(len(line) for line in table.stdout.splitlines()) <= 80


def test_the_controller_is_never_banned(lab, guarded):
    """Wrong passwords from the controller's own address do not close the door to it."""
    host = guarded.host

    attack.hydra(lab, "controller", host, "victim", WRONG[:5], tasks=5, timeout=60)
    by_hand = host.run(["stockade-agent", "ban", "sshd", lab.address("controller")], check=False)

    assert eventually(lambda: len(failed_passwords(host, lab.address("controller"))) >= 4)
    assert lab.address("controller") not in kernel.banned(host, guarded.backend)
    assert 0 != by_hand.rc
    # OpenSSH 9.8 and later refuses an address for a while by itself (PerSourcePenalties).
    login = [*lab.ssh(host), "true"]
    assert eventually(lambda: 0 == lab.run("controller", login, check=False).rc, seconds=120)
    assert 0 == guarded.controller.push().rc
