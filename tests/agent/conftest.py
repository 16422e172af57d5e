# SPDX-License-Identifier: MIT
import time

import pytest


@pytest.fixture
def zone(monkeypatch):
    """Return a function that sets this process's time zone until the test ends."""

    def choose(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()
