# SPDX-License-Identifier: MIT
"""Does a push make a host what its manifest says, and does status tell it?"""

import ast
import json
import os
import random
import sys
from pathlib import Path

import pytest

from deploy.changes import actions, with_file
from stockade import converge as package
from stockade.model import File, Host
from stockade.push import Settings
from stockade.push.talk import talk


UNIT = "stockade-agent.service"
JAIL = "/etc/stockade/jail.d/sshd.conf"
BUNDLE = "/usr/lib/stockade/stockade-agent.pyz"
PYTHON = "/usr/lib/stockade/python3"
CONTROLLERS = "/etc/stockade/controllers"


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


# ---- status


def test_status_tells_that_no_agent_is_installed(converge, make_manifest):
    """A host without an agent is a failure with the remedy, not a traceback."""
    result = converge(make_manifest(files=()), "ask")

    assert ("failed", "no agent is installed") == (result.outcome, result.error)


def test_status_carries_the_agents_own_answer(fake_host, converge, make_manifest):
    """The agent's answer comes through as it is."""
    converge(make_manifest())

    result = converge(make_manifest(files=()), "ask")

    assert ("ok", fake_host.status()) == (result.outcome, result.agent)


def test_status_of_a_stopped_agent(fake_host, converge, make_manifest):
    """An agent that was installed and does not run is said to be just that."""
    converge(make_manifest())
    fake_host.set_unit(active="failed")

    result = converge(make_manifest(files=()), "ask")

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
