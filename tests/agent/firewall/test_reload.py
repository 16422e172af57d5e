# SPDX-License-Identifier: MIT
"""Is it seen what a reload of firewalld would take from others?"""

import pytest

from stockade_agent.firewall.reload import losses, parse


ZONES = """\
drop
  target: DROP
  services:
  rich rules:

public (default, active)
  target: default
  interfaces: eth0
  services: dhcpv6-client ssh
  ports: 8080/tcp
  forward-ports:
	port=80:proto=tcp:toport=8080:toaddr=
  rich rules:
	rule family="ipv4" source address="192.0.2.1" drop
"""
IPSET = "office\n  type: hash:net\n  options: {options}\n  entries: 192.0.2.0/24\n"


@pytest.fixture
def answers():
    """A firewalld whose runtime is what it has permanently, but for what is no loss."""
    return {
        ("--list-all-zones",): ZONES,
        ("--permanent", "--list-all-zones"): ZONES.replace(" (default, active)", "")
        .replace(" eth0", "")
        .replace("dhcpv6-client ssh", "ssh dhcpv6-client"),
        ("--list-all-policies",): "stockade (active)\n  ingress-zones: ANY\n",
        ("--permanent", "--list-all-policies"): "",
        ("--get-default-zone",): "public\n",
        ("--get-ipsets",): "office stockade-sshd-4\n",
        ("--info-ipset=office",): IPSET.format(options=""),
        ("--permanent", "--info-ipset=office"): IPSET.format(options=""),
    }


@pytest.fixture
def found(answers):
    """Return a function that says what would be lost."""
    return lambda: losses(
        lambda *words: answers.get(words, ""), lambda name: name.startswith("stockade")
    )


def test_parse():
    """Values stand on a line or on lines of their own."""
    public = parse(ZONES)["public"]

    assert {"dhcpv6-client", "ssh"} == public["services"]
    assert {"port=80:proto=tcp:toport=8080:toaddr="} == public["forward-ports"]
    assert {'rule family="ipv4" source address="192.0.2.1" drop'} == public["rich rules"]


def test_equal_configurations_lose_nothing(found):
    """Order, interfaces of the default zone, and what is ours do not count."""
    assert found() is None


@pytest.mark.parametrize(
    "words, answer, loss",
    [
        pytest.param(
            ("--list-all-zones",),
            ZONES.replace("8080/tcp", "8080/tcp 9999/tcp"),
            "zone public: ports: 9999/tcp",
            id="a-port",
        ),
        pytest.param(
            ("--permanent", "--list-all-zones"),
            ZONES.replace("192.0.2.1", "192.0.2.2"),
            'zone public: rich rules: rule family="ipv4" source address="192.0.2.1" drop',
            id="a-rich-rule",
        ),
        pytest.param(
            ("--list-all-zones",),
            ZONES.replace("DROP", "DROP\n  interfaces: eth1"),
            "zone drop: interfaces: eth1",
            id="an-interface",
        ),
        pytest.param(
            ("--list-all-policies",),
            "theirs\n  priority: -1\n",
            "policy theirs: priority: -1",
            id="a-policy",
        ),
        pytest.param(
            ("--direct", "--get-all-rules"),
            "ipv4 filter INPUT 0 -j ACCEPT\n",
            "direct: ipv4 filter INPUT 0 -j ACCEPT",
            id="a-direct-rule",
        ),
        pytest.param(
            ("--info-ipset=office",),
            IPSET.format(options="").replace("/24", "/25"),
            "ipset office",
            id="an-entry",
        ),
        pytest.param(
            ("--info-ipset=office",),
            IPSET.format(options="timeout=600"),
            "ipset office: entries with a timeout",
            id="entries-that-cannot-be-seen",
        ),
    ],
)
def test_what_would_be_lost_is_named(answers, found, words, answer, loss):
    """The operator reads which setting stands in the way."""
    answers[words] = answer

    assert loss == found()
