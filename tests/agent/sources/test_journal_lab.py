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
from stockade_agent.journals import which
from stockade_agent.sources import Watch
from stockade_agent.sources.journal import Journal
name, position, since, chosen = sys.argv[1:]
a, b = f"SYSLOG_IDENTIFIER={name}-a", f"SYSLOG_IDENTIFIER={name}-b"
watches = [Watch("a", (a,)), Watch("b", (f"{b} + {a} _UID=0",))]
journal = Journal(watches, position, float(since), which=which(json.loads(chosen)))
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
        shutil.copytree(
            package,
            host.root / "opt/agent/stockade_agent",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        host.write("/opt/agent/reader.py", READER)
        yield host


class Reading:
    """The source at work on the host, and what it has read so far."""

    def __init__(self, host, name, position="", **chosen):
        self.host = host
        argv = ["env", "PYTHONPATH=/opt/agent", "python3", "/opt/agent/reader.py"]
        self.process = host.popen(
            [*argv, name, position, str(time.time() - 60), json.dumps(chosen)],
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
        name = self.process.args[-4]
        return self.host.run(f"pgrep -f -n '^python3 /opt/agent/reader.py {name} '").stdout.strip()

    def kill(self):
        self.host.run("pkill -9 -f '^python3 /opt/agent/reader.py'", check=False)
        self.close()
        # Nobody ends the child: it has to see for itself that its reader is gone.
        self.host.run(
            "for n in $(seq 100); do pgrep -f '^journalctl --follow' || exit 0; sleep 0.1; done;"
            " exit 1"
        )

    def close(self):
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def read(host):
    made = []

    def read(name, **options):
        made.append(Reading(host, name, **options))
        if "namespace" not in options:
            count = len([1 for reading in made if reading.process.poll() is None])
            running = "$(pgrep -c -f '^journalctl --follow')"
            host.run(f"until [ {running} -ge {count} ]; do sleep 0.05; done")
        return made[-1]

    yield read
    for reading in made:
        if reading.process.poll() is None:
            reading.kill()
        reading.close()


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
    # The entry that it was at is gone, and the next one is the oldest of all.
    host.run("journalctl --rotate")
    log(host, 81, 90, "whole-a")
    host.run("journalctl --sync; journalctl --vacuum-files=1")
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


def test_users_have_journals_of_their_own(host, read):
    """Who says nothing reads the system's journal; journalflags=1 reads those of users too."""
    reading, system = read("flags", journalflags="1"), read("flags")
    host.run("runuser -u victim -- logger -t flags-a line 1")
    log(host, 2, 2, "flags-a")

    assert ["line 1", "line 2"] == reading.until(2).lines
    assert ["line 2"] == system.until(1).lines


def test_a_journal_in_a_folder_of_its_own(host, read):
    """With journalpath the folder is read, whichever machine wrote it."""
    log(host, 1, 3, "folder-a")
    host.run("journalctl --rotate; journalctl --sync; mkdir -p /srv/journal")
    host.run("cp /var/log/journal/*/system@*.journal /srv/journal")

    assert numbered(1, 3) == read("folder", journalpath="/srv/journal").until(3).lines


def test_files_named_one_by_one(host, read):
    """With journalfiles each entry comes once, however often journald rotates the files."""
    log(host, 1, 20, "files-a")
    reading = read("files", journalfiles="/var/log/journal/*/system.journal")
    reading.until(20)
    for n in range(3):
        log(host, 21 + 20 * n, 30 + 20 * n, "files-a")
        host.run("journalctl --rotate")
        log(host, 31 + 20 * n, 40 + 20 * n, "files-a")
        reading.until(40 + 20 * n)

    assert numbered(1, 80) == reading.lines


def test_a_namespace(host, read):
    """A journal namespace is read alone, also when it begins after us."""
    reading = read("space", namespace="apart")
    log(host, 9, 9, "space-a")
    say = "logger -t space-a line 1; logger -t space-a line 2"
    host.run(f"systemd-run --wait -q -p LogNamespace=apart sh -c '{say}'")

    assert numbered(1, 2) == reading.until(2).lines
