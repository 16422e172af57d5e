# SPDX-License-Identifier: MIT
"""On a real host, is it put back in time what somebody takes, whatever the tool he takes?"""

import subprocess
import time

import pytest

from system.guarded import DEADLINE, FAULTS, HOSTS, IN_TIME, RELOADS, RULES, Guarded


@pytest.fixture(scope="module", params=sorted(HOSTS))
def guarded(request, lab, tmp_path_factory):
    """A host for each backend."""
    found = Guarded(lab, tmp_path_factory.mktemp(request.param), request.param)
    yield found
    found.host.stop()


def test_everything_is_put_back(guarded, record_property):
    """Bans are in force again within two seconds, it is counted, and nothing stays amiss."""
    for fault in FAULTS[guarded.backend]:
        seconds = guarded.strike(fault)
        print(f"{guarded.backend}: {fault}: {seconds:.2f} s")
        record_property(fault, seconds)
        assert seconds < IN_TIME
        found = guarded.firewall()
        assert ("", []) == (found["problem"], found["warnings"])
        # Who takes again and again is answered more slowly: not what is measured here.
        guarded.host.run("systemctl restart stockade-agent")


@pytest.mark.parametrize("guarded", ["firewalld"], indirect=True)
@pytest.mark.parametrize("reload", RELOADS)
def test_reloads_of_firewalld(guarded, reload):
    """A reload takes nothing, as bans are permanent: there is nothing to put back."""
    healed = guarded.firewall()["healed"]
    guarded.host.run(reload)
    guarded.wait_until_whole()

    found = guarded.firewall()
    assert (healed, "", []) == (found["healed"], found["problem"], found["warnings"])


@pytest.mark.parametrize("guarded", ["firewalld"], indirect=True)
def test_firewalld_stops(guarded):
    """While firewalld does not run a table of ours refuses, and it takes over when it is back."""
    guarded.host.run("systemctl stop firewalld")
    begun = time.monotonic()
    while not guarded.refuses():
        assert time.monotonic() - begun < IN_TIME
    guarded.until(lambda firewall: "firewalld" in firewall["problem"])
    guarded.host.run(["stockade-agent", "ban", "sshd", "203.0.113.9"], check=False)
    assert "203.0.113.9" in guarded.host.run(RULES["nftables"]).stdout

    guarded.host.run("systemctl start firewalld")
    guarded.until(lambda firewall: not firewall["problem"])
    guarded.host.run(["stockade-agent", "unban", "sshd", "203.0.113.9"])
    guarded.wait_until_whole()
    assert 0 != guarded.host.run(RULES["nftables"], check=False).rc


CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 22), 5)
print(connection.recv(100).decode().strip(), flush=True)
sys.stdin.readline()
connection.settimeout(3)
try:
    connection.sendall(b"SSH-2.0-client\\r\\n")
    print("answer" if connection.recv(100) else "end")
except ConnectionError:
    print("reset")
except TimeoutError:
    print("silence")
"""
CUT = {"firewalld": "reset", "nftables": "reset", "iptables": "silence"}


@pytest.mark.parametrize("family", [4, 6])
def test_an_established_connection_is_cut(guarded, lab, family):
    """Whoever is banned while he is connected to sshd gets no further word from it."""
    address = lab.address("attacker") if family == 4 else lab.address6("attacker")
    other = lab.address("attacker2") if family == 4 else lab.address6("attacker2")
    assert address != other
    goal = guarded.host.address if family == 4 else guarded.host.address6
    clients = [
        lab.popen(
            place,
            ["python3", "-c", CLIENT, goal],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in ("attacker", "attacker2")
    ]
    assert all(client.stdout.readline().startswith("SSH-2.0-") for client in clients)
    guarded.host.run(["stockade-agent", "ban", "sshd", address])
    try:
        answers = [client.communicate("\n", timeout=DEADLINE)[0].strip() for client in clients]
    finally:
        guarded.host.run(["stockade-agent", "unban", "sshd", address])

    assert [CUT[guarded.backend], "answer"] == answers
