# SPDX-License-Identifier: MIT
"""Tools that answer as they are told, and network namespaces with a kernel firewall each."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import stockade_agent
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import Request
from stockade_agent.firewall.command import Runner, ToolError
from stockade_agent.ledger import Ledger
from stockade_agent.model import FOREVER, Ban, target


NOW = 1_700_000_000.0
DEADLINE = 30.0


def make_ban(address, jail="sshd", *, bantime=600, at=NOW):
    return Ban(jail, address, target(address), at, bantime, failures=3)


@pytest.fixture
def now():
    """The time that bans begin at."""
    return NOW


@pytest.fixture
def ban():
    """Return a function that makes a ban of ten minutes that begins now."""
    return make_ban


@pytest.fixture
def forever():
    """Return a function that makes a permanent ban."""
    return lambda address, jail="sshd": make_ban(address, jail, bantime=FOREVER)


@dataclass
class Tool:
    """A ``Run`` that remembers what it was asked.

    Attributes:
        answers: argument tuple -> its output, a ``ToolError`` to raise, or a function of stdin.
        calls: all calls, oldest first, as (arguments, stdin).
    """

    answers: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)

    def __call__(self, argv, *, stdin="", timeout=0.0):
        self.calls.append((argv, stdin))
        answer = self.answers.get(argv, "")
        if callable(answer):
            answer = answer(stdin)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def refuse(self, argv, stderr, code=1):
        """Make a command fail from now on."""
        self.answers[argv] = ToolError(
            f"{argv[0]} failed: {stderr}", backend="test", code=code, stderr=stderr, remedy=""
        )

    @property
    def commands(self):
        """The commands that ran, in words."""
        return [" ".join(argv) for argv, _ in self.calls]


@pytest.fixture
def tool():
    """A tool that answers every command with nothing."""
    return Tool()


@dataclass(frozen=True)
class Namespace:
    """A network namespace that lives as long as a process that sleeps in it."""

    pid: int

    @property
    def prefix(self):
        return ("nsenter", "-t", str(self.pid), "-n", "--")

    def run(self, *argv, stdin="", check=True):
        """Return what a command in the namespace prints."""
        done = subprocess.run(
            (*self.prefix, *argv), input=stdin, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def python(self, code, *arguments):
        """Start a Python program in the namespace, with pipes for input and output."""
        return subprocess.Popen(
            (*self.prefix, sys.executable, "-c", code, *map(str, arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def runner(self, backend):
        """Return a ``Run`` that works in the namespace."""
        return Runner(backend, self.prefix)

    @classmethod
    def new(cls, stack):
        """Make one that ends with the stack."""
        process = subprocess.Popen(["unshare", "-n", "sleep", "600"])
        stack.callback(process.wait)
        stack.callback(process.kill)
        ours = Path("/proc/self/ns/net").readlink()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{process.pid}/ns/net").readlink() == ours:
            assert time.monotonic() < deadline, "unshare -n did nothing"
            time.sleep(0.01)
        found = cls(process.pid)
        found.run("ip", "link", "set", "lo", "up")
        return found


@pytest.fixture
def namespace():
    """A network namespace with an empty firewall."""
    with ExitStack() as stack:
        yield Namespace.new(stack)


SERVER = """
import socket, sys, threading
def echo(connection):
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)
def accept(listener):
    while True:
        threading.Thread(target=echo, args=listener.accept()[:1], daemon=True).start()
for port in map(int, sys.argv[1:]):
    listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=accept, args=[listener], daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
CLIENT = """
import socket, sys
source, address, port = sys.argv[1:]
try:
    connection = socket.create_connection((address, int(port)), 1.7, (source, 0))
except Exception as error:
    print("refused" if isinstance(error, ConnectionRefusedError) else "silence")
    raise SystemExit
print("open", flush=True)
while line := sys.stdin.readline():
    try:
        connection.sendall(line.encode())
        print("answer" if connection.recv(100) else "end", flush=True)
    except ConnectionError:
        print("reset", flush=True)
    except TimeoutError:
        print("silence", flush=True)
"""


