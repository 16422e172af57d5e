# SPDX-License-Identifier: MIT
"""Do we read a configuration as fail2ban does?"""

import tempfile
from pathlib import Path

from conformance import oracle, stream, trees


def compare(package, version, directory):
    """Return one line for each difference between fail2ban's reading and ours."""
    mine, wrong = stream.ours(directory, version)
    commands, complaint = oracle.dump(package, directory)
    if commands is None and not wrong:
        return [f"fail2ban refuses it: {complaint.strip()[-300:]}"]
    if commands is None:
        # It gives up on all for the sake of one: without those that we refuse it must not.
        _disable(directory, wrong)
        commands, complaint = oracle.dump(package, directory)
        if commands is None:
            return [f"only fail2ban refuses more than {sorted(wrong)}: {complaint.strip()[-300:]}"]
        wrong = {}
    expected, refused = stream.theirs(commands)
    if set(refused) != set(wrong):
        return [f"refused: {refused} != {wrong}"]
    return stream.differences(expected, mine)


def _disable(directory, jails):
    text = "".join(f"[{name}]\nenabled = false\n" for name in jails)
    (Path(directory) / "jail.d" / "zzz-off.local").write_text(text)


def stock(package, version):
    """Return the differences in the tree as it is shipped."""
    return compare(package, version, Path(package) / "etc/fail2ban")


def every_jail(package, version):
    """Return the differences in the stock tree with all its jails enabled."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        trees.link(Path(package) / "etc/fail2ban", directory)
        jails = trees.stock_jails(Path(package) / "etc/fail2ban")
        text = "".join(f"[{name}]\nenabled = true\n" for name in jails)
        (directory / "jail.local").write_text(text)
        return compare(package, version, directory)


def random_tree(package, version, seed):
    """Return the differences in the random tree of that seed."""
    with tempfile.TemporaryDirectory() as folder:
        directory = trees.grow(seed, Path(package) / "etc/fail2ban", Path(folder))
        return compare(package, version, directory)
