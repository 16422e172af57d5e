# SPDX-License-Identifier: MIT
"""Our reading of a configuration beside fail2ban's: the stock tree, and random ones on top of it.

    python -m conformance.configuration [VERSION | DIR ...]

Each is read by ``fail2ban-client -d`` and by us; every option of every jail, filter and action
must be the same, and what one refuses the other must refuse.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conformance import oracle, stream, trees
from conformance.tally import Difference, Tally, Tell, by_hand


TREES = 500


def compare(root: Path, directory: Path) -> list[str]:
    """Return one line for each difference between fail2ban's reading and ours."""
    mine, wrong = stream.ours(directory, oracle.version(root))
    commands, complaint = oracle.dump(root, directory)
    if commands is None and not wrong:
        return [f"only fail2ban refuses it: {complaint.strip()[-300:]}"]
    if commands is None:
        # It gives up on all for the sake of one: without those that we refuse it must not.
        _disable(directory, wrong)
        commands, complaint = oracle.dump(root, directory)
        if commands is None:
            return [f"fail2ban refuses more than {sorted(wrong)}: {complaint.strip()[-300:]}"]
        wrong = {}
    expected, refused = stream.theirs(commands)
    if set(refused) != set(wrong):
        return [f"refused: {refused} != {wrong}"]
    return stream.differences(expected, mine)


def _disable(directory: Path, jails: Iterable[str]) -> None:
    text = "".join(f"[{name}]\nenabled = false\n" for name in jails)
    (directory / "jail.d" / "zzz-off.local").write_text(text)


def as_shipped(root: Path) -> list[str]:
    """Return the differences in the stock tree."""
    return compare(root, oracle.stock(root))


def every_jail(root: Path) -> list[str]:
    """Return the differences in the stock tree with all its jails enabled."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        oracle.link(oracle.stock(root), directory)
        jails = oracle.stock_jails(oracle.stock(root))
        text = "".join(f"[{name}]\nenabled = true\n" for name in jails)
        (directory / "jail.local").write_text(text)
        return compare(root, directory)


def random_tree(root: Path, seed: int) -> list[str]:
    """Return the differences in the random tree of that seed."""
    with tempfile.TemporaryDirectory() as folder:
        return compare(root, trees.grow(seed, oracle.stock(root), Path(folder)))


def differences(root: Path, seeds: Sequence[int], tell: Tell) -> Iterator[Difference]:
    """Yield a line for each tree that is not read alike."""
    for name, found in (("stock", as_shipped(root)), ("all jails", every_jail(root))):
        if found:
            yield Difference(name, found[0])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found_in = pool.map(lambda seed: random_tree(root, seed), seeds)
        for done, (seed, found) in enumerate(zip(seeds, found_in, strict=True)):
            tell(done, len(seeds))
            if found:
                yield Difference(f"tree {seed}", found[0])


def run(root: Path, tell: Tell) -> Tally:
    """Return how many trees are read alike."""
    return Tally(TREES + 2, list(differences(root, range(TREES), tell)))


if __name__ == "__main__":
    by_hand("configuration", run)
