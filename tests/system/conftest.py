# SPDX-License-Identifier: MIT
"""Hosts that are attacked, pushed to, and attacked again."""

import itertools
from dataclasses import dataclass

import pytest

from lab import Lab, attack
from system.controller import Answer, Controller


# Every kind with every backend that it has; the two elder and newer Debians as they come.
SCENARIOS = [
    ("debian12", "nftables"),
    ("debian12", "iptables"),
    ("el9", "firewalld"),
    ("el9", "nftables"),
    ("el9", "iptables"),
    ("debian11", "auto"),
    ("debian13", "auto"),
]
ROLES = ["base", "sshd", "tightvnc"]


def pytest_collection_modifyitems(items):
    """Everything in this folder needs the lab."""
    for item in items:
        if "/system/" in str(item.path):
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def lab():
    """One lab for all system tests; it ends with this process, however that ends."""
    with Lab() as running:
        yield running


@dataclass(frozen=True)
class Guarded:
    """A host after its first push, and what was seen on the way there."""

    host: object
    backend: str
    controller: Controller
    before: attack.Guesses
    pushed: Answer


@pytest.fixture(
    scope="session", params=SCENARIOS, ids=[f"{kind}-{backend}" for kind, backend in SCENARIOS]
)
def guarded(request, lab, tmp_path_factory):
    """A host of this kind, pushed to with this backend; before that, attacked in vain."""
    kind, backend = request.param
    host = lab.boot(f"{kind}-{SCENARIOS.index(request.param) + 1}")
    controller = Controller(lab, tmp_path_factory.mktemp(f"{kind}-{backend}"))
    controller.write_inventory(
        [host],
        {
            "stockade_roles": ROLES,
            "base_firewall": backend,
            "sshd_maxretry": 3,
            "sshd_bantime": 600,
            "tightvnc_maxretry": 3,
            "tightvnc_bantime": 6,
        },
    )
    attack.start_vnc(host, "victim")
    wrong = [f"wrong-{number}" for number in range(5)]
    before = attack.hydra(lab, "attacker", host, "victim", wrong, timeout=60)
    pushed = controller.push()
    real = "nftables" if backend == "auto" else backend
    yield Guarded(host, real, controller, before, pushed)
    host.stop()


_numbers = itertools.count(1)


@dataclass(frozen=True)
class Attacker:
    """An address that the attacker's packets to one host come from; no other test has it."""

    address: str
    address6: str


@pytest.fixture
def attacker(lab, guarded):
    """A fresh address for this test."""
    number = next(_numbers)
    found = Attacker(f"10.77.{200 + number // 250}.{number % 250 + 1}", f"fd77::bad:{number:x}")
    host = guarded.host
    routes = [(host.address, "32", found.address), (host.address6, "128", found.address6)]
    for there, length, source in routes:
        version = "-6" if ":" in there else "-4"
        # Without nodad, an IPv6 address is of no use until the kernel has come round to it.
        add = ["ip", "addr", "add", f"{source}/{length}", "dev", "eth0", "nodad"]
        lab.run("attacker", add if version == "-6" else add[:-1])
        route = ["ip", version, "route", "replace", f"{there}/{length}", "dev", "eth0"]
        lab.run("attacker", [*route, "src", source])
    yield found
    for there, length, source in routes:
        version = "-6" if ":" in there else "-4"
        lab.run("attacker", ["ip", version, "route", "del", f"{there}/{length}"])
        lab.run("attacker", ["ip", "addr", "del", f"{source}/{length}", "dev", "eth0"])
