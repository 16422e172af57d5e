# SPDX-License-Identifier: MIT
"""fail2ban as the judge: what its client would tell its server, and what its parts answer."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def python() -> str:
    """Return a Python that fail2ban 1.0.2 still runs on."""
    if sys.version_info < (3, 12):
        return sys.executable
    return shutil.which("python3.11") or "python3.11"


def stock(root):
    """Return the stock configuration of an unpacked package or of a git checkout."""
    package = Path(root) / "etc/fail2ban"
    return package if package.is_dir() else Path(root) / "config"


def link(stock, directory):
    """Link a stock tree's files into a directory, but for what ``jail.d`` enables."""
    for path in sorted(stock.rglob("*")):
        target = directory / path.relative_to(stock)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.suffix in (".conf", ".local", ".py") and path.parent.name != "jail.d":
            target.symlink_to(path)


def stock_jails(stock):
    """Return the names of the jails in a stock ``jail.conf``."""
    headers = re.findall(r"^\[(.+)\]", (stock / "jail.conf").read_text(), re.MULTILINE)
    return [name for name in headers if name not in ("DEFAULT", "INCLUDES")]


def version(root):
    """Return the release that it is."""
    text = next(Path(root).glob("**/fail2ban/version.py")).read_text()
    return re.search(r'^version = "(.+)"', text, re.MULTILINE).group(1)


def dump(root, directory):
    """Return the commands that ``fail2ban-client -d`` prints, and its complaints.

    None stands for the commands where it gives up on the whole configuration.
    """
    root = Path(root)
    package = (root / "usr/bin").is_dir()
    client = root / ("usr/bin" if package else "bin") / "fail2ban-client"
    done = subprocess.run(
        (python(), client, "-c", str(directory), "-d"),
        env={
            **os.environ,
            "PYTHONPATH": str(root / "usr/lib/python3/dist-packages" if package else root),
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


def asked(root, script, cases, **environment):
    """Return what a script beside us answers to each case, in fail2ban's own library.

    Args:
        root: an unpacked fail2ban.
        script: reads a case a line, and writes an answer a line, both JSON.
        cases: what it is asked.
        environment: further variables.
    """
    package = Path(root) / "usr/lib/python3/dist-packages"
    done = subprocess.run(
        (python(), Path(__file__).with_name(script)),
        input="".join(json.dumps(one) + "\n" for one in cases),
        env={
            **os.environ,
            "PYTHONPATH": str(package if package.is_dir() else root),
            "PYTHONWARNINGS": "ignore",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]
