# SPDX-License-Identifier: MIT
"""The command ``python -m bench``: runs rows, shows them, keeps them."""

import argparse
import os
import sys
import time
from collections.abc import Callable

from bench import daemons, logs, scans, table
from bench.cost import Failed
from bench.rows import Row
from conformance.fetch import Unavailable


QUICK = 3000
"""Lines of each log with --quick."""


def main(arguments: list[str]) -> int:
    """Run the rows that are asked for; return 1 when something is wrong, not when one is slow."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few thousand lines each")
    parser.add_argument("--slow", action="store_true", help="10 million lines in growth, too")
    parser.add_argument(
        "--markdown", action="store_true", help="put build/bench.json into docs/performance.md"
    )
    parser.add_argument("rows", metavar="ROW", nargs="*", help=f"of {', '.join(_works())}")
    asked = parser.parse_args(arguments)
    works = _works(quick=asked.quick, slow=asked.slow)
    unknown = [name for name in asked.rows if name not in works]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(works)}")
    if asked.markdown:
        table.document(table.loaded(), table.made_on())
        return 0
    if os.geteuid() != 0:
        print("bench: must be root, for network namespaces of its own", file=sys.stderr)
        return 1
    rows, wrong, began = [], 0, time.monotonic()
    for name in asked.rows or works:
        try:
            made = works[name]()
        except (Failed, Unavailable) as error:
            print(f"bench: {name}: {error}", file=sys.stderr)
            wrong = 1
            continue
        rows += made
        print(table.text(made), flush=True)
    print(f"{table.machine()}; {time.monotonic() - began:.0f} s", flush=True)
    if not asked.quick:
        # Rows that ran alone take the place of their former selves.
        kept = table.loaded() if asked.rows and table.JSON.exists() else []
        new = {row.name: row for row in rows}
        old = [new.pop(row.name, row) for row in kept]
        table.save([*old, *new.values()])
    return wrong


def _works(*, quick: bool = False, slow: bool = False) -> dict[str, Callable[[], list[Row]]]:
    def size(kind: str) -> int:
        return QUICK if quick else logs.KINDS[kind][1]

    small = 20 if quick else 1
    return {
        "busy": lambda: scans.busy(size),
        "host": lambda: scans.host(size),
        "attack": lambda: scans.attack(size),
        "web": lambda: scans.web(size),
        "dateless": lambda: scans.dateless(size),
        "growth": lambda: scans.growth(size, slow=slow),
        "start": daemons.start,
        "latency": lambda: daemons.latency(small),
        "bans": lambda: daemons.bans(small),
        "restart": lambda: daemons.restart(small),
        "memory": lambda: daemons.memory(small),
        "idle": lambda: daemons.idle(small),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
