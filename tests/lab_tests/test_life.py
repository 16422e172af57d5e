# SPDX-License-Identifier: MIT
"""Does a lab begin once, end cleanly, and leave nothing behind when it is killed?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import Lab, LabError, cgroups
from lab.paths import PACKAGE, RUNTIME


pytestmark = pytest.mark.lab

DEADLINE = 20.0


def until(condition):
    """Poll until the condition holds; whether it did before the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def processes(name):
    """Processes of all the machine that speak of a lab, or are nspawn of it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(f"/{name}/" in word or word == name for word in words):
            found.append((path.parent.name, words))
    return found


def namespaces():
    """The network namespaces that any process is in."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(path.readlink())
        except OSError:
            continue
    return found


def mounts(name):
    return [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if f"/{name}/" in line
    ]


def command(name, *words):
    return subprocess.run(
        [sys.executable, "-m", "lab", *words],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "STOCKADE_LAB": name},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def name():
    """The name of a lab for the command line, that ends with the test."""
    name = f"test-{os.getpid()}"
    yield name
    command(name, "down")


def test_up_again_is_no_op_and_down_ends_all(name):
    """A second `up` changes nothing and says so; `down` leaves no trace; a second one says so."""
    first = command(name, "up", "debian12")
    booted = command(name, "shell", "debian12", "cat", "/proc/sys/kernel/random/boot_id")
    second = command(name, "up", "debian12")
    machine_id = command(name, "shell", "debian12", "cat", "/etc/machine-id").stdout

    assert (0, 0, 0) == (first.returncode, booted.returncode, second.returncode), first.stderr
    assert "debian12: up already" in second.stderr
    assert first.stdout == second.stdout == command(name, "status").stdout
    assert machine_id == command(name, "shell", "debian12", "cat", "/etc/machine-id").stdout

    assert "lab: down\n" in command(name, "down").stderr
    assert [] == processes(name)
    assert name not in cgroups.labs()
    assert not (RUNTIME / name).exists()
    assert "nothing was up" in command(name, "down").stderr


def test_up_adds_the_hosts_that_are_missing(name):
    """`up` with one more host boots only that."""
    command(name, "up", "debian12")
    more = command(name, "up", "debian12", "debian12-1")

    assert ["debian12", "debian12-1"] == [line.split()[0] for line in more.stdout.splitlines()[:2]]


def test_killed_supervisor_leaves_nothing_that_lives():
    """After kill -9 of the supervisor there are no processes, mounts, namespaces; soon no rest."""
    with Lab() as killed:
        host = killed.boot("debian12-1")
        # While it is held open, its number is not another's, who runs beside this test.
        held = os.open(f"/proc/{host.leader}/ns/net", os.O_RDONLY)
        inside = Path(f"/proc/{host.leader}/ns/net").readlink()
        assert inside in namespaces()

        os.kill(killed.pid, signal.SIGKILL)

        assert until(lambda: not Path(f"/proc/{host.leader}").exists())
        assert until(lambda: not [pid for pid, _ in processes(killed.name)])
        assert inside not in namespaces()
        os.close(held)
        assert [] == mounts(killed.name)
        with Lab():
            assert killed.name not in cgroups.labs()
            assert not (RUNTIME / killed.name).exists()


def test_killed_test_process_leaves_nothing():
    """A lab ends with the process that began it, by kill -9 too, and takes its traces along."""
    script = (
        "import sys\nfrom lab import Lab\n"
        "with Lab() as lab:\n"
        "    host = lab.boot('debian12-1')\n"
        "    print(lab.name, host.leader, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as begun:
        name, leader = begun.stdout.readline().split()
        assert name in cgroups.labs()
        begun.kill()

    assert until(lambda: not list(RUNTIME.glob(f"*{name}*")))
    # Its last act is to take its traces away: its processes end with it, a moment later.
    assert until(lambda: not Path(f"/proc/{leader}").exists())
    assert until(lambda: not processes(name))
    assert name not in cgroups.labs()


def test_two_labs_at_a_time():
    """Hosts of one name in two labs have one address and nothing else in common."""
    with Lab() as one, Lab() as other:
        ours, theirs = one.boot("debian12-1"), other.boot("debian12-1")
        ours.run("nft add table inet ours")

        assert ours.address == theirs.address
        assert "" == theirs.run("nft list tables").stdout
        assert ours.host_keys != theirs.host_keys
        assert {(lab.name, "debian12-1") for lab in (one, other)} <= cgroups.hosts()


def test_a_host_that_stops_takes_only_itself_away():
    """A stopped host is gone, its neighbour is not, and its name is free again."""
    with Lab() as lab:
        lab.boot_all(["debian12-1", "debian12-2"])
        lab.hosts["debian12-1"].stop()

        assert ["debian12-2"] == list(lab.hosts)
        assert "running\n" == lab.hosts["debian12-2"].run("systemctl is-system-running").stdout
        assert "running\n" == lab.boot("debian12-1").run("systemctl is-system-running").stdout


def test_neighbours_find_the_next_host_of_a_name_at_once():
    """Whoever spoke with a host that ended speaks with the next of its name without a delay."""
    with Lab() as lab:
        for _ in range(2):
            host = lab.boot("debian12-1")
            for address in (host.address, host.address6):
                words = f"exec 3<>/dev/tcp/{address}/22"
                lab.run("controller", ["bash", "-c", words], timeout=3)
            host.stop()


def test_a_name_that_is_taken(lab, hosts):
    """A host that is there already is refused, and stays."""
    with pytest.raises(LabError, match="debian12-1: there already"):
        lab.boot("debian12-1")

    assert "" == hosts["debian12"].run("true").stdout


@pytest.mark.parametrize("graceful", [True, False], ids=["orderly", "as-by-pulled-plug"])
def test_reboot(graceful):
    """After a reboot files are there, and the kernel's rules are not."""
    with Lab() as lab:
        host = lab.boot("debian12-1")
        host.write("/var/lib/kept", "yes")
        host.run("nft add table inet gone")

        host.reboot(graceful=graceful)

        assert "yes" == host.read("/var/lib/kept")
        assert "" == host.run("nft list tables").stdout


def test_reboot_from_inside():
    """A host that reboots itself comes back."""
    with Lab() as lab:
        host = lab.boot("debian12-1")
        before = host.leader
        host.run("systemctl reboot", check=False)

        def back():
            lab.refresh()
            return host.leader not in (0, before)

        assert until(back)
        assert until(lambda: host.run("systemctl is-active ssh", check=False).rc == 0)
