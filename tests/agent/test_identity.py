# SPDX-License-Identifier: MIT
"""Is text turned into the same address, and that into the same text, as the C library does?"""

import random
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from stockade_agent.identity import Identity, canonical, ipv4, of_address, of_text, plain


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("192.0.2.7", Identity("192.0.2.7", ip_address("192.0.2.7")), id="ipv4"),
        pytest.param(
            "2001:DB8::0:7", Identity("2001:db8::7", ip_address("2001:db8::7")), id="ipv6"
        ),
        pytest.param(
            "[2001:db8::7]", Identity("2001:db8::7", ip_address("2001:db8::7")), id="brackets"
        ),
        pytest.param(
            "::ffff:192.0.2.7", Identity("192.0.2.7", ip_address("192.0.2.7")), id="mapped"
        ),
        pytest.param(
            "192.0.2.7/24", Identity("192.0.2.0/24", ip_network("192.0.2.0/24")), id="network"
        ),
        pytest.param(
            "192.0.2.7/255.255.0.0", Identity("192.0.0.0/16", ip_network("192.0.0.0/16")), id="mask"
        ),
        pytest.param("192.0.2.7/32", Identity("192.0.2.7", ip_address("192.0.2.7")), id="full"),
        pytest.param("192.0.2.7/255.0.255.0", Identity("192.0.2.7/255.0.255.0"), id="no-mask"),
        pytest.param(
            "::ffff:192.0.2.7/120",
            Identity("192.0.2.0/24", ip_network("192.0.2.0/24")),
            id="mapped-network",
        ),
        pytest.param(
            "::ffff:192.0.2.7/128", Identity("192.0.2.7", ip_address("192.0.2.7")), id="mapped-full"
        ),
        pytest.param("1.2.3", Identity("1.2.3"), id="short"),
        pytest.param("192.0.2.256", Identity("192.0.2.256"), id="out-of-range"),
        pytest.param("192.0.2.07", Identity("192.0.2.07"), id="leading-zero"),
        pytest.param("fe80::1%eth0", Identity("fe80::1%eth0"), id="zone"),
        pytest.param("root", Identity("root"), id="word"),
        pytest.param("", Identity(""), id="empty"),
    ],
)
def test_of_text(text, expected):
    """What <F-ID> captured is an address or network where it is one, else any text."""
    assert expected == of_text(text)


@pytest.mark.parametrize(
    "text, version, cidr, expected",
    [
        pytest.param("192.0.2.7", 4, None, "192.0.2.7", id="ipv4"),
        pytest.param("192.0.2.7", 4, "28", "192.0.2.0/28", id="cidr"),
        pytest.param("192.0.2.7", 4, "99", "192.0.2.7", id="cidr-too-long"),
        pytest.param("192.0.2.7", 4, "0", "0.0.0.0", id="never-everyone"),
        pytest.param("2001:db8::7", 6, "64", "2001:db8::/64", id="cidr6"),
        pytest.param("12:34:56", 6, None, "12:34:56", id="a-time-of-day"),
        pytest.param("999.0.2.7", 4, None, "999.0.2.7", id="no-address"),
    ],
)
def test_of_address(text, version, cidr, expected):
    """What a group for addresses captured is masked; what only looks like one is kept as text."""
    assert expected == of_address(text, version=version, cidr=cidr).id


def test_like_the_c_library():
    """Texts of addresses, well and badly formed, are read and written as inet_pton, _ntop do."""
    rng = random.Random(4)
    for _ in range(20_000):
        four = ".".join(str(rng.choice((0, 1, 10, 99, 255, 256, "01", ""))) for _ in range(4))
        groups = [rng.choice(("", "0", "1", "db8", "ffff", "0001", "12345")) for _ in range(8)]
        six = ":".join(groups[: rng.randrange(2, 9)])
        if rng.random() < 0.5:
            six = six.replace(":0:0:", "::", 1)
        if rng.random() < 0.2:
            six = f"::{four}"
        assert _system(socket.AF_INET, four) == (None if ipv4(four) is None else four)
        found = plain(six) if ":" in six else None
        assert _system(socket.AF_INET6, six) == (found and canonical(found)), six


def test_canonical_of_every_shape():
    """Any number is written as the C library writes it."""
    rng = random.Random(5)
    for _ in range(20_000):
        number = rng.getrandbits(128) & rng.choice(
            (2**128 - 1, 0xFFFF, 0xFFFFFFFF, 0xFFFF << 32, 0xFFFF << 112 | 1, rng.getrandbits(128))
        )
        packed = number.to_bytes(16, "big")
        if (number >> 32) == 0xFFFF:
            continue  # mapped: an IPv4 address for us

        assert socket.inet_ntop(socket.AF_INET6, packed) == canonical(IPv6Address(number))


def _system(family, text):
    try:
        packed = socket.inet_pton(family, text)
    except OSError:
        return None
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return str(IPv4Address(packed[12:]))
    return socket.inet_ntop(family, packed)
