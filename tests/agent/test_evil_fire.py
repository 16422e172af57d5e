# SPDX-License-Identifier: MIT
"""Does the agent, as a process, protect all else while somebody sends lines that hang a filter?"""

import signal

import pytest

from agent.host import Host


JAIL_CONF = """\
[DEFAULT]
enabled = true
filter = %(__name__)s
maxretry = 3
filtertime = 0.2
backend = auto
port = 22
action = nftables-multiport[port="%(port)s"]

[mail]
logpath = {folder}/mail.log

[sshd]
logpath = {folder}/auth.log
"""
FILTERS = {
    "mail": "^\\s*\\S+ mail: (?:\\w+ ?)+: denied to <HOST>$",
    "sshd": "^\\s*\\S+ sshd: Failed password from <HOST>$",
}


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path, JAIL_CONF, FILTERS)
    for name in ("mail.log", "auth.log"):
        (tmp_path / name).touch()
    yield host.start()
    host.end(signal.SIGKILL)


def evil(escape=""):
    return f"mail: {'word ' * 40}{escape}! denied to 203.0.113.66"


def denied(address):
    return f"mail: for some reason: denied to {address}"


def failed(address):
    return f"sshd: Failed password from {address}"


def test_the_lines_around_an_evil_one_count_once(host):
    """A jail counts what stands before and behind a line that hangs it, and goes on."""
    host.write(
        "mail.log", denied("203.0.113.1"), denied("203.0.113.1"), evil(), denied("203.0.113.1")
    )
    host.until(lambda: host.banned("mail") == {"203.0.113.1"})
    jail = host.jail("mail")

    assert (3, "1 line was given up after 0.2 s each") == (jail.failed_total, jail.problem)
    assert 1 == host.log().count("a line took more than 0.2 s of CPU time and was given up, in '^")


def test_other_jails_go_on_under_fire(host):
    """A jail whose filter is hung again and again is suspended; each attacker of another is banned.

    The log has each line that was given up, with its escapes made harmless.
    """
    for number in range(1, 6):
        host.write("mail.log", *[evil("\033[2J")] * 20)
        host.write("auth.log", *[failed(f"198.51.100.{number}")] * 3)
        host.until(lambda last=number: f"198.51.100.{last}" in host.banned("sshd"))
    problem = host.until(lambda: host.jail("mail").problem)

    assert {f"198.51.100.{number}" for number in range(1, 6)} == host.banned("sshd")
    assert 15 == host.jail("sshd").failed_total
    assert problem.startswith("filter suspended, as it took too much CPU time, last in '^")
    assert "; 2 lines were given up after 0.2 s each" in problem
    assert "[mail] filter: suspended" in host.log()
    assert "\033" not in host.log()
    assert 0 == host.jail("mail").failed_total


def test_a_stop_in_the_midst_of_an_evil_line(host):
    """SIGTERM is heeded, and the agent ends well."""
    host.write("mail.log", *[evil()] * 3)

    assert 0 == host.end()
