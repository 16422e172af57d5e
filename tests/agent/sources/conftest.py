# SPDX-License-Identifier: MIT
"""Readers of log files."""

import pytest

from agent.sources.reader import Reader, deaf
from stockade_agent.sources import Watch


@pytest.fixture(params=["inotify", "polling"])
def reader(request):
    """Return what makes readers, by inotify and by looking."""
    made = []

    def make(*patterns, positions=None, tail=False):
        options = {"kernel": deaf} if request.param == "polling" else {}
        watches = [Watch(f"jail{n}", (p,), tail) for n, p in enumerate(patterns)]
        made.append(Reader(watches, positions, **options))
        return made[-1]

    yield make
    for each in made:
        each.source.close()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "auth.log"
