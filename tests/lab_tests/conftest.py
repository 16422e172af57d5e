# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from lab import Lab


@pytest.fixture(scope="session")
def lab():
    """A lab for tests that leave its hosts as they found them."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def hosts(lab):
    """One host of each kind, by kind."""
    names = ["debian11-1", "debian12-1", "debian13-1", "el9-1"]
    return {host.kind: host for host in lab.boot_all(names)}
