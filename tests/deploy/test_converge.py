# SPDX-License-Identifier: MIT
"""Does a push make a host what its manifest says, or else leave it as it was?"""

import ast
import contextlib
import fcntl
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from stockade import converge as package
from stockade.model import Change, File, Host
from stockade.push import Settings
from stockade.push.talk import Lacking, talk


UNIT = "stockade-agent.service"
JAIL = "/etc/stockade/jail.d/sshd.conf"
CLIENT = "/usr/bin/fail2ban-client"
BUNDLE = "/usr/lib/stockade/stockade-agent.pyz"
PYTHON = "/usr/lib/stockade/python3"
CONTROLLERS = "/etc/stockade/controllers"


def with_file(manifest, *files):
    """Return the files of a manifest, those of the same path replaced."""
    by_path = {file.path: file for file in (*manifest.files, *files)}
    return tuple(by_path[path] for path in sorted(by_path))


def actions(result):
    return [(change.kind, change.name, change.action) for change in result.changes]


def restarts(host):
    verbs = [call.split()[1] for call in host.calls]
    return [verb for verb in verbs if verb in ("restart", "reload-or-restart")]


# ---- what a push does


def test_first_push_installs_enables_and_starts(fake_host, converge, make_manifest):
    """A bare host gets every file, the link to its Python, the controller's address, the unit."""
    result = converge(make_manifest())

    assert "" == result.error
    assert [
        ("file", JAIL, "create"),
        ("file", f"/etc/systemd/system/{UNIT}", "create"),
        ("file", BUNDLE, "create"),
        ("file", PYTHON, "create"),
        ("controller", "192.0.2.9", "create"),
        ("service", UNIT, "enable"),
        ("service", UNIT, "start"),
    ] == actions(result)
    assert "changed" == result.outcome
    assert ("active", "enabled") == (fake_host.unit()["active"], fake_host.unit()["file"])
    assert "/usr/bin/python3" == os.readlink(fake_host.path(PYTHON))
    assert "192.0.2.9\n" == fake_host.path(CONTROLLERS).read_text()
    assert "nftables" == result.agent["firewall"]["backend"]


def test_second_push_changes_nothing(fake_host, converge, make_manifest):
    """The same manifest again: outcome ok, no file touched, the agent left running."""
    converge(make_manifest())
    before, calls = fake_host.tree(), len(fake_host.calls)

    result = converge(make_manifest())

    assert ("ok", []) == (result.outcome, actions(result))
    assert before == fake_host.tree()
    assert {"show"} == {call.split()[1] for call in fake_host.calls[calls:]}


def test_check_foretells_the_push_and_touches_nothing(fake_host, converge, make_manifest):
    """Check mode names exactly the changes that push then makes."""
    before = fake_host.tree()

    planned = converge(make_manifest(), "check")

    assert before == fake_host.tree()
    assert [] == list(fake_host.path("/run").glob("stockade-*"))
    assert actions(planned) == actions(converge(make_manifest()))


@pytest.mark.parametrize(
    "restart, verb",
    [
        pytest.param(True, ["restart"], id="restart"),
        pytest.param(False, ["reload-or-restart"], id="reload"),
    ],
)
def test_only_what_asks_for_it_restarts_the_agent(
    fake_host, converge, make_manifest, restart, verb
):
    """A changed file restarts the agent, or only reloads it, as the file says."""
    extra = "/etc/stockade/jail.d/extra.conf"
    manifest = make_manifest()
    first = make_manifest(files=with_file(manifest, File(extra, b"a\n", restart=restart)))
    converge(first)
    calls = len(fake_host.calls)

    result = converge(
        make_manifest(files=with_file(manifest, File(extra, b"b\n", restart=restart)))
    )

    assert [("file", extra, "update")] == actions(result)[:1]
    verbs = [call.split()[1] for call in fake_host.calls[calls:]]
    assert verb == [v for v in verbs if v in ("restart", "reload-or-restart")]


def test_a_file_changed_on_the_host_is_set_right(fake_host, converge, make_manifest):
    """Drift in content, mode or kind is found by comparing what lies on the host."""
    converge(make_manifest())
    fake_host.path(JAIL).write_text("[sshd]\nenabled = false\n")
    fake_host.path(BUNDLE).chmod(0o777)
    fake_host.path(PYTHON).unlink()
    fake_host.path(PYTHON).write_text("not a link")

    result = converge(make_manifest(), diff=True)

    assert [JAIL, BUNDLE, PYTHON] == [c.name for c in result.changes if c.kind == "file"]
    assert "mode 0777 -> 0644" in result.changes[1].diff
    assert 0o644 == fake_host.path(BUNDLE).stat().st_mode & 0o7777


def test_what_an_earlier_push_brought_goes_and_foreign_files_stay(
    fake_host, converge, make_manifest
):
    """A file that left the manifest is removed; one that a person made is kept and named."""
    extra = "/etc/stockade/jail.d/extra.conf"
    foreign = fake_host.path("/etc/stockade/jail.d/own.conf")
    converge(make_manifest(files=with_file(make_manifest(), File(extra, b"[x]\n"))))
    foreign.write_text("[own]\n")

    result = converge(make_manifest())

    assert ("file", extra, "remove") in actions(result)
    assert not fake_host.path(extra).exists()
    assert "[own]\n" == foreign.read_text()
    assert ("/etc/stockade/jail.d/own.conf: not from a push, left alone",) == result.notes