@dataclass(frozen=True)
class Network:
    """A server and a client that has many addresses, in namespaces of their own.

    The server is 10.77.1.1 and fd77:1::1, the client 10.77.1.2 to .9 and fd77:1::2 to ::9.
    """

    server: Namespace
    client: Namespace
    stack: ExitStack

    def listen(self, *ports):
        """Answer on these TCP ports until the test ends."""
        process = self.server.python(SERVER, *ports)
        self.stack.enter_context(process)
        self.stack.callback(process.kill)
        assert "ready\n" == process.stdout.readline()

    def dial(self, host, port):
        """Open a connection from the client's host number; return the process that holds it."""
        process = self.client.python(CLIENT, *self.pair(host), port)
        self.stack.enter_context(process)
        self.stack.callback(process.kill)
        return process

    def connect(self, *ends):
        """Return ``open``, ``refused`` or ``silence`` for each (host, port), tried together."""
        tries = [self.dial(*end) for end in ends]
        return [process.stdout.readline().strip() for process in tries]

    @staticmethod
    def pair(host):
        """Return the client's address of this number or the one given, and the server's."""
        if isinstance(host, int):
            return f"10.77.1.{host}", "10.77.1.1"
        return host, "fd77:1::1" if ":" in host else "10.77.1.1"


@pytest.fixture
def network():
    """Two namespaces that reach each other."""
    with ExitStack() as stack:
        server, client = Namespace.new(stack), Namespace.new(stack)
        ends = ["netns", str(server.pid), "type", "veth", "peer", "name", "eth0", "netns"]
        subprocess.run(["ip", "link", "add", "eth0", *ends, str(client.pid)], check=True)
        for place, hosts in ((server, [1]), (client, range(2, 10))):
            for host in hosts:
                place.run("ip", "addr", "add", f"10.77.1.{host}/24", "dev", "eth0")
                place.run("ip", "addr", "add", f"fd77:1::{host}/64", "dev", "eth0", "nodad")
            place.run("ip", "link", "set", "eth0", "up")
        yield Network(server, client, stack)


JAIL = """\
[DEFAULT]
banaction = nftables-multiport
action = %(banaction)s[port="%(port)s"]

[sshd]
enabled = true
port = 22
backend = polling
logpath = /nowhere/auth.log
filter = sshd
bantime = 3600
"""


class Service:
    """The agent in a network namespace, started as systemd starts it."""

    def __init__(self, folder, namespace):
        self.folder, self.namespace, self.backend = folder, namespace, "nftables"
        self.environment = {}
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.settimeout(DEADLINE)
        self.process = None
        (folder / "filter.d").mkdir()
        (folder / "filter.d/sshd.conf").write_text("[Definition]\nfailregex = from <HOST>$\n")
        (folder / "jail.conf").write_text(JAIL)
        settings = {"dbfile": "ledger", "socket": "socket", "controllers": "controllers"}
        text = "".join(f"{key} = {folder}/{name}\n" for key, name in settings.items())
        (folder / "stockade.conf").write_text(f"[Definition]\n{text}")

    def fill(self, ids):
        """Put bans of an hour, that began now, into the ledger."""
        ledger, now = Ledger(str(self.folder / "ledger")), time.time()
        ledger.ban([Ban("sshd", id_, target(id_), now, 3600, 5) for id_ in ids])
        ledger.close()

    def ask(self, *request):
        """Return what the agent answers."""
        return ask(str(self.folder / "socket"), Request(*request))

    def start(self):
        """Start, and return once it has said that it is ready."""
        agent = Path(stockade_agent.__file__).parents[1]
        environment = {
            **os.environ,
            "PYTHONPATH": str(agent),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            **self.environment,
        }
        command = (
            "-m",
            "stockade_agent",
            "run",
            "-c",
            str(self.folder),
            "--firewall",
            self.backend,
        )
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                (*self.namespace.prefix, sys.executable, *command), env=environment, stderr=log
            )
        while b"READY=1" not in self.manager.recv(4096):
            pass

    def end(self, number=signal.SIGTERM):
        """End it, and wait until it has."""
        self.process.send_signal(number)
        self.process.wait(DEADLINE)

    def held(self):
        """Return how many addresses the kernel refuses."""
        listed = self.namespace.run("nft", "list", "table", "inet", "stockade", check=False)
        return listed.count(" timeout ")


@pytest.fixture
def service(tmp_path, namespace):
    """An agent, not started yet."""
    service = Service(tmp_path, namespace)
    yield service
    if service.process is not None and service.process.poll() is None:
        service.end(signal.SIGKILL)
    service.manager.close()
