# SPDX-License-Identifier: MIT
"""Can a group read, and can it neither change anything nor keep root waiting? Real users ask."""

import contextlib
import json
import os
import random
import select
import shutil
import signal
import socket
import stat
import tempfile
import threading
import time

import pytest

from stockade_agent.control import access
from stockade_agent.control import server as module
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import MAX_QUESTION, Request
from stockade_agent.control.rows import Rows
from stockade_agent.control.server import MAX_OF_USER, MAX_OTHERS, Server
from stockade_agent.errors import ControlError


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users: needs root")
DEADLINE = 20.0
GROUP, MEMBER, STRANGER = 42_000, 42_001, 42_002
BANS = 100_000


@pytest.fixture
def path():
    """Where everybody may go, as /run/stockade is; pytest's own folders are root's."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    yield f"{folder}/agent.sock"
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def group(monkeypatch):
    """Give the group a name that this machine need not know."""
    monkeypatch.setattr(access, "_number", lambda name: {"readers": GROUP}[name])


def answers(request, peer):
    if request.command == "long":
        return Rows(range(BANS), lambda n: {"id": f"192.0.2.{n}", "at": n, "enforced": True})
    if request.command != "ping" and not peer.rules:
        raise ControlError(f"only root may {request.command}")
    return [peer.uid, sorted(peer.groups)]


class Serving:
    """A server in a thread, waiting as the agent's loop does."""

    def __init__(self, path, group):
        self.server, self.turns, self._over = Server(path, time.monotonic), 0, threading.Event()
        self.server.admit(group)
        self.busy = 0.0
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()

    def _loop(self):
        poll = module.selectors.DefaultSelector()
        poll.register(self.server.fileno(), module.selectors.EVENT_READ)
        while not self._over.is_set():
            due = self.server.due()
            poll.select(0.05 if due is None else min(due, 0.05))
            begun = time.thread_time()
            self.server.serve(answers)
            self.busy += time.thread_time() - begun
        poll.close()

    def close(self):
        self._over.set()
        self._thread.join()
        self.server.close()


@pytest.fixture
def serving(path):
    found = Serving(path, "readers")
    yield found
    found.close()


class Others:
    """Processes of other users, ended with the test."""

    def __init__(self):
        self.pids = []

    def start(self, call, uid, gid, groups=()):
        """Run ``call`` as somebody else, and return the end of a pipe with what it returns."""
        told, tell = os.pipe()
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                os.close(told)
                os.setgroups(list(groups))
                os.setgid(gid)
                os.setuid(uid)
                try:
                    text = json.dumps(call())
                except Exception as error:  # noqa: BLE001 - it is told
                    text = json.dumps(f"{type(error).__name__}: {error}")
                os.write(tell, text.encode())
            os._exit(0)
        os.close(tell)
        self.pids.append(pid)
        return told

    def run(self, call, uid, gid, groups=()):
        """Run ``call`` as somebody else and return what it returns."""
        with open(self.start(call, uid, gid, groups), "rb") as told:
            return json.loads(told.read())

    def close(self):
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture
def others():
    found = Others()
    yield found
    found.close()


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE)
    client.connect(path)
    return client


def until(condition):
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.005)
    return found


# ---- who may


@pytest.mark.parametrize(
    "gid, groups",
    [
        pytest.param(GROUP, [], id="primary"),
        pytest.param(50_000, [GROUP], id="supplementary"),
        pytest.param(50_000, [*range(60_000, 60_200), GROUP], id="one-of-many"),
    ],
)
def test_members_may_read(serving, others, path, gid, groups):
    """Whoever is in the group, by whichever of his groups, is answered."""
    told = others.run(lambda: ask(path, Request("ping")), MEMBER, gid, groups)

    assert [MEMBER, sorted({gid, *groups})] == told


def test_members_may_not_change(serving, others, path):
    """What changes something is refused in one line."""
    told = others.run(lambda: ask(path, Request("ban")), MEMBER, GROUP)

    assert "ControlError: only root may ban" == told


def test_strangers_do_not_get_in(serving, others, path):
    """The kernel refuses who is not in the group, and he is told whom to ask."""
    told = others.run(lambda: ask(path, Request("ping")), STRANGER, 50_000)

    assert told.startswith(f"ControlError: {path}: Permission denied (ask as root")


def test_strangers_are_refused_where_the_file_lets_them_in(serving, others, path):
    """Somebody who opens the socket to all has not opened the agent."""
    os.chmod(path, 0o666)
    told = others.run(lambda: ask(path, Request("ping")), STRANGER, 50_000)

    assert told.startswith("ControlError: only root may ask")


def test_no_group(serving, others, path):
    """Without the setting, also after it was taken back, root is alone."""
    serving.server.admit("")
    told = others.run(lambda: ask(path, Request("ping")), MEMBER, GROUP)

    assert "Permission denied" in told
    assert 0o600 == stat.S_IMODE(os.stat(path).st_mode)
    assert ask(path, Request("ping"))


def test_a_group_that_is_not_there(serving, others, path, monkeypatch):
    """It is said, and nobody gets in who did before."""
    monkeypatch.undo()
    with pytest.raises(ControlError, match=r"no group no-such-group \(until then root alone"):
        serving.server.admit("no-such-group")

    assert "Permission denied" in others.run(lambda: ask(path, Request("ping")), MEMBER, GROUP)


# ---- how much


def test_a_long_question_is_refused(serving, others, path):
    """Nobody who only reads has much to say."""
    told = others.run(lambda: ask(path, Request("ping", "x" * MAX_QUESTION)), MEMBER, GROUP)

    assert f"ControlError: a request has at most {MAX_QUESTION} bytes" == told
    assert ask(path, Request("ping", "x" * MAX_QUESTION))


