# SPDX-License-Identifier: MIT
"""A host below a temporary folder: its commands are small scripts, its agent a thread."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from deploy.sshd import Sshd
from stockade.model import File, Host, Manifest
from stockade.push import Settings
from stockade.push.talk import talk
from stockade.remote import KnownHosts, Session


UNIT = "stockade-agent.service"
BUNDLE = "/usr/lib/stockade/stockade-agent.pyz"

# The unit's state is a JSON file; every call is noted in a log.
SYSTEMCTL = """\
import json, os, sys
from pathlib import Path
state = Path(os.environ["FAKE"], "unit.json")
unit = json.loads(state.read_text())
def save():
    new = state.with_suffix(".new")
    new.write_text(json.dumps(unit))
    new.replace(state)
words = [word for word in sys.argv[1:] if not word.startswith("-")]
with open(os.environ["FAKE"] + "/calls", "a") as calls:
    calls.write("systemctl " + " ".join(sys.argv[1:]) + "\\n")
verb = words[0]
if verb == "show":
    print(f"Id=stockade-agent.service\\nActiveState={unit['active']}\\n"
          f"UnitFileState={unit['file']}\\nMainPID={unit['pid']}\\n")
    print(f"Id=firewalld.service\\nActiveState={unit['firewalld']}")
elif verb in ("restart", "reload-or-restart"):
    if unit["refuse"]:
        unit["refuse"] -= 1
        unit["active"] = "failed"
        save()
        sys.exit("Job for stockade-agent.service failed.")
    unit["active"], unit["pid"] = "active", unit["pid"] + 1
elif verb == "stop":
    unit["active"] = "inactive"
elif verb == "enable":
    unit["file"] = "enabled"
elif verb == "disable":
    unit["file"] = "disabled"
save()
"""
DPKG_QUERY = """\
import os, sys
from pathlib import Path
there = Path(os.environ["FAKE"], "packages").read_text().split()
for name in sys.argv[4:]:
    if name in there:
        print(name, "installed")
    else:
        print("dpkg-query: no packages found matching " + name, file=sys.stderr)
"""
# Stands for the agent's zipapp: `check --no-lint DIR` complains of files that hold BROKEN.
AGENT = b"""\
import pathlib, sys
check, no_lint, folder = sys.argv[1:]
files = [p for p in pathlib.Path(folder).rglob("*") if p.is_file()]
faults = [p for p in files if b"BROKEN" in p.read_bytes()]
for path in faults:
    print(f"{path}:1: broken")
sys.exit(bool(faults))
"""


class FakeHost:
    """A host's root folder, its unit's state, and an agent that answers while it is active."""

    def __init__(self, root):
        self.root = root
        self.fake = root / "fake"
        for folder in ("etc", "run/systemd/system", "run/stockade", "var/lib", "usr/lib", "tmp"):
            (root / folder).mkdir(parents=True)
        self.fake.mkdir()
        (root / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
        self.set_unit(active="inactive", file="", pid=0, firewalld="inactive", refuse=0)
        self.set_packages("nftables", "iptables")
        self.jails = {"sshd": ("running", "")}
        self.proved_at = 1.0
        self.asked, self.replies = [], {}
        self.script("systemctl", SYSTEMCTL)
        self.script("dpkg-query", DPKG_QUERY)
        for name in ("nft", "iptables"):
            self.script(name, "")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(root / "run/stockade/agent.sock"))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def script(self, name, text):
        """Put a command of this host's own on its PATH."""
        path = self.fake / name
        path.write_text(f"#!{sys.executable} -IS\n{text}")
        path.chmod(0o755)

    def set_unit(self, **values):
        new = self.fake / "unit.new"
        new.write_text(json.dumps({**self.unit(), **values}))
        new.replace(self.fake / "unit.json")

    def unit(self):
        path = self.fake / "unit.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def set_packages(self, *names):
        (self.fake / "packages").write_text(" ".join(names))

    @property
    def calls(self):
        path = self.fake / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def environment(self):
        return {"PATH": f"{self.fake}:/usr/bin:/bin", "FAKE": str(self.fake)}

    def path(self, path):
        return self.root / path.lstrip("/")

    def tree(self):
        """Path -> content (or link target) and mode of everything that a push may touch."""
        found = {}
        for top in ("etc", "usr", "var"):
            for path in sorted((self.root / top).rglob("*")):
                name = "/" + str(path.relative_to(self.root))
                if path.is_symlink():
                    found[name] = os.readlink(path)
                elif path.is_file():
                    found[name] = (path.read_bytes(), path.stat().st_mode & 0o7777)
        return found

    def _serve(self):
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            # A client that is killed sends nothing.
            with line, contextlib.suppress(OSError, json.JSONDecodeError):
                request = json.loads(line.recv(4096))
                if self.unit()["active"] == "active":
                    line.sendall(json.dumps(self.reply(request)).encode() + b"\n")

    def reply(self, request):
        self.asked.append(request)
        if request["command"] == "status":
            return {"ok": True, "result": self.status()}
        return self.replies[request["command"]]

    def status(self):
        return {
            "version": "0.1.0",
            "pid": self.unit()["pid"],
            "firewall": {"backend": "nftables", "proved_at": self.proved_at, "problem": ""},
            "jails": [
                {"name": name, "state": state, "problem": problem}
                for name, (state, problem) in self.jails.items()
            ],
        }

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def fake_host():
    """A Debian 12 with nftables and no agent yet. Its path is short: it holds a socket."""
    with tempfile.TemporaryDirectory(prefix="sh-") as folder:
        host = FakeHost(Path(folder))
        yield host
        host.close()


