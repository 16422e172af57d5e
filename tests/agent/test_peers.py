# SPDX-License-Identifier: MIT
"""Is who is logged in by a public key known, and nobody who only says so?"""

import errno

import pytest

from stockade_agent import peers as module
from stockade_agent.firewall.established import Connection
from stockade_agent.ignore import Networks
from stockade_agent.model import Block, target
from stockade_agent.peers import FRESH, QUIET, Peers
from stockade_agent.specs import FilterSpec, JailSpec, Shield


NOW = 1_700_000_000.0
SSH = Shield("sshd", ports=((22, 22),))
KEY = "ED25519 SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
HEAD = "Nov 25 17:00:00 web1 "
LOGIN = HEAD + f"sshd[77]: Accepted publickey for alice from 192.0.2.7 port 40000 ssh2: {KEY}"


class Kernel:
    """Answers what a test says is connected."""

    def __init__(self):
        self.connections, self.asked, self.fails = [], [], None

    def __call__(self, wanted):
        self.asked.append(wanted)
        if self.fails:
            raise self.fails
        return [c for c in self.connections if wanted is None or c.address in Networks([wanted])]

    def connect(self, address="192.0.2.7", port=40000, here=22, owner=0):
        self.connections.append(Connection(target(address), port, here, owner))


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def peers(kernel):
    return Peers(kernel)


def read(peers, *lines, name="sshd", wanted=True):
    block = Block((), "log", "".join(line + "\n" for line in lines).encode(), "")
    peers.read(block, [JailSpec("j", FilterSpec(name, ()), ignorepeers=wanted)])


def why(peers, address="192.0.2.7", shield=SSH, now=NOW):
    return peers.why(target(address), shield, now)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(LOGIN, id="syslog"),
        pytest.param(LOGIN.replace("sshd[", "sshd-session["), id="OpenSSH-10"),
        pytest.param(LOGIN.replace(HEAD, "2026-11-25T17:00:00.123456+01:00 web1 "), id="rsyslog"),
        pytest.param(LOGIN.replace("Nov 25 17:00:00 ", ""), id="journal"),
        pytest.param(LOGIN.partition(":" + " ED25519")[0], id="without-fingerprint"),
        pytest.param(LOGIN.replace("Nov 25", "Nov  5"), id="first-days"),
    ],
)
def test_logins_in_the_words_of_sshd(peers, kernel, line):
    """A login by key is known from each of the usual logs."""
    read(peers, line)
    kernel.connect()

    assert "alice is logged in by public key from 192.0.2.7" == why(peers)


@pytest.mark.parametrize(
    "words, address",
    [
        (f"with ssh-ed25519 key {KEY[8:]} from 192.0.2.7:40000", "192.0.2.7"),
        (f"with ssh-ed25519 key {KEY[8:]} from 2001:db8::7:40000", "2001:db8::7"),
    ],
)
@pytest.mark.parametrize("second", ["", "[153] May 13 13:05:41 "])
def test_logins_in_the_words_of_dropbear(peers, kernel, words, address, second):
    """Those of dropbear are known in jails with its filter."""
    line = f"web1 dropbear[153]: {second}Pubkey auth succeeded for 'root' {words}"
    read(peers, line, name="dropbear")
    kernel.connect(address)

    assert f"root is logged in by public key from {address}" == why(peers, address)


FORGED = "sshd[1]: Accepted publickey for x from 192.0.2.7 port 40000 ssh2"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(LOGIN.replace("publickey", "password"), id="password"),
        pytest.param(LOGIN.replace("Accepted", "Failed"), id="failed"),
        pytest.param(LOGIN.replace("Accepted", "Partial"), id="half-of-a-login"),
        pytest.param(HEAD + f"sshd[7]: Invalid user {FORGED} from 192.0.2.7 port 40000", id="user"),
        pytest.param(HEAD + f"sshd[7]: Invalid user web1 {FORGED}", id="user-like-a-line"),
        pytest.param(HEAD + f"vsftpd: no user web1 {FORGED}", id="program-without-number"),
        pytest.param(HEAD + f"app[5]: {FORGED}", id="program"),
        pytest.param(f"GET /{HEAD}{FORGED}", id="path"),
        pytest.param(f"[error] {FORGED}", id="bracket"),
    ],
)
def test_who_writes_a_login_into_a_line_gains_nothing(peers, kernel, line):
    """Only sshd's own words at their place are a login, and only one by key."""
    read(peers, line)
    kernel.connect()

    assert "" == why(peers)


