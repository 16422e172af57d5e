# SPDX-License-Identifier: MIT
"""Memory that is free, and goes back to the kernel."""

from __future__ import annotations

import ctypes


# The C library keeps what was freed for what may come; not every one can be asked for it.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim() -> None:
    """Give back what a burst of bans, or a long answer, has left; takes some 100 µs."""
    if _trim is not None:
        _trim(0)
