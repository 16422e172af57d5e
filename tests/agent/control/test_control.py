# SPDX-License-Identifier: MIT
"""Does the control socket answer everybody, and wait for nobody?"""

import json
import os
import random
import selectors
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stockade_agent.control import server as module
from stockade_agent.control.access import Peer
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import (
    MAX_LINE,
    AgentStatus,
    FirewallStatus,
    PauseStatus,
    Request,
)
from stockade_agent.control.server import MAX_CLIENTS, Server
from stockade_agent.errors import ControlError, NoAgentError


DEADLINE = 10.0


def echo(request, peer):
    """Answer with what was asked; refuse what is to be refused."""
    if request.command == "refuse":
        raise ControlError("no", remedy="ask for less")
    if request.command == "large":
        return "x" * (4 << 20)
    if request.by:
        return request.by
    return [request.command, request.jail, list(request.ids), peer.uid]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "agent.sock")


@pytest.fixture
def serving(path):
    """Serve in a thread, as the agent's loop does, for as long as a test lasts."""
    server, over = Server(path, time.monotonic), threading.Event()

    def loop():
        poll = module.selectors.DefaultSelector()
        poll.register(server.fileno(), module.selectors.EVENT_READ)
        while not over.is_set():
            poll.select(0.05)
            server.serve(echo)
        poll.close()

    thread = threading.Thread(target=loop)
    thread.start()
    yield server
    over.set()
    thread.join()
    server.close()


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE)
    client.connect(path)
    return client


def line_of(client):
    data = b""
    while not data.endswith(b"\n"):
        more = client.recv(1 << 16)
        if not more:
            break
        data += more
    return data


def test_question_and_answer(serving, path):
    """A request reaches the agent with the asker's identity, the result comes back."""
    request = Request("ban", "sshd", ("192.0.2.7", "2001:db8::1"))

    assert ["ban", "sshd", ["192.0.2.7", "2001:db8::1"], os.geteuid()] == ask(path, request)


def test_who_asks_travels_with_the_request(serving, path):
    """A person's name reaches the agent, beside who the kernel says it is."""
    assert "anna@desk" == ask(path, Request("panic", by="anna@desk"))


def test_refusal(serving, path):
    """What the agent refuses is raised with its reason and remedy."""
    with pytest.raises(ControlError, match=r"no \(ask for less\)"):
        ask(path, Request("refuse"))


def test_large_answers(serving, path):
    """An answer of any size arrives whole."""
    assert 4 << 20 == len(ask(path, Request("large")))


def test_only_root_may_connect(serving, path):
    """The socket is its owner's alone."""
    assert 0o600 == stat.S_IMODE(Path(path).stat().st_mode)


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"command": 1}',
        b'{"command": "ban", "ids": "192.0.2.7"}',
        b'{"command": "ban", "ids": [1]}',
        b'{"command": "ban", "jail": null}',
        b'{"command": "panic", "by": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=lambda line: line[:12].decode("ascii", "replace"),
)
def test_what_is_no_request_is_refused(serving, path, line):
    """Malformed lines get an answer, and the connection goes on."""
    with connect(path) as client:
        client.sendall(line + b"\n" + Request("ping").to_line())
        replies = line_of(client)
        while replies.count(b"\n") < 2:
            replies += line_of(client)

    assert [False, True] == [json.loads(reply)["ok"] for reply in replies.splitlines()]


def test_overlong_request(serving, path):
    """A request without an end is refused, and the connection closed."""
    with connect(path) as client:
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            client.sendall(b"x" * MAX_LINE * 20)
        assert ["ping", "", [], os.geteuid()] == ask(path, Request("ping"))


def test_many_requests_on_one_connection(serving, path):
    """Requests sent at once are answered one by one, in order."""
    with connect(path) as client:
        client.sendall(b"".join(Request("ping", str(n)).to_line() for n in range(500)))
        data = b""
        while data.count(b"\n") < 500:
            data += line_of(client)

    assert [str(n) for n in range(500)] == [json.loads(x)["result"][1] for x in data.splitlines()]