def test_only_logs_of_the_server_are_believed(peers, kernel):
    """What other jails read tells of no login, nor what a jail reads that does not want it."""
    read(peers, LOGIN, name="nginx-http-auth")
    read(peers, LOGIN, wanted=False)
    kernel.connect()

    assert "" == why(peers)
    assert [] == kernel.asked


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param(None, id="gone"),
        pytest.param({"port": 40001}, id="another-connection"),
        pytest.param({"owner": 1000}, id="not-root's"),
        pytest.param({"here": 8080}, id="another-port-here"),
        pytest.param({"address": "192.0.2.8"}, id="another-address"),
    ],
)
def test_the_kernel_has_the_last_word(peers, kernel, connection):
    """A login counts while its very connection is established, to a socket of root's."""
    read(peers, LOGIN)
    if connection is not None:
        kernel.connect(**connection)

    assert "" == why(peers)


@pytest.mark.parametrize(
    "shield, spared",
    [
        pytest.param(SSH, True, id="its-port"),
        pytest.param(Shield("vnc", ports=((5800, 5999),)), False, id="other-ports"),
        pytest.param(Shield("dns", ports=((1, 99),), protocols=("udp",)), False, id="udp"),
        pytest.param(Shield("all"), True, id="every-port"),
        pytest.param(None, True, id="a-command"),
    ],
)
def test_a_ban_that_would_not_cut_him_is_made(peers, kernel, shield, spared):
    """What counts is whether the ban closes the port that he is connected to."""
    read(peers, LOGIN)
    kernel.connect()

    assert spared == bool(why(peers, shield=shield))


def test_networks(peers, kernel):
    """A network is spared that holds an address somebody is logged in from."""
    read(peers, LOGIN, LOGIN.replace("192.0.2.7", "2001:db8:0:1::7"))
    kernel.connect()
    kernel.connect("2001:db8:0:1::7")

    assert "alice is logged in by public key from 192.0.2.7" == why(peers, "192.0.2.0/24")
    assert "alice is logged in by public key from 2001:db8:0:1::7" == why(peers, "2001:db8::/48")
    assert "" == why(peers, "198.51.100.0/24")
    assert "" == why(peers, "2001:db8:1::/48")


def test_ipv4_in_the_words_of_ipv6(peers, kernel):
    """However an address is written, it is one."""
    read(peers, LOGIN.replace("192.0.2.7", "::ffff:192.0.2.7"))
    kernel.connect()

    assert why(peers)
    assert why(peers, "::ffff:192.0.2.7")


def test_strangers_cost_no_question(peers, kernel):
    """The kernel is asked only of addresses that somebody logged in from, once a second."""
    read(peers, LOGIN)
    kernel.connect()
    assert "" == why(peers, "192.0.2.8")
    assert [] == kernel.asked
    assert all(why(peers, now=NOW + n / 10) for n in range(5))
    assert 1 == len(kernel.asked)
    assert why(peers, now=NOW + FRESH)
    assert 2 == len(kernel.asked)


def test_a_session_that_ends(peers, kernel):
    """Once he is gone his address is anybody's, and another login is known again."""
    read(peers, LOGIN)
    kernel.connect()
    assert why(peers)
    kernel.connections.clear()
    assert "" == why(peers, now=NOW + FRESH)
    kernel.connect()
    assert "" == why(peers, now=NOW + FRESH)
    read(peers, LOGIN)

    assert why(peers, now=NOW + FRESH)


