# SPDX-License-Identifier: MIT
"""Is every way in which a host can fail to answer told apart, with its remedy?"""

import pytest

from stockade.errors import Refused
from stockade.model import Host, Manifest
from stockade.push import Settings
from stockade.push import talk as module
from stockade.push.talk import Lacking, talk


LOGIN = Host("web1", "192.0.2.1", user="operator")
SUDO = Host("web1", "192.0.2.1", user="operator", become=True)
PASSWORD = Host("web1", "192.0.2.1", user="operator", become=True, become_password="s3cret")


def run(remote, host, manifest, root, **settings):
    chosen = Settings(root=str(root), **settings)
    return talk(remote, host, manifest, "push", chosen, lambda name, text: None)


# A sudo that notes its words and environment, and asks as the real one does.
FAKE_SUDO = """\
import os, sys
words = sys.argv[1:]
with open(os.environ["FAKE"] + "/sudo.log", "a") as log:
    log.write(repr(words) + repr(dict(os.environ)))
def line():
    got = b""
    while not got.endswith(b"\\n"):
        more = os.read(0, 1)
        if not more:
            break
        got += more
    return got.strip().decode()
{asks}
os.execv(words[words.index("--") + 1], words[words.index("--") + 1:])
"""
ASKS = """\
for attempt in range(3):
    given = line()
    if not given:
        sys.exit("sudo: no password was provided\\nsudo: 1 incorrect password attempt")
    if given == "s3cret":
        break
    print("Sorry, try again.", file=sys.stderr)
else:
    sys.exit("sudo: 3 incorrect password attempts")
"""
REFUSES = 'sys.exit("operator is not in the sudoers file.")\n'
WANTS_ONE = 'sys.exit("sudo: a password is required")\n'
WANTS_TTY = 'sys.exit("sudo: sorry, you must have a tty to run sudo")\n'
WANTS_TTY2 = (
    'sys.exit("sudo: a terminal is required to read the password; either use the -S option")\n'
)


@pytest.mark.parametrize(
    "host, asks",
    [
        pytest.param(SUDO, "", id="without-password"),
        pytest.param(PASSWORD, ASKS, id="with-password"),
        pytest.param(PASSWORD, "", id="password-that-is-not-asked-for"),
    ],
)
def test_sudo_brings_root_and_keeps_the_connection(fake_host, local, make_manifest, host, asks):
    """Through sudo the push works, and still knows where it came from."""
    fake_host.script("sudo", FAKE_SUDO.replace("{asks}", asks))
    remote = local()

    result = run(remote, host, make_manifest(), fake_host.root)

    assert ("changed", "") == (result.outcome, result.error)
    assert "192.0.2.9" == result.facts.controller
    assert "s3cret" not in (fake_host.fake / "sudo.log").read_text()
    assert "s3cret" not in remote.commands[0]


@pytest.mark.parametrize(
    "host, asks, words",
    [
        pytest.param(SUDO, WANTS_ONE, "sudo wants a password of operator", id="none-configured"),
        pytest.param(SUDO, WANTS_TTY2, "sudo wants a password of operator", id="no-terminal"),
        pytest.param(
            Host("web1", "192.0.2.1", user="operator", become=True, become_password="wrong"),
            ASKS,
            "sudo refused the password of operator",
            id="wrong-password",
        ),
        pytest.param(PASSWORD, REFUSES, "sudo does not allow operator", id="not-in-sudoers"),
        pytest.param(SUDO, WANTS_TTY, "sudo wants a terminal (requiretty)", id="requiretty"),
    ],
)
def test_sudo_that_refuses_is_told_in_words(fake_host, local, make_manifest, host, asks, words):
    """Each refusal of sudo has its cause and remedy, and the host is untouched."""
    fake_host.script("sudo", FAKE_SUDO.replace("{asks}", asks))
    before = fake_host.tree()

    with pytest.raises(Refused) as caught:
        run(local(), host, make_manifest(), fake_host.root)

    assert words in caught.value.message
    assert caught.value.remedy
    assert before == fake_host.tree()


def test_no_sudo_at_all(fake_host, local, make_manifest):
    """A host without sudo is told apart from a sudo that refuses."""
    remote = local()
    remote._environment = {**remote._environment, "PATH": str(fake_host.fake)}

    with pytest.raises(Refused) as caught:
        run(remote, SUDO, make_manifest(), fake_host.root)

    assert "there is no sudo on this host" == caught.value.message


