# SPDX-License-Identifier: MIT
"""Real throwaway hosts, and the network that they live in.

kinds ─▶ rootfs ─▶ supervisor ┬ network    a bridge, a namespace per host and per attacker
(data)   (cached)  (PID 1)    ├ machine    overlay + systemd-nspawn
                              └ cgroups
client (Lab, Host) ──control socket──▶ supervisor
   └─────── nsenter ─────▶ hosts, controller, attacker, attacker2
"""

from __future__ import annotations

from lab.client import Lab
from lab.command import Result
from lab.errors import BuildError, CommandError, LabError
from lab.host import Host


__all__ = ["BuildError", "CommandError", "Host", "Lab", "LabError", "Result"]
