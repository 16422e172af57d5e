# SPDX-License-Identifier: MIT
"""Does a host get the backend that works, and its operator the reason?"""

import json

import pytest

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.selection import select, sweep
from stockade_agent.specs import Shield


STATE = ("firewall-cmd", "--state")
VERSION = ("firewall-cmd", "--version")
NFT = ("nft", "-f", "-")
IPTABLES = ("iptables-save", "-t", "filter")


@pytest.fixture
def host(tool):
    """A host on which firewalld does not run and nftables and iptables work."""
    tool.refuse(STATE, "FirewallD is not running", 252)
    tool.answers["nft", "-j", "list", "table", "inet", "stockade-probe"] = json.dumps(
        {"nftables": [{"set": {"name": "v4-probe", "elem": ["192.0.2.1"]}}]}
    )
    tool.answers[IPTABLES] = (
        "-A stockade-probe -s 192.0.2.1/32 -j DROP\n"
        "-A stockade-probe -m comment --comment stockade -j RETURN\n"
    )
    return tool


def test_nftables_where_firewalld_does_not_run(host):
    """A firewalld that is installed and does not run is no reason to say anything."""
    firewall = select("auto", run_of=lambda _: host)

    assert "nftables" == firewall.name
    assert () == tuple(firewall.start([], [], 0.0))


def test_iptables_where_nft_fails(host):
    """The next in order is taken, and the reason reaches the operator at start."""
    host.refuse(NFT, "Operation not supported")

    firewall = select("auto", run_of=lambda _: host)

    assert "iptables" == firewall.name
    [note] = firewall.start([], [], 0.0)
    assert note.startswith("passed over ")
    assert "Operation not supported" in note


def test_nftables_where_firewalld_fails(host):
    """A firewalld that runs and is too old is passed over with that reason."""
    host.answers |= {STATE: "running\n", VERSION: "0.6.3\n"}

    firewall = select("auto", run_of=lambda _: host)

    assert "nftables" == firewall.name
    [note] = firewall.start([], [], 0.0)
    assert "passed over firewalld: firewalld 0.6.3 has no policies" in note


def test_none_works(host):
    """All reasons are told where no backend is left."""
    host.refuse(NFT, "nft is out of order")
    host.refuse(IPTABLES, "iptables is out of order")

    with pytest.raises(FirewallError) as caught:
        select("auto", run_of=lambda _: host)

    assert "nft is out of order" in str(caught.value)
    assert "iptables is out of order" in str(caught.value)


@pytest.mark.parametrize("wanted", ["nftables", "iptables"])
def test_the_wanted_one_or_none(host, wanted):
    """Who asks for a backend by name gets that one, or its error."""
    assert wanted == select(wanted, run_of=lambda _: host).name

    host.refuse(NFT, "out of order")
    host.refuse(IPTABLES, "out of order")
    with pytest.raises(FirewallError, match="out of order"):
        select(wanted, run_of=lambda _: host)


def test_the_prefix_of_chains(host):
    """Chains of iptables get the configured chainprefix."""
    firewall = select("iptables", chainprefix="ban-", run_of=lambda _: host)
    firewall.start([Shield("sshd")], [], 0.0)

    assert ":ban-sshd - [0:0]" in host.calls[-1][1]
    with pytest.raises(FirewallError, match="chainprefix"):
        select("iptables", chainprefix="a b", run_of=lambda _: host)


def test_an_unknown_name():
    """A backend that there is not is refused with those that there are."""
    with pytest.raises(FirewallError, match=r"'pf' \(use auto, firewalld, nftables, iptables\)"):
        select("pf")


def test_sweep_removes_what_other_backends_left(host):
    """Bans of an earlier run with another backend are ended, and the chosen one's are not."""
    host.answers[IPTABLES] = ":f2b-x -\n-A f2b-x -m comment --comment stockade -j RETURN\n"
    chosen = select("nftables", run_of=lambda _: host)
    host.calls.clear()

    assert [] == sweep(chosen, run_of=lambda _: host)

    assert "nft -f -" not in host.commands
    assert any("-X f2b-x" in stdin for _, stdin in host.calls)


def test_sweep_tells_what_it_could_not_do(host):
    """A tool that is there and fails may have bans left; one that is not there has none."""
    chosen = select("nftables", run_of=lambda _: host)
    host.refuse(IPTABLES, "the lock is taken")
    [warning] = sweep(chosen, run_of=lambda _: host)
    assert "bans of an earlier run may be left" in warning

    host.refuse(IPTABLES, "", code=None)
    assert [] == sweep(chosen, run_of=lambda _: host)


def test_memory_touches_no_host(host):
    """The firewall of tests asks no tool, and ends nobody's bans."""
    chosen = select("memory", run_of=lambda _: host)

    assert "memory" == chosen.name
    assert [] == sweep(chosen, run_of=lambda _: host)
    assert [] == host.commands
