# SPDX-License-Identifier: MIT
"""What the host says of itself: distribution, missing packages, usable firewalls, its agent."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from stockade.converge.host import RECORD, Host, Refusal


SOCKET = "/run/stockade/agent.sock"
TOOLS = {"nftables": "nft", "iptables": "iptables", "firewalld": "firewall-cmd"}


def os_release(host: Host) -> dict[str, str]:
    """Return the keys of os-release in lower case; empty when there is none."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            text = host.at(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        pairs = [line.strip().split("=", 1) for line in text.splitlines() if "=" in line]
        return {key.lower(): value.strip("\"'") for key, value in pairs}
    return {}


def family(release: Mapping[str, str], families: Mapping[str, Sequence[str]]) -> str:
    """Return the family whose members os-release's ID or ID_LIKE names, or ""."""
    for word in [release.get("id", ""), *release.get("id_like", "").split()]:
        for name, members in families.items():
            if word in members:
                return name
    return ""


def missing(host: Host, manager: str, packages: Sequence[str]) -> list[str]:
    """Return those of ``packages`` that are not installed, in one call."""
    if not packages:
        return []
    if manager == "apt":
        shown = host.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages)
        there = {line.split()[0] for line in shown.out.splitlines() if line.endswith(" installed")}
        return [name for name in packages if name not in there]
    shown = host.run("rpm", "-q", "--whatprovides", "--qf", "%{NAME}\n", *packages)
    absent = {
        line.rsplit(" ", 1)[-1]
        for line in shown.out.splitlines()
        if line.startswith("no package provides ")
    }
    if shown.rc == 127:
        return list(packages)
    return [name for name in packages if name in absent]


def firewalls(host: Host, firewalld: str) -> list[str]:
    """Return the usable backends in the order that ``auto`` takes them.

    ``firewalld`` is that unit's ActiveState.
    """
    usable = []
    for name, tool in TOOLS.items():
        if host.which(tool) and (name != "firewalld" or firewalld == "active"):
            usable.append(name)
    return sorted(usable, key=("firewalld", "nftables", "iptables").index)


def gather(
    host: Host, request: Mapping[str, Any], connection: str, firewalld: str
) -> dict[str, Any]:
    """Return what becomes ``stockade.model.Facts``."""
    release = os_release(host)
    kind = family(release, request["families"])
    manager = request["managers"].get(kind, "")
    return {
        "family": kind,
        "distribution": " ".join(
            word for word in (release.get("id", ""), release.get("version_id", "")) if word
        ),
        "python": host.python,
        "python_version": ".".join(str(part) for part in sys.version_info[:3]),
        "package_manager": manager,
        "missing": missing(host, manager, request["packages"].get(manager, ())) if manager else [],
        "firewalls": firewalls(host, firewalld),
        "controller": connection.partition(" ")[0].partition("%")[0],
    }


def refuse_unusable(host: Host, request: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """See whether this host can be served at all.

    Raises:
        Refusal: in words, before anything is touched.
    """
    if host.root == "/" and os.geteuid() != 0:
        raise Refusal("not root on this host", "set ansible_become: true, or ansible_user: root")
    if host.which("systemctl") is None or not host.at("/run/systemd/system").is_dir():
        raise Refusal("systemd does not run this host", "stockade needs systemd")
    usable, wanted = facts["firewalls"], request["firewall"]
    # A firewalld that is installed now would not run yet, and starting one could cut ssh off.
    coming = [
        name
        for name in ("nftables", "iptables")
        if any(package.startswith(name) for package in facts["missing"])
    ]
    if wanted != "auto":
        if wanted in usable or wanted in coming:
            return
        if wanted == "firewalld":
            raise Refusal(
                "firewall: firewalld is asked for, but it does not run",
                "systemctl enable --now firewalld, or set firewall: auto",
            )
        raise Refusal(
            f"firewall: {wanted} is asked for, but there is no {TOOLS[wanted]} on this host",
            f"install it, or set firewall: auto (usable here: {', '.join(usable) or 'none'})",
        )
    if not usable and not coming:
        raise Refusal(
            f"no usable firewall on {facts['distribution'] or 'this host'}",
            "install nftables, or iptables, or start firewalld",
        )


def ask(host: Host, request: Mapping[str, Any], timeout: float) -> Optional[dict[str, Any]]:
    """Return the running agent's reply to a request, or None when none answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout)
        try:
            line.connect(str(host.at(SOCKET)))
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as answers:
                reply = json.loads(answers.readline())
        except (OSError, ValueError):
            return None
    return reply if isinstance(reply, dict) and "ok" in reply else None


def agent_status(host: Host) -> Optional[dict[str, Any]]:
    """Return the running agent's answer to ``status``, or None when none answers."""
    reply = ask(host, {"command": "status"}, 5.0) or {}
    result = reply.get("result") if reply.get("ok") else None
    return result if isinstance(result, dict) else None


def installed(host: Host) -> bool:
    """Whether an earlier push left an agent here."""
    return host.at(RECORD).exists()
