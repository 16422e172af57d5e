# SPDX-License-Identifier: MIT
"""Does the agent load only what it needs? It runs for months beside what a host is for."""

import subprocess
import sys
from pathlib import Path

import pytest

import stockade_agent


AGENT = Path(stockade_agent.__file__).parents[1]
LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
import stockade_agent.daemon
from stockade_agent.firewall import selection
selection._backend(sys.argv[2], run=lambda argv, **_: "")
print(*sys.modules)
"""
BACKENDS = {"firewalld", "iptables", "nftables"}


def loaded(backend):
    """Return the modules of an agent that bans through a backend."""
    command = [sys.executable, "-I", "-S", "-c", LOADED, str(AGENT), backend]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", ["_hashlib", "argparse", "pathlib", "urllib.parse", "tempfile"])
def test_large_modules_stay_out(module):
    """OpenSSL alone is a sixth of an idle agent's memory; none of these is worth its time."""
    assert module not in loaded("nftables")


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_one_backend_is_loaded(backend):
    """The firewalls that a host does not use take no memory."""
    names = loaded(backend)

    assert {backend} == {n for n in BACKENDS if f"stockade_agent.firewall.{n}" in names}
