# SPDX-License-Identifier: MIT
"""The agent: one straight pipe from log lines to bans in the kernel.

    logfile ┐
            ├─ Block ─▶ gate ─▶ filter ─ Failure ─▶ ignore ─▶ jail ─ Ban ─▶ ledger ─▶ firewall
    journal ┘                                                  ▲                │
                     control socket (JSON lines) ─ Request ────┘◀── due(now) ───┘ unban

Each word above is a module; ``daemon`` wires them, and only ``daemon`` asks the clock.
"""

__version__ = "0.1.0"
