# SPDX-License-Identifier: MIT
"""Is a host left as it was by a push that fails, is killed, or loses its connection?"""

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from deploy.changes import with_file
from stockade.model import File, Host
from stockade.push import Settings
from stockade.push.talk import talk


JAIL = "/etc/stockade/jail.d/sshd.conf"


# ---- what it puts back


def jail_fails(host):
    host.jails["sshd"] = ("failed", "no such log")


def jail_is_not_there(host):
    host.jails.clear()


def firewall_unproved(host):
    host.proved_at = None


def unit_refuses(host):
    host.set_unit(refuse=1)


@pytest.mark.parametrize(
    "spoil, words",
    [
        pytest.param(jail_fails, "jail sshd failed: no such log", id="jail-fails"),
        pytest.param(jail_is_not_there, "jail sshd is not there", id="jail-missing"),
        pytest.param(firewall_unproved, "firewall nftables: not proved yet", id="firewall"),
        pytest.param(unit_refuses, "Job for stockade-agent.service failed.", id="no-start"),
    ],
)
@pytest.mark.parametrize("installed", [False, True], ids=["fresh", "installed"])
def test_an_unhealthy_agent_is_put_back(
    fake_host, converge, make_manifest, installed, spoil, words
):
    """When the new agent is not well, every file, mode and link is as before, and it is said."""
    if installed:
        converge(make_manifest())
        fake_host.path(JAIL).chmod(0o640)
    before, unit = fake_host.tree(), fake_host.unit()
    spoil(fake_host)

    result = converge(
        make_manifest(files=with_file(make_manifest(), File(JAIL, b"[sshd]\nmaxretry = 2\n"))),
        health_timeout=1.0,
    )

    assert "failed" == result.outcome
    assert words in result.error
    assert "every file was put back as it was" in result.error
    assert before == fake_host.tree()
    assert (unit["active"] == "active") == (fake_host.unit()["active"] == "active")
    assert (unit["file"] == "enabled") == (fake_host.unit()["file"] == "enabled")


def test_folders_made_for_a_failed_push_go_again(fake_host, converge, make_manifest):
    """A host that had no /etc/stockade has none after a push that failed."""
    unit_refuses(fake_host)

    converge(make_manifest())

    assert not fake_host.path("/etc/stockade").exists()
    assert not fake_host.path("/usr/lib/stockade").exists()


# ---- what a kill or a cut cannot break


def test_killed_anywhere_each_file_is_old_or_new(fake_host, local, make_manifest):
    """A kill -9 at random moments leaves no half file, and the next push finishes the work."""
    old, new = (
        make_manifest(
            files=with_file(
                make_manifest(),
                *(
                    File(f"/etc/stockade/f{n}.conf", f"{word} {n}\n".encode() * 500)
                    for n in range(8)
                ),
            )
        )
        for word in ("old", "new")
    )
    allowed = {file.path: set() for file in old.files}
    for file in (*old.files, *new.files):
        allowed[file.path].add(file.content)
    login, chance = Host("web1", "192.0.2.1"), random.Random(7)
    settings = Settings(root=str(fake_host.root), health_timeout=5.0)
    assert "changed" == talk(local(), login, old, "push", settings, lambda h, t: None).outcome

    outcomes = []
    for attempt in range(20):
        remote, wanted = local(), (new, old)[attempt % 2]

        def strike(name, text, remote=remote):
            if text == "switching":
                pid = converge_pid(remote.channels[0].pid)
                threading.Timer(chance.random() * 0.02, kill, [pid]).start()

        outcomes.append(talk(remote, login, wanted, "push", settings, strike).outcome)
        for path, contents in allowed.items():
            assert fake_host.path(path).read_bytes() in contents

    assert "failed" in outcomes
    last = talk(local(), login, new, "push", settings, lambda h, t: None)
    assert last.outcome in ("ok", "changed")
    assert {file.content for file in new.files} == {
        fake_host.path(file.path).read_bytes() for file in new.files
    }
    assert [] == list(fake_host.root.rglob(".stockade-tmp-*"))


def converge_pid(shell):
    """Return the Python below the loader's shell."""
    children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    return int(children[0])


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_the_push_after_a_killed_one_undoes_it_first(fake_host, local, converge, make_manifest):
    """What a killed push left is put back before anything else, and a note says so."""
    converge(make_manifest())
    changed = make_manifest(files=with_file(make_manifest(), File(JAIL, b"[sshd]\nmaxretry = 2\n")))
    remote = local()

    def strike(name, text):
        if text == "waiting for the agent":
            kill(converge_pid(remote.channels[0].pid))

    firewall_unproved(fake_host)  # so that it waits
    talk(
        remote,
        Host("web1", "192.0.2.1"),
        changed,
        "push",
        Settings(root=str(fake_host.root)),
        strike,
    )
    assert fake_host.path("/var/lib/stockade/undo/log.json").exists()
    fake_host.proved_at = 1.0

    result = converge(make_manifest())

    assert ("an earlier push was interrupted here; its changes were undone",) == result.notes
    assert b"[sshd]\nenabled = true\n" == fake_host.path(JAIL).read_bytes()
    assert not fake_host.path("/var/lib/stockade/undo").exists()


def test_a_cut_connection_does_not_stop_a_switch(fake_host, local, make_manifest):
    """Once it has begun to switch, converge ends its work without anybody listening."""
    remote = local()

    def cut(name, text):
        if text == "switching":
            remote.channels[0].close()

    result = talk(
        remote,
        Host("web1", "192.0.2.1"),
        make_manifest(),
        "push",
        Settings(root=str(fake_host.root)),
        cut,
    )

    assert "failed" == result.outcome
    deadline = time.monotonic() + 20
    record = fake_host.path("/var/lib/stockade/manifest.json")
    undo = fake_host.path("/var/lib/stockade/undo")
    while not (record.exists() and not undo.exists()):
        assert deadline > time.monotonic()
        time.sleep(0.05)
    assert "active" == fake_host.unit()["active"]
