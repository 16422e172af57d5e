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
AT_WORK = """
import io, sys, time
sys.path.insert(0, sys.argv[1])
from stockade_agent.log import Log
from stockade_agent.guards import read
from stockade_agent.pipe import Pipe
pipe = Pipe(read(sys.argv[2]), time.time(), Log(io.StringIO()), "memory", clock=time.monotonic)
pipe.start(time.time())
pipe.ban("sshd", ["192.0.2.7"], time.time())
pipe.reload(time.time(), read(sys.argv[2]))
pipe.close(time.time())
print(*sys.modules)
"""
SERVED = """
import atexit, sys
sys.path.insert(0, sys.argv[1])
from stockade_agent.cli import main
# What is promised, and was never asked for, has no spec.
atexit.register(lambda: print(*[n for n, m in sys.modules.items() if getattr(m, "__spec__", 0)]))
sys.exit(main(["run", "-c", sys.argv[2], "--firewall", "memory"]))
"""
CONFIGURATION = {
    "jail.conf": "[sshd]\nenabled = true\naction = {action}\nlogpath = {folder}/log\n",
    "filter.d/sshd.conf": "[Definition]\nfailregex = ^<HOST>$\n",
    "action.d/own.conf": "[Definition]\nactionban = true\n",
    "stockade.conf": "[Definition]\ndbfile = :memory:\nsocket = {folder}/socket\n",
}
BACKENDS = {"firewalld", "iptables", "memory", "nftables"}


def loaded(backend):
    """Return the modules of an agent that bans through a backend."""
    command = [sys.executable, "-I", "-S", "-c", LOADED, str(AGENT), backend]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", ["_hashlib", "argparse", "pathlib", "urllib.parse", "tempfile"])
def test_large_modules_stay_out(module):
    """OpenSSL alone is a sixth of an idle agent's memory; none of these is worth its time."""
    assert module not in loaded("nftables")


def configured(folder, action="auto"):
    """Write a configuration with one jail."""
    for name, text in CONFIGURATION.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(folder=folder, action=action))


@pytest.mark.parametrize(
    "module", ["argparse", "ast", "formula", "inspect", "locale", "random", "shutil", "tokenize"]
)
def test_the_service_keeps_nothing_that_only_its_start_needs(served, module):
    """Neither what reads command lines nor what others load in case they need it."""
    assert {"dataclasses", "subprocess", "stockade_agent.jail"} <= served
    assert not served & {module, f"stockade_agent.{module}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The modules that an agent has loaded that was started as its unit does, and was ready."""
    folder = tmp_path_factory.mktemp("served")
    configured(folder)
    command = [sys.executable, "-I", "-S", "-c", SERVED, str(AGENT), str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as agent:
        for line in agent.stderr:
            if "ready" in line:
                agent.terminate()
                break
        names, said = agent.communicate(timeout=60)
    assert (0, False) == (agent.returncode, "Traceback" in said)
    return set(names.split())


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_one_backend_is_loaded(backend):
    """The firewalls that a host does not use take no memory."""
    names = loaded(backend)

    assert {backend} == {n for n in BACKENDS if f"stockade_agent.firewall.{n}" in names}


@pytest.mark.parametrize("action", ["auto", "own"])
def test_commands_of_actions_are_loaded_on_demand(tmp_path, action):
    """Where the firewall alone bans, nothing of what runs commands takes memory."""
    configured(tmp_path, "auto" if action == "auto" else "auto\n own")
    command = [sys.executable, "-I", "-S", "-c", AT_WORK, str(AGENT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = done.stdout.split()
    wanted = {"actions", *(f"firewall.{n}" for n in ("action", "actions", "pool", "shell", "tags"))}
    found = {n for n in wanted if f"stockade_agent.{n}" in names}

    assert (wanted if action == "own" else set()) == found
