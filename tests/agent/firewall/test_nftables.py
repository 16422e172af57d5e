# SPDX-License-Identifier: MIT
"""Does nft get the words that it should, whatever jails are called?"""

import json
from ipaddress import ip_address, ip_network

import pytest

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.command import ToolError
from stockade_agent.firewall.nftables import Nftables
from stockade_agent.specs import Shield


FEED = ("nft", "-f", "-")
TERSE = ("nft", "-t", "list sets inet; list maps inet; list chains inet")
LIST = ("nft", "-j", "list", "table", "inet", "stockade")
SSHD = Shield("sshd", ((22, 22),))


@pytest.fixture
def firewall(tool, now):
    """A backend with a jail, and no memory of how it was started."""
    backend = Nftables(tool)
    backend.start([SSHD], [], now)
    tool.calls.clear()
    return backend


def listed(**sets):
    """Return what ``nft -j list table`` prints for these sets."""
    items = [
        {"set": {"name": name.replace("__", "-"), "elem": elem}} for name, elem in sets.items()
    ]
    return json.dumps({"nftables": [{"metainfo": {}}, {"table": {}}, *items, {"chain": {}}]})


def test_start_is_one_transaction(tool, ban, forever, now):
    """All of the table, its rules and its elements go to nft in one run."""
    tool.answers[TERSE] = "table inet firewalld {\n\tset theirs {\n\t}\n}\n"
    bans = [ban("192.0.2.1"), forever("2001:db8::1"), ban("198.51.100.0/24")]

    assert () == Nftables(tool).start([SSHD], bans, now)

    [_, (argv, fed)] = tool.calls
    assert FEED == argv
    assert (
        """\
add table inet stockade-probe
delete table inet stockade-probe
table inet stockade {
	set v4-sshd { type ipv4_addr; flags timeout; }
	set v6-sshd { type ipv6_addr; flags timeout; }
	set v4.24-sshd { type ipv4_addr; flags timeout; }
	chain input {
		type filter hook input priority -10; policy accept;
		ip saddr @v4-sshd tcp dport { 22 } counter reject with tcp reset
		ip6 saddr @v6-sshd tcp dport { 22 } counter reject with tcp reset
		ip saddr & 255.255.255.0 == @v4.24-sshd tcp dport { 22 } counter reject with tcp reset
	}
}
add element inet stockade v4-sshd { 192.0.2.1 timeout 0d660s }
add element inet stockade v6-sshd { 2001:db8::1 }
add element inet stockade v4.24-sshd { 198.51.100.0 timeout 0d660s }
"""
        == fed
    )


LEFT = """\
table inet firewalld {
	set theirs {
		type ipv4_addr
		flags timeout
	}
}
table inet stockade {
	set v4-sshd {
		type ipv4_addr
		flags timeout
	}
	set v6.64-gone {
		type ipv6_addr
		flags timeout
	}
}
table inet stockade {
	map marks {
		type ipv4_addr : verdict
	}
}
table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
	}
}
table inet stockade {
	chain input {
		type filter hook input priority filter - 10; policy accept;
	}
	chain other {
	}
}
"""


def test_start_keeps_the_chain_in_its_place(tool, ban, now):
    """A new chain beside the old one would let a packet through between the two."""
    tool.answers[TERSE] = LEFT
    Nftables(tool).start([SSHD], [ban("192.0.2.1")], now)

    [_, (_, fed)] = tool.calls
    first, _, rest = fed.partition("add table inet stockade-probe\n")
    assert """\
flush table inet stockade
delete set inet stockade v4-sshd
delete set inet stockade v6.64-gone
delete map inet stockade marks
delete chain inet stockade other
""" == (first)
    assert "delete table inet stockade\n" not in rest


def test_a_table_that_cannot_be_kept(tool, now):
    """Where somebody made another chain of ours, the table is made anew."""
    tool.answers[TERSE] = LEFT
    misfit = ToolError("", backend="test", code=1, stderr="Error: File exists", remedy="")
    tool.answers[FEED] = lambda fed: misfit if fed.startswith("flush") else ""
    Nftables(tool).start([SSHD], [], now)

    [_, _, (_, fed)] = tool.calls
    assert fed.startswith("add table inet stockade\ndelete table inet stockade\n")


