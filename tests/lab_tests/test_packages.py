# SPDX-License-Identifier: MIT
"""Can a host that lacks packages get them, and only from where they are offered?"""

from __future__ import annotations

import pytest

from lab import Lab


pytestmark = pytest.mark.lab

BARE = ("nftables", "iptables", "ipset", "python3")


@pytest.fixture(scope="module")
def bare():
    """Hosts without what the agent needs, by kind."""
    with Lab() as lab:
        names = ["debian11-1", "debian12-1", "debian13-1"]
        hosts = lab.boot_all(names, without=BARE)
        hosts.append(lab.boot("el9-1", without=["nftables", "firewalld", "iptables-nft"]))
        yield {host.kind: host for host in hosts}


@pytest.mark.parametrize("kind", ["debian11", "debian12", "debian13"])
def test_apt_brings_back_what_was_taken_away(bare, kind):
    """Without nft, iptables and Python at first, apt installs all of them from the host itself."""
    host = bare[kind]
    assert "" == host.run("command -v nft iptables ipset python3", check=False).stdout

    host.run(
        "apt-get -qq update && apt-get -qq -y install --no-install-recommends " + " ".join(BARE)
    )

    assert "" == host.run("nft list tables && ipset list -n && iptables -S >&2").stdout
    assert "4\n" == host.run("python3 -c 'print(2 + 2)'").stdout


def test_dnf_brings_back_what_was_taken_away(bare):
    """Without nft and firewalld at first, dnf installs them with what they need, and they run."""
    host = bare["el9"]
    assert "" == host.run("command -v nft firewall-cmd", check=False).stdout
    assert 0 != host.run("rpm -q nftables", check=False).rc

    host.run("dnf -q -y install firewalld iptables-nft && systemctl start firewalld")

    assert "running\n" == host.run("firewall-cmd --state").stdout
    assert "enabled\n" == host.run("systemctl is-enabled firewalld").stdout
    assert "inet firewalld" in host.run("nft list tables && iptables -S >&2").stdout


def test_epel_comes_with_epel_release(bare):
    """A package of EPEL is to be had once epel-release is; one that needs CRB once that is on."""
    host = bare["el9"]
    host.run("dnf -q -y install lab-in-baseos")
    before = host.run("dnf -q -y install lab-in-epel", check=False)

    host.run("dnf -q -y install epel-release")
    host.run("dnf -q -y install lab-in-epel")
    no_crb = host.run("dnf -q -y install lab-in-epel-with-crb", check=False)
    host.run("crb enable && dnf -q -y install lab-in-epel-with-crb")

    assert "Unable to find a match: lab-in-epel" in before.stderr
    assert "nothing provides lab-in-crb" in no_crb.stderr
    assert (
        "lab-in-epel\nlab-in-epel-with-crb\n"
        == host.run("lab-in-epel; lab-in-epel-with-crb").stdout
    )