@pytest.mark.parametrize(
    "shell, words",
    [
        pytest.param(
            "echo This account is currently not available.; exit 1;",
            "operator's login shell runs no commands: exit status 1, "
            "after saying: This account is currently not available.",
            id="nologin",
        ),
        pytest.param(
            "exit 1;",
            "operator's login shell runs no commands: exit status 1, without a word",
            id="false",
        ),
        pytest.param(
            "echo '% Invalid input detected'; exit 0;",
            "operator's login shell runs no commands: exit status 0, "
            "after saying: % Invalid input detected",
            id="a-switch",
        ),
    ],
)
def test_a_shell_that_is_none(fake_host, local, make_manifest, shell, words):
    """What answers without being a shell is refused with what it said."""
    with pytest.raises(Refused) as caught:
        run(local(shell), LOGIN, make_manifest(), fake_host.root)

    assert words == caught.value.message


class Scripted:
    """A session whose host says these messages, whatever it is told."""

    key = ""
    heard = b""

    def __init__(self, *messages):
        self._messages, self.sent = list(messages), b""

    def open(self, host, command, marker):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def send(self, data):
        self.sent += data

    def receive(self, timeout):
        message = self._messages.pop(0) if self._messages else None
        if isinstance(message, Exception):
            raise message
        return message

    def ending(self):
        return 1, "Killed"


FACTS = {
    "family": "debian",
    "distribution": "debian 12",
    "python": "/usr/bin/python3",
    "python_version": "3.11.2",
    "package_manager": "apt",
    "missing": [],
    "firewalls": ["nftables"],
    "controller": "192.0.2.9",
}


@pytest.mark.parametrize(
    "messages, words",
    [
        pytest.param([], "converge ended with status 1, after saying: Killed", id="killed"),
        pytest.param([TimeoutError()], "no word from the host for 180 s", id="silent"),
        pytest.param(
            [{"say": "need", "sha256": ["00"]}],
            "the host asked for a file of nobody's",
            id="asks-for-what-is-not-its-own",
        ),
        pytest.param(
            [{"say": "result", "changes": [{}]}], "the host answered nonsense: KeyError('kind')",
            id="nonsense",
        ),
        pytest.param(
            [{"say": "result", "outcome": "splendid", "error": "x"}], "x", id="unknown-outcome"
        ),
    ],
)  # fmt: skip
def test_a_host_may_say_anything(make_manifest, messages, words):
    """No answer of a host is trusted: it becomes a failure of that host."""
    session = Scripted({"say": "ready"}, *messages)

    result = run(session, LOGIN, make_manifest(), "/")

    assert ("failed", words) == (result.outcome, result.error)


def test_missing_packages_name_the_key_that_works():
    """Bootstrap is to log in with the very key that was accepted."""
    facts = {**FACTS, "missing": ["nftables"]}
    session = Scripted({"say": "ready"}, {"say": "result", "outcome": "missing", "facts": facts})
    session.key = "/keys/fleet"

    lacking = run(session, LOGIN, Manifest("web1", ()), "/")

    assert isinstance(lacking, Lacking)
    assert ("/keys/fleet", ("nftables",)) == (lacking.key, lacking.facts.missing)


def test_the_trace_of_a_fault_is_kept_when_asked_for():
    """--debug shows the traceback that converge sent."""
    told = {"say": "result", "outcome": "failed", "error": "KeyError: 'x'", "trace": "Traceback …"}

    quiet = run(Scripted({"say": "ready"}, told), LOGIN, Manifest("web1", ()), "/")
    loud = run(Scripted({"say": "ready"}, told), LOGIN, Manifest("web1", ()), "/", trace=True)

    assert ((), ("Traceback …",)) == (quiet.notes, loud.notes)


def test_a_host_that_never_starts_python(fake_host, local, make_manifest, monkeypatch):
    """A host that neither answers nor ends is given up, and said to be just that."""
    monkeypatch.setattr(module, "READY", 0.5)

    with pytest.raises(Refused) as caught:
        run(local("echo starting; sleep 2;"), LOGIN, make_manifest(), fake_host.root)

    assert (
        "neither a shell nor Python started within 0 s, after saying: starting"
        == caught.value.message
    )
