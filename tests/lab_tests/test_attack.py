# SPDX-License-Identifier: MIT
"""Do the attackers attack, and do the probes see it when they are shut out?"""

from __future__ import annotations

import pytest

from lab import attack, kinds


pytestmark = pytest.mark.lab

SHUT_OUT = (
    "nft add table inet shut; nft add chain inet shut in '{ type filter hook input priority -9; }';"
    " nft add rule inet shut in ip saddr 10.77.0.66 reject"
)


def test_hydra_finds_a_weak_password(lab, hosts):
    """Guesses go on until hydra has the password, and sshd logs each failure."""
    host = hosts["debian12"]
    guesses = attack.hydra(
        lab, "attacker", host, kinds.VICTIM, ["1234", kinds.VICTIM_PASSWORD], tasks=1
    )

    assert ((kinds.VICTIM, kinds.VICTIM_PASSWORD),) == guesses.found
    assert 2 == guesses.tried
    assert "Failed password for victim from 10.77.0.66" in host.run("journalctl -u ssh").stdout


def test_hydra_over_ipv6_for_an_unknown_user(lab, hosts):
    """Over IPv6, a user that is none can be guessed at."""
    host = hosts["el9"]
    guesses = attack.hydra(lab, "attacker2", host, "nobody-here", ["1"], address=host.address6)

    assert ((), 1) == (guesses.found, guesses.tried)
    assert "invalid user nobody-here from fd77::67" in host.read("/var/log/secure")


def test_medusa_finds_a_weak_password(lab, hosts):
    """medusa, whose ssh client is another, does too."""
    guesses = attack.medusa(
        lab, "attacker2", hosts["debian12"], kinds.VICTIM, [kinds.VICTIM_PASSWORD]
    )

    assert ((kinds.VICTIM, kinds.VICTIM_PASSWORD),) == guesses.found


@pytest.mark.parametrize("kind", ["debian12", "debian13"])
def test_fail_ssh(lab, hosts, kind):
    """OpenSSH's own client fails as often as asked."""
    attack.fail_ssh(lab, "attacker2", hosts[kind], "root", count=2)
    journal = hosts[kind].run("journalctl --sync; journalctl -q -o cat -u ssh").stdout

    assert 2 == journal.count("Failed password for root from 10.77.0.67")


@pytest.mark.parametrize("kind", list(kinds.KINDS))
def test_xtightvnc_logs_failed_logins(lab, hosts, kind):
    """A real Xtightvnc of a user asks for a password, and logs who failed."""
    host = hosts[kind]
    log = attack.start_vnc(host, kinds.OPERATOR, 1)
    try:
        assert ["auth-failed"] * 2 == attack.fail_vnc(lab, "attacker2", host, 5901, count=2)
        assert f"/home/operator/.vnc/{host.name}:1.log" == log
        assert 2 == host.read(log).count("authentication failed from 10.77.0.67")
    finally:
        attack.stop_vnc(host, kinds.OPERATOR, 1)


def test_probe_sees_the_door_close_for_one(lab, hosts):
    """The probe ends when its own address is shut out; another still gets in."""
    host = hosts["debian12"]
    with attack.Probe(lab, "attacker", host.address, 22) as probe:
        tries = probe.tries()
        assert next(tries).open
        host.run(SHUT_OUT)
        try:
            assert not probe.last().open
            assert ["refused"] == attack.fail_vnc(lab, "attacker", host, 22)
            with attack.Probe(lab, "attacker2", host.address, 22, until="open") as other:
                assert other.last().open
        finally:
            host.run("nft delete table inet shut")
