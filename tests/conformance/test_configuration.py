# SPDX-License-Identifier: MIT
"""Do we read a configuration as fail2ban does? A few trees; ``make conformance`` reads 500."""

import pytest

from conformance import configuration
from conformance.fetch import SUITES, fetch
from stockade_agent.config import check
from stockade_agent.config.actions import COMMANDS
from stockade_agent.config.actions import FOLDER as ACTIONS
from stockade_agent.config.filters import FOLDER as FILTERS
from stockade_agent.config.filters import OPTIONS, names
from stockade_agent.config.lints import definition
from stockade_agent.config.reading import jail_tree
from stockade_agent.config.tree import Library


pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module", params=list(SUITES))
def root(request):
    """Return an unpacked fail2ban."""
    return fetch(request.param)


def test_stock_tree(root):
    """The tree as it is shipped is read alike."""
    assert [] == configuration.as_shipped(root)


def test_every_stock_jail(root):
    """With all its jails enabled it still is."""
    assert [] == configuration.every_jail(root)


@pytest.mark.parametrize("seed", range(10))
def test_random_tree(root, seed):
    """So are trees with overrides, includes, known/ and parameters."""
    assert [] == configuration.random_tree(root, seed)


def test_check_finds_nothing_in_stock(root, tmp_path):
    """What fail2ban ships has no slips: check is silent about all of its jails."""
    stock = configuration.oracle.stock(root)
    configuration.oracle.link(stock, tmp_path)
    jails = configuration.oracle.stock_jails(stock)
    text = "".join(f"[{name}]\nenabled = true\n" for name in jails)
    (tmp_path / "jail.local").write_text(text)

    assert () == check(str(tmp_path))


def test_no_slips_in_stock_files(root):
    """Nor has any filter or action that no jail uses."""
    library = Library(str(configuration.oracle.stock(root)))
    jails = jail_tree(library)
    found = []
    for folder, known in ((FILTERS, OPTIONS), (ACTIONS, COMMANDS)):
        for name in sorted(names(library, folder)):
            tree = library.tree(f"{folder}/{name}")
            found += tree.faults
            found += definition(tree, jails, known, ("Definition", "Init"))

    assert [] == [str(fault.error()) for fault in found]
