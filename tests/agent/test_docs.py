# SPDX-License-Identifier: MIT
"""Do the examples of the documents print what the documents say?"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stockade_agent


DOCS = Path(__file__).parent.parent.parent / "docs"
AGENT = Path(stockade_agent.__file__).parents[1]

# ```ini NAME: a file; ```console: commands behind "$ ", and what they print.
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.+)\n", re.MULTILINE)
SECONDS = re.compile(r"(?<=\[processed in )[\d.]+(?= sec\])")


@pytest.fixture
def shell(tmp_path):
    """Return what runs a command in a folder of its own and returns all that it prints."""
    tool = tmp_path / "bin/stockade-agent"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m stockade_agent "$@"\n')
    tool.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    env = {
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(AGENT),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }

    def shell(command):
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return SECONDS.sub("0.00", done.stdout)

    shell.folder = folder
    return shell


def test_filters(shell):
    """Each file is written as it is shown, each command printed what it prints now."""
    shown, printed = [], []
    for kind, name, text in BLOCK.findall((DOCS / "filters.md").read_text()):
        if name:
            path = shell.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif kind == "console":
            commands = COMMAND.split(text)[1:]
            for command, said in zip(commands[::2], commands[1::2], strict=True):
                shown.append((command, said.strip("\n")))
                printed.append((command, shell(command).strip("\n")))

    assert len(shown) > 5
    assert shown == printed
