# SPDX-License-Identifier: MIT
"""Which modules come first where several run side by side."""

from pathlib import Path

import pytest


# Each takes minutes, in which the others go by: begun last, they would be waited for.
LONGEST = [
    Path(__file__).parent / "system" / name
    for name in ("test_guard.py", "test_firewalld_backend.py")
]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The longest modules first, then those with real hosts, which wait more than they work."""
    with_hosts = {item.path for item in items if item.get_closest_marker("lab")}

    def rank(item):
        return item.path not in LONGEST, item.path not in with_hosts

    items.sort(key=rank)