@pytest.mark.parametrize(
    "shield, rules",
    [
        pytest.param(
            Shield("j", ((80, 90), (443, 443)), ("tcp", "udp")),
            [
                "tcp dport { 80-90, 443 } counter reject with tcp reset",
                "udp dport { 80-90, 443 } counter reject",
            ],
            id="tcp-and-udp",
        ),
        pytest.param(
            Shield("j", ((22, 22),), blocktype="drop"), ["tcp dport { 22 } counter drop"], id="drop"
        ),
        pytest.param(
            Shield("j"),
            ["meta l4proto tcp counter reject with tcp reset", "counter reject"],
            id="everything",
        ),
        pytest.param(Shield("j", blocktype="drop"), ["counter drop"], id="drop-everything"),
    ],
)
def test_rules_of_a_shield(tool, now, shield, rules):
    """TCP is answered with a reset, the rest as a closed port would, or not at all."""
    Nftables(tool).start([shield], [], now)

    fed = tool.calls[-1][1]
    assert [f"ip saddr @v4-j {rule}" for rule in rules] == [
        line.strip() for line in fed.splitlines() if "ip saddr" in line
    ]


@pytest.mark.parametrize(
    "name",
    ["web shop", "öffentlich", "a;b}", "3proxy", "x" * 300, "tcp", 'q"uote', "a/b", "line\nbreak"],
)
def test_names_that_nft_does_not_know(tool, ban, now, name):
    """Any jail has sets of its own, and no name gets out of its place."""
    backend = Nftables(tool)
    backend.start([Shield(name, ((22, 22),))], [ban("192.0.2.1", name)], now)

    [set_line] = [line for line in tool.calls[-1][1].splitlines() if "\tset v4-" in line]
    set_name = set_line.split()[1]
    assert set_name.isascii()
    assert len(set_name) < 128
    assert set(set_name) - set("/_.-") <= set("abcdefghijklmnopqrstuvwxyz0123456789")
    tool.answers[LIST] = json.dumps(
        {"nftables": [{"set": {"name": set_name, "elem": ["192.0.2.1"]}}]}
    )
    assert {name: {ip_address("192.0.2.1")}} == backend.banned()


def test_apply_is_one_transaction(firewall, tool, ban, now):
    """What changes is added, deleted and added: timeouts renew, what is not there is no error."""
    firewall.apply(
        [ban("192.0.2.1"), ban("192.0.2.1"), ban("2001:db8::1", bantime=10**6)],
        [ban("192.0.2.9"), ban("192.0.2.1")],
        now + 0.5,
    )

    [(argv, fed)] = tool.calls
    assert FEED == argv
    assert (
        """\
add element inet stockade v4-sshd { 192.0.2.9, 192.0.2.1 }
delete element inet stockade v4-sshd { 192.0.2.9, 192.0.2.1 }
add element inet stockade v4-sshd { 192.0.2.1 timeout 0d660s }
add element inet stockade v6-sshd { 2001:db8::1 }
delete element inet stockade v6-sshd { 2001:db8::1 }
add element inet stockade v6-sshd { 2001:db8::1 timeout 11d49660s }
"""
        == fed
    )


def test_the_first_network_of_a_length_brings_its_set_and_rule(firewall, tool, ban, now):
    """A set and a rule are made once for a prefix length, then used."""
    firewall.apply([ban("2001:db8::/64")], [], now)
    firewall.apply([ban("2001:db8:1::/64")], [ban("2001:db8::/64"), ban("10.0.0.0/8")], now)

    first, second = (fed for _, fed in tool.calls)
    assert "add set inet stockade v6.64-sshd { type ipv6_addr; flags timeout; }\n" in first
    assert (
        "add rule inet stockade input ip6 saddr & ffff:ffff:ffff:ffff:: == @v6.64-sshd "
        "tcp dport { 22 } counter reject with tcp reset\n"
    ) in first
    assert "add set" not in second
    assert "add rule" not in second
    assert "v4.8" not in second


def test_nothing_to_do_runs_nothing(firewall, tool, ban, now):
    """An empty batch, or one that only ends what never was, costs no process."""
    firewall.apply([], [], now)
    firewall.apply([], [ban("10.0.0.0/8"), ban("192.0.2.1", "gone")], now)

    assert [] == tool.calls


