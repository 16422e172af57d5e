# SPDX-License-Identifier: MIT
"""What runs in namespaces of its own: ``python -m faults.inside CASE [--small]``."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from faults.cases import CASES


if __name__ == "__main__":
    case = CASES[sys.argv[1]]
    if not case.lab:
        subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
    with tempfile.TemporaryDirectory(prefix="stockade-faults-") as name:
        for row in case.make(Path(name), small="--small" in sys.argv):
            print(json.dumps(row.to_json()), flush=True)
