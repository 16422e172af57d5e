# SPDX-License-Identifier: MIT
"""Our agent as a pyinfra deploy, for those who drive their hosts with pyinfra.

    from stockade.bootstrap.agent import agent

    agent(manifest=manifests["web1"])

It brings the same files as ``stockade push`` and restarts the agent when one changed. What only
push does is left out: the check before the switch, the way back, and the allowlist entry for
the controller, so put its address into ``Manifest.controllers``.
"""

from __future__ import annotations

import io

from pyinfra.api.deploy import deploy
from pyinfra.context import host
from pyinfra.facts.server import Command
from pyinfra.operations import apt, dnf, files, server, systemd

from stockade.model import Manifest


PYTHON = "/usr/lib/stockade/python3"
CONTROLLERS = "/etc/stockade/controllers"


@deploy("stockade agent")
def agent(manifest: Manifest) -> None:
    """Make the host run the agent of its manifest."""
    kin = (host.get_fact(Command, ". /etc/os-release; echo $ID $ID_LIKE") or "").split()
    if "rhel" in kin or "fedora" in kin:
        dnf.packages(name="packages", packages=list(manifest.packages.get("dnf", ())))
    else:
        apt.packages(name="packages", packages=list(manifest.packages.get("apt", ())))
    done = [
        files.put(
            name=file.path,
            src=io.BytesIO(file.content),
            dest=file.path,
            mode=f"{file.mode:o}",
            user="root",
            group="root",
        )
        for file in manifest.files
    ]
    done.append(files.link(name=PYTHON, path=PYTHON, target="/usr/bin/python3"))
    done += [
        files.line(name=f"allow {address}", path=CONTROLLERS, line=address)
        for address in manifest.controllers
    ]
    users = [file.path for file in manifest.files if file.path.startswith("/etc/sysusers.d/")]
    if users:
        server.shell(
            name="users",
            commands=[f"systemd-sysusers {' '.join(users)}"],
            _if=lambda: any(operation.did_change() for operation in done),
        )
    unit = next(file.path for file in manifest.files if file.path.endswith(".service"))
    service = unit.rsplit("/", 1)[-1]
    systemd.service(name="run", service=service, running=True, enabled=True)
    systemd.service(
        name="restart",
        service=service,
        restarted=True,
        daemon_reload=True,
        _if=lambda: any(operation.did_change() for operation in done),
    )
