# SPDX-License-Identifier: MIT
"""Are host keys strict, and is every failure of a connection told with its remedy?

Against a real sshd on loopback.
"""

import contextlib
import importlib
import inspect
import pkgutil
import socket
import subprocess
import threading

import paramiko
import pytest

from stockade.errors import Unreachable
from stockade.model import Host
from stockade.push import Settings
from stockade.push.talk import talk
from stockade.remote import KnownHosts, Remote
from stockade.remote.explain import EXPLAINED, explain


MARKER = "STOCKADE-0123"
HELLO = f'echo \'{MARKER}{{"say": "hello"}}\''


def ask(known, host, command=HELLO):
    with Remote(KnownHosts.load(known)).open(host, command, MARKER) as session:
        return session.receive(10.0)


def test_a_known_host_runs_the_command(sshd, known):
    """With the key on record and a key of ours, the command runs and answers."""
    sshd.start()

    assert {"say": "hello"} == ask(known, sshd.host())


def test_a_push_over_real_ssh(sshd, known, fake_host, make_manifest):
    """The whole way works over ssh, SSH_CONNECTION included."""
    sshd.start(fake_host.environment)
    remote = Remote(KnownHosts.load(known))
    settings = Settings(root=str(fake_host.root))

    outcomes = [
        talk(remote, sshd.host(), make_manifest(), "push", settings, lambda h, t: None)
        for _ in range(2)
    ]

    assert ["changed", "ok"] == [result.outcome for result in outcomes]
    assert "127.0.0.1" == outcomes[0].facts.controller


def test_an_unknown_host_gets_nothing(sshd, tmp_path):
    """A host that is not in known_hosts is unreachable, and the remedy names the command."""
    sshd.start()

    with pytest.raises(Unreachable) as caught:
        ask(tmp_path / "none", sshd.host())

    assert "is not in" in caught.value.message
    assert "SHA256:" in caught.value.message
    assert "stockade hostkeys --limit web1 --approve" in caught.value.remedy
    assert not (tmp_path / "none").exists()


def test_a_changed_host_key_is_loud(sshd, known):
    """Another key than the one on record: nothing is sent, and the message shouts."""
    sshd.start(HostKey=sshd.folder / "other")
    before = known.read_text()

    with pytest.raises(Unreachable) as caught:
        ask(known, sshd.host())

    assert caught.value.message.startswith("HOST KEY CHANGED")
    assert "remove its line from known_hosts" in caught.value.remedy
    assert "Accepted" not in (sshd.folder / "log").read_text()
    assert before == known.read_text()


def test_a_revoked_host_key_is_never_trusted(sshd, known):
    """@revoked wins over a line that has the same key."""
    known.write_text(known.read_text() + "@revoked * " + sshd.known_line().split(" ", 1)[1])
    sshd.start()

    with pytest.raises(Unreachable, match="HOST KEY CHANGED"):
        ask(known, sshd.host())


def test_the_key_on_record_is_asked_for(sshd, known):
    """A server with several keys is asked for the type that known_hosts has."""
    rsa = sshd.folder / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(rsa)], check=True)
    known.write_text(sshd.known_line("rsa"))
    config = sshd.folder / "both"
    config.write_text(f"HostKey {rsa}\n")
    sshd.start(Include=config)

    assert {"say": "hello"} == ask(known, sshd.host())


def test_a_refused_key(sshd, known):
    """One key is tried, the configured one, and the remedy says where it belongs."""
    sshd.start(LogLevel="VERBOSE")

    with pytest.raises(Unreachable) as caught:
        ask(known, sshd.host(key_file=str(sshd.folder / "stranger")))

    assert "refused the key" in caught.value.message
    assert "authorized_keys" in caught.value.remedy
    assert 1 == (sshd.folder / "log").read_text().count("Failed publickey")


def test_no_key_at_all(sshd, known, monkeypatch, tmp_path):
    """Without a configured key, an agent or default keys, nothing is tried."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd.start()

    with pytest.raises(Unreachable, match="there is no key to log in to"):
        ask(known, sshd.host(key_file=None))


def test_default_keys_serve_but_few(sshd, known, monkeypatch, tmp_path):
    """~/.ssh/id_ed25519 is found where the inventory names no key."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519").write_bytes((sshd.folder / "user").read_bytes())
    sshd.start()

    assert {"say": "hello"} == ask(known, sshd.host(key_file=None))


