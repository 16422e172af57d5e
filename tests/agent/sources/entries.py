# SPDX-License-Identifier: MIT
"""Entries of a journal, and a journalctl of our own that prints them."""

import json
import sys

from stockade_agent.sources import Watch


SSHD = Watch("sshd", ("_SYSTEMD_UNIT=ssh.service + _COMM=sshd",))

# Prints what stands in the file `entries`, says what it was asked, and follows until it is ended.
JOURNALCTL = """\
import json, os, sys, time
folder = os.path.dirname(__file__)
with open(folder + "/asked", "a") as asked:
    asked.write(json.dumps(sys.argv[1:]) + "\\n")
with open(folder + "/entries") as entries:
    for line in entries:
        if line.startswith("exit"):
            sys.exit("journalctl: " + line[5:].strip())
        sys.stdout.write(line)
sys.stdout.flush()
sys.stdin = None
time.sleep(60)
"""


def entry(cursor, message, **fields):
    known = {
        "__CURSOR": f"s=1;i={cursor};t={1000000 * cursor:x}",
        "__REALTIME_TIMESTAMP": str(1_000_000 * cursor),
        "__MONOTONIC_TIMESTAMP": "5000000",
        "_HOSTNAME": "host",
        "_COMM": "sshd",
        "SYSLOG_IDENTIFIER": "sshd",
        "_PID": "7",
        "MESSAGE": message,
    }
    return {key: value for key, value in {**known, **fields}.items() if value is not None}


def cursor(number, numbering="a" * 32, content="0"):
    return f"s={numbering};i={number:x};b=b;m={number:x};t={1_000_000 * number:x};x={content}"


def lines_of(count):
    return lambda _, blocks: sum(block.data.count(b"\n") for block in blocks) >= count


class Fake:
    """A journalctl of our own, for what the real one cannot be made to do."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "journalctl").write_text(JOURNALCTL)
        self.command = (sys.executable, str(folder / "journalctl"))
        self.has()

    def has(self, *entries, then=""):
        lines = [json.dumps(each) for each in entries] + ([f"exit {then}"] if then else [])
        (self.folder / "entries").write_text("".join(line + "\n" for line in lines))

    def asked(self):
        return [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]
