# SPDX-License-Identifier: MIT
"""Does the kernel tell who is connected, whatever the family of the socket that serves him?"""

import os
import socket

import pytest

from stockade_agent.firewall.established import Connection, established
from stockade_agent.model import target


@pytest.fixture(scope="module")
def connected():
    """Clients of IPv4 and IPv6 at one socket that serves both: (port here, clients' ports)."""
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = server.getsockname()[1]
    clients = [socket.create_connection((address, port)) for address in ("127.0.0.2", "::1")]
    ends = [server.accept()[0] for _ in clients]
    yield port, [client.getsockname() for client in clients]
    for each in (*clients, *ends, server):
        each.close()


def found(wanted, port):
    peers = None if wanted is None else target(wanted)
    return [connection for connection in established(peers) if connection.here == port]


@pytest.mark.parametrize(
    "wanted, families",
    [
        pytest.param(None, [4, 6], id="all"),
        pytest.param("127.0.0.0/8", [4], id="network"),
        pytest.param("::1", [6], id="IPv6"),
        pytest.param("::/64", [6], id="network-that-holds-mapped-ones"),
        pytest.param("192.0.2.1", [], id="stranger"),
    ],
)
def test_who_is_connected(connected, wanted, families):
    """Only those asked for are told; an IPv4 client of an IPv6 socket is one of IPv4."""
    port, names = connected
    expected = [
        Connection(target(name[0]), name[1], port, os.geteuid())
        for name, family in zip(names, (4, 6), strict=True)
        if family in families
    ]

    assert sorted(expected, key=str) == sorted(found(wanted, port), key=str)


def test_one_address(connected):
    """An IPv4 address is found behind the socket of IPv6 that serves it."""
    port, names = connected

    assert [names[0][1]] == [connection.port for connection in found(names[0][0], port)]


def test_a_connection_that_is_over(connected):
    """Neither a listening socket nor one that was closed is told."""
    port, _ = connected
    with socket.create_connection(("::1", port)) as client:
        gone = client.getsockname()[1]

    assert gone not in [connection.port for connection in found("::1", port)]