def test_an_encrypted_key(sshd, known, monkeypatch):
    """A key with a passphrase that no agent holds is named, with what to do."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    path = sshd.folder / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", path], check=True)
    sshd.start()

    with pytest.raises(Unreachable) as caught:
        ask(known, sshd.host(key_file=str(path)))

    assert f"the key {path} is encrypted" == caught.value.message
    assert "ssh-add" in caught.value.remedy


@pytest.mark.parametrize(
    "content", [pytest.param(None, id="missing"), pytest.param("no key", id="garbage")]
)
def test_a_key_file_that_is_none(sshd, known, content):
    """A key file that is not there, or not a key, is named."""
    path = sshd.folder / "key"
    if content is not None:
        path.write_text(content)
    sshd.start()

    with pytest.raises(Unreachable, match=f"the key {path} cannot be read"):
        ask(known, sshd.host(key_file=str(path)))


def test_nobody_listens(sshd, known):
    """A closed port is told as such."""
    with pytest.raises(Unreachable, match="refuses connections"):
        ask(known, sshd.host())


@contextlib.contextmanager
def listener(answer):
    """A server that sends ``answer`` and then keeps quiet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        lines = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    line, _ = server.accept()
                    line.sendall(answer)
                    lines.append(line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for line in lines:
            line.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200, id="http"),
    ],
)
def test_something_else_listens(known, answer):
    """A port that is no sshd's is told apart from a host that is down."""
    with listener(answer) as port, pytest.raises(Unreachable) as caught:
        ask(known, Host("web1", "127.0.0.1", port=port, connect_timeout=1.0))

    assert "answers, but not as an ssh server" in caught.value.message


def test_a_name_that_does_not_resolve(known, monkeypatch):
    """A name without an address is told as such."""

    def fail(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", fail)

    with pytest.raises(Unreachable, match=r"no address is known for web1.example"):
        ask(known, Host("web1", "web1.example"))


def paramikos_errors():
    """Every exception class that paramiko defines on this system."""
    found = set()
    for module in pkgutil.iter_modules(paramiko.__path__):
        if module.name.startswith(("_win", "win_")):
            continue
        for value in vars(importlib.import_module(f"paramiko.{module.name}")).values():
            if inspect.isclass(value) and issubclass(value, Exception):
                found.add(value)
    return sorted((c for c in found if c.__module__.startswith("paramiko")), key=str)


@pytest.mark.parametrize("kind", [*paramikos_errors(), EOFError, OSError, TimeoutError])
def test_every_error_of_paramiko_is_explained(kind):
    """Each class has words of its own or those of its parent, never the last resort."""
    assert any(base in EXPLAINED for base in kind.__mro__)
    easy = {"__init__": lambda self: None, "__str__": lambda self: "because"}
    error = type(kind.__name__, (kind,), easy)()

    what, remedy = explain(error, Host("web1", "192.0.2.1", key_file="/key"))

    assert what
    assert remedy
    assert "\n" not in what + remedy


@pytest.mark.parametrize(
    "number, words",
    [
        pytest.param(113, "no route to 192.0.2.1", id="EHOSTUNREACH"),
        pytest.param(104, "192.0.2.1:22 closed the connection", id="ECONNRESET"),
        pytest.param(110, "192.0.2.1:22 did not answer within 10 s", id="ETIMEDOUT"),
        pytest.param(24, "no connection to 192.0.2.1:22: Too many open files", id="other"),
    ],
)
def test_errors_of_the_network(number, words):
    """The operating system's errors are told in words."""
    assert words == explain(OSError(number, "Too many open files"), Host("w", "192.0.2.1"))[0]


def test_offers_tell_known_new_and_changed_apart(sshd, known, tmp_path):
    """Asking for keys needs no login, and tells what is on record."""
    sshd.start()
    other = tmp_path / "other_hosts"
    other.write_text(sshd.known_line("other"))
    gone = Host("gone", "127.0.0.1", port=1)

    states = {}
    for name, path in (("known", known), ("new", tmp_path / "none"), ("changed", other)):
        offers, troubles = Remote(KnownHosts.load(path)).offers([sshd.host(), gone], 4)
        states[name] = offers[0].state
        assert ["gone"] == [error.host for error in troubles]

    assert {"known": "known", "new": "new", "changed": "changed"} == states
