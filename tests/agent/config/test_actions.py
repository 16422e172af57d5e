# SPDX-License-Identifier: MIT
"""Which actions does a jail have, which of them are the firewall's, and what do they close?"""

import pytest

from stockade_agent.config import read
from stockade_agent.specs import Shield


PING = """\
    [Definition]
    actionstart = <tool> -N <name> # <known/chain>
    actionban = <tool> <ip> <port> <b-<kind>> for <bantime>
    actionunban =
    b-z = z<opt>
    norestored = 1
    [Init]
    tool = t4
    kind = z
    opt = -o
    chain = MINE
    [Init?family=inet6]
    tool = t6 <opt>
"""


@pytest.fixture
def jail(base):
    """Return the jail that ``action`` and further options make."""

    def jail(action, options="", files=None):
        text = f"[any]\nenabled = true\nlogpath = /x\nport = ssh,5901\naction = {action}\n{options}"
        config = read(base({"jail.d/x.conf": text, **(files or {})}))
        assert () == config.faults
        return config.jails[0]

    return jail


def test_commands_resolved(jail):
    """Commands know their parameters; tags of a ban and of a family wait for it."""
    action = jail(
        'ping[port="%(port)s", kind=z, chain="<known/chain>"]', files={"action.d/ping.conf": PING}
    ).actions[0]

    assert ("ping", "ping", None) == (action.name, action.file, action.firewall)
    assert {
        "actionstart": "<tool> -N any # MINE",
        "actionban": "<tool> <ip> ssh,5901 z-o for <bantime>",
        "actionunban": "",
        "norestored": "1",
    } == action.definition
    assert {
        "port": "ssh,5901",
        "kind": "z",
        "name": "any",
        "actname": "ping",
        "tool": "t4",
        "opt": "-o",
        "chain": "MINE",
        "tool?family=inet6": "t6 -o",
    } == action.parameters


def test_parameter_stands_for_all_families(jail):
    """A plain parameter covers the conditional variants as well, since fail2ban 1.1.1."""
    action = jail("ping[tool=mine]", files={"action.d/ping.conf": PING}).actions[0]

    assert "mine" == action.parameters["tool?family=inet6"]


@pytest.mark.parametrize(
    "parameters, name",
    [("", "ping"), ("[name=any-two]", "ping-two"), ("[name=x]", "ping-x"), ("[actname=y]", "y")],
)
def test_actname(jail, parameters, name):
    """An action is named after its file, its name parameter, or as it says."""
    assert name == jail("ping" + parameters, files={"action.d/ping.conf": PING}).actions[0].name


def test_jail_options_are_known_to_the_action(jail):
    """Tags that the action does not define may be options of its jail."""
    text = "[Definition]\nactionban = mail <logpath> <maxretry>\n"

    action = jail("m", "maxretry = 4", files={"action.d/m.conf": text}).actions[0]

    assert "mail /x 4" == action.definition["actionban"]


NATIVE = "[Definition]\nactionban = x <ip>\n[Init]\nblocktype = REJECT --reject-with y\n"


@pytest.mark.parametrize(
    "action, files, firewall",
    [
        pytest.param("auto", {}, "auto", id="auto"),
        pytest.param("iptables-multiport", {}, "iptables", id="iptables-without-file"),
        pytest.param(
            "iptables-multiport",
            {"action.d/iptables-multiport.conf": NATIVE},
            "iptables",
            id="file",
        ),
        pytest.param("iptables-ipset-proto6-allports", {}, "iptables", id="ipset"),
        pytest.param("nftables[type=allports]", {}, "nftables", id="nftables"),
        pytest.param("firewallcmd-rich-rules", {}, "firewalld", id="firewalld"),
        pytest.param("iptables-own", {"action.d/iptables-own.conf": NATIVE}, None, id="users-own"),
        pytest.param("auto", {"action.d/auto.conf": NATIVE}, None, id="users-own-auto"),
        pytest.param(
            "nftables",
            {
                "action.d/nftables.conf": NATIVE,
                "action.d/nftables.local": "[Definition]\nactionban = mine\n",
            },
            None,
            id="commands-rewritten",
        ),
        pytest.param(
            "nftables",
            {
                "action.d/nftables.conf": NATIVE,
                "action.d/nftables.local": "[Init]\nblocktype = drop\n",
            },
            "nftables",
            id="only-a-parameter-rewritten",
        ),
        pytest.param("nftables[actionban=x]", {}, None, id="command-passed"),
        pytest.param(
            "nftables[blocktype=tarpit]",
            {"action.d/nftables.conf": NATIVE},
            None,
            id="other-verdict",
        ),
    ],
)
def test_native(jail, action, files, firewall):
    """Stock ban actions are the firewall's, unless somebody gave them commands of his own."""
    assert firewall == jail(action, files=files).actions[0].firewall


@pytest.mark.parametrize(
    "action, expected",
    [
        pytest.param("%(action_)s", Shield("any", ((22, 22), (5901, 5901))), id="default"),
        pytest.param("%(banaction_allports)s", Shield("any"), id="all-ports"),
        pytest.param('%(banaction_allports)s[port="ssh"]', Shield("any"), id="type-wins-over-port"),
        pytest.param('iptables-allports[port="ssh"]', Shield("any"), id="all-ports-by-name"),
        pytest.param('auto[port="0:65535"]', Shield("any"), id="all-ports-by-range"),
        pytest.param("auto", Shield("any"), id="no-port-named"),
        pytest.param(
            'firewallcmd-ipset[actiontype="<allports>", allports=-p, port=1]',
            Shield("any"),
            id="zone",
        ),
        pytest.param(
            'auto[port=53, protocol="tcp,udp", blocktype=DROP, chain=FORWARD]',
            Shield("any", ((53, 53),), ("tcp", "udp"), "drop", "FORWARD"),
            id="everything",
        ),
        pytest.param(
            'nftables[port=53, chain=f2b-chain, blocktype="reject with tcp reset"]',
            Shield("any", ((53, 53),)),
            id="chain-is-of-iptables",
        ),
        pytest.param(
            "auto[port=1, actname=a] auto[port=2, protocol=udp, actname=b]",
            Shield("any", ((1, 2),), ("tcp", "udp")),
            id="two-actions",
        ),
        pytest.param("auto[port=1, actname=a] auto[actname=b]", Shield("any"), id="two-one-of-all"),
    ],
)
def test_shield(jail, action, expected):
    """What bans close comes from the parameters of the firewall's actions."""
    assert expected == jail(action).shield


def test_no_shield(jail):
    """A jail whose actions are all commands leaves the firewall alone."""
    assert jail("ping", files={"action.d/ping.conf": PING}).shield is None
