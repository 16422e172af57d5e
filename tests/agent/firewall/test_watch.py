# SPDX-License-Identifier: MIT
"""Is whoever touches our rules noticed, and nobody else, and never we ourselves?"""

import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

import stockade_agent
from stockade_agent.errors import FirewallError
from stockade_agent.firewall.watch import Watch


pytestmark = pytest.mark.lab

AGENT = str(Path(stockade_agent.__file__).parents[1])
DEADLINE = 10.0
TABLE = "table inet stockade {\n set a { type ipv4_addr; flags timeout; }\n chain input { }\n}\n"
# Answers each line of its input: who was noticed since the line before.
LISTENER = """
import ast, sys
from collections import deque
from stockade_agent.firewall.watch import Watch
ours = deque()
watch = Watch(ours)
print("ready", flush=True)
for line in sys.stdin:
    ours.extend(ast.literal_eval(line))
    print(repr(watch.stranger(lambda change: change.table == "inet stockade")), flush=True)
"""


class Listener:
    """A ``Watch`` in a network namespace."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.process = subprocess.Popen(
            (*namespace.prefix, sys.executable, "-c", LISTENER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": AGENT},
        )
        assert "ready\n" == self.process.stdout.readline()

    def nft(self, lines):
        """Run nft in the namespace and return its process id."""
        command = (*self.namespace.prefix, "nft", "-f", "-")
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
            process.communicate(lines)
        assert 0 == process.returncode
        return process.pid

    def stranger(self, *ours):
        """Return whom it noticed."""
        self.process.stdin.write(f"{ours}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture
def listener(namespace):
    """A listener beside our table, that has heard of it."""
    namespace.run("nft", "-f", "-", stdin=TABLE)
    listener = Listener(namespace)
    yield listener
    listener.process.communicate(timeout=DEADLINE)


@pytest.mark.parametrize(
    "change",
    [
        "flush ruleset",
        "delete table inet stockade",
        "flush set inet stockade a",
        "delete element inet stockade a { 192.0.2.1 }",
        "delete set inet stockade a",
        "insert rule inet stockade input accept",
        "delete chain inet stockade input",
    ],
)
def test_a_change_is_noticed(listener, change):
    """Whatever takes something of ours away, or adds a rule, has a name."""
    listener.nft("add element inet stockade a { 192.0.2.1, 192.0.2.2 }")
    assert "None" == listener.stranger()
    listener.nft(change)

    assert "'nft'" == listener.stranger()
    assert "None" == listener.stranger()


def test_our_own_changes_are_not(listener):
    """What our own tools did in the meantime is passed over; what others did beside is not."""
    first = listener.nft("flush ruleset\n" + TABLE)
    second = listener.nft("delete set inet stockade a")
    assert "None" == listener.stranger(first, second)

    ours = listener.nft("flush ruleset\n" + TABLE)
    listener.nft("flush ruleset")
    assert "'nft'" == listener.stranger(ours)


def test_what_is_not_ours_is_not(listener):
    """Tables of others, elements that come, and elements that end by themselves mean nothing."""
    listener.nft("add table ip other\ndelete table ip other")
    listener.nft("add element inet stockade a { 192.0.2.1 timeout 100ms }")
    listed = ["192.0.2.1"]
    while listed:
        listed = [
            word
            for word in listener.namespace.run(
                "nft", "list", "set", "inet", "stockade", "a"
            ).split()
            if word == "192.0.2.1"
        ]

    assert "None" == listener.stranger()


FLOOD = "\n".join(
    "add element inet stockade a { "
    + ", ".join(f"10.{a}.{b // 250}.{b % 250} timeout 1h" for b in range(5000))
    + " }"
    for a in range(8)
)


def test_messages_that_were_dropped(listener):
    """More messages than the socket holds: our own are counted, others are noticed."""
    ours = [listener.nft(FLOOD), listener.nft("flush set inet stockade a\n" + FLOOD)]
    assert "None" == listener.stranger(*ours)

    ours = listener.nft("flush set inet stockade a\n" + FLOOD)
    listener.nft("flush ruleset")
    assert "''" == listener.stranger(ours)
    assert "None" == listener.stranger()


def test_without_the_right_to_listen(monkeypatch):
    """A kernel that refuses is an error with a remedy, not silence."""

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("stockade_agent.firewall.watch._generation", refuse)
    with pytest.raises(FirewallError, match="does not tell of changes") as caught:
        Watch(deque())

    assert "CAP_NET_ADMIN" in str(caught.value.remedy)