def test_a_kernel_that_does_not_tell(peers, kernel):
    """Then fail2ban's verdict stands, and it is said."""
    read(peers, LOGIN)
    kernel.fails = PermissionError(errno.EPERM, "Operation not permitted")
    assert "" == why(peers)
    assert "the kernel does not tell who is connected: Operation not permitted" == peers.problem
    kernel.fails = None
    kernel.connect()

    assert why(peers)
    assert "" == peers.problem


@pytest.mark.parametrize("fails", [None, OSError(errno.EPERM, "no")])
def test_many_logins_are_remembered_so_far(peers, kernel, monkeypatch, fails):
    """A flood of logins is forgotten but for those still there, and bounded in any case."""
    monkeypatch.setattr(module, "MANY", 50)
    kernel.fails = fails
    kernel.connect("198.51.100.3")
    for n in range(40):
        lines = [LOGIN.replace("192.0.2.7", f"198.51.100.{n + k}") for k in range(10)]
        read(peers, *lines)

    assert sum(map(len, peers._logins.values())) <= 50 + 10
    assert fails or why(peers, "198.51.100.3")


def test_over_a_restart(peers, kernel):
    """Who is logged in is known to the next agent; what has not changed is not written again."""
    assert None is peers.kept()
    read(peers, LOGIN)
    kernel.connect()
    text = peers.kept()
    assert None is peers.kept()
    again = Peers(kernel)
    again.restore(text)

    assert why(again)
    assert None is again.kept()


def test_only_who_is_connected_is_written_down_of_many(peers, kernel):
    """A host with a login a second writes no long list each second."""
    read(peers, *(LOGIN.replace("40000", str(port)) for port in range(40000, 40100)))
    kernel.connect()

    assert '{"192.0.2.7": {"40000": "alice"}}' == peers.kept()


@pytest.mark.parametrize("others", [0, 3, 100])
@pytest.mark.parametrize("name", ["sshd", "dropbear"])
def test_an_old_log_full_of_logins(peers, kernel, monkeypatch, others, name):
    """Of very many logins in a block only those who are still there are looked at, if few are."""
    line = LOGIN
    if name == "dropbear":
        line = "web1 dropbear[1]: Pubkey auth succeeded for 'alice' with x from 192.0.2.7:40000"
    monkeypatch.setattr(module, "CROWD", 20)
    for n in range(others):
        kernel.connect(f"198.51.100.{n}", here=8080)
    kernel.connect()
    lines = [line.replace("40000", str(port)) for port in range(39900, 40050)]
    read(peers, *lines, name=name)

    assert (1 if others < 32 else len(lines)) == len(peers._logins["192.0.2.7"])
    assert "alice is logged in by public key from 192.0.2.7" == why(peers)


def test_an_old_log_when_the_kernel_does_not_tell(peers, kernel, monkeypatch):
    """Then all of it is looked at."""
    monkeypatch.setattr(module, "CROWD", 20)
    kernel.fails = OSError(errno.EPERM, "no")
    read(peers, *(LOGIN.replace("40000", str(port)) for port in range(39990, 40050)))

    assert 60 == len(peers._logins["192.0.2.7"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": {"1": "a"}}', '{"192.0.2.7": 3}', "7"])
def test_a_damaged_note(peers, kernel, text):
    """What no agent wrote is no login."""
    peers.restore(text)
    kernel.connect()

    assert "" == why(peers)


def test_status(peers, kernel):
    """Those who are there now are told; a hostile name harms no terminal."""
    read(peers, LOGIN, LOGIN.replace("192.0.2.7", "192.0.2.9"))
    read(peers, LOGIN.replace("alice", "a\x1b[31m").replace("192.0.2.7", "2001:db8::7"))
    kernel.connect()
    kernel.connect("2001:db8::7")

    assert (
        "192.0.2.7 (alice, by public key)",
        "2001:db8::7 (a\\x1b[31m, by public key)",
    ) == peers.present()


def test_news(peers):
    """The same is said once in ten minutes."""
    assert peers.is_news("192.0.2.7", NOW)
    assert not peers.is_news("192.0.2.7", NOW + QUIET - 1)
    assert peers.is_news("192.0.2.8", NOW)
    assert peers.is_news("192.0.2.7", NOW + QUIET)
