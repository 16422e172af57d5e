# SPDX-License-Identifier: MIT
"""Does iptables-restore get the words that it should, in as few runs as promised?"""

from ipaddress import ip_address

import pytest

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.iptables import Iptables
from stockade_agent.specs import Shield


SAVE = {4: ("iptables-save", "-t", "filter"), 6: ("ip6tables-save", "-t", "filter")}
FEED = {
    4: ("iptables-restore", "--noflush", "--wait"),
    6: ("ip6tables-restore", "--noflush", "--wait"),
}
SSHD = Shield("sshd", ((22, 22),))
REFUSE = "-j REJECT --reject-with icmp-port-unreachable"
REFUSE6 = "-j REJECT --reject-with icmp6-port-unreachable"
MARKED = "-m comment --comment stockade"


def saved(*lines):
    return "\n".join(("*filter", *lines, "COMMIT", ""))


@pytest.fixture
def firewall(tool, ban, now):
    """A backend with a jail and a ban, and no memory of how it was started."""
    backend = Iptables(tool)
    backend.start([SSHD], [ban("192.0.2.1"), ban("2001:db8::1")], now)
    tool.calls.clear()
    return backend


def fed(tool):
    """Return what was given to restore, as lines without the frame, per call."""
    return [text.splitlines()[1:-1] for argv, text in tool.calls if "restore" in argv[0]]


def test_start_on_an_empty_host(tool, ban, now):
    """A chain is filled and hooked, in one commit a family after one look."""
    assert [] == Iptables(tool).start([SSHD], [ban("192.0.2.1"), ban("2001:db8::/64")], now)

    assert [SAVE[4], SAVE[6], FEED[4], FEED[6]] == [argv for argv, _ in tool.calls]
    hook = f"-I INPUT 1 -p tcp -m multiport --dports 22 {MARKED} -j f2b-sshd"
    assert [
        [
            ":f2b-sshd - [0:0]",
            f"-A f2b-sshd -s 192.0.2.1 {REFUSE}",
            f"-A f2b-sshd {MARKED} -j RETURN",
            hook,
        ],
        [
            ":f2b-sshd - [0:0]",
            f"-A f2b-sshd -s 2001:db8::/64 {REFUSE6}",
            f"-A f2b-sshd {MARKED} -j RETURN",
            hook,
        ],
    ] == fed(tool)


def test_start_after_another_run(tool, now):
    """Old hooks go, in the same commit; a jail's chain that is not wanted goes with them."""
    tool.answers[SAVE[4]] = saved(
        ":f2b-sshd - [0:0]",
        ":f2b-gone - [0:0]",
        ":old-pinned - [0:0]",
        f"-A INPUT -p tcp -m multiport --dports 21 {MARKED} -j f2b-gone",
        f"-A INPUT -p tcp -m multiport --dports 22,222 {MARKED} -j f2b-sshd",
        "-A FORWARD -j old-pinned",
        f"-A f2b-sshd {MARKED} -j RETURN",
        f"-A f2b-gone {MARKED} -j RETURN",
        f"-A old-pinned {MARKED} -j RETURN",
    )

    Iptables(tool).start([SSHD], [], now)

    assert [
        ":f2b-sshd - [0:0]",
        f"-A f2b-sshd {MARKED} -j RETURN",
        f"-D INPUT -p tcp -m multiport --dports 21 {MARKED} -j f2b-gone",
        f"-D INPUT -p tcp -m multiport --dports 22,222 {MARKED} -j f2b-sshd",
        ":f2b-gone - [0:0]",
        "-X f2b-gone",
        ":old-pinned - [0:0]",
        f"-A old-pinned {MARKED} -j RETURN",
        f"-I INPUT 1 -p tcp -m multiport --dports 22 {MARKED} -j f2b-sshd",
    ] == fed(tool)[0]


