# SPDX-License-Identifier: MIT
"""Tries to connect over TCP again and again, and says when it could and when not.

A script of its own, for a namespace: ``python probe.py HOST PORT [--until STATE]``, where STATE is
refused (the default), open or never. Prints one JSON line per attempt, with ``at`` (its beginning,
seconds since the epoch), ``took`` (seconds), ``open`` and ``reason``. Ends when that state has
come, status 0, or at the deadline, status 1. An attempt that is not answered within ``--patience``
counts as not open.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time


def attempt(host: str, port: int, patience: float) -> str:
    """Connect and hang up; return "" if that worked, else the reason why not."""
    try:
        with socket.create_connection((host, port), patience):
            return ""
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return error.strerror or str(error)


def main() -> int:
    """Probe until the state asked for, or the deadline, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--until", choices=("refused", "open", "never"), default="refused")
    parser.add_argument("--deadline", type=float, default=10.0, help="seconds in all")
    parser.add_argument("--every", type=float, default=0.05, help="seconds from try to try")
    parser.add_argument("--patience", type=float, default=0.3, help="seconds for one try")
    words = parser.parse_args()
    end = time.monotonic() + words.deadline
    while (begun := time.monotonic()) < end:
        at = time.time()
        reason = attempt(words.host, words.port, words.patience)
        took = time.monotonic() - begun
        line = {"at": at, "took": round(took, 4), "open": not reason, "reason": reason}
        print(json.dumps(line), flush=True)
        if words.until == ("refused" if reason else "open"):
            return 0
        time.sleep(max(0.0, words.every - took))
    return 0 if words.until == "never" else 1


if __name__ == "__main__":
    sys.exit(main())
