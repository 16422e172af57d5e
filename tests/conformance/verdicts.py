# SPDX-License-Identifier: MIT
"""Our filter beside fail2ban's on random logs made of its sample lines: bytes in, failures out.

    python -m conformance.verdicts [VERSION | DIR ...]

Unlike the samples, lines come in any order, sessions are torn and mixed, lines of other
programs stand between them, some are damaged; and the whole path is used, the gate included.
"""

import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import zip_longest
from pathlib import Path
from typing import Any

from conformance.oracle import asked as asked_of
from conformance.oracle import version
from conformance.samples import NOW, ZONE, Tree
from conformance.tally import Difference, Tally, Tell, by_hand
from conformance.zone import zone
from stockade_agent.config import filter_spec
from stockade_agent.errors import StockadeError
from stockade_agent.filter import Filter
from stockade_agent.gate import Gate
from stockade_agent.gates import Gates
from stockade_agent.model import Block
from stockade_agent.naming import resolved


COUNT = 3000
PID = re.compile(r"\[\d+\]")


def sample_lines(tree: Tree) -> dict[str, list[str]]:
    """Return the lines of each sample log."""
    logs: dict[str, list[str]] = {}
    for path in sorted((tree.tests / "files/logs").glob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            logs[path.name] = [one for one in text.split("\n") if one and not one.startswith("#")]
    return logs


def case(seed: int, tree: Tree, logs: dict[str, list[str]]) -> dict[str, Any]:
    """Return one random log and the filter that reads it."""
    rng = random.Random(seed)
    name, base = rng.choice([one for one in tree.filters() if logs.get(one[0])])
    parameters = {}
    if name in ("sshd", "postfix", "exim", "dovecot"):
        parameters["mode"] = rng.choice(("normal", "aggressive", "extra", "ddos"))
        if name in ("dovecot", "exim"):
            parameters["mode"] = rng.choice(("normal", "aggressive"))
    lines = []
    start = rng.randrange(len(logs[name]))
    for number in range(rng.choice((10, 100))):
        if rng.random() < 0.6:
            line = logs[name][(start + number) % len(logs[name])]
        else:
            log = name if rng.random() < 0.5 else rng.choice(sorted(logs))
            line = rng.choice(logs[log]) if logs[log] else ""
        if rng.random() < 0.2:
            line = PID.sub(f"[{rng.randrange(3)}]", line)
        if rng.random() < 0.05:
            place = rng.randrange(len(line) + 1)
            line = (
                line[:place] + rng.choice(("", "x", " ", "é", "[", "1.2.3.4")) + line[place + 1 :]
            )
        if rng.random() < 0.03:
            line = line[rng.randrange(len(line) + 1) :]  # its date is gone
        lines.append(line.rstrip("\r\n"))
    live = rng.random() < 0.4
    return {
        "base": str(base),
        "filter": name,
        "parameters": parameters,
        "options": {"usedns": rng.choice(("warn", "no", "yes", "raw"))},
        "now": NOW + rng.choice((0, -100 * 86400)),
        "findtime": rng.choice((600, 400 * 86400, 400 * 86400)),
        "live": live,
        "lines": lines,
    }


def ours(asked: dict[str, Any], *, gated: bool = True) -> list[Any]:
    """Return the failures that our filter finds in the log, in the words of the oracle."""
    spec = filter_spec(asked["base"], asked["filter"], asked["parameters"])
    spec = replace(spec, usedns=asked["options"]["usedns"], logencoding="utf-8")
    judge = Filter(spec, findtime=asked["findtime"], now=time.time())
    if not gated:
        judge._lines._dated_gates = Gates(Gate(None, []), None, marked=False)
    data = "".join(f"{line}\n" for line in asked["lines"]).encode()
    block, said = Block(("w",), "log", data, ""), []
    for failure in judge.failures(block, asked["now"], live=asked["live"]):
        found = [failure]
        if failure.host:
            last = sum(failure.host.encode()) % 256
            found = resolved(failure, [ip_address(f"198.51.100.{last}")])
        said += [[one.id, one.at, list(one.matches)] for one in found]
    return said


def rule(release: str, one: Any, other: Any) -> str:
    """Return the difference between fail2ban's releases that a failure meets; "" for none.

    1.0.2 takes no IPv6 address that begins with one colon, such as a damaged ``:45:11``.
    """
    colon = any(failure and failure[0].startswith(":") for failure in (one, other))
    return "one-colon" if release == "1.0.2" and colon else ""


def differences(root: Path, seeds: Sequence[int]) -> Iterator[Difference]:
    """Yield each case in which the failures differ."""
    tree, release = Tree(root), version(root)
    logs = sample_lines(tree)
    cases = [case(seed, tree, logs) for seed in seeds]
    answers = asked_of(root, "asked_lines.py", cases, TZ=ZONE)
    with zone(ZONE):
        for seed, asked, answer in zip(seeds, cases, answers, strict=True):
            theirs = [failure for failures in answer for failure in failures]
            found = difference(release, asked, theirs)
            if found:
                key, fault = found
                words = f"{asked['filter']}{asked['parameters']}: {fault}"
                yield Difference(key or f"seed {seed}", words)


def difference(release: str, asked: dict[str, Any], theirs: list[Any]) -> tuple[str, str] | None:
    """Return where our failures depart from those of fail2ban, after the rule that says so."""
    try:
        got = ours(asked)
        if got == theirs:
            return None
        if ours(asked, gated=False) == theirs:
            # The gate keeps lines from the date detector that would have led it to another
            # template; only logs of mixed formats show it.
            return "untrained-dates", "with the gate open we say the same"
    except StockadeError as error:
        return "", str(error)
    for one, other in zip_longest(theirs, got):
        if one != other:
            words = f"{asked['options']} live={asked['live']}: fail2ban {one}, we {other}"
            return rule(release, one, other), words
    return None


def run(root: Path, tell: Tell) -> Tally:
    """Return what comes of all random logs."""
    return Tally(COUNT, list(differences(root, range(COUNT))))


if __name__ == "__main__":
    by_hand("verdicts", run)