def test_a_long_answer_arrives(serving, others, path):
    """A member gets a list of any length, and root is answered while it is on its way."""
    told = others.start(lambda: len(ask(path, Request("long"))), MEMBER, GROUP)
    while not _is_over(told):
        begun = time.monotonic()
        assert ask(path, Request("ping"))
        assert time.monotonic() - begun < 1.0
    with open(told, "rb") as answer:
        assert BANS == json.loads(answer.read())


def _is_over(fileno):
    poll = module.selectors.DefaultSelector()
    poll.register(fileno, module.selectors.EVENT_READ)
    found = bool(poll.select(0.01))
    poll.close()
    return found


def test_one_user_has_so_many_connections(serving, others, path):
    """A new connection takes the place of that user's oldest; root's stay."""

    def crowd():
        clients = [connect(path) for _ in range(MAX_OF_USER + 3)]
        # When the last is answered all have been let in; the agent has closed the first.
        alive = 0
        for client in reversed(clients):
            with contextlib.suppress(OSError):
                client.sendall(Request("ping").to_line())
                alive += bool(client.recv(1 << 16))
        return alive

    with connect(path) as roots:
        assert MAX_OF_USER == others.run(crowd, MEMBER, GROUP)
        roots.sendall(Request("ping").to_line())
        assert roots.recv(1 << 16)


def test_a_new_connection_is_not_taken_for_an_old_one(path, others, monkeypatch):
    """One that gets the descriptor of one that made room, and had sent something, is served."""
    monkeypatch.setattr(module, "MAX_CLIENTS", 1)
    server = Server(path, time.monotonic)
    with connect(path) as old:
        until(lambda: server.serve(answers) or server._clients)
        with connect(path), connect(path) as last:
            old.sendall(Request("ping").to_line())
            server.serve(answers)
            last.sendall(Request("ping").to_line())
            server.serve(answers)
            assert last.recv(1 << 16)
    server.close()


def test_all_users_together_have_so_many_connections(serving, others, path):
    """Many users do not get more than a few descriptors of the agent's."""

    def hold():
        clients = [connect(path) for _ in range(MAX_OF_USER)]
        signal.pause()
        return len(clients)

    for number in range(MAX_OTHERS):
        others.start(hold, MEMBER + number, GROUP)
    until(lambda: len(serving.server._others()) == MAX_OTHERS)

    assert ask(path, Request("ping"))
    assert len(serving.server._others()) <= MAX_OTHERS


def test_who_is_slow_is_dropped(serving, others, path, monkeypatch):
    """Neither half a request nor an answer that is not taken keeps a place for long."""
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    monkeypatch.setattr(module, "LONGEST", 0.6)

    def drip():
        with connect(path) as client:
            begun = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - begun < DEADLINE:
                    client.sendall(b"{")
                    time.sleep(0.02)
            return time.monotonic() - begun

    def lazy():
        with connect(path) as client:
            client.sendall(Request("long").to_line())
            begun = time.monotonic()
            poll = select.poll()
            poll.register(client, 0)
            poll.poll(DEADLINE * 1000)  # nothing but a hangup wakes it
            return time.monotonic() - begun

    assert others.run(drip, MEMBER, GROUP) < DEADLINE / 2
    assert others.run(lazy, MEMBER + 1, GROUP) < DEADLINE / 2
    until(lambda: not serving.server._others())


@pytest.mark.alone
def test_root_gets_through_a_flood(serving, others, path):
    """Members who connect and ask as fast as they can leave root, and the agent, their time."""

    def connects():
        while True:
            with contextlib.suppress(OSError), connect(path) as client:
                client.sendall(b"nonsense\n")

    def asks():
        while True:
            with contextlib.suppress(OSError), connect(path) as client:
                while True:
                    client.sendall(Request("long").to_line() * 20)
                    client.recv(100)

    for number, call in enumerate([connects, asks, connects, asks, connects, asks]):
        others.start(call, MEMBER + number, GROUP)
    until(lambda: len(serving.server._others()) >= MAX_OF_USER)
    begun, waits = time.monotonic(), []
    busy = serving.busy
    while time.monotonic() - begun < 6.0:
        asked = time.monotonic()
        assert ask(path, Request("unban"))
        waits.append(time.monotonic() - asked)
        time.sleep(0.02)
    passed = time.monotonic() - begun
    share = (serving.busy - busy) / passed
    print(f"root waited {max(waits):.3f} s at most; the server took {share:.0%} of a core")

    assert max(waits) < 3.0
    assert share < 0.5


def test_nonsense_of_a_member(serving, others, path):
    """Whatever a member sends, in whatever pieces, root is answered, and nobody hangs on."""

    def babble():
        chance, known = (
            random.Random(7),
            [Request("ping").to_line(), b'{"command":', b"\n", b"}", b"\xff"],
        )
        for _ in range(200):
            with contextlib.suppress(OSError), connect(path) as client:
                for _ in range(chance.randrange(8)):
                    piece = bytearray(chance.choice(known) * chance.randrange(1, 300))
                    piece[chance.randrange(len(piece))] ^= chance.randrange(256)
                    client.settimeout(0.01)
                    client.sendall(piece)
        return "done"

    assert "done" == others.run(babble, MEMBER, GROUP)
    assert ask(path, Request("unban"))
    until(lambda: not serving.server._others())


def test_the_rate_of_one_user(serving, others, path):
    """Questions of a user who has spent his allowance wait, and are answered at last."""

    def asks():
        begun, count = time.monotonic(), 0
        with connect(path) as client:
            while time.monotonic() - begun < 4.0:
                client.sendall(Request("ping").to_line())
                assert client.recv(1 << 16)
                count += 1
        return count

    told = others.run(asks, MEMBER, GROUP)

    assert 100 <= told <= 160
