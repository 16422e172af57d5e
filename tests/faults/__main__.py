# SPDX-License-Identifier: MIT
"""The command ``python -m faults``: makes faults, says what became of each, keeps it."""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench import peers
from bench.cost import TIED
from conformance.fetch import ROOT
from faults import table
from faults.cases import CASES
from faults.rows import Row


def main(arguments: list[str]) -> int:
    """Make the faults that are asked for; return 1 when a promise was broken."""
    parser = argparse.ArgumentParser("python -m faults", description=__doc__)
    parser.add_argument("--small", action="store_true", help="as few of each as `make test` does")
    parser.add_argument(
        "--markdown", action="store_true", help="put build/faults.json into docs/reliability.md"
    )
    parser.add_argument("cases", metavar="ROW", nargs="*", help=f"of {', '.join(CASES)}")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.cases if name not in CASES]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(CASES)}")
    if asked.markdown:
        table.document(table.loaded(), table.made_on())
        return 0
    if os.geteuid() != 0:
        print("faults: must be root, for namespaces of its own", file=sys.stderr)
        return 1
    began = time.monotonic()
    if not asked.small and not asked.cases:
        table.save([])  # a whole run begins with none of another commit
    rows = _all(asked.cases or list(CASES), small=asked.small)
    failed = [row for row in rows if not row.passed]
    seconds = time.monotonic() - began
    print(f"{len(rows)} rows, {len(failed)} failed; {table.machine()}; {seconds:.0f} s", flush=True)
    return 1 if failed else 0


def _all(names: list[str], *, small: bool) -> list[Row]:
    """Return the rows of all cases, each told as soon as it is there, and kept with its case."""
    keeping = threading.Lock()

    def lane(*, aside: bool) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for name in (name for name in names if CASES[name].aside is aside):
            found[name] = []
            for row in made(name, small=small):
                found[name].append(row)
                print(table.line(row), flush=True)
            if not small:
                with keeping:
                    table.save(_with(name, found[name]))
        return found

    with ThreadPoolExecutor() as lanes:
        aside = lanes.submit(lane, aside=True)
        found = {**lane(aside=False), **aside.result()}
    return [row for name in names for row in found[name]]


def _with(name: str, rows: list[Row]) -> list[Row]:
    """Return the rows that are kept, a case's in the place of its former ones."""
    known = [row for row in table.loaded() if row.case in CASES and row.case != name]
    order = list(CASES)
    return sorted([*known, *rows], key=lambda row: order.index(row.case))


def made(name: str, *, small: bool) -> Iterator[Row]:
    """Yield the rows of a case, as they come, from a process in namespaces of its own.

    Whatever the case leaves behind ends with them: processes, mounts, firewall rules.
    """
    for package in CASES[name].needs:
        peers.fail2ban()
        peers.unpacked(package)
    unshare = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    own = () if CASES[name].lab else unshare
    command = (*TIED, *own, sys.executable, "-m", "faults.inside", name, *["--small"][:small])
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe) as child:
        assert child.stdout
        assert child.stderr
        for text in child.stdout:
            yield Row(**{**json.loads(text), "case": name})
        said = child.stderr.read().decode(errors="replace").strip()
    if child.returncode:
        yield Row(name, 1, "error", "0", passed=False, seen=said.rpartition("\n")[2] or "killed",
                  case=name)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
