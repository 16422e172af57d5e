# SPDX-License-Identifier: MIT
"""How manifests travel: one ssh exec a host, whatever the mode.

program ─▶ talk (one host) ─▶ fleet (all of them) ─▶ HostResult
                                └─▶ install ─▶ stockade.bootstrap, where packages are missing
"""

from __future__ import annotations

from stockade.push.fleet import Fleet
from stockade.push.talk import Progress, Settings


__all__ = ["Fleet", "Progress", "Settings"]
