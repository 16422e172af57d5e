# SPDX-License-Identifier: MIT
"""Does the whole agent, as a process, ban who fails, and keep its bans over anything?"""

import os
import signal
import socket
import time
from datetime import datetime

import pytest

from agent.host import Host
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import Request
from stockade_agent.errors import ControlError
from stockade_agent.ledger import Ledger


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    yield host
    host.end(signal.SIGKILL)


def test_three_failures_are_a_ban(host):
    """Lines go in, a ban comes out, and the log says so in fail2ban's words."""
    host.start()
    host.fail("192.0.2.7", 2)
    host.fail("192.0.2.8", 3)
    host.until(lambda: host.banned() == {"192.0.2.8"})
    jail = host.jail()

    assert ("running", "file", "22", 1, 5, 1, 1) == (
        jail.state,
        jail.source,
        jail.ports,
        jail.failed_now,
        jail.failed_total,
        jail.banned_now,
        jail.banned_total,
    )
    assert "<6>[sshd] Found 192.0.2.8\n" in host.log()
    assert "<5>[sshd] Ban 192.0.2.8\n" in host.log()


def test_a_flood_is_banned_whole(host):
    """Hundreds of attackers in one write are all banned."""
    host.start()
    addresses = {f"198.51.100.{n}" for n in range(1, 255)}
    for address in addresses:
        host.fail(address)

    host.until(lambda: host.banned() == addresses)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill-9"])
def test_bans_and_totals_survive_a_restart(host, number):
    """The next agent has the bans in force before it answers, and repeats no line."""
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: host.banned() == {"192.0.2.7"})
    before = host.jail()
    host.end(number)
    host.fail("192.0.2.8")
    host.start()
    host.until(lambda: host.banned() == {"192.0.2.7", "192.0.2.8"})
    after = host.jail()

    assert before.bans[0] in after.bans
    assert (6, 2) == (after.failed_total, after.banned_total)
    assert "[sshd] Restore Ban 192.0.2.7" in host.log()


def test_failures_below_maxretry_survive_kill_9(host):
    """Two failures of three are remembered once they are committed, and not counted again."""
    host.start()
    host.fail("192.0.2.7", 2)
    host.until(lambda: host.jail().failed_total == 2)
    host.until(lambda: Ledger(f"{host.folder}/ledger.sqlite3").totals() == {"sshd": (2, 0)})
    host.end(signal.SIGKILL)
    host.start()
    assert (1, 2) == (host.jail().failed_now, host.jail().failed_total)
    host.fail("192.0.2.7", 1)
    host.until(lambda: host.banned() == {"192.0.2.7"})

    assert 3 == host.jail().bans[0].failures


def test_a_pause_survives_kill_9(host):
    """It is kept before it is answered, also where there was no ban to lift; so is its end."""
    for word, banned in (("panic", set()), ("resume", {"192.0.2.7"})):
        host.start()
        assert 0 == host.run(word).returncode
        host.end(signal.SIGKILL)
        host.start()
        before = host.jail().failed_total
        host.fail("192.0.2.7")
        host.until(lambda before=before: host.jail().failed_total == before + 3)
        assert banned == host.banned()
        assert ("PAUSED" in host.run("status").stdout) is (word == "panic")
        host.end()


def test_the_end_of_a_ban(host):
    """When bantime is over the address is free again, at once and without being asked for."""
    # The line is of its whole second; with less, a busy machine reads it once the ban is over.
    host.configure(bantime=3)
    host.start()
    host.fail("192.0.2.7")
    host.until(lambda: "[sshd] Unban 192.0.2.7" in host.log())

    assert set() == host.banned()


def test_ban_and_unban_by_hand(host):
    """Addresses and networks are banned and freed; what was changed is told."""
    host.start()
    ban, unban = Request("ban", "sshd", ("192.0.2.7", "2001:db8::1/64")), Request("unban")
    assert {"changed": ["192.0.2.7", "2001:db8::/64"]} == ask(host.socket, ban)
    assert {"192.0.2.7", "2001:db8::/64"} == host.banned()
    assert {"changed": []} == ask(host.socket, ban)
    one = Request("unban", "", ("192.0.2.7", "192.0.2.9"))
    told = {"changed": ["192.0.2.7"], "count": 1, "absent": ["192.0.2.9"], "within": {}}
    assert told == ask(host.socket, one)
    assert [] == ask(host.socket, unban)["changed"]
    told = {"changed": ["2001:db8::/64"], "count": 1, "absent": [], "within": {}}
    assert told == ask(host.socket, Request("unban", "sshd", ("all",)))

    assert set() == host.banned()