def test_a_running_fail2bans_chain_is_left_alone(tool, ban, now):
    """A chain of the same name without our mark is never named; the operator is told."""
    tool.answers[SAVE[6]] = saved(":f2b-sshd - [0:0]", "-A f2b-sshd -j RETURN")
    firewall = Iptables(tool)

    [warning] = firewall.start([SSHD], [], now)
    firewall.apply([ban("192.0.2.1")], [], now)
    firewall.stop()

    assert "f2b-sshd is somebody else's" in warning
    words = " ".join(line for lines in fed(tool) for line in lines).split()
    assert "f2b-sshd" not in words
    assert [word for word in words if word.startswith("f2b-sshd_stockade~")]


def test_a_base_chain_that_is_not_there(tool, now):
    """Bans of a jail that hooks from a missing chain still stand, in INPUT, and it is said."""
    tool.answers[SAVE[4]] = saved(":DOCKER-USER - [0:0]")

    said = Iptables(tool).start(
        [Shield("web", chain="DOCKER-USER"), Shield("x", chain="-F")], [], now
    )

    four, six = fed(tool)
    assert f"-I DOCKER-USER 1 {MARKED} -j f2b-web" in four
    assert f"-I INPUT 1 {MARKED} -j f2b-web" in six
    assert f"-I INPUT 1 {MARKED} -j f2b-x" in four
    assert "jail web: there is no chain DOCKER-USER in ip6tables; INPUT is used" in said
    assert "jail x: there is no chain -F in iptables; INPUT is used" in said


def test_a_batch_is_one_commit_a_family(firewall, tool, ban, now):
    """Only differences are written, and only where there are any."""
    firewall.apply(
        [ban("192.0.2.1"), ban("192.0.2.2")],
        [ban("192.0.2.9"), ban("2001:db8::1"), ban("192.0.2.2")],
        now,
    )
    firewall.apply([ban("192.0.2.2")], [ban("2001:db8::1")], now)
    firewall.apply([], [ban("192.0.2.1")], now)

    assert [FEED[4], FEED[6], FEED[4]] == [argv for argv, _ in tool.calls]
    assert [
        [f"-I f2b-sshd 1 -s 192.0.2.2 {REFUSE}"],
        [f"-D f2b-sshd -s 2001:db8::1 {REFUSE6}"],
        [f"-D f2b-sshd -s 192.0.2.1 {REFUSE}"],
    ] == fed(tool)


def test_many_unbans_write_the_chain_anew(firewall, tool, ban, now):
    """Deleting rules one by one would search the chain for each of them."""
    bans = [ban(f"198.51.100.{last}") for last in range(100)]
    firewall.apply(bans, [], now)
    tool.calls.clear()

    firewall.apply([ban("192.0.2.2")], bans, now)

    [lines] = fed(tool)
    assert ":f2b-sshd - [0:0]" == lines[0]
    assert {f"-A f2b-sshd -s 192.0.2.{last} {REFUSE}" for last in (1, 2)} == set(lines[1:-1])
    assert f"-A f2b-sshd {MARKED} -j RETURN" == lines[-1]


def test_a_kernel_that_is_not_as_expected_is_read_and_tried_once_more(firewall, tool, ban, now):
    """Where somebody took a rule out of our chain, the unban of it is no error."""
    refusals = iter([True, False])
    tool.answers[SAVE[4]] = saved(f"-A f2b-sshd {MARKED} -j RETURN")
    tool.refuse(FEED[4], "iptables-restore: line 2 failed")
    error = tool.answers[FEED[4]]
    tool.answers[FEED[4]] = lambda _: error if next(refusals) else ""

    firewall.apply([ban("192.0.2.2")], [ban("192.0.2.1")], now)

    assert [FEED[4], SAVE[4], FEED[4]] == [argv for argv, _ in tool.calls]
    assert [f"-I f2b-sshd 1 -s 192.0.2.2 {REFUSE}"] == fed(tool)[-1]


def test_a_chain_that_is_gone(firewall, tool, ban, now):
    """After somebody's flush a ban says that it cannot be."""
    tool.refuse(FEED[4], "iptables-restore: line 2 failed")

    with pytest.raises(FirewallError, match="somebody removed chain f2b-sshd"):
        firewall.apply([ban("192.0.2.2")], [], now)


