# SPDX-License-Identifier: MIT
"""The controller: compile here, converge there.

inventory/ ─▶ Inventory ┐
roles/ ─────▶ Roles ────┴▶ plan (pure) ─ Manifest per host ─▶ push ─ HostResult ─▶ report
▲
hosts ─ Facts ─▶ bootstrap (only what is missing)
"""

from stockade_agent import __version__


__all__ = ["__version__"]
