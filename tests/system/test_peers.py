# SPDX-License-Identifier: MIT
"""Is an operator who is logged in by his key spared, at a real sshd, until he leaves?"""

import contextlib
import json
import subprocess

import pytest

from lab import attack, kinds
from system import kernel
from system.controller import Controller
from system.test_guard import can_connect, eventually


WRONG = [f"guess-{number}" for number in range(4)]


@pytest.fixture(
    scope="module", params=[("debian12", "nftables"), ("debian13", "auto"), ("el9", "firewalld")]
)
def served(request, lab, tmp_path_factory):
    """A host after a push of the role sshd: (host, backend, controller)."""
    kind, backend = request.param
    host = lab.boot(f"{kind}-27")
    controller = Controller(lab, tmp_path_factory.mktemp(f"{kind}-peers"))
    variables = {"stockade_roles": ["sshd"], "base_firewall": backend, "sshd_maxretry": 3}
    controller.write_inventory([host], variables)
    controller.push()
    # Since 9.8 sshd itself refuses who fails, for a while; what is to be seen here is the agent.
    drop_in = host.root / "etc/ssh/sshd_config.d/penalties.conf"
    if kind == "debian13":
        drop_in.write_text("PerSourcePenalties no\n")
        host.run("systemctl reload ssh")
    yield host, "nftables" if backend == "auto" else backend, controller
    host.stop()


@contextlib.contextmanager
def session(lab, argv):
    """Log in from the attacker's address and stay; yields a call that tells if it still answers."""
    with subprocess.Popen(
        [*lab.prefix("attacker"), *argv, "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:

        def answers():
            process.stdin.write("still here\n")
            return process.stdout.readline() == "still here\n"

        try:
            yield answers
        finally:
            process.kill()


def status(host):
    return json.loads(host.run("stockade-agent status --json").stdout)


def never_banned(host):
    return " ".join(status(host)["never_banned"])


def jail(host):
    (found,) = status(host)["jails"]
    return found


def fail(lab, host):
    attack.hydra(lab, "attacker", host, "victim", WRONG, tasks=4, timeout=60)


def test_an_operator_is_spared_until_he_leaves(lab, served):
    """While he is logged in his address fails in vain; gone, its next failures earn the ban."""
    host, backend, _ = served
    address = lab.address("attacker")

    with session(lab, lab.ssh(host, "operator")) as answers:
        assert answers()
        assert eventually(lambda: f"{address} (operator, by public key)" in never_banned(host))
        fail(lab, host)
        assert eventually(lambda: jail(host)["failed_total"] >= 3)
        assert address not in kernel.banned(host, backend)
        by_hand = host.run(["stockade-agent", "ban", "sshd", address], check=False)
        assert answers()
        assert can_connect(lab, "attacker", host.address, 22)
    assert eventually(lambda: f"{address} (operator" not in never_banned(host))
    attack.fail_ssh(lab, "attacker", host, "victim")

    assert (3, True) == (by_hand.rc, "operator is logged in by public key" in by_hand.stderr)
    assert eventually(lambda: address in kernel.banned(host, backend))
    host.run(["stockade-agent", "unban", "sshd", address])


def test_a_password_protects_nobody(lab, served, tmp_path):
    """Who got in by a password is banned as anybody."""
    host, backend, _ = served
    address = lab.address("attacker")
    answer = tmp_path / "answer"
    answer.write_text(f"#!/bin/sh\necho {kinds.VICTIM_PASSWORD}\n")
    answer.chmod(0o755)
    ask = ["env", "SSH_ASKPASS_REQUIRE=force", f"SSH_ASKPASS={answer}", "DISPLAY=:", "ssh"]
    only = ["-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no"]
    strict = ["-F", "none", "-o", f"UserKnownHostsFile={lab.known_hosts(tmp_path / 'known')}"]

    with session(lab, [*ask, *strict, *only, f"victim@{host.address}"]) as answers:
        assert answers()
        assert "victim" not in never_banned(host)
        fail(lab, host)
        assert eventually(lambda: address in kernel.banned(host, backend))
    host.run(["stockade-agent", "unban", "sshd", address])