def test_the_line_at_fault_is_told(tool, now):
    """iptables-restore names a line of a file that nobody sees: the line is shown."""
    tool.refuse(FEED[4], "iptables-restore: line 4 failed")

    with pytest.raises(FirewallError, match="line 4 failed: -I INPUT 1 -p tcp"):
        Iptables(tool).start([SSHD], [], now)


def test_without_ip6tables_ipv4_goes_on(tool, ban, now, tmp_path):
    """A host without IPv6 is protected; where the kernel has IPv6, its bans are loud failures."""
    if_inet6 = tmp_path / "if_inet6"
    tool.refuse(SAVE[6], "", code=None)
    firewall = Iptables(tool, if_inet6=str(if_inet6))

    [warning] = firewall.start([SSHD], [ban("2001:db8::1")], now)
    firewall.apply([ban("192.0.2.1"), ban("2001:db8::2")], [], now)
    if_inet6.write_text("00000000000000000000000000000001 01 80 10 80 lo\n")
    with pytest.raises(FirewallError, match="2001:db8::2 is not refused: ip6tables does not work"):
        firewall.apply([ban("192.0.2.2"), ban("2001:db8::2")], [], now)

    assert "IPv4 addresses are refused, IPv6 addresses are not" in warning
    assert f"-I f2b-sshd 1 -s 192.0.2.2 {REFUSE}" in fed(tool)[-1]
    assert FEED[6] not in [argv for argv, _ in tool.calls]


def test_drop(tool, ban, now):
    """A jail that drops answers nothing."""
    Iptables(tool).start([Shield("x", blocktype="drop")], [ban("192.0.2.1", "x")], now)

    assert "-A f2b-x -s 192.0.2.1 -j DROP" in fed(tool)[0]


@pytest.mark.parametrize("prefix", ["", "-f2b", "a b", "seventeen-letters", "f2b;", "f2b\n"])
def test_a_prefix_that_cannot_be(prefix):
    """A chainprefix that would not make chain names is refused at once."""
    with pytest.raises(FirewallError, match="chainprefix"):
        Iptables(prefix=prefix)


def test_banned(firewall, tool):
    """What chains refuse is read from both families."""
    tool.answers[SAVE[4]] = saved(
        f"-A f2b-sshd -s 192.0.2.1/32 {REFUSE}", f"-A f2b-sshd {MARKED} -j RETURN"
    )
    tool.answers[SAVE[6]] = saved(
        f"-A f2b-sshd -s 2001:db8::1/128 {REFUSE6}", f"-A f2b-sshd {MARKED} -j RETURN"
    )

    assert {"sshd": {ip_address("192.0.2.1"), ip_address("2001:db8::1")}} == firewall.banned()


def test_probe_asks_the_kernel_and_cleans_up(tool):
    """The probe succeeds only if its rule can be listed, and removes its chain."""
    rule = f"-A stockade-probe -s 192.0.2.1/32 -p tcp {REFUSE}"
    tool.answers[SAVE[4]] = saved(rule, f"-A stockade-probe {MARKED} -j RETURN")
    Iptables(tool).probe()

    tool.answers[SAVE[4]] = saved()
    with pytest.raises(FirewallError, match=r"did not keep 192\.0\.2\.1"):
        Iptables(tool).probe()

    assert [":stockade-probe - [0:0]", "-X stockade-probe"] == fed(tool)[-1]


def test_other_variants(tool, now):
    """The legacy and nft variants are other programs with the same words."""
    Iptables(tool, variant="-legacy").start([], [], now)

    assert ["iptables-legacy-save -t filter", "ip6tables-legacy-save -t filter"] == tool.commands


def test_a_flood_is_one_process_a_family(tool, ban, now):
    """5,000 bans cost as many processes as two: one for IPv4, one for IPv6."""
    firewall = Iptables(tool)
    firewall.start([SSHD], [], now)
    tool.calls.clear()
    firewall.apply([ban(f"10.0.{n // 250}.{n % 250}") for n in range(4000)], [], now)
    firewall.apply([ban(f"2001:db8::{n:x}") for n in range(1000)], [], now)

    assert ["iptables-restore", "ip6tables-restore"] == [argv[0] for argv, _ in tool.calls]