def test_a_client_that_takes_nothing_keeps_nobody_waiting(serving, path):
    """Somebody who asks for much and reads nothing does not delay another."""
    with connect(path) as lazy:
        lazy.sendall(Request("large").to_line() * 3)
        for _ in range(3):
            assert ask(path, Request("ping"))


def test_the_most_silent_client_makes_room(serving, path):
    """With too many connections the one silent for longest is dropped, a new one served."""
    silent = [connect(path) for _ in range(MAX_CLIENTS)]
    assert ask(path, Request("ping"))

    assert b"" == silent[0].recv(1)
    for client in silent:
        client.close()


def test_fuzz(serving, path):
    """Random bytes, in random pieces, end in answers or a closed connection, never in silence."""
    rand = random.Random(7)
    samples = [Request("ping").to_line(), b'{"command":', b"\n", b"\0", b"}", b'"ids": [', b"\xff"]
    for _ in range(60):
        with connect(path) as client:
            try:
                for _ in range(rand.randrange(6)):
                    piece = bytearray(rand.choice(samples))
                    piece[rand.randrange(len(piece))] ^= rand.randrange(256)
                    client.sendall(piece)
            except OSError:
                continue

    assert ask(path, Request("ping"))


def test_no_agent(path):
    """Nobody there is an error of its own, with what to do."""
    with pytest.raises(NoAgentError, match=r"no agent answers .*systemctl start"):
        ask(path, Request("ping"))


def test_an_agent_that_hangs(path):
    """Silence ends after the timeout."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(NoAgentError, match=r"no answer in time|timed out"):
            ask(path, Request("ping"), timeout=0.05)


def test_the_socket_of_a_dead_agent_is_replaced(path):
    """What a killed agent leaves behind is no obstacle."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
    Server(path, time.monotonic).close()

    assert not Path(path).exists()


HOLDER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
if child := os.fork():
    print(child, flush=True)
sys.stdin.read()
"""


def test_the_socket_that_a_child_of_a_dead_agent_holds_is_replaced(path):
    """A kill between fork and exec of a command leaves a child that listens: nobody answers."""
    argv = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        child = int(agent.stdout.readline())
        agent.kill()
        agent.wait()
        try:
            Server(path, time.monotonic).close()
        finally:
            os.kill(child, signal.SIGKILL)

    assert not Path(path).exists()


def test_a_living_agent_is_left_alone(serving, path):
    """A second agent does not take the socket of the first."""
    with pytest.raises(ControlError, match="another agent answers"):
        Server(path, time.monotonic)

    assert ask(path, Request("ping"))


def test_what_is_no_socket_is_left_alone(path):
    """A file of somebody else is not removed."""
    Path(path).write_text("mine")
    with pytest.raises(ControlError, match="is no socket"):
        Server(path, time.monotonic)

    assert "mine" == Path(path).read_text()


def test_closing_drops_the_clients(path):
    """A client of a stopped agent is told so at once."""
    server = Server(path, time.monotonic)
    with connect(path) as client:
        end = time.monotonic() + DEADLINE
        while not server._clients and time.monotonic() < end:
            server.serve(echo)
        server.close()

        assert b"" == client.recv(1)


def test_status_survives_the_socket():
    """The status that a client makes of JSON is the one that the agent had."""
    from_agent = AgentStatus(
        version="1",
        python="3.9.2",
        pid=7,
        started_at=1.0,
        now=2.0,
        rss_bytes=3,
        lines=4,
        firewall=FirewallStatus("nftables", "auto", None, "", ()),
        jails=(),
        faults=("a",),
        never_banned=("192.0.2.1",),
        pauses=(PauseStatus("", 1.0, None, "anna"), PauseStatus("sshd", None, 2.0, "")),
    )
    later = json.loads(json.dumps({**from_agent.to_json(), "unknown": 1}))

    assert from_agent == AgentStatus.from_json(later)


def test_a_piece_that_fills_the_other_side_is_no_end():
    """Where the next piece finds no room at all, the connection goes on when there is some."""

    class Full:
        def send(self, data):
            raise BlockingIOError

    client = module._Client(Full(), Peer(1, 0, ()))
    client._unsent = b"the rest"

    assert client.turn(selectors.EVENT_WRITE, echo, 8)
    assert client._unsent == b"the rest"
