# SPDX-License-Identifier: MIT
"""Says on standard error what takes longer than two seconds, and for how long."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator


PATIENCE = 2.0
HEARTBEAT = 10.0


def say(text: str) -> None:
    """Print one line for the person who waits."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Keep quiet for two seconds, then tell ``what`` is going on until it ends."""
    begun = time.monotonic()
    ended = threading.Event()

    def tell() -> None:
        wait = PATIENCE
        while not ended.wait(wait):
            say(f"{what} … {time.monotonic() - begun:.0f} s")
            wait = HEARTBEAT

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
    if time.monotonic() - begun > PATIENCE:
        say(f"{what}: done in {time.monotonic() - begun:.1f} s")
