# SPDX-License-Identifier: MIT
"""Starts ``stockade.bootstrap`` in a process of its own and follows what it says.

pyinfra needs gevent's monkey patching, which no thread of this process could stand.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stockade.facts import python_package
from stockade.push.talk import Lacking, Progress
from stockade.remote import KnownHosts, known_line


class Installed(NamedTuple):
    """How the bootstrap of one host ended; ``error`` is "" when all is there.

    Attributes:
        did: ``(kind, name, action)`` of what was changed.
    """

    name: str
    error: str
    did: tuple[tuple[str, str, str], ...] = ()


def order(lacking: Lacking) -> dict[str, Any]:
    """Return what the child process has to know of a host."""
    host, facts, manifest = lacking.host, lacking.facts, lacking.manifest
    wanted = manifest.packages.get(facts.package_manager, ())
    packages = [python_package(facts), *wanted] if lacking.python else list(facts.missing)
    return {
        "name": host.name,
        "address": host.address,
        "port": host.port,
        "user": host.user,
        "key_file": lacking.key,
        "become": host.become,
        "become_password": host.become_password,
        "connect_timeout": host.connect_timeout,
        "manager": facts.package_manager,
        "distribution": facts.distribution,
        "packages": packages,
        "epel": [name for name in manifest.epel if name in packages],
        "epel_url": str(host.variables.get("base_epel_url") or ""),
        "deploys": list(manifest.deploys),
        "variables": {
            key: value
            for key, value in host.variables.items()
            if isinstance(value, str | int | float | bool | list | dict) or value is None
        },
    }


def install(
    lacking: Sequence[Lacking],
    known: KnownHosts,
    folders: Sequence[Path],
    parallel: int,
    progress: Progress,
) -> Iterator[Installed]:
    """Bootstrap hosts, and yield each as it ends.

    ``folders`` is where the modules of the roles' own deploys are found.
    """
    with tempfile.NamedTemporaryFile("w", prefix="stockade-known-hosts-") as file:
        # pyinfra reads fewer forms of that file than we do, so it gets just these hosts' keys.
        for one in lacking:
            address, port = one.host.address, one.host.port
            file.writelines(known_line(address, port, key) for key in known.lookup(address, port))
        file.flush()
        job = {
            "hosts": [order(one) for one in lacking],
            "known_hosts": file.name,
            "folders": [str(folder) for folder in folders],
            "parallel": parallel,
        }
        yield from _child(lacking, json.dumps(job).encode() + b"\n", progress)


def _child(lacking: Sequence[Lacking], job: bytes, progress: Progress) -> Iterator[Installed]:
    child = subprocess.Popen(
        [sys.executable, "-m", "stockade.bootstrap"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Ctrl-C is ours to answer: a package manager must not be cut in the middle.
        start_new_session=True,
    )
    told: set[str] = set()
    last: list[bytes] = []
    with child:
        stdin, stdout, stderr = child.stdin, child.stdout, child.stderr
        if stdin is None or stdout is None or stderr is None:
            raise RuntimeError("the bootstrap process has no pipes")
        reader = threading.Thread(target=lambda: last.extend(stderr.readlines()[-3:]), daemon=True)
        reader.start()
        try:
            stdin.write(job)
            stdin.close()
        except BrokenPipeError:
            pass  # it died at once; its last words follow
        for line in stdout:
            message = json.loads(line)
            if message["say"] == "phase":
                progress(message["host"], message["text"])
            elif message["say"] == "done" and message["host"] not in told:
                told.add(message["host"])
                did = tuple((kind, name, action) for kind, name, action in message["did"])
                yield Installed(message["host"], message["error"], did)
        reader.join()
    for one in lacking:
        if one.host.name not in told:
            said = b" / ".join(part.strip() for part in last).decode("utf-8", "replace")
            yield Installed(one.host.name, f"the bootstrap process ended early: {said[:400]}")
