# SPDX-License-Identifier: MIT
"""Do the tags of the regex language stand for what fail2ban lets them stand for?"""

import pytest

from stockade_agent.errors import RegexError
from stockade_agent.failregex import compile_pattern


def groups(regex, text, **options):
    """Return the values that took part, or None."""
    pattern = compile_pattern(regex, option="failregex", **options)
    match = pattern.regex.search(text)
    if match is None:
        return None
    return {name: value for name, value in pattern.groups(match).items() if value is not None}


@pytest.mark.parametrize(
    "regex, text, expected",
    [
        pytest.param("from <HOST>$", "from 192.0.2.7", {"ip4": "192.0.2.7"}, id="host-ipv4"),
        pytest.param("from <HOST>$", "from [2001:db8::7]", {"ip6": "2001:db8::7"}, id="host-ipv6"),
        pytest.param("from <HOST>$", "from ::ffff:192.0.2.7", {"ip4": "192.0.2.7"}, id="mapped"),
        pytest.param("from <HOST>$", "from a-b.example", {"dns": "a-b.example"}, id="host-name"),
        pytest.param("from <ADDR>$", "from a-b.example", None, id="addr-is-no-name"),
        pytest.param("<IP4>/<CIDR>", "192.0.2.7/24", {"ip4": "192.0.2.7", "cidr": "24"}, id="cidr"),
        pytest.param("<SUBNET>", "[2001:db8::/64]", {"ip6": "2001:db8::", "cidr": "64"}, id="net"),
        pytest.param("<IP6>", "::1", {"ip6": "::1"}, id="ipv6-alone"),
        pytest.param("at <F-DNS/>", "at a.example", {"dns": "a.example"}, id="dns"),
        pytest.param("id <F-ID/>", "id a:b c", {"fid": "a:b"}, id="id"),
        pytest.param("id <F-ID>.*</F-ID>$", "id a b", {"fid": "a b"}, id="id-of-own-making"),
        pytest.param(
            "port <F-PORT/> <F-ID/>", "port ssh x", {"fport": "ssh", "fid": "x"}, id="port"
        ),
        pytest.param(
            "<F-USER>\\w+</F-USER> <HOST>", "bob ::1", {"user": "bob", "ip6": "::1"}, id="user"
        ),
        pytest.param("<F-ID>x</F-ID></F-USER>", "x</F-USER>", {"fid": "x"}, id="never-opened"),
        pytest.param("<other> <F-ID/>", "<other> x", {"fid": "x"}, id="unknown-tag-is-text"),
        pytest.param("((?i)FROM) <F-ID/>", "from x", {"fid": "x"}, id="flags-in-group"),
        pytest.param(
            "<F-ALT_USER>a|b</F-ALT_USER><F-USER>c?</F-USER> <F-ID/>",
            "a x",
            {"alt_user": "a", "user": "a", "fid": "x"},
            id="alternative-fills-what-is-empty",
        ),
        pytest.param(
            "<F-ALT_USER_1>a</F-ALT_USER_1><F-ALT_USER_2>b</F-ALT_USER_2> <F-ID/>",
            "ab x",
            {"alt_user_1": "a", "alt_user_2": "b", "user": "a", "fid": "x"},
            id="first-alternative-wins",
        ),
        pytest.param(
            "<F-ID>a</F-ID><F-TUPLE_ID>b</F-TUPLE_ID><F-TUPLE_ID_2>c</F-TUPLE_ID_2>",
            "abc",
            {"fid": ("a", "b", "c"), "tuple_id": "b", "tuple_id_2": "c"},
            id="tuple",
        ),
    ],
)
def test_tags(regex, text, expected):
    """Each tag captures what it stands for, under its name."""
    assert expected == groups(regex, text)


def test_host_without_dns():
    """With usedns = no, <HOST> is an address only."""
    assert groups("from <HOST>$", "from a.example", usedns="no") is None


def test_skiplines():
    """<SKIPLINES> runs over whole lines, as few as possible."""
    found = groups("^a<SKIPLINES>b <F-ID/>", "a\nx\ny\nb i\nb j\n", multiline=True)

    assert {"skiplines0": "x\ny\n", "fid": "i"} == found


@pytest.mark.parametrize(
    "regex, message",
    [
        pytest.param("", "empty regex", id="empty"),
        pytest.param("(<HOST>", "does not compile: missing \\)", id="unbalanced"),
        pytest.param("<HOST> <HOST>", "redefinition of group name 'ip4'", id="two-hosts"),
    ],
)
def test_faults(regex, message):
    """What does not compile is refused with the option, its number and the regex."""
    with pytest.raises(RegexError, match=message) as caught:
        compile_pattern(regex, option="failregex", index=3)

    assert ("failregex", 3) == (caught.value.option, caught.value.index)
