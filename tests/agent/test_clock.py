# SPDX-License-Identifier: MIT
"""Does each ban end when it should, in the kernel too, although somebody sets the clock?

Nobody can set the clock of the machine for a test: the agent is told another time than it is.
"""

import json
import os
import subprocess
import time

import pytest

from bench.cost import until
from conformance.fetch import ROOT
from faults.host import TABLE, Host, failure
from stockade_agent.firewall.nftables import GRACE


pytestmark = pytest.mark.lab

SOON = 60.0
BANTIME = 600
SITE = """\
import os, time
told, real = {path!r}, time.time
time.time = lambda: real() + float(open(told).read())
"""


@pytest.fixture
def host(tmp_path):
    """An agent in a network namespace of its own, whose clock can be set."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a network namespace")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE.format(path=str(tmp_path / "told")))
    (tmp_path / "told").write_text("0")
    with Host(
        tmp_path,
        firewall="nftables",
        options={"maxretry": 2, "bantime": BANTIME},
        prefix=("unshare", "--net"),
        env={"PYTHONPATH": f"{site}:{ROOT / 'agent'}"},
    ) as host:
        yield host.start()


def set_clock(host, seconds):
    """Set it so many seconds from the true time, and give the agent a reason to wake."""
    told = host.folder / "told"
    step = seconds - int(told.read_text())
    (host.folder / "new").write_text(str(seconds))
    (host.folder / "new").rename(told)
    host.status()
    until(lambda: f"the clock was set by {step:+d} s" in host.said(), SOON, "a word of it")


def fails(host, address, at=0):
    host.write(*[failure(address, time.time() + at)] * 2)
    until(lambda: address in host.banned(), SOON, f"the ban of {address}")
    host.status()


def left(host):
    """Return address -> seconds that the kernel still refuses it, but for its grace."""
    command = ("nsenter", "-t", str(host.pid), "-n", "nft", "-j", "list", "set", *TABLE, "v4-sshd")
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    elements = [
        element["elem"]
        for one in json.loads(listed)["nftables"]
        for element in one.get("set", {}).get("elem", ())
    ]
    return {element["val"]: element["expires"] - GRACE for element in elements}


def test_the_clock_is_set_back(host):
    """A ban stays in the kernel until the time that it was to end, as the ledger has it."""
    fails(host, "198.51.100.1")
    assert BANTIME - 60 < left(host)["198.51.100.1"] <= BANTIME
    set_clock(host, -3600)
    until(lambda: left(host)["198.51.100.1"] > BANTIME, SOON, "the kernel's longer ban")

    assert 3600 + BANTIME - 60 < left(host)["198.51.100.1"] <= 3600 + BANTIME
    assert {"198.51.100.1"} == host.banned()
    fails(host, "198.51.100.2", -3600)
    assert BANTIME - 60 < left(host)["198.51.100.2"] <= BANTIME


def test_the_clock_is_set_forward(host):
    """What is over by the new time is lifted; what is not ends earlier in the kernel as well."""
    fails(host, "198.51.100.1")
    set_clock(host, BANTIME - 100)
    until(lambda: left(host)["198.51.100.1"] <= 100, SOON, "the kernel's shorter ban")
    fails(host, "198.51.100.2", BANTIME - 100)
    set_clock(host, BANTIME + 100)
    until(lambda: host.banned() == {"198.51.100.2"}, SOON, "the end of the first ban")

    assert {"198.51.100.2"} == set(left(host))
    assert 300 < left(host)["198.51.100.2"] <= 400
