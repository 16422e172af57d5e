# SPDX-License-Identifier: MIT
"""On a real host, is an attacker who changes his IPv6 address shut out with all that he has?"""

import json
import time

import pytest

from lab import attack
from system import kernel
from system.controller import Controller


NUMBER = 97  # no other test boots it
DEADLINE = 30.0
KINDS = {"debian12": "nftables", "el9": "firewalld"}
# Beside the lab's own prefix, which holds the controller: no jail bans that.
THEIRS = "fdbb::/32"


class Scene:
    """A host that was pushed to, and an attacker with a /48."""

    def __init__(self, lab, folder, kind):
        self.lab, self.backend = lab, KINDS[kind]
        self.host = lab.boot(f"{kind}-{NUMBER}")
        self.controller = Controller(lab, folder)
        variables = {
            "stockade_roles": ["base", "sshd"],
            "base_firewall": self.backend,
            "sshd_maxretry": 2,
            "stockade_jails": {"sshd": {"prefix6.wider": 56, "prefix6.members": 2}},
        }
        self.controller.write_inventory([self.host], variables)
        self.controller.push()
        self.host.run(f"ip -6 route add {THEIRS} dev eth0")
        self._came_from: set[str] = set()

    def come_from(self, address):
        """Have the attacker's packets come from one more address."""
        self._came_from.add(address)
        here = ["ip", "-6", "addr", "replace", f"{address}/128", "dev", "eth0", "nodad"]
        route = ["ip", "-6", "route", "replace", f"{self.host.address6}/128", "dev", "eth0"]
        self.lab.run("attacker", here)
        self.lab.run("attacker", [*route, "src", address])

    def leave(self):
        """Take the attacker's addresses away."""
        self.lab.run("attacker", ["ip", "-6", "route", "del", f"{self.host.address6}/128"])
        for address in self._came_from:
            self.lab.run("attacker", ["ip", "-6", "addr", "del", f"{address}/128", "dev", "eth0"])

    def guess(self, *addresses):
        """Have one password guessed from each of these addresses."""
        for address in addresses:
            self.come_from(address)
            there = self.host.address6
            attack.hydra(
                self.lab, "attacker", self.host, "victim", ["wrong"], timeout=20, address=there
            )

    def opens(self, address):
        """Return whether the host lets this address connect to sshd."""
        self.come_from(address)
        there = self.host.address6
        with attack.Probe(
            self.lab, "attacker", there, 22, until="never", deadline=2, patience=1.5
        ) as probe:
            return next(probe.tries()).open

    def bans(self):
        """Return what the kernel refuses, and see that the agent says the same."""
        held = kernel.banned(self.host, self.backend)
        status = json.loads(self.host.run("stockade-agent status sshd --json").stdout)
        told = {ban["id"] for ban in status["jails"][0]["bans"] if ban["enforced"]}
        return held if held == told else f"{held} is not {told}"

    def until_banned(self, *prefixes):
        """Wait until the kernel refuses exactly these."""
        deadline = time.monotonic() + DEADLINE
        while (found := self.bans()) != set(prefixes):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


@pytest.fixture(scope="module", params=list(KINDS))
def scene(request, lab, tmp_path_factory):
    made = Scene(lab, tmp_path_factory.mktemp("prefix"), request.param)
    yield made
    made.leave()
    made.host.stop()


@pytest.fixture(autouse=True)
def nobody_is_banned(scene):
    """Let no test begin with the bans of another one."""
    scene.host.run("stockade-agent unban --all")


def test_a_changing_attacker(scene):
    """Two addresses of his /64 get it banned, two /64 the /56; by hand he comes back."""
    scene.guess("fdbb:0:1:100::1", "fdbb:0:1:100::2")
    scene.until_banned("fdbb:0:1:100::/64")
    assert not scene.opens("fdbb:0:1:100::77")
    assert scene.opens("fdbb:0:1:101::77")

    scene.guess("fdbb:0:1:101::1", "fdbb:0:1:101::2")
    scene.until_banned("fdbb:0:1:100::/56")
    assert not scene.opens("fdbb:0:1:1fe::9")
    assert scene.opens("fdbb:0:1:200::9")

    said = scene.host.run("stockade-agent unban fdbb:0:1:100::1").stdout
    assert "fdbb:0:1:100::1 is within fdbb:0:1:100::/56, which sshd bans" in said
    scene.host.run("stockade-agent unban sshd fdbb:0:1:100::/56")
    assert scene.opens("fdbb:0:1:100::1")
    assert set() == scene.bans()


def test_the_controllers_prefix(scene):
    """Who attacks from the controller's own prefix is banned alone."""
    scene.guess("fd77::bad:9701", "fd77::bad:9702", "fd77::bad:9701")
    scene.until_banned("fd77::bad:9701")

    assert 0 == scene.lab.run("controller", [*scene.lab.ssh(scene.host), "true"], check=False).rc
    said = scene.host.run("journalctl -u stockade-agent --no-pager -o cat").stdout
    assert 1 == said.count("fd77::/64 is never banned as a whole")
