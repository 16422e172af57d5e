# SPDX-License-Identifier: MIT
"""Can a pyinfra user bring our agent to a host with a deploy of his own?"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Lab


pytestmark = pytest.mark.lab

DEPLOY = """\
from dataclasses import replace

from stockade import bundle, inventory, roles
from stockade.bootstrap.agent import agent
from stockade.plan import plan

fleet = inventory.load({folder!r})
(manifest,) = plan(fleet, roles.load(fleet.folder), fleet.hosts("deb"), bundle.build())
agent(manifest=replace(manifest, controllers=({controller!r},)))
"""
HOSTS = """\
all:
  vars: {{stockade_roles: [base, sshd], ansible_ssh_private_key_file: {key}}}
  hosts:
    deb: {{ansible_host: {address}, ansible_user: root}}
"""


def test_the_deploy_brings_a_running_agent(tmp_path):
    """Its files are those of a push: the agent runs, and ``stockade plan`` finds nothing to do."""
    with Lab() as lab:
        host = lab.boot("debian12-41")
        (tmp_path / "hosts.yml").write_text(HOSTS.format(key=lab.key, address=host.address))
        lab.known_hosts(tmp_path / "known_hosts")
        (tmp_path / "deploy.py").write_text(
            DEPLOY.format(folder=str(tmp_path), controller=lab.address("controller"))
        )
        here, pyinfra = lab.prefix("controller"), str(Path(sys.executable).with_name("pyinfra"))
        keys = [f"ssh_known_hosts_file={tmp_path}/known_hosts", "ssh_strict_host_key_checking=yes"]
        options = [word for key in keys for word in ("--data", key)]
        login = ["--user", "root", "--key", str(lab.key)]
        deploy = [host.address, *login, *options, str(tmp_path / "deploy.py")]

        subprocess.run([*here, pyinfra, "--yes", *deploy], check=True, cwd=tmp_path)
        plan = subprocess.run(
            [*here, sys.executable, "-m", "stockade", "-i", str(tmp_path), "plan", "--json"],
            capture_output=True,
            text=True,
            check=False,
        )

        told = json.loads(plan.stdout)
        assert [] == told["hosts"][0]["changes"]
        assert ["running"] == [jail["state"] for jail in told["hosts"][0]["agent"]["jails"]]
