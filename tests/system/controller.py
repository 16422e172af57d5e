# SPDX-License-Identifier: MIT
"""An operator at the lab's controller: an inventory folder, and the ``stockade`` command."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Answer:
    """How one ``stockade`` command ended; ``document`` is what ``--json`` printed."""

    rc: int
    stdout: str
    stderr: str

    @property
    def document(self):
        assert self.stdout.strip(), self.stderr
        return json.loads(self.stdout)

    def host(self, name):
        """One host's part of the document."""
        (found,) = [host for host in self.document["hosts"] if host["host"] == name]
        return found


class Controller:
    """Runs the real command, as a process in the controller's network namespace."""

    def __init__(self, lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        folder.mkdir(parents=True, exist_ok=True)

    def write_inventory(self, hosts, variables, **host_variables):
        """Write hosts.yml for lab hosts and known_hosts beside it.

        ``host_variables`` are per host, its name with ``_`` for ``-``.
        """
        tree = {
            host.name: {
                "ansible_host": host.address,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(self.lab.key),
                **host_variables.get(host.name.replace("-", "_"), {}),
            }
            for host in hosts
        }
        document = {"all": {"hosts": tree, "vars": variables}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(document, sort_keys=False))
        self.lab.known_hosts(self.folder / "known_hosts")

    def write(self, name, text):
        """Write a file of the inventory."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def stockade(self, *words, json=True, timeout=240) -> Answer:
        """Run ``stockade`` with these words."""
        options = ["--inventory", str(self.folder), *(["--json"] if json else [])]
        argv = [sys.executable, "-m", "stockade", *options, *words]
        done = subprocess.run(
            [*self.lab.prefix("controller"), *argv],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def push(self, *words) -> Answer:
        """Push, and expect that all hosts took it."""
        answer = self.stockade("push", *words)
        assert 0 == answer.rc, f"{answer.stdout}\n{answer.stderr}"
        return answer

    def jail(self, host, name):
        """One jail's part of ``stockade status``."""
        status = self.stockade("status", "--limit", host.name)
        assert 0 == status.rc, f"{status.stdout}\n{status.stderr}"
        (found,) = [j for j in status.host(host.name)["agent"]["jails"] if j["name"] == name]
        return found