@pytest.fixture
def make_manifest():
    """Return a builder of small manifests: agent, unit, one jail file."""

    def build(**changes):
        values = {
            "host": "web1",
            "files": (
                File("/etc/stockade/jail.d/sshd.conf", b"[sshd]\nenabled = true\n"),
                File(f"/etc/systemd/system/{UNIT}", b"[Service]\nExecStart=/bin/true\n"),
                File(BUNDLE, AGENT),
            ),
            "packages": {"apt": ("nftables",), "dnf": ("nftables",)},
            "jails": ("sshd",),
            **changes,
        }
        return Manifest(**values)

    return build


class LocalChannel:
    """What a session needs of paramiko's channel, over a local process instead of ssh."""

    def __init__(self, command, environment):
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"SSH_CONNECTION": "192.0.2.9 40000 192.0.2.1 22", **environment},
            bufsize=0,
        )
        self._timeout = None
        self.pid = self._process.pid

    def settimeout(self, seconds):
        self._timeout = seconds

    def set_combine_stderr(self, combine):
        pass

    def sendall(self, data):
        self._process.stdin.write(data)

    def shutdown_write(self):
        self._process.stdin.close()

    def recv(self, size):
        if self._process.stdout.closed:
            return b""
        ready, _, _ = select.select([self._process.stdout], [], [], self._timeout)
        if not ready:
            raise TimeoutError
        return os.read(self._process.stdout.fileno(), size)

    def recv_stderr(self, size):
        return b""

    def exit_status_ready(self):
        return True

    def recv_exit_status(self):
        self._process.stdin.close()
        return self._process.wait(30)

    def close(self):
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


class LocalRemote:
    """Stands for ``stockade.remote.Remote``: runs the one command on this machine."""

    def __init__(self, environment, shell_prints=""):
        self._environment, self._shell_prints = environment, shell_prints
        self.known = KnownHosts(Path("known_hosts"), "")
        self.commands = []
        self.sessions = []
        self.channels = []

    def open(self, host, command, marker):
        self.commands.append(command)
        channel = LocalChannel(self._shell_prints + command, self._environment)
        self.channels.append(channel)
        self.sessions.append(Session(channel, channel, marker, host.key_file or ""))
        return self.sessions[-1]


@pytest.fixture
def local(fake_host):
    """Return a remote for the fake host; its user's shell may print junk first."""
    made = []

    def make(shell_prints=""):
        made.append(LocalRemote(fake_host.environment, shell_prints))
        return made[-1]

    yield make
    for remote in made:
        for channel in remote.channels:
            channel.close()
            channel._process.wait(30)


@pytest.fixture
def converge(fake_host, local):
    """Run one mode on the fake host and return what ``talk`` makes of it."""

    def run(manifest, mode="push", host=None, **settings):
        chosen = Settings(
            **{"root": str(fake_host.root), "health_timeout": 5.0, "lock_timeout": 0.3, **settings}
        )
        login = host or Host("web1", "192.0.2.1")
        return talk(local(), login, manifest, mode, chosen, lambda name, text: None)

    return run


@pytest.fixture
def sshd(tmp_path):
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("no sshd here: apt-get install openssh-server")
    server = Sshd(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def known(tmp_path, sshd):
    """known_hosts with the server's own key in it."""
    path = tmp_path / "known_hosts"
    path.write_text(sshd.known_line())
    return path
