# SPDX-License-Identifier: MIT
"""Readers of log files and of the journal."""

import select
import time

import pytest

from agent.sources.entries import Fake
from agent.sources.reader import DEADLINE, Reader, deaf
from stockade_agent.sources import Watch
from stockade_agent.sources.journal import Journal


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


@pytest.fixture
def fake(tmp_path):
    return Fake(tmp_path)


@pytest.fixture
def read(fake):
    """Return what makes a journal and reads until a condition holds."""
    made = []

    def read(*watches, until, journal=None, **options):
        options = {"machine_id": str(fake.folder / "none"), **options}
        journal = journal or Journal(watches, journalctl=fake.command, **options)
        made.append(journal)
        blocks, end = [], time.monotonic() + DEADLINE
        while not until(journal, blocks) and time.monotonic() < end:
            due = journal.due()
            select.select(journal.filenos(), [], [], 0.1 if due is None else min(due, 0.1))
            blocks += journal.read()
        return journal, blocks

    yield read
    for journal in made:
        journal.close()
