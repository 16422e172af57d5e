# SPDX-License-Identifier: MIT
"""Are the host's own addresses, its gateways and its controllers known, and known anew?"""

import subprocess
import sys
from pathlib import Path

import pytest

import stockade_agent
from stockade_agent.ignore import own_addresses
from stockade_agent.model import target
from stockade_agent.protected import FRESH, Protected, controllers, gateways


ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t00C63364\t0302000A\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ZERO = "0" * 32
ROUTE6 = (
    f"{ZERO} 00 {ZERO} 00 20010db8000000000000000000000001 00000400 1 0 00000003 eth0\n"
    f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 1 0 00200200 lo\n"
    f"20010db8000000000000000000000000 40 {ZERO} 00 {ZERO} 00000100 1 0 00000001 eth0\n"
)


def test_gateways(tmp_path):
    """The next hops of default routes are found, others are not."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(ROUTE)
    (tmp_path / "net/ipv6_route").write_text(ROUTE6)

    assert {target("10.0.2.1"), target("2001:db8::1")} == gateways(str(tmp_path))


def test_a_host_without_routes(tmp_path):
    """What cannot be read has no gateways."""
    assert frozenset() == gateways(str(tmp_path))


def test_controllers_file(tmp_path):
    """One address a line, comments and nonsense aside; no file is no controller."""
    path = tmp_path / "controllers"
    assert frozenset() == controllers(str(path))
    path.write_text("# pushed\n192.0.2.7  # yesterday\n\n::ffff:192.0.2.8\nno\n2001:db8::/64\n")

    assert {target("192.0.2.7"), target("192.0.2.8"), target("2001:db8::/64")} == controllers(
        str(path)
    )


@pytest.fixture
def protected(tmp_path):
    (tmp_path / "controllers").write_text("203.0.113.9\n2001:db8:1::/48\n")
    return Protected(
        str(tmp_path / "controllers"),
        own=lambda: {target("192.0.2.1"), target("127.0.0.1")},
        routers=lambda: {target("198.51.100.1")},
    )


@pytest.mark.parametrize(
    "address, why",
    [
        ("192.0.2.1", "own address"),
        ("192.0.2.0/24", "own address"),
        ("198.51.100.1", "gateway"),
        ("203.0.113.9", "controller"),
        ("203.0.113.8/30", "controller"),
        ("2001:db8:1:2::3", "controller"),
        ("192.0.2.7", ""),
        ("2001:db8:2::1", ""),
    ],
)
def test_why(protected, address, why):
    """An address is protected, and so is every network that holds one."""
    assert why == protected.why(target(address))


def test_own_addresses_may_be_banned_where_a_jail_says_so(protected):
    """``ignoreself = false`` concerns own addresses, never gateways or controllers."""
    assert "" == protected.why(target("192.0.2.1"), own=False)
    assert "gateway" == protected.why(target("198.51.100.1"), own=False)


def test_an_answer_is_taken_for_the_present_for_a_second(tmp_path):
    """Changes are seen at the next look, which a flood of bans does not repeat for each ban."""
    looks = []
    protected = Protected(
        str(tmp_path / "none"),
        own=lambda: looks.append(1) or {target(f"192.0.2.{len(looks)}")},
        routers=lambda: (),
    )
    before = protected.version
    for step in range(10):
        protected.refresh(1000.0 + step * FRESH / 100)

    assert (2, before + 1) == (len(looks), protected.version)
    protected.refresh(1000.0 + FRESH)
    assert 3 == len(looks)


HIDDEN = """
import sys
sys.path.insert(0, sys.argv[1])
from stockade_agent.ignore import own_addresses
from stockade_agent.protected import gateways
print(*sorted(map(str, own_addresses())), "|", *sorted(map(str, gateways())))
"""


@pytest.mark.lab
def test_where_only_processes_are_shown():
    """With systemd's ``ProcSubset=pid``, as in the unit, own addresses and gateways are known."""
    root = str(Path(stockade_agent.__file__).parents[1])
    ask = [sys.executable, "-I", "-c", HIDDEN, root]
    hide = ["unshare", "-m", "sh", "-c", 'mount -t proc -o subset=pid proc /proc && exec "$@"', "-"]
    shown, hidden = (
        subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        for argv in (ask, [*hide, *ask])
    )

    assert shown == hidden
    assert {str(address) for address in own_addresses()} == {*shown.partition("|")[0].split()}
