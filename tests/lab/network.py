# SPDX-License-Identifier: MIT
"""The network of one lab: a bridge, and a namespace on it per host and per place.

The supervisor itself lives in the namespace of the bridge. Nothing else is in there: no route out,
no forwarding to the machine. Namespaces have no names in the file system; the supervisor holds them
by file descriptor, so that they end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from lab.errors import CommandError


BRIDGE = "lab"

#: Where processes can be run besides the hosts, and their addresses.
PLACES = {
    "controller": ("10.77.0.2", "fd77::2"),
    "attacker": ("10.77.0.66", "fd77::66"),
    "attacker2": ("10.77.0.67", "fd77::67"),
}

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


@contextlib.contextmanager
def _in_new_namespace() -> Iterator[int]:
    """Be in a network namespace of its own for a while; yields a descriptor that keeps it."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _check(_LIBC.unshare(_CLONE_NEWNET), "unshare")
        try:
            yield os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        finally:
            _check(_LIBC.setns(own, _CLONE_NEWNET), "setns")
    finally:
        os.close(own)


def _batch(lines: list[str]) -> None:
    argv = ["ip", "-batch", "-"]
    done = subprocess.run(
        argv, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, done.stderr)


def _no_address_detection() -> None:
    """Make IPv6 addresses usable at once."""
    for name in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("0")


class Network:
    """The bridge in the namespace of this process, and the namespaces plugged into it."""

    def __init__(self) -> None:
        self._ports = itertools.count()
        _no_address_detection()
        _batch(
            [
                "link set lo up",
                f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set {BRIDGE} addrgenmode none",
                f"link set {BRIDGE} up",
            ]
        )
        self.places = {name: self.plug(*addresses) for name, addresses in PLACES.items()}

    def plug(self, address: str, address6: str) -> int:
        """Make a namespace with ``eth0`` on the bridge; return the descriptor that holds it.

        Its hardware address follows from its address: whoever spoke with a host of that address
        before goes on at once. With another one, neighbours ask the old one in vain for 8 seconds.
        """
        port = f"port{next(self._ports)}"
        hardware = "02:00:" + ":".join(f"{byte:02x}" for byte in ip_address(address).packed)
        with _in_new_namespace() as namespace:
            _no_address_detection()
        held = f"/proc/{os.getpid()}/fd/{namespace}"
        _batch(
            [
                f"link add {port} type veth peer name eth0 netns {held}",
                f"link set {port} addrgenmode none",
                f"link set {port} master {BRIDGE} up",
            ]
        )
        with self.inside(namespace):
            _batch(
                [
                    "link set lo up",
                    "link set eth0 addrgenmode none",
                    f"link set eth0 address {hardware}",
                    f"addr add {address}/16 dev eth0",
                    f"addr add {address6}/64 dev eth0 nodad",
                    "link set eth0 up",
                ]
            )
        return namespace

    @contextlib.contextmanager
    def inside(self, namespace: int) -> Iterator[None]:
        """Be in a namespace for a while, children that start meanwhile too."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _check(_LIBC.setns(namespace, _CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _check(_LIBC.setns(own, _CLONE_NEWNET), "setns")
        finally:
            os.close(own)
