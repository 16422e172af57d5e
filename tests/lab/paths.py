# SPDX-License-Identifier: MIT
"""Where the lab keeps what it makes.

The cache outlives runs. All the rest lies under RUNTIME, a folder per lab, and goes with it.
"""

from __future__ import annotations

import os
from pathlib import Path


CACHE = Path(os.environ.get("STOCKADE_LAB_CACHE", "/var/cache/stockade-lab"))
RUNTIME = Path("/run/stockade-lab")
PACKAGE = Path(__file__).resolve().parent

#: The lab that ``python -m lab up`` starts; pytest runs have names of their own.
DEFAULT_LAB = os.environ.get("STOCKADE_LAB", "lab")

#: Where a host finds the packages that it may install, inside its own root.
OFFERED = "/opt/offered"
