# SPDX-License-Identifier: MIT
"""Which jails share a filter, and which have one of their own?"""

import io
from dataclasses import replace

import pytest

from stockade_agent.guard import Guard
from stockade_agent.guards import Guards
from stockade_agent.log import Log
from stockade_agent.protected import Protected
from stockade_agent.resolver import Resolver
from stockade_agent.specs import AgentSpec, Config, FilterSpec, JailSpec, LogPath, Origin


NOW = 1_700_000_000.0
FILTER = FilterSpec("sshd", ("failed from <HOST>$",), origins={"failregex": Origin("a.conf", 1)})
JAIL = JailSpec("first", FILTER, logpath=(LogPath("/var/log/auth.log"),))


@pytest.fixture
def made(tmp_path):
    """A function that returns the guards of jails, some of which may be there already."""
    resolver = Resolver()

    def guard(spec):
        return Guard(
            spec,
            protected=Protected(str(tmp_path / "controllers"), lambda: (), lambda: ()),
            resolver=resolver,
            history=None,
            log=Log(io.StringIO()),
            now=NOW,
        )

    yield lambda *specs, keep: Guards.of(Config(AgentSpec(), specs), guard, keep)
    resolver.close()


@pytest.mark.parametrize(
    "other, shared",
    [
        pytest.param({"maxretry": 9, "bantime": 5, "ignoreip": ("::1",)}, True, id="counts-else"),
        pytest.param({"filter": replace(FILTER, origins={})}, True, id="written-elsewhere"),
        pytest.param({"filter": replace(FILTER, failregex=("<HOST>",))}, False, id="regex"),
        pytest.param({"filter": replace(FILTER, usedns="no")}, False, id="usedns"),
        pytest.param({"findtime": 9}, False, id="findtime"),
        pytest.param({"logpath": (LogPath("/var/log/b.log"),)}, False, id="another-log"),
        pytest.param({"backend": "systemd"}, False, id="journal"),
    ],
)
def test_who_judges_alike(made, other, shared):
    """Jails that differ in nothing but what they make of failures share a filter."""
    guards = made(JAIL, replace(JAIL, name="second", **other), keep={})

    assert shared == (guards["first"].filter is guards["second"].filter)


def test_a_jail_that_is_new_has_its_own(made):
    """A filter that follows sessions already is none for a jail that begins."""
    before = made(JAIL, keep={})
    later = [replace(JAIL, name=name) for name in ("second", "third")]
    guards = made(JAIL, *later, keep=before)

    assert guards["first"].filter is before["first"].filter
    assert guards["first"].filter is not guards["second"].filter
    assert guards["second"].filter is guards["third"].filter
