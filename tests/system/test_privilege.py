# SPDX-License-Identifier: MIT
"""Does the agent ban with next to no rights, and how exposed does systemd call it?"""

import json
import re
import time

import pytest

from lab import attack
from system import kernel
from system.controller import Controller


NUMBER = 33  # no other test boots it
SCENARIOS = [
    ("debian12", "auto", "nftables"),
    ("debian13", "nftables", "nftables"),
    ("debian11", "auto", "nftables"),
    ("debian12", "iptables", "iptables"),
    ("el9", "auto", "firewalld"),
]
DEADLINE = 40.0
GOAL, GOAL_WITHOUT_NAMES = 2.0, 1.7
NET_ADMIN, NET_RAW, DAC_READ_SEARCH = 1 << 12, 1 << 13, 1 << 2
RIGHTS = NET_ADMIN | DAC_READ_SEARCH


@pytest.fixture(scope="module", params=SCENARIOS, ids=["-".join(s[:2]) for s in SCENARIOS])
def pushed(request, lab, tmp_path_factory):
    """A host of each kind with each backend, and a function that pushes with more variables."""
    kind, firewall, backend = request.param
    host = lab.boot(f"{kind}-{NUMBER + SCENARIOS.index(request.param)}")
    controller = Controller(lab, tmp_path_factory.mktemp(kind))

    def push(**variables):
        roles = {"stockade_roles": ["base", "sshd"], "sshd_maxretry": 3, "base_firewall": firewall}
        controller.write_inventory([host], {**roles, **variables})
        controller.push()

    push()
    yield host, backend, push
    host.stop()


def process(host):
    """Return the fields of /proc/PID/status of the agent."""
    pid = host.run("systemctl show -P MainPID stockade-agent").stdout.strip()
    return dict(re.findall(r"(\w+):\s+(.*)", host.run(f"cat /proc/{pid}/status").stdout))


def exposure(host):
    """Return the figure that `systemd-analyze security` ends with."""
    said = host.run("systemd-analyze security --no-pager stockade-agent.service").stdout
    return float(re.findall(r"exposure level for \S+: ([\d.]+)", said)[0])


def firewall(host):
    return json.loads(host.run("stockade-agent status --json").stdout)["firewall"]


def bans_who_fails(lab, host, backend):
    """Fail to log in, and wait until the kernel refuses."""
    address = lab.address("attacker")
    attack.fail_ssh(lab, "attacker", host, "root", count=3)
    end = time.monotonic() + DEADLINE
    while address not in kernel.banned(host, backend):
        assert time.monotonic() < end, host.run("journalctl -u stockade-agent -n 30").stdout
        time.sleep(0.1)
    host.run(["stockade-agent", "unban", "sshd", address])
    assert address not in kernel.banned(host, backend)


def test_bans_with_next_to_no_rights(lab, pushed):
    """Its own user and two capabilities are enough to refuse whoever fails to log in."""
    host, backend, _ = pushed
    found = process(host)
    rights = RIGHTS | NET_RAW if backend == "iptables" else RIGHTS

    uid = int(found["Uid"].split()[0])
    assert (uid == 0) is (backend == "iptables")
    assert rights == int(found["CapEff"], 16) == int(found["CapBnd"], 16)
    assert ("1", "2") == (found["NoNewPrivs"], found["Seccomp"])
    assert backend == firewall(host)["backend"]
    assert [] == firewall(host)["warnings"]
    bans_who_fails(lab, host, backend)


def test_the_ledger_is_its_own_and_the_rest_of_the_host_is_not(pushed):
    """It may write its ledger and nothing that a push would take for its own."""
    host, backend, _ = pushed
    assert 0 == host.run("test -s /var/lib/stockade/agent/ledger.sqlite3").rc
    owner = host.run("stat -c %U /var/lib/stockade /var/lib/stockade/agent").stdout.split()
    assert ["root", "root" if backend == "iptables" else "stockade"] == owner


def test_exposure(lab, pushed):
    """Both figures hold their goals; without names the host is guarded as before."""
    host, backend, push = pushed
    with_names = exposure(host)
    push(base_usedns="no")
    without = exposure(host)
    print(f"{host.kind} {backend}: exposure {with_names}, {without} without names")

    if backend != "iptables":
        assert with_names <= GOAL
        assert without <= GOAL_WITHOUT_NAMES
    assert [] == firewall(host)["warnings"]
    bans_who_fails(lab, host, backend)
