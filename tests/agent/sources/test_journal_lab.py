# SPDX-License-Identifier: MIT
"""Does a real journal arrive whole and once, whatever befalls journald, journalctl and us?"""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import stockade_agent


pytestmark = pytest.mark.lab
DEADLINE = 20.0

# Prints a JSON object for each block, as long as it lives.
READER = """\
import json, select, sys
from stockade_agent.sources import Watch
from stockade_agent.sources.journal import Journal
name, position, since = sys.argv[1:]
a, b = f"SYSLOG_IDENTIFIER={name}-a", f"SYSLOG_IDENTIFIER={name}-b"
watches = [Watch("a", (a,)), Watch("b", (f"{b} + {a} _UID=0",))]
journal = Journal(watches, position, float(since))
while True:
    due = journal.due()
    select.select(journal.filenos(), [], [], due)
    for block in journal.read():
        lines = block.data.decode(errors='surrogateescape').splitlines()
        print(json.dumps([block.watches, lines, block.position, block.times]), flush=True)
    for problem in journal.problems().values():
        print(json.dumps(problem), file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def host():
    from lab import Lab  # noqa: PLC0415 - the agent's tests run on Pythons that the lab does not

    with Lab() as lab:
        host = lab.boot("debian12-90")
        package = Path(stockade_agent.__file__).parent
        shutil.copytree(package, host.root / "opt/agent/stockade_agent")
        host.write("/opt/agent/reader.py", READER)
        yield host


class Reading:
    """The source at work on the host, and what it has read so far."""

    def __init__(self, host, name, position=""):
        self.host = host
        argv = ["env", "PYTHONPATH=/opt/agent", "python3", "/opt/agent/reader.py"]
        self.process = host.popen(
            [*argv, name, position, str(time.time() - 60)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.blocks = []

    def until(self, count):
        """Read until there are so many lines; a deadline ends the reader, and so the wait."""
        self.host.run(f"(sleep {DEADLINE}; kill {self._pid()}) >/dev/null 2>&1 &")
        while len(self.lines) < count and (line := self.process.stdout.readline()):
            self.blocks.append(json.loads(line))
        return self

    @property
    def lines(self):
        return [line.partition(": ")[2] for block in self.blocks for line in block[1]]

    def _pid(self):
        return self.host.run("pgrep -f -o '^python3 /opt/agent/reader.py'").stdout.strip()

    def kill(self):
        self.host.run("pkill -9 -f '^python3 /opt/agent/reader.py'")
        self.process.wait()
        self.process.stdout.close()
        # Nobody ends the child: it has to see for itself that its reader is gone.
        self.host.run(
            "for n in $(seq 100); do pgrep -f '^journalctl --follow' || exit 0; sleep 0.1; done;"
            " exit 1"
        )


@pytest.fixture
def read(host):
    made = []

    def read(name, **options):
        made.append(Reading(host, name, **options))
        host.run("until pgrep -f '^journalctl --follow'; do sleep 0.05; done")
        return made[-1]

    yield read
    for reading in made:
        if reading.process.poll() is None:
            reading.kill()


def log(host, first, last, tag):
    host.run(f"for n in $(seq {first} {last}); do echo line $n; done | logger -t {tag} --id=7")


def numbered(first, last):
    return [f"line {n}" for n in range(first, last + 1)]


def test_entries_arrive_whole_and_once_over_everything(host, read):
    """Through rotation, a vacuum, a killed journalctl, a restarted journald and a killed reader."""
    reading = read("whole")
    log(host, 1, 50, "whole-a")
    reading.until(50)
    host.run("journalctl --rotate; journalctl --vacuum-files=1")
    log(host, 51, 60, "whole-a")
    reading.until(60)
    host.run("pkill -9 -f '^journalctl --follow'")
    log(host, 61, 70, "whole-a")
    reading.until(70)
    host.run("systemctl restart systemd-journald")
    log(host, 71, 80, "whole-a")
    reading.until(80)
    first = reading.lines
    reading.kill()
    log(host, 81, 90, "whole-a")
    again = read("whole", position=reading.blocks[-1][2])
    log(host, 91, 95, "whole-a")
    again.until(15)

    assert numbered(1, 80) == first
    assert numbered(81, 95) == again.lines


def test_each_entry_reaches_the_watches_that_match(host, read):
    """The union is asked for once; who gets what is decided on our side."""
    reading = read("match")
    log(host, 1, 1, "match-b")
    log(host, 2, 2, "match-c")
    log(host, 3, 3, "match-a")
    reading.until(2)

    assert [["b"], ["a", "b"]] == [block[0] for block in reading.blocks]
    assert ["line 1", "line 3"] == reading.lines
    assert f"{host.name} match-a[7]: line 3" == reading.blocks[-1][1][0]


def test_what_text_cannot_hold_arrives_as_it_was(host, read):
    """Long messages and bytes that are no UTF-8 come through."""
    reading = read("odd")
    host.run("head -c 20000 /dev/zero | tr '\\0' x >/tmp/long; printf 'a\\377b\\n' >/tmp/odd")
    host.run("logger -t odd-a --size 30000 -f /tmp/long; logger -t odd-a -f /tmp/odd")
    reading.until(2)

    assert ["x" * 20000, "a\udcffb"] == reading.lines


def test_the_child_ends_with_us_and_sleeps_until_then(host, read):
    """A quiet journal costs no CPU, and a killed reader leaves no journalctl behind."""
    reading = read("quiet")
    child = host.run("pgrep -f '^journalctl --follow'").stdout.strip()
    spent = f"cut -d' ' -f14,15 /proc/{child}/stat /proc/$(pgrep -f '^python3 /opt/agent')/stat"
    before = host.run(spent).stdout
    time.sleep(1.5)
    assert before == host.run(spent).stdout
    reading.kill()
