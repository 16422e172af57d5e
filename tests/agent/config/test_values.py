# SPDX-License-Identifier: MIT
"""What do durations, switches and ports mean?"""

import pytest

from stockade_agent.config.values import (
    BadValue,
    boolean,
    duration,
    integer,
    logpaths,
    ports,
    protocols,
    words,
)
from stockade_agent.specs import LogPath


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("600", 600),
        ("-1", -1),
        ("10m", 600),
        ("1.5h", 5400),
        ("1d12h", 129600),
        ("1d 12h", 129600),
        ("1h+30min", 5400),
        ("1year-6mo", 31557600 / 2),
        ("3600*24", 86400),
        ("6/2h", 10800),
        ("2 * (1h + 1m)", 7320),
        ("1 week 2 days", 777600),
        ("5Minutes", 300),
        ("1y", 31557600),
        ("1mo", 2629800),
    ],
)
def test_duration(text, seconds):
    """Units multiply what stands before them; numbers side by side are added."""
    assert seconds == duration(text)


@pytest.mark.parametrize(
    "text, hint",
    [
        ("10 parsecs", "units are"),
        ("10 minuts", "did you mean minutes?"),
        ("", "for example"),
        ("1h +", "for example"),
        ("__import__('os')", "for example"),
        ("(1h", "for example"),
        ("1)", "for example"),
        ("2**9", "for example"),
        ("1/0", ""),
        ("1" * 101, ""),
        ("(" * 100, "for example"),
    ],
)
def test_no_duration(text, hint):
    """Anything else is refused, with what would have done."""
    with pytest.raises(BadValue) as caught:
        duration(text)

    assert caught.value.remedy.startswith(hint)


@pytest.mark.parametrize("text", ["1", "on", "true", "YES"])
def test_true(text):
    """Four words are true, in any case."""
    assert boolean(text)


@pytest.mark.parametrize("text", ["0", "off", "", "ture", "2"])
def test_false(text):
    """Everything else is false."""
    assert not boolean(text)


def test_integer():
    """Digits are a number; words are not."""
    assert 3 == integer("3")
    with pytest.raises(BadValue, match="'three' is no whole number"):
        integer("three")


def test_words():
    """Spaces, commas and lines part words."""
    assert ("192.0.2.1", "::1", "x") == words("192.0.2.1, ::1\n x")


def test_logpaths():
    """Each line is a glob; the last word says where to begin, and spaces may be in a path."""
    expected = (LogPath("/a"), LogPath("/b", tail=True), LogPath("/c"), LogPath("/d e"))

    assert expected == logpaths("/a\n/b tail\n/c head\n\n/d e")


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("22", ((22, 22),), id="number"),
        pytest.param("ssh", ((22, 22),), id="name"),
        pytest.param("ssh,5901,6000:6010", ((22, 22), (5901, 5901), (6000, 6010)), id="list"),
        pytest.param("http, https", ((80, 80), (443, 443)), id="spaces"),
        pytest.param("5-6,4,7", ((4, 7),), id="joined"),
        pytest.param(":10", ((0, 10),), id="open-below"),
        pytest.param("60000:", ((60000, 65535),), id="open-above"),
        pytest.param("0:65535", (), id="all-by-range"),
        pytest.param("ssh,1:65535", (), id="all-among-others"),
        pytest.param("all", (), id="all-by-word"),
        pytest.param("own", ((7001, 7001),), id="services-file"),
        pytest.param("alias", ((7001, 7001),), id="services-alias"),
    ],
)
def test_ports(tmp_path, text, expected):
    """Names come from the services file, or from what every host is expected to know."""
    services = tmp_path / "services"
    services.write_text("# none\nown 7001/tcp alias # x\nown 9/udp\n")

    assert expected == ports(text, str(services))


def test_ports_without_services_file(tmp_path):
    """A minimal host has no services file."""
    assert ((22, 22), (25, 25)) == ports("ssh,smtp", str(tmp_path / "absent"))


@pytest.mark.parametrize(
    "text, message, remedy",
    [
        ("sshh", "unknown port 'sshh'", "did you mean ssh?"),
        ("70000", "port 70000 is greater than 65535", ""),
        ("10:5", "port range 10:5 runs backwards", ""),
        ("²", "unknown port '²'", ""),
        ("", "no port", "name ports such as ssh,5901,6000:6010, or 0:65535 for all"),
    ],
)
def test_bad_ports(tmp_path, text, message, remedy):
    """A port that does not exist is refused with the nearest name."""
    with pytest.raises(BadValue) as caught:
        ports(text, str(tmp_path / "absent"))

    assert (message, remedy) == (str(caught.value), caught.value.remedy)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("tcp", ("tcp",)),
        ("TCP,udp", ("tcp", "udp")),
        ("all", ("tcp", "udp")),
        ("udp udp", ("udp",)),
        ("", ("tcp",)),
    ],
)
def test_protocols(text, expected):
    """Protocols keep their order; all is those that have ports in practice."""
    assert expected == protocols(text)


def test_bad_protocol():
    """A protocol that has no ports is refused."""
    with pytest.raises(BadValue, match="unknown protocol 'tpc'"):
        protocols("tpc")
