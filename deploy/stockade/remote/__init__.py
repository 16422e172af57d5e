# SPDX-License-Identifier: MIT
"""The ssh transport: one connection and one exec a host, host keys strict.

    KnownHosts ─▶ Remote.open(host, command) ─▶ Session ─▶ push

The only place that imports paramiko. Whatever goes wrong below comes out as ``Unreachable``
with a remedy.
"""

from __future__ import annotations

from stockade.remote.known_hosts import HostKey, KnownHosts, known_line
from stockade.remote.session import Offer, Remote, Session


__all__ = ["HostKey", "KnownHosts", "Offer", "Remote", "Session", "known_line"]
