# SPDX-License-Identifier: MIT
"""Does the agent put back, in time, whatever somebody takes out of a real kernel?"""

import os
import re
import shutil
import statistics
import time

import pytest

from faults.flushes import IDS, IN_TIME, IPTABLES_FAULTS, NFT_FAULTS, SAVED
from stockade_agent.healing import POLL, WAR


pytestmark = pytest.mark.lab

NFT = ("nft", "list", "table", "inet", "stockade")
IPTABLES = ("sh", "-c", "iptables-save -t filter; ip6tables-save -t filter")
TIMES = re.compile(r"(\d+(h|m|s|ms))+,?")
DEADLINE = 20.0
RUNS = 9


class Scene:
    """A service with bans in force, and what the kernel held of ours when it was whole."""

    def __init__(self, service, look):
        self.service, self.look = service, look
        service.start()
        self.whole = self.held()

    def held(self):
        """Return the kernel's rules without what changes by itself."""
        lines = self.service.namespace.run(*self.look, check=False).splitlines()
        words = " ".join(line for line in lines if not line.startswith("#")).split()
        return sorted(w.strip(",") for w in words if not TIMES.fullmatch(w) and w[0] != "[")

    def firewall(self):
        return self.service.ask("status")["firewall"]

    def strike(self, command, *, within=DEADLINE):
        """Run a command that takes something, and return the seconds until all was back."""
        folder = self.service.folder
        (folder / "saved").write_text(SAVED)
        healed = self.firewall()["healed"]
        self.service.namespace.run("sh", "-c", f"cd {folder}; {command}")
        begun = time.monotonic()
        while self.firewall()["healed"] == healed:
            assert time.monotonic() - begun < within, (folder / "log").read_text()
            time.sleep(0.005)
        taken = time.monotonic() - begun
        assert self.whole == self.held()
        return taken


@pytest.fixture
def scene(service, request):
    """An agent that has bans of all kinds in force."""
    service.backend = request.param
    service.fill(IDS)
    return Scene(service, NFT if request.param == "nftables" else IPTABLES)


@pytest.mark.parametrize("scene", ["nftables"], indirect=True)
@pytest.mark.parametrize("fault", sorted(NFT_FAULTS))
def test_nftables(scene, fault):
    """Every way to take our rules with nft is noticed, mended, counted, and named."""
    assert scene.strike(NFT_FAULTS[fault]) < IN_TIME

    found = scene.firewall()
    assert (1, "nft", "") == (found["healed"], found["healed_after"], found["problem"])


@pytest.mark.parametrize("scene", ["iptables"], indirect=True)
@pytest.mark.parametrize("fault", sorted(IPTABLES_FAULTS))
def test_iptables(scene, fault):
    """Every way to take our rules with iptables, which is nft's variant here, is too."""
    assert scene.strike(IPTABLES_FAULTS[fault]) < IN_TIME

    assert 1 == scene.firewall()["healed"]


@pytest.mark.parametrize("scene", ["nftables"], indirect=True)
def test_a_war_costs_little(scene):
    """Who flushes again and again is answered more and more slowly, and called by his name."""
    took = [scene.strike("nft flush ruleset") for _ in range(WAR + 1)]

    assert took[-1] > 2 * took[0]
    (warning,) = [w for w in scene.firewall()["warnings"] if "keeps removing" in w]
    assert warning.startswith("nft keeps removing our rules: put back ")


@pytest.mark.parametrize("scene", ["nftables"], indirect=True)
def test_bans_and_unbans_are_not_mended(scene):
    """What the agent does itself is no reason to look; a ban that follows a flush is in force."""
    for _ in range(3):
        scene.service.ask("ban", "sshd", ("192.0.2.77",))
        scene.service.ask("unban", "sshd", ("192.0.2.77",))
    scene.service.namespace.run("nft", "flush", "ruleset")
    scene.service.ask("ban", "sshd", ("192.0.2.77",))
    scene.service.ask("unban", "sshd", ("192.0.2.77",))
    scene.strike("nft delete table inet stockade")

    assert (scene.service.folder / "log").read_text().count("put back") <= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "scene, faults",
    [("nftables", NFT_FAULTS), ("iptables", IPTABLES_FAULTS)],
    ids=["nftables", "iptables"],
    indirect=["scene"],
)
def test_figures(scene, faults, capsys):
    """Print the median of each fault; `pytest -m slow -k figures` makes docs/reliability.md's."""
    for command in faults.values():
        seconds = []
        for _ in range(RUNS):
            seconds.append(scene.strike(command))
            scene.service.end()  # who takes again and again is answered more slowly
            scene.service.start()
        with capsys.disabled():
            print(f"\n{command}: median of {RUNS}: {statistics.median(seconds):.2f} s", end="")
        assert max(seconds) < IN_TIME


@pytest.mark.slow
def test_what_the_kernel_does_not_tell(service, tmp_path):
    """Legacy tables change in silence: a look each half minute finds it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("iptables", "ip6tables"):
        for part in ("", "-save", "-restore"):
            (tools / f"{name}{part}").symlink_to(shutil.which("xtables-legacy-multi"))
    service.backend, service.environment = "iptables", {"PATH": f"{tools}:{os.environ['PATH']}"}
    service.fill(IDS)
    save = "iptables-legacy-save -t filter; ip6tables-legacy-save -t filter"
    scene = Scene(service, ("sh", "-c", save))
    assert "f2b-sshd" in scene.whole

    assert scene.strike("iptables-legacy -F", within=POLL + DEADLINE) < 30