def test_controllers_are_added_and_never_removed(fake_host, converge, make_manifest):
    """New addresses take their place in the sorted list; comments and old ones stay."""
    path = fake_host.path(CONTROLLERS)
    path.parent.mkdir(parents=True)
    path.write_text("# office\n192.0.2.1\n203.0.113.7  # home\n2001:db8::1\n")

    converge(make_manifest(controllers=("198.51.100.0/24", "2001:0db8::1")))

    assert (
        "# office\n192.0.2.1\n192.0.2.9\n198.51.100.0/24\n203.0.113.7  # home\n2001:db8::1\n"
        == path.read_text()
    )


def test_diffs_tell_text_and_keep_secrets(fake_host, converge, make_manifest):
    """Text files come with a unified diff; secrets and binaries with none."""
    secret, binary = "/etc/stockade/secret", "/etc/stockade/data"
    manifest = make_manifest()
    files = (File(secret, b"old\n", 0o600, secret=True), File(binary, b"\0\xff"))
    converge(make_manifest(files=with_file(manifest, *files)))
    files = (
        File(secret, b"new\n", 0o600, secret=True),
        File(binary, b"\0\xfe"),
        File(JAIL, b"[sshd]\nenabled = false\n"),
    )

    result = converge(make_manifest(files=with_file(manifest, *files)), "check", diff=True)

    diffs = {change.name: change.diff for change in result.changes}
    assert "" == diffs[secret] == diffs[binary]
    assert (
        f"--- {JAIL}\n+++ {JAIL}\n@@ -1,2 +1,2 @@\n [sshd]\n-enabled = true\n+enabled = false\n"
        == diffs[JAIL]
    )


def test_steady_state_sends_a_few_kilobytes(fake_host, local, make_manifest):
    """A push that changes nothing carries no content of files."""
    big = File("/usr/lib/stockade/big", random.Random(0).randbytes(300_000))
    manifest = make_manifest(files=with_file(make_manifest(), big))
    settings = Settings(root=str(fake_host.root))
    remote = local()

    for _ in range(2):
        talk(remote, Host("web1", "192.0.2.1"), manifest, "push", settings, lambda h, t: None)

    assert remote.sessions[0].sent > 300_000
    assert 16_000 > remote.sessions[1].sent
    assert 4_000 > remote.sessions[1].received


# ---- what it refuses


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


# ---- status


def test_status_tells_that_no_agent_is_installed(converge, make_manifest):
    """A host without an agent is a failure with the remedy, not a traceback."""
    result = converge(make_manifest(files=()), "status")

    assert ("failed", "no agent is installed") == (result.outcome, result.error)


def test_status_carries_the_agents_own_answer(fake_host, converge, make_manifest):
    """The agent's answer comes through as it is."""
    converge(make_manifest())

    result = converge(make_manifest(files=()), "status")

    assert ("ok", fake_host.status()) == (result.outcome, result.agent)


def test_status_of_a_stopped_agent(fake_host, converge, make_manifest):
    """An agent that was installed and does not run is said to be just that."""
    converge(make_manifest())
    fake_host.set_unit(active="failed")

    result = converge(make_manifest(files=()), "status")

    assert ("failed", "the agent does not run and does not answer") == (
        result.outcome,
        result.error,
    )


# ---- facts


@pytest.mark.parametrize(
    "release, family",
    [
        pytest.param("ID=debian\nVERSION_ID=12\n", "debian", id="debian"),
        pytest.param('ID=pop\nID_LIKE="ubuntu debian"\n', "debian", id="like-debian"),
        pytest.param('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "rhel", id="rocky"),
        pytest.param("ID=fedora\nVERSION_ID=42\n", "rhel", id="fedora"),
        pytest.param("ID=alpine\n", "", id="neither"),
    ],
)
def test_family_by_os_release(fake_host, converge, make_manifest, release, family):
    """ID or ID_LIKE decides the family."""
    fake_host.path("/etc/os-release").write_text(release)

    facts = converge(make_manifest(packages={}), "check").facts

    assert family == facts.family


def test_packages_of_the_rhel_family_are_asked_of_rpm(fake_host, converge, make_manifest):
    """The command rpm is asked once, and names what nothing provides."""
    fake_host.path("/etc/os-release").write_text('ID="rocky"\nVERSION_ID="9.4"\n')
    fake_host.script(
        "rpm", "import sys\nprint('nftables')\nprint('no package provides', sys.argv[-1])\n"
    )

    lacking = converge(make_manifest(packages={"dnf": ("nftables", "ipset")}))

    assert ("dnf", ("ipset",)) == (lacking.facts.package_manager, lacking.facts.missing)


# ---- the program itself


MODULES = sorted(Path(package.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=[path.stem for path in MODULES])
def test_converge_needs_python_39_and_nothing_else(path):
    """The modules parse as Python 3.9 and import the standard library and one another only."""
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(".".join(node.module.split(".")[:2]))

    assert {n for n in imported if n.startswith("stockade")} <= {"stockade.converge"}
    roots = {n.split(".")[0] for n in imported if not n.startswith("stockade")}
    assert roots <= sys.stdlib_module_names


def test_the_record_is_what_a_later_push_removes_by(fake_host, converge, make_manifest):
    """Every pushed path is written down with its hash."""
    converge(make_manifest())

    record = json.loads(fake_host.path("/var/lib/stockade/manifest.json").read_text())

    assert {file.path: file.sha256 for file in make_manifest().files} == {
        path: told["sha256"] for path, told in record["files"].items()
    }
