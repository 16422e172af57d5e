# SPDX-License-Identifier: MIT
"""What stops a push before anything on the host is touched?"""

import fcntl

import pytest

from deploy.changes import actions, restarts, with_file
from stockade.model import Change, File
from stockade.push.talk import Lacking


JAIL = "/etc/stockade/jail.d/sshd.conf"
CLIENT = "/usr/bin/fail2ban-client"


def break_config(host, manifest):
    host.path("/etc/stockade/jail.d").mkdir(parents=True)
    host.path("/etc/stockade/jail.d/own.conf").write_text("BROKEN")


def no_firewall(host, manifest):
    for name in ("nft", "iptables"):
        (host.fake / name).unlink()


def no_systemd(host, manifest):
    host.path("/run/systemd/system").rmdir()


def masked(host, manifest):
    host.set_unit(file="masked")


def in_the_way(host, manifest):
    host.path(JAIL).mkdir(parents=True)


def claimed(host, manifest):
    host.path(CLIENT).parent.mkdir(parents=True, exist_ok=True)
    host.path(CLIENT).write_text("#!/bin/sh\n# of a package\n")


def with_client(manifest):
    """Return the files of a manifest, and one that takes nobody's place."""
    return (*manifest.files, File(CLIENT, b"#!/bin/sh\n", mode=0o755, unclaimed=True))


@pytest.mark.parametrize("mode", ["check", "push"])
def test_another_programs_command_is_not_replaced(fake_host, converge, make_manifest, mode):
    """Where fail2ban's own client is, ours is refused in words; nothing is changed."""
    manifest = make_manifest(files=with_client(make_manifest()))
    claimed(fake_host, manifest)
    before = fake_host.tree()

    result = converge(manifest, mode)

    assert "refused" == result.outcome
    assert f"{CLIENT} is another program's" in result.error
    assert before == fake_host.tree()


def test_our_own_command_is_replaced_and_removed(fake_host, converge, make_manifest):
    """What a push brought, the next may change, and takes away when it is not asked for."""
    first = make_manifest(files=with_client(make_manifest()))
    assert ("file", CLIENT, "create") in actions(converge(first))
    newer = (*make_manifest().files, File(CLIENT, b"#!/bin/sh\n#\n", unclaimed=True))

    assert ("file", CLIENT, "update") in actions(converge(make_manifest(files=newer)))
    assert ("file", CLIENT, "remove") in actions(converge(make_manifest()))
    assert not fake_host.path(CLIENT).exists()


@pytest.mark.parametrize(
    "prepare, changes, words",
    [
        pytest.param(break_config, {}, "/etc/stockade/jail.d/own.conf:1: broken", id="bad-config"),
        pytest.param(no_firewall, {}, "no usable firewall on debian 12", id="no-firewall"),
        pytest.param(
            lambda host, manifest: None,
            {"firewall": "firewalld"},
            "firewalld is asked for, but it does not run",
            id="no-firewalld",
        ),
        pytest.param(no_systemd, {}, "systemd does not run this host", id="no-systemd"),
        pytest.param(masked, {}, "stockade-agent.service is masked", id="masked"),
        pytest.param(in_the_way, {}, f"{JAIL} is in the way", id="a-folder-in-the-way"),
    ],
)
@pytest.mark.parametrize("mode", ["check", "push"])
def test_refused_in_words_and_untouched(
    fake_host, converge, make_manifest, mode, prepare, changes, words
):
    """A host that cannot be served is told why, and nothing on it is changed."""
    manifest = make_manifest(**changes)
    prepare(fake_host, manifest)
    before = fake_host.tree()

    result = converge(manifest, mode)

    assert "refused" == result.outcome
    assert words in result.error
    assert result.remedy
    assert before == fake_host.tree()
    assert [] == restarts(fake_host)


def test_missing_packages_stop_a_push_before_anything(fake_host, converge, make_manifest):
    """A push leaves a host that lacks packages to bootstrap, and a plan names them."""
    fake_host.set_packages("iptables")
    before = fake_host.tree()
    manifest = make_manifest(packages={"apt": ("nftables", "iptables")})

    pushed, planned = converge(manifest), converge(manifest, "check")

    assert isinstance(pushed, Lacking)
    assert ("nftables",) == pushed.facts.missing
    assert Change("package", "nftables", "install") == planned.changes[0]
    assert ("file", JAIL, "create") in actions(planned)
    assert before == fake_host.tree()


def test_one_push_at_a_time(fake_host, converge, make_manifest):
    """While another push holds the host, this one is refused in words."""
    with fake_host.path("/run/stockade-push.lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = converge(make_manifest())

    assert "refused" == result.outcome
    assert "another push is under way on this host (process 4711)" == result.error


USERS = File("/etc/sysusers.d/stockade.conf", b"u stockade -\n")
SYSUSERS = """\
import os, sys
with open(os.environ["FAKE"] + "/calls", "a") as calls:
    calls.write("systemd-sysusers " + " ".join(sys.argv[1:]) + "\\n")
if os.path.exists(os.environ["FAKE"] + "/no-users"):
    sys.exit("no room in passwd")
"""


def test_users_are_made_before_the_unit_that_runs_as_one(fake_host, converge, make_manifest):
    """A written file of sysusers.d is acted on, once, and before systemd hears of the unit."""
    fake_host.script("systemd-sysusers", SYSUSERS)
    manifest = make_manifest(files=with_file(make_manifest(), USERS))
    converge(manifest)
    made = [call for call in fake_host.calls if "sysusers" in call]

    assert [f"systemd-sysusers {USERS.path}"] == made
    assert fake_host.calls.index(made[0]) < fake_host.calls.index("systemctl daemon-reload")
    converge(manifest)
    assert made == [call for call in fake_host.calls if "sysusers" in call]


def test_users_that_cannot_be_made(fake_host, converge, make_manifest):
    """The push is undone, and says why."""
    fake_host.script("systemd-sysusers", SYSUSERS)
    (fake_host.fake / "no-users").touch()
    before = fake_host.tree()

    result = converge(make_manifest(files=with_file(make_manifest(), USERS)))

    assert "failed" == result.outcome
    assert result.error.startswith("systemd-sysusers: no room in passwd")
    assert before == fake_host.tree()
