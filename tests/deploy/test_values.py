# SPDX-License-Identifier: MIT
"""Is each kind of value read in every way in which it may be written, and in no other?"""

import pytest

from stockade import document, values


def node(tmp_path, text):
    path = tmp_path / "x.yml"
    path.write_text(f"a: {text}\n")
    return document.read(path).entries["a"].node


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        ("text", "abc", "abc"),
        ("text", "12", "12"),
        ("texts", "a", ["a"]),
        ("texts", "[a, 1]", ["a", "1"]),
        ("switch", "yes", True),
        ("switch", "'off'", False),
        ("switch", "1", True),
        ("number", "'-3'", -3),
        ("count", "1", 1),
        ("seconds", "2.5", 2.5),
        ("port", "'22'", 22),
        ("ports", "ssh", "ssh"),
        ("ports", "22", "22"),
        ("ports", "22:25", "22:25"),
        ("ports", "5900:5999, 22", "5900:5999,22"),
        ("ports", "[22, '2222']", "22,2222"),
        ("prefix6", "64", 64),
        ("surge", "hold", "hold"),
        ("surge", "off", "off"),
        ("surge", "hold[floor=50, ratio=5, share=30]", "hold[floor=50, ratio=5, share=30]"),
        ("prefix6", "128", 128),
        ("duration", "600", "600"),
        ("duration", "1h 30m", "1h 30m"),
        ("duration", "-1", "-1"),
        ("duration", "1.5", "1.5"),
        ("addresses", "192.0.2.1", ["192.0.2.1"]),
        ("addresses", "192.0.2.1, 2001:db8::/32", ["192.0.2.1", "2001:db8::/32"]),
        ("addresses", "[]", []),
        ("addresses", "''", []),
        (
            "hosts",
            "[198.51.100.0/24, bastion.example.com]",
            ["198.51.100.0/24", "bastion.example.com"],
        ),
        ("hosts", "198.51.100.0/255.255.255.0", ["198.51.100.0/255.255.255.0"]),
        ("mailboxes", "ops@example.com", "ops@example.com"),
        ("mailboxes", "'a+b@x.example,root'", "a+b@x.example, root"),
        ("mailboxes", "[a@example.com, b]", "a@example.com, b"),
        ("paths", "/var/log/auth.log", ["/var/log/auth.log"]),
        ("paths", "['/home/*/.vnc/*:*.log', /x]", ["/home/*/.vnc/*:*.log", "/x"]),
        ("paths", "/var/log/x tail", ["/var/log/x tail"]),
        ("anything", "[1, a]", [1, "a"]),
        ("anything", "", None),
    ],
)
def test_written_in_any_way(tmp_path, kind, text, expected):
    """A value comes out in one form, whichever way it was written."""
    assert expected == values.KINDS[kind](node(tmp_path, text))


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        ("text", "yes", "True is not text (quote it)"),
        ("text", "", "no value is not text"),
        ("text", "''", "empty text"),
        ("text", '"a\\nb"', "text must be one printable line"),
        ("text", "[a]", "a list is not text"),
        ("switch", "maybe", "'maybe' is neither true nor false"),
        ("switch", "[]", "a list is neither true nor false"),
        ("number", "1.5", "1.5 is not a whole number"),
        ("number", "true", "True is not a whole number"),
        ("count", "0", "0 is not a number from 1 up"),
        ("seconds", "0", "0 is not a number of seconds"),
        ("seconds", "soon", "'soon' is not a number of seconds"),
        ("port", "0", "0 is not a port number (1 to 65535)"),
        ("port", "65536", "65536 is not a port number (1 to 65535)"),
        ("ports", "70000", "port 70000 is greater than 65535"),
        ("ports", "25:22", "port range 25:22 runs backwards"),
        ("ports", "shs", "unknown port 'shs'"),
        ("ports", "[]", "no port"),
        ("surge", "hodl", "unknown word 'hodl'"),
        ("surge", "on", "True is not text (quote it)"),
        ("surge", "hold[flor=5]", "unknown limit 'flor'"),
        ("prefix6", "24", "24 is no prefix length from 32 to 128"),
        ("prefix6", "wide", "'wide' is not a whole number"),
        ("duration", "soon", "'soon' is no duration"),
        ("duration", "5x", "unknown unit 'x' in '5x'"),
        ("addresses", "host.example", "'host.example' is neither an address nor a network"),
        ("addresses", "{a: b}", "a mapping is not text"),
        ("hosts", "10.0.0.300", "'10.0.0.300' is neither an address, a network nor a host name"),
        ("mailboxes", "a@example.com; b", "'a@example.com; b' is not a mail address"),
        ("mailboxes", "'-oQ/x'", "'-oQ/x' is not a mail address"),
        ("mailboxes", "$(x)@example.com", "'$(x)@example.com' is not a mail address"),
        ("hosts", "a..b", "'a..b' is neither an address, a network nor a host name"),
        ("paths", "var/log", "'var/log' is not an absolute path"),
        ("paths", "", "no path is given"),
        ("anything", "{a: b}", "a mapping is not expected here"),
    ],
)
def test_refused_in_words(tmp_path, kind, text, expected):
    """A value that is not of the kind is answered with what it is and what was expected."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        values.KINDS[kind](node(tmp_path, text))

    assert expected == str(caught.value)


def test_choice_is_one_of_its_words(tmp_path):
    """A choice takes its words and names them when it refuses another."""
    read = values.choice(("auto", "nftables"))

    assert "auto" == read(node(tmp_path, "auto"))
    with pytest.raises(ValueError, match=r"^'nft' is not one of auto, nftables$"):
        read(node(tmp_path, "nft"))


@pytest.mark.parametrize(
    "default, good, bad",
    [
        pytest.param("true", "no", "3", id="switch"),
        pytest.param("3", "4", "x", id="number"),
        pytest.param("x", "y", "[y]", id="text"),
        pytest.param("[x]", "[y, z]", "{y: z}", id="list"),
        pytest.param("", "[1, x]", "{y: z}", id="null-takes-anything-plain"),
    ],
)
def test_a_default_tells_the_kind(tmp_path, default, good, bad):
    """Without a type, a value must be of the kind of the default."""
    read = values.like(node(tmp_path, default))
    read(node(tmp_path, good))

    with pytest.raises(ValueError):  # noqa: PT011 - which words is the kind's business
        read(node(tmp_path, bad))
