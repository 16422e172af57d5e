# SPDX-License-Identifier: MIT
"""Is each kind of host what it claims to be?"""

from __future__ import annotations

import pytest

from lab import kinds


pytestmark = pytest.mark.lab

every_kind = pytest.mark.parametrize("kind", list(kinds.KINDS))


@every_kind
def test_boots_to_ssh(lab, hosts, kind):
    """All units start, and root gets in from the controller with a checked host key."""
    host = hosts[kind]

    assert "running\n" == host.run("systemctl is-system-running").stdout
    login = lab.ssh(host)
    assert f"{host.name}\n" == lab.run("controller", [*login, "uname", "-n"]).stdout


@every_kind
def test_sudo(lab, hosts, kind):
    """The operator becomes root freely, passworder with his password only."""
    free = [*lab.ssh(hosts[kind], kinds.OPERATOR), "sudo -n id -u"]
    asked = [*lab.ssh(hosts[kind], kinds.PASSWORDER), "sudo -S -p '' id -u"]
    refused = [*lab.ssh(hosts[kind], kinds.PASSWORDER), "sudo -n id -u"]

    assert "0\n" == lab.run("controller", free).stdout
    assert "0\n" == lab.run("controller", asked, input=f"{kinds.PASSWORDER_PASSWORD}\n").stdout
    assert 0 != lab.run("controller", refused, check=False).rc


@every_kind
@pytest.mark.parametrize(
    "make, show, clear",
    [
        pytest.param(
            "nft add table inet lab && nft add set inet lab s '{ type ipv4_addr; flags timeout; }'"
            " && nft add element inet lab s '{ 192.0.2.7 timeout 1h }'",
            "nft list table inet lab",
            "nft delete table inet lab",
            id="nft",
        ),
        pytest.param(
            "iptables -N lab && iptables -A lab -p tcp -m multiport --dports 22 -s 192.0.2.7"
            " -j REJECT",
            "iptables -nL lab",
            "iptables -F lab; iptables -X lab",
            id="iptables",
        ),
        pytest.param(
            "ip6tables -N lab && ip6tables -A lab -s 2001:db8::7 -m comment --comment 192.0.2.7"
            " -j REJECT",
            "ip6tables -nL lab",
            "ip6tables -F lab; ip6tables -X lab",
            id="ip6tables",
        ),
        pytest.param(
            "iptables-legacy -N lab && iptables-legacy -A lab -s 192.0.2.7 -j DROP",
            "iptables-legacy -nL lab",
            "iptables-legacy -F lab; iptables-legacy -X lab",
            id="iptables-legacy",
        ),
        pytest.param(
            "ipset create lab hash:ip timeout 60 && ipset add lab 192.0.2.7"
            " && iptables -N lab && iptables -A lab -m set --match-set lab src -j DROP",
            "ipset list lab",
            "iptables -F lab; iptables -X lab; ipset destroy lab",
            id="ipset",
        ),
    ],
)
def test_firewall_tools(hosts, kind, make, show, clear):
    """Every firewall tool enters a rule and shows it."""
    host = hosts[kind]
    try:
        host.run(make)

        assert "192.0.2.7" in host.run(show).stdout
    finally:
        host.run(clear)


def test_firewalld(hosts):
    """The firewalld service runs on the RHEL-like host, knows sets, and lets ssh and vnc in."""
    host = hosts["el9"]
    host.run("firewall-cmd --permanent --new-ipset=lab --type=hash:ip && firewall-cmd --reload")
    try:
        host.run("firewall-cmd --ipset=lab --add-entry=192.0.2.7")

        assert "running\n" == host.run("firewall-cmd --state").stdout
        assert "192.0.2.7\n" == host.run("firewall-cmd --ipset=lab --get-entries").stdout
        assert {"ssh", "vnc-server"} <= set(host.run("firewall-cmd --list-services").stdout.split())
    finally:
        host.run("firewall-cmd --permanent --delete-ipset=lab && firewall-cmd --reload")


@pytest.mark.parametrize(
    "kind, python, openssh",
    [
        ("debian11", "Python 3.9.", "OpenSSH_8.4"),
        ("debian12", "Python 3.11.", "OpenSSH_9.2"),
        ("debian13", "Python 3.13.", "OpenSSH_10.0"),
        ("el9", "Python 3.11.", "OpenSSH_9.2"),
    ],
)
def test_versions(hosts, kind, python, openssh):
    """Each kind has the Python and the OpenSSH that it is kept for."""
    assert hosts[kind].run("python3 --version").stdout.startswith(python)
    assert hosts[kind].run("ssh -V 2>&1").stdout.startswith(openssh)


def test_the_rhel_like_host_hides_that_it_is_debian(hosts):
    """Nothing of apt answers, and release files, rpm and units say Rocky Linux 9.4."""
    host = hosts["el9"]

    assert (
        0 != host.run("command -v apt-get dpkg apt || test -e /etc/debian_version", check=False).rc
    )
    assert "Rocky Linux release 9.4 (Blue Onyx)\n" == host.read("/etc/redhat-release")
    assert "nftables" == host.run("rpm -q --qf '%{NAME}' nftables").stdout
    assert "active\nactive\n" == host.run("systemctl is-active sshd ssh").stdout


@every_kind
def test_where_sshd_logs(lab, hosts, kind):
    """Debian's logs go to the journal only, the RHEL-like host's to /var/log/secure as well."""
    host = hosts[kind]
    lab.run("controller", [*lab.ssh(host), "true"])
    found = host.run(
        "grep -rl 'Accepted publickey' /var/log --include=secure --include=auth.log", check=False
    )
    journal = host.run(
        "journalctl --sync; journalctl -q -o cat _COMM=sshd _COMM=sshd-session"
    ).stdout

    assert ("/var/log/secure\n" if kind == "el9" else "") == found.stdout
    assert "Accepted publickey for root from 10.77.0.2" in journal


@every_kind
def test_no_way_out(lab, hosts, kind):
    """Neither a host nor a place knows a route that leaves the lab."""
    ask = ["ip", "route", "get", "192.0.2.1"]

    assert "unreachable" in hosts[kind].run(ask, check=False).stderr
    assert "unreachable" in lab.run("controller", ask, check=False).stderr


def test_read_and_write(hosts):
    """What is written on a host is read there, with the mode asked for."""
    host = hosts["debian12"]
    host.write("/run/deep/er", "käse\n", mode=0o600)

    assert "käse\n" == host.read("/run/deep/er")
    assert "600\n" == host.run("stat -c %a /run/deep/er").stdout
    assert (host.root / "run/deep/er").exists()


def test_run_gives_up_inside(hosts):
    """A command past its time is killed on the host, not only waited for no longer."""
    ended = hosts["debian12"].run("sleep 4711", check=False, timeout=0.3)

    assert 124 == ended.rc
    assert 1 == hosts["debian12"].run(["pgrep", "-f", "^sleep 4711"], check=False).rc
