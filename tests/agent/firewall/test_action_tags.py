# SPDX-License-Identifier: MIT
"""What does a run-time tag stand for?"""

import pytest

from agent.firewall.names import Names
from stockade_agent.errors import FirewallError
from stockade_agent.firewall.tags import ALL, Facts, Merged, Values, expand, is_runtime
from stockade_agent.model import Ban, target


FACTS = Facts("sshd", 1000.0, 600, banned=1, banned_total=2, found=3, found_total=4)


RAW = "BanTicket: ip=192.0.2.1 time=990.5 bantime=300 bancount=1 #attempts=3 matches=['a', 'b']"


def ban(id_="192.0.2.1", **facts):
    facts = {"at": 990.5, "bantime": 300, "failures": 3, "matches": ("a", "b"), **facts}
    return Ban("sshd", id_, target(id_), **facts)


@pytest.mark.parametrize(
    "tag, text",
    [
        ("ip", "192.0.2.1"),
        ("family", "inet4"),
        ("ip-rev", "1.2.0.192."),
        ("ip-host", "host-of-192.0.2.1"),
        ("fid", "192.0.2.1"),
        ("failures", "3"),
        ("time", "990.5"),
        ("bantime", "300"),
        ("bancount", "1"),
        ("matches", "a\nb"),
        ("restored", "0"),
        ("ipmatches", "a\nb"),
        ("ipjailmatches", "a\nb"),
        ("ipfailures", "3"),
        ("ipjailfailures", "3"),
        ("jail.name", "sshd"),
        ("jail.banned", "1"),
        ("jail.banned_total", "2"),
        ("jail.found", "3"),
        ("jail.found_total", "4"),
        ("fq-hostname", "host.example.com"),
        ("sh-hostname", "host"),
        ("F-USER", "root"),
        ("F-PORT", "22"),
        ("F-NONE", ""),
        ("F-*", "{'user': 'root', 'fport': '22'}"),
        ("raw-ticket", RAW),
    ],
)
def test_of_a_ban(tag, text):
    """Each tag has its value, and a capture that is not there is empty."""
    values = Values(FACTS, Names(), ban(data={"user": "root", "fport": "22"}))

    assert text == values[tag]


def test_without_a_ban():
    """Commands that belong to no ban see one of nothing."""
    values = Values(FACTS, Names(), family="inet6")

    expected = {
        "ip": "",
        "family": "inet6",
        "ip-rev": "",
        "ip-host": "",
        "fid": "",
        "time": "1000.0",
    }
    expected |= {"failures": "0", "bantime": "600", "bancount": "0", "matches": "", "restored": "0"}
    assert expected == {tag: values[tag] for tag in expected}
    assert "" == values["F-USER"]


@pytest.mark.parametrize(
    "id_, data, ip, family, reverse",
    [
        pytest.param("2001:db8::1", {}, "2001:db8::1", "inet6", "1" + ".0" * 23, id="ipv6"),
        pytest.param("session", {}, "session", "", "", id="no-address"),
        pytest.param(
            "session",
            {"fid": "session", "ip4": "192.0.2.9"},
            "192.0.2.9",
            "inet4",
            "9.2.",
            id="both",
        ),
        pytest.param("2001:db8::/32", {}, "2001:db8::/32", "inet6", "0.0", id="network"),
        pytest.param(
            "x", {"fid": "x", "ip4": "999.1.1.1"}, "999.1.1.1", "", "", id="only-looks-so"
        ),
    ],
)
def test_the_address_of_an_id(id_, data, ip, family, reverse):
    """The address is the id, or what the regex captured beside it."""
    values = Values(FACTS, Names(), ban(id_, data=data))

    assert (id_, ip, family) == (values["fid"], values["ip"], values["family"])
    assert values["ip-rev"].startswith(reverse)


def test_the_address_beside_an_id():
    """Where a ban refuses an address that is not its id, that is the one."""
    values = Values(FACTS, Names(), Ban("sshd", "session", target("192.0.2.9"), 1.0, 600))

    assert ("session", "192.0.2.9", "inet4") == (values["fid"], values["ip"], values["family"])


def test_bans_merged():
    """One tag tells of all jails, and one of this jail alone."""
    here, everywhere = Merged(5, ("here",)), Merged(9, ("here", "there"))
    facts = Facts("sshd", 1000.0, here=here, everywhere=everywhere)
    values = Values(facts, Names(), ban(restored=True))

    assert ("here", "5") == (values["ipjailmatches"], values["ipjailfailures"])
    assert ("here\nthere", "9") == (values["ipmatches"], values["ipfailures"])
    assert ("a\nb", "1") == (values["matches"], values["restored"])


@pytest.mark.parametrize(
    "text, expanded",
    [
        pytest.param("<a> <b>", "1 <b>", id="unknown-stays"),
        pytest.param("<c>", "x1", id="within-a-value"),
        pytest.param("<d-<kind>>", "nested", id="tag-made-of-tags"),
        pytest.param("<e>", "six", id="of-the-family"),
        pytest.param("<f>", "other", id="not-of-this-family"),
        pytest.param("a<br>b<sp>c", "a\nb c", id="constants"),
        pytest.param("<<g>>", "<me@<fq-hostname>>", id="left-for-later"),
        pytest.param("cat <file >out", "cat <file >out", id="redirections"),
    ],
)
def test_configuration_is_put_in(text, expanded):
    """Tags that the configuration knows become text; the family's variant goes first."""
    properties = {
        "a": "1",
        "c": "x<a>",
        "d-k": "nested",
        "kind": "k",
        "e": "four",
        "e?family=inet6": "six",
        "f": "other",
        "f?family=inet4": "four",
        "g": "me@<fq-hostname>",
    }

    assert expanded == expand(text, properties, "inet6")


def test_a_tag_that_leads_to_itself():
    """A circle of tags is an error, not a hang."""
    with pytest.raises(FirewallError, match="leads to itself"):
        expand("<a>", {"a": "<b>", "b": "<a>"}, "")


def test_what_is_a_run_time_tag():
    """The configuration's own tags, and the shell's redirections, are none."""
    assert all(is_runtime(tag) for tag in ALL)
    assert is_runtime("F-ANY_THING-1")
    assert not any(is_runtime(tag) for tag in ("name", "F-lower", "known/ip", "HOST"))