@pytest.mark.parametrize(
    "bantime, element",
    [
        pytest.param(-1, "192.0.2.1", id="permanent"),
        pytest.param(10 * 365 * 86400, "192.0.2.1", id="ten-years-are-permanent"),
        pytest.param(9 * 365 * 86400, "192.0.2.1 timeout 3285d60s", id="nine-years"),
        pytest.param(1, "192.0.2.1 timeout 0d61s", id="a-second-and-grace"),
        pytest.param(-500, "192.0.2.1 timeout 0d1s", id="ended-long-ago"),
    ],
)
def test_timeouts(firewall, tool, ban, now, bantime, element):
    """The kernel keeps an element for what is left of its ban and a minute."""
    firewall.apply([ban("192.0.2.1", bantime=bantime)], [], now)

    assert f"add element inet stockade v4-sshd {{ {element} }}" == tool.calls[0][1].splitlines()[-1]


def test_banned_reads_addresses_and_networks(firewall, tool, ban, now):
    """Each set's elements belong to its jail; foreign sets are not looked at."""
    firewall.apply([ban("203.0.113.0/24")], [], now)
    timed = {"elem": {"val": "192.0.2.1", "timeout": 660, "expires": 659}}
    tool.answers[LIST] = listed(
        v4__sshd=[timed, "192.0.2.2"],
        v6__sshd=["2001:db8::1"],
        **{"v4.24__sshd": ["203.0.113.0"]},
        other=["192.0.2.7"],
    )

    assert {
        "sshd": {
            ip_address("192.0.2.1"),
            ip_address("192.0.2.2"),
            ip_address("2001:db8::1"),
            ip_network("203.0.113.0/24"),
        }
    } == firewall.banned()


def test_a_table_that_is_gone(firewall, tool, ban, now):
    """After somebody's flush nothing is banned, and a ban says that it cannot be."""
    tool.refuse(LIST, "Error: No such file or directory")
    tool.refuse(FEED, "/dev/stdin:1:1-9: Error: No such file or directory")

    assert {"sshd": set()} == firewall.banned()
    with pytest.raises(FirewallError, match="somebody removed table inet stockade"):
        firewall.apply([ban("192.0.2.1")], [], now)


def test_a_failed_batch_leaves_no_belief_behind(firewall, tool, ban, now):
    """A set that could not be made is made at the next try."""
    tool.refuse(FEED, "Error: Could not process rule: Operation not permitted")
    with pytest.raises(FirewallError):
        firewall.apply([ban("10.0.0.0/8")], [], now)
    tool.answers.clear()

    firewall.apply([ban("10.0.0.0/8")], [], now)

    assert "add set inet stockade v4.8-sshd" in tool.calls[-1][1]


def test_stop_removes_the_table(firewall, tool):
    """Our tables go, there or not, and no other is named."""
    firewall.stop()

    assert {"stockade", "stockade-probe"} == {
        line.split()[3] for line in tool.calls[0][1].splitlines()
    }
    tool.answers[LIST] = listed()
    assert {} == firewall.banned()


def test_probe_asks_the_kernel_and_cleans_up(tool):
    """The probe succeeds only if the kernel lists its element, and removes its table."""
    listing = ("nft", "-j", "list", "table", "inet", "stockade-probe")
    tool.answers[listing] = listed(v4__probe=[{"elem": {"val": "192.0.2.1", "timeout": 60}}])
    Nftables(tool).probe()

    tool.answers[listing] = listed(v4__probe=[])
    with pytest.raises(FirewallError, match=r"did not keep 192\.0\.2\.1"):
        Nftables(tool).probe()

    ends = [fed for argv, fed in tool.calls if argv == FEED][1::2]
    assert ["add table inet stockade-probe\ndelete table inet stockade-probe\n"] * 2 == ends


def test_notes_are_told_at_start(tool, now):
    """What the selection of a backend found out reaches the operator."""
    assert ("passed over firewalld",) == Nftables(tool, ["passed over firewalld"]).start(
        [], [], now
    )


def test_a_flood_is_one_process(firewall, tool, ban, now):
    """5,000 bans, new prefix lengths among them, cost as many processes as one: one."""
    bans = [
        ban(f"10.0.{n // 250}.{n % 250}" if n % 5 else f"2001:db8:{n:x}::/48") for n in range(5000)
    ]
    firewall.apply(bans, [], now)
    firewall.apply([], bans, now)

    assert [FEED, FEED] == [argv for argv, _ in tool.calls]
    assert all(str(each.address).split("/")[0] in tool.calls[0][1] for each in bans)
