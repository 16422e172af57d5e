# SPDX-License-Identifier: MIT
"""Does the agent ban with next to no rights, and how exposed does systemd call it?"""

import json
import re
import time
from subprocess import PIPE

import pytest

from lab import attack
from system import kernel
from system.controller import Controller


NUMBER = 33  # no other test boots it
LEGACY = [("debian11", "iptables-legacy", "iptables"), ("debian13", "iptables-legacy", "iptables")]
IPTABLES = [*LEGACY, ("debian12", "iptables", "iptables")]
# Those with tests of their own first: pytest tells a fixture's hosts apart by their places.
SCENARIOS = [
    *IPTABLES,
    ("debian12", "auto", "nftables"),
    ("debian13", "nftables", "nftables"),
    ("debian11", "auto", "nftables"),
    ("el9", "auto", "firewalld"),
]
DEADLINE = 40.0
GOAL, GOAL_WITHOUT_NAMES = 2.0, 1.7
NET_ADMIN, NET_RAW, DAC_READ_SEARCH = 1 << 12, 1 << 13, 1 << 2
RIGHTS = NET_ADMIN | DAC_READ_SEARCH
LOCK = "/run/xtables.lock"
AT_ONCE = 12
"""Bans that are made while root makes rules."""
RACE = f"""
(for n in $(seq {AT_ONCE}); do stockade-agent ban sshd 198.51.100.$n || exit 1; done) >&2 & bans=$!
rules=0
while kill -0 $bans 2>/dev/null; do
  iptables -w -A roots -s 203.0.113.1 -j DROP || exit 1
  rules=$((rules + 1))
done
wait $bans && echo $rules
"""


def of(scenarios):
    """Run a test on these of the hosts alone."""
    names = ["-".join(scenario[:2]) for scenario in scenarios]
    return pytest.mark.parametrize("pushed", scenarios, ids=names, indirect=True)


@pytest.fixture(scope="module", params=SCENARIOS, ids=["-".join(s[:2]) for s in SCENARIOS])
def pushed(request, lab, tmp_path_factory):
    """A host of each kind with each backend, and a function that pushes with more variables."""
    kind, firewall, backend = request.param
    host = lab.boot(f"{kind}-{NUMBER + SCENARIOS.index(request.param)}")
    controller = Controller(lab, tmp_path_factory.mktemp(kind))
    asked, _, variant = firewall.partition("-")
    if variant:
        for tool in ("iptables", "ip6tables"):
            host.run(["update-alternatives", "--set", tool, f"/usr/sbin/{tool}-{variant}"])

    def push(**variables):
        roles = {"stockade_roles": ["base", "sshd"], "sshd_maxretry": 3, "base_firewall": asked}
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
    wait_until_banned(host, backend, {address})
    host.run(["stockade-agent", "unban", "sshd", address])
    assert address not in kernel.banned(host, backend)


def wait_until_banned(host, backend, addresses):
    """Poll until the kernel refuses all of these."""
    end = time.monotonic() + DEADLINE
    while not addresses <= kernel.banned(host, backend):
        assert time.monotonic() < end, host.run("journalctl -u stockade-agent -n 30").stdout
        time.sleep(0.1)


def test_bans_with_next_to_no_rights(lab, pushed):
    """Its own user and two capabilities, three with iptables, are enough to refuse who fails."""
    host, backend, _ = pushed
    found = process(host)
    rights = RIGHTS | NET_RAW if backend == "iptables" else RIGHTS

    assert int(found["Uid"].split()[0]) != 0
    assert rights == int(found["CapEff"], 16) == int(found["CapBnd"], 16)
    assert ("1", "2") == (found["NoNewPrivs"], found["Seccomp"])
    assert backend == firewall(host)["backend"]
    assert [] == firewall(host)["warnings"]
    bans_who_fails(lab, host, backend)


def test_the_ledger_is_its_own_and_the_rest_of_the_host_is_not(pushed):
    """It may write its ledger and nothing that a push would take for its own."""
    host, _, _ = pushed
    assert 0 == host.run("test -s /var/lib/stockade/agent/ledger.sqlite3").rc
    owner = host.run("stat -c %U /var/lib/stockade /var/lib/stockade/agent").stdout.split()
    assert ["root", "stockade"] == owner


@of(LEGACY)
def test_the_lock_of_iptables_is_still_roots(pushed):
    """It is there, for root alone; also after somebody took it away."""
    host, backend, _ = pushed
    state = ["stat", "-c", "%a %U %G", LOCK]
    assert "600 root root" == host.run(state).stdout.strip()
    host.run(f"rm {LOCK} && systemctl restart stockade-agent")
    assert "600 root root" == host.run(state).stdout.strip()
    host.run("stockade-agent ban sshd 192.0.2.250")
    wait_until_banned(host, backend, {"192.0.2.250"})


@of(LEGACY)
def test_waits_for_who_holds_the_lock(pushed):
    """While root holds it no ban of ours is made; then it is."""
    host, backend, _ = pushed
    end = time.monotonic() + DEADLINE
    with host.popen(["flock", LOCK, "sh", "-c", "echo; cat"], stdin=PIPE, stdout=PIPE) as holder:
        assert "\n" == holder.stdout.readline()
        with host.popen(["stockade-agent", "ban", "sshd", "192.0.2.99"]):
            while host.run("pgrep -x iptables-restor", check=False).rc:
                assert time.monotonic() < end, host.run("journalctl -u stockade-agent -n 30").stdout
                time.sleep(0.1)
            held = kernel.banned(host, backend)
            holder.stdin.close()

    assert "192.0.2.99" not in held
    wait_until_banned(host, backend, {"192.0.2.99"})


@of(IPTABLES)
def test_nobody_loses_a_rule_to_another(pushed):
    """Root's iptables -w and the agent's bans at the same time: in the end all rules are there."""
    host, backend, _ = pushed
    host.run("iptables -w -N roots")
    made = int(host.run(RACE).stdout)
    wait_until_banned(host, backend, {f"198.51.100.{number + 1}" for number in range(AT_ONCE)})
    rules = host.run("iptables -w -S roots").stdout.count("-A roots")
    host.run("iptables -w -F roots; iptables -w -X roots")

    assert made == rules >= AT_ONCE


@of(IPTABLES)
def test_a_firewall_that_starts_again(lab, pushed):
    """Whoever loads the host's own rules anew takes ours; they are put back, and more are made."""
    host, backend, _ = pushed
    host.run("stockade-agent ban sshd 192.0.2.8 2001:db8::8")
    pid = host.run("systemctl show -P MainPID stockade-agent").stdout.strip()
    host.run(["kill", "-STOP", pid])
    if "legacy" in host.run("iptables -V").stdout:
        empty = "printf '*filter\\nCOMMIT\\n'"
        host.run(f"{empty} | iptables-restore -w && {empty} | ip6tables-restore -w")
    else:
        host.run("systemctl restart nftables")
    assert set() == kernel.banned(host, backend)
    host.run(["kill", "-CONT", pid])
    bans_who_fails(lab, host, backend)
    wait_until_banned(host, backend, {"192.0.2.8", "2001:db8::8"})


def test_exposure(lab, pushed):
    """Both figures hold their goals; without names the host is guarded as before."""
    host, backend, push = pushed
    with_names = exposure(host)
    push(base_usedns="no")
    without = exposure(host)
    print(f"{host.kind} {backend}: exposure {with_names}, {without} without names")

    assert with_names <= GOAL
    assert without <= GOAL_WITHOUT_NAMES
    assert [] == firewall(host)["warnings"]
    bans_who_fails(lab, host, backend)
