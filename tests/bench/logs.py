# SPDX-License-Identifier: MIT
"""Logs to measure with: the same seed gives the same bytes.

    python -m bench.logs busy 1000000        writes it under build/bench/ and prints its path
    python -m bench.logs                     says which there are

Times are fixed, so that a log written today is the one of next year; whoever reads them must
not mind how old they are. Addresses are those of documentation, and of the range for
benchmarks (RFC 5737, 3849, 2544).
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from bench import auth, host, plainlines, web


BUILD = Path(__file__).parent.parent.parent / "build" / "bench"
SEED = 20260302

Lines = Callable[[int], Iterator[str]]
"""Seed -> lines without end."""

KINDS: dict[str, tuple[Lines, int]] = {
    "busy": (auth.busy, 1_000_000),
    "host": (host.lines, 1_000_000),
    "attack": (auth.attack, 200_000),
    "web": (web.access, 200_000),
    "dateless": (plainlines.dateless, 200_000),
}
"""Kind -> its lines, and how many of them the table wants."""


def path(kind: str, lines: int = 0, seed: int = SEED) -> Path:
    """Return the log's file, written if it is not there yet.

    Args:
        kind: one of ``KINDS``.
        lines: how many; 0: as many as the table wants.
        seed: another one gives other lines of the same kind.
    """
    make, usual = KINDS[kind]
    lines = lines or usual
    found = BUILD / f"{kind}-{lines}-{seed}-{_version()}.log"
    if not found.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        partial = found.with_suffix(".partial")
        with partial.open("w", encoding="ascii", buffering=1 << 20) as file:
            file.writelines(f"{line}\n" for line in islice(make(seed), lines))
        partial.rename(found)
    return found


def _version() -> str:
    """Return a word that changes when any generator does."""
    folder = Path(__file__).parent
    names = ("auth.py", "host.py", "people.py", "plainlines.py", "web.py")
    source = b"".join((folder / name).read_bytes() for name in names)
    return hashlib.sha256(source).hexdigest()[:8]


def main(arguments: list[str]) -> int:
    """Write the log that is asked for."""
    if not arguments or arguments[0] not in KINDS or not all(a.isdigit() for a in arguments[1:]):
        print("usage: python -m bench.logs KIND [LINES [SEED]]", file=sys.stderr)
        print(f"kinds: {', '.join(KINDS)}", file=sys.stderr)
        return 2
    print(path(arguments[0], *map(int, arguments[1:])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
