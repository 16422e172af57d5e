# SPDX-License-Identifier: MIT
"""Which tests come first where several modules run side by side."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Modules with real hosts first: they wait, and take minutes; the last to begin must not."""
    modules = {item.path for item in items if item.get_closest_marker("lab")}
    items.sort(key=lambda item: item.path not in modules)
