# SPDX-License-Identifier: MIT
"""Is it seen what the kernel holds of firewalld's sets, whichever way it holds them?"""

import json
from collections import Counter
from ipaddress import ip_address, ip_network

import pytest

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.ruleset import IPSET, NFT, look, put


LIST = ("nft", "-j", "list", "table", "inet", "firewalld")
NAMES = ("stockade-sshd-4", "stockade-sshd-6")
FOUR = [
    "192.0.2.1",
    {"prefix": {"addr": "198.51.100.0", "len": 24}},
    {"range": ["203.0.113.4", "203.0.113.7"]},
]


def rule(chain, *, look_up=None, jump="x"):
    match = {"match": {"op": "==", "left": {}, "right": f"@{look_up}"}}
    expr = [match] if look_up else [{"jump": {"target": jump}}]
    return {"rule": {"chain": chain, "expr": expr}}


def listed(*left_out):
    """Return a listing of firewalld's table without some of its parts."""
    parts = {
        "set": {"set": {"name": NAMES[0], "elem": FOUR}},
        "set6": {"set": {"name": NAMES[1]}},
        "theirs": {"set": {"name": "office", "elem": ["192.0.2.9"]}},
        "entrance": rule("filter_INPUT"),
        "zones": rule("filter_INPUT_ZONES"),
        "jump": rule("filter_INPUT_POLICIES_pre", jump="filter_IN_policy_stockade"),
        "rule": rule("deny", look_up=NAMES[0]),
        "rule6": rule("deny", look_up=NAMES[1]),
    }
    return json.dumps({"nftables": [part for key, part in parts.items() if key not in left_out]})


def test_what_nft_lists(tool):
    """Addresses, prefixes and joined neighbours are held; a set of others is not ours."""
    tool.answers[LIST] = listed()
    found = look(tool)

    assert NFT == found.kind
    assert set(NAMES) == set(found.sets)
    assert found.serves(NAMES, None)
    assert found.serves(NAMES, Counter({"deny": 2, "filter_INPUT_POLICIES_pre": 1}))
    wanted = [ip_address("192.0.2.1"), ip_network("198.51.100.0/24"), ip_address("203.0.113.5")]
    assert [] == found.missing(NAMES[0], wanted)
    others = [ip_address("192.0.2.2"), ip_network("203.0.113.0/24")]
    assert others == found.missing(NAMES[0], [*wanted, *others])


@pytest.mark.parametrize("part", ["set", "set6", "entrance", "zones", "rule", "rule6"])
def test_a_part_that_is_gone(tool, part):
    """Without any one part bans are not in force."""
    tool.answers[LIST] = listed(part)

    assert not look(tool, NFT).serves(NAMES, None)


def test_a_rule_that_is_gone(tool):
    """One that leads to ours is missed where it is known how many there were."""
    tool.answers[LIST] = listed("jump")

    assert not look(tool, NFT).serves(NAMES, Counter({"deny": 2, "filter_INPUT_POLICIES_pre": 1}))


def test_what_ipset_saves(tool):
    """With firewalld's iptables backend, sets are ipsets and rules are iptables'."""
    tool.refuse(LIST, "Error: No such file or directory")
    tool.answers["ipset", "save"] = (
        f"create {NAMES[0]} hash:net family inet\nadd {NAMES[0]} 192.0.2.1\n"
        f"create {NAMES[1]} hash:net family inet6\nadd office 192.0.2.9\n"
    )
    save = ":INPUT ACCEPT [0:0]\n-A INPUT -j IN_x\n-A deny -m set --match-set {} src -j REJECT\n"
    tool.answers["iptables-save", "-t", "filter"] = save.format(NAMES[0])
    tool.answers["ip6tables-save", "-t", "filter"] = save.format(NAMES[1])
    found = look(tool)

    assert IPSET == found.kind
    assert found.serves(NAMES, None)
    assert [] == found.missing(NAMES[0], [ip_address("192.0.2.1")])
    put(tool, IPSET, {NAMES[0]: [ip_address("192.0.2.2")]})
    assert (("ipset", "-exist", "restore"), f"add {NAMES[0]} 192.0.2.2\n") == tool.calls[-1]


def test_without_tools(tool):
    """Where nothing can say, nothing is said; a tool that stops working is an error."""
    for command in (LIST, ("ipset", "save")):
        tool.refuse(command, "not installed", code=None)

    assert look(tool) is None
    with pytest.raises(FirewallError):
        look(tool, NFT)
