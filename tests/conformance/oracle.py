# SPDX-License-Identifier: MIT
"""fail2ban-client as the judge of a configuration: what it would tell its server."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path


def python() -> str:
    """Return a Python that fail2ban 1.0.2 still runs on."""
    if sys.version_info < (3, 12):
        return sys.executable
    return shutil.which("python3.11") or "python3.11"


def dump(package, directory):
    """Return the commands that ``fail2ban-client -d`` prints, and its complaints.

    None stands for the commands where it gives up on the whole configuration.
    """
    done = subprocess.run(
        (python(), Path(package) / "usr/bin/fail2ban-client", "-c", str(directory), "-d"),
        env={
            **os.environ,
            "PYTHONPATH": f"{package}/usr/lib/python3/dist-packages",
            "PYTHONWARNINGS": "ignore",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        return None, done.stderr
    commands = [ast.literal_eval(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return commands, done.stderr
