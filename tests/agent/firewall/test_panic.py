# SPDX-License-Identifier: MIT
"""Does ``panic`` empty the kernel at once, keep it so over a restart, and end when told?"""

import time

import pytest


pytestmark = pytest.mark.lab

DEADLINE = 20.0
COUNT = 300


def until(condition):
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)
    return found


def test_panic(service):
    """All bans are gone from the kernel; failures count, and ban nobody until ``resume``."""
    log = service.folder / "auth.log"
    log.touch()
    jail = service.folder / "jail.conf"
    jail.write_text(jail.read_text().replace("/nowhere/auth.log", str(log)))
    service.fill([f"10.1.{n // 250}.{n % 250 + 1}" for n in range(COUNT)])

    def fail(address):
        before = failed()
        with log.open("a") as writing:
            stamp = time.strftime("%b %d %H:%M:%S")
            writing.write(f"{stamp} host sshd[1]: failed from {address}\n" * 5)
        until(lambda: failed() == before + 5)

    def failed():
        return service.ask("status")["jails"][0]["failed_total"]

    service.start()
    assert COUNT == service.held()
    assert COUNT == len(service.ask("panic")["changed"])
    assert 0 == service.held()
    fail("192.0.2.7")
    assert 0 == service.held()
    told = service.ask("status")["jails"][0]
    assert (True, 0) == (told["paused"], told["banned_now"])
    service.end()
    service.start()
    assert 0 == service.held()
    fail("192.0.2.7")
    assert 0 == service.held()
    assert {"changed": ["all"]} == service.ask("resume")
    fail("192.0.2.7")

    assert 1 == until(service.held)
    assert not service.ask("status")["jails"][0]["paused"]
