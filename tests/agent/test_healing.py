# SPDX-License-Identifier: MIT
"""Is what was taken put back soon, counted once, and a war of tools kept cheap?"""

import io

import pytest

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.memory import Memory
from stockade_agent.healing import DEBOUNCE, IDLE, LONGEST, MINUTE, POLL, WAR, Healing
from stockade_agent.log import Log


NOW = 1000.0


class Enforcement:
    """Finds missing what it is told."""

    def __init__(self):
        self.missing, self.problem, self.looks = "", "", 0
        self.firewall, self.holds = Memory(), False

    def mend(self, _now):
        self.looks += 1
        return self.missing


@pytest.fixture
def enforcement():
    return Enforcement()


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def healing(enforcement, said):
    return Healing(enforcement, Log(said))


def test_a_change_leads_to_a_look_soon(healing, enforcement, said):
    """Changes that follow upon each other share a look; what it puts back has a name and a time."""
    enforcement.missing = "3 bans"
    healing.disturbed("nft", NOW)
    healing.disturbed("nft", NOW + 0.01)
    assert DEBOUNCE == healing.wait

    healing.look(NOW + DEBOUNCE)
    assert (1, NOW + DEBOUNCE, "nft", None) == (
        healing.count,
        healing.at,
        healing.by,
        healing.wait,
    )
    assert "put back after nft: 3 bans" in said.getvalue()


def test_a_hostile_name(healing, enforcement, said):
    """Whoever names his process after an escape sequence changes no terminal."""
    enforcement.missing = "all"
    healing.disturbed("\x1b[2J", NOW)
    healing.look(NOW)

    assert "\x1b" not in said.getvalue()


def test_nothing_missing_counts_nothing(healing):
    """A look in vain is not told, and many of them keep below two seconds."""
    waits = []
    for number in range(20):
        healing.disturbed("docker", NOW + number)
        waits.append(healing.wait)
        healing.look(NOW + number)

    assert (0, None, "") == (healing.count, healing.at, healing.warning(NOW + 20))
    assert DEBOUNCE == waits[0] < waits[1]
    assert IDLE == max(waits) == waits[-1]


def test_a_war(healing, enforcement):
    """Each time within a minute doubles the wait up to half a minute, and the operator is told."""
    enforcement.missing, now, waits = "all", NOW, []
    for number in range(12):
        assert (number >= WAR) is bool(healing.warning(now))
        healing.disturbed("puppet", now)
        waits.append(healing.wait)
        now += healing.wait
        healing.look(now)

    assert [DEBOUNCE * 2**number for number in range(9)] == waits[:9]
    assert {LONGEST} == set(waits[9:])
    assert "puppet keeps removing our rules: put back 12 times" in healing.warning(now)
    assert "" == healing.warning(now + MINUTE)
    healing.disturbed("puppet", now + MINUTE)
    assert DEBOUNCE == healing.wait


def test_what_cannot_be_put_back_yet(healing, enforcement):
    """It is counted once the firewall has taken it, and then once."""
    enforcement.missing, enforcement.problem = "all", "nft: no memory"
    healing.disturbed("nft", NOW)
    healing.look(NOW)
    assert 0 == healing.count

    enforcement.problem = ""
    healing.settle(NOW + 5)
    healing.settle(NOW + 6)
    assert (1, NOW + 5, "nft") == (healing.count, healing.at, healing.by)


def test_a_backend_that_nobody_tells_of(healing, enforcement):
    """Only where the kernel is silent, and only while bans are in force, there is a timer."""
    assert healing.pace is None
    enforcement.holds = True
    assert healing.pace is None
    enforcement.firewall.watched = False
    assert POLL == healing.pace
    enforcement.firewall = None
    assert healing.pace is None


def test_a_kernel_that_refuses_to_tell(healing, enforcement, said, monkeypatch):
    """The operator is told, and the agent looks by itself."""

    def refuse(_ours):
        raise FirewallError("no", backend="netlink")

    monkeypatch.setattr("stockade_agent.healing.Watch", refuse)
    healing.listen()
    enforcement.holds = True

    assert "firewall: netlink: no" in said.getvalue()
    assert (POLL, ()) == (healing.pace, healing.filenos())