def test_a_reload_that_frees(host):
    """``unban`` frees all of a jail or of all jails; a jail that is nowhere has nobody to free."""
    host.start()
    ask(host.socket, Request("ban", "sshd", ("192.0.2.7",)))
    ask(host.socket, Request("reload", "nojail", words=("unban", "if-exists")))
    assert {"192.0.2.7"} == host.banned()
    ask(host.socket, Request("reload", "sshd", words=("unban",)))
    assert set() == host.banned()
    ask(host.socket, Request("ban", "sshd", ("192.0.2.7",)))
    ask(host.socket, Request("reload", words=("unban", "restart")))

    assert set() == host.banned()


@pytest.mark.parametrize(
    "id_, why",
    [
        pytest.param("127.0.0.1", "own address", id="own"),
        pytest.param("127.0.0.0/8", "own address", id="network-of-own"),
        pytest.param("203.0.113.9", "controller", id="controller"),
        pytest.param("203.0.113.0/24", "controller", id="network-of-a-controller"),
        pytest.param("198.51.100.77", "ip", id="ignoreip"),
        pytest.param("root", "no address", id="no-address"),
    ],
)
def test_who_is_never_banned_by_hand(host, id_, why):
    """The never-ban list holds against a person too, and nothing of the request is done."""
    (host.folder / "controllers").write_text("# who pushed\n203.0.113.9\n")
    host.configure("ignoreip = 198.51.100.64/26")
    host.start()
    with pytest.raises(ControlError, match=why):
        ask(host.socket, Request("ban", "sshd", ("192.0.2.7", id_)))

    assert set() == host.banned()


def test_who_is_never_banned_by_a_log(host):
    """Own addresses, controllers, and ignoreip fail without consequence; others are banned."""
    (host.folder / "controllers").write_text("203.0.113.9\n")
    host.configure("ignoreip = 198.51.100.64/26")
    host.start()
    for address in ("127.0.0.1", "203.0.113.9", "198.51.100.77", "192.0.2.7"):
        host.fail(address, 5)
    host.until(lambda: host.banned() == {"192.0.2.7"})

    assert 5 == host.jail().failed_total


@pytest.mark.skipif(os.geteuid() != 0, reason="only a socket of root's may be sshd's")
def test_who_is_logged_in_by_a_key(host):
    """A real connection spares its address, over a kill of the agent too, until it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        host.configure("ignorepeers = true")
        jails = host.folder / "jail.conf"
        jails.write_text(jails.read_text().replace("port = 22\n", f"port = {port}\n"))
        client = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        end, (_, theirs) = server.accept()
        login = f"host sshd[7]: Accepted publickey for alice from 127.0.0.2 port {theirs} ssh2\n"
        stamp = datetime.now().strftime("%b %d %H:%M:%S")  # noqa: DTZ005 - as syslog writes it
        (host.folder / "auth.log").write_text(f"{stamp} {login}")
        host.start().fail("127.0.0.2", 5)
        host.fail("192.0.2.7", 3)
        host.until(lambda: {"192.0.2.7"} == host.banned())
        assert "127.0.0.2 (alice, by public key)" in host.status().never_banned
        host.end(signal.SIGKILL)
        host.start().fail("127.0.0.2", 1)
        host.fail("192.0.2.8", 3)
        host.until(lambda: {"192.0.2.7", "192.0.2.8"} == host.banned())
        assert 2 == host.log().count("127.0.0.2 would be banned, but is spared: alice is logged in")
        client.close()
        end.close()
        assert not any("127.0.0.2" in each for each in host.status().never_banned)
        host.fail("127.0.0.2", 1)

        host.until(lambda: "127.0.0.2" in host.banned())


def test_a_controller_that_comes_later(host):
    """The file of controllers is read again before a ban is made."""
    host.start()
    host.fail("203.0.113.9", 2)
    host.until(lambda: host.jail().failed_now == 1)
    time.sleep(1.1)  # the answer is taken for the present for one second
    (host.folder / "controllers").write_text("203.0.113.9\n")
    host.fail("203.0.113.9", 1)
    host.fail("192.0.2.7")
    host.until(lambda: host.banned() == {"192.0.2.7"})


def test_unknown_jails_are_answered_with_the_nearest(host):
    """A slip in a jail's name is answered with the name that was meant."""
    host.start()
    with pytest.raises(ControlError, match=r"no jail named shd \(did you mean sshd\?\)"):
        ask(host.socket, Request("status", "shd"))
