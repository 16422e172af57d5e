# SPDX-License-Identifier: MIT
"""Does bootstrap bring what is missing, by pyinfra, and hide the sudo password?

The child process is the real one, its host a real sshd; apt and dnf there are scripts.
"""

import subprocess
import sys

import pytest

from stockade.bootstrap.epel import epel
from stockade.model import Facts, Manifest
from stockade.push import Fleet, Settings
from stockade.push.install import Installed, install, order
from stockade.push.talk import Lacking
from stockade.remote import KnownHosts, Remote


LOG = """\
import os, sys
from pathlib import Path
fake = Path(os.environ["FAKE"])
with open(fake / "ran", "a") as log:
    log.write(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
packages = fake / "packages"
words = [word for word in sys.argv[1:] if not word.startswith("-") and "=" not in word]
"""
APT_GET = (
    LOG
    + """\
if "--simulate" in sys.argv:
    sys.exit(0 if (fake / "fresh").exists() else 100)
if words[0] == "update":
    (fake / "fresh").touch()
elif words[0] == "install":
    if not (fake / "fresh").exists():
        sys.exit("E: Unable to locate package " + words[-1])
    packages.write_text(packages.read_text() + " " + " ".join(words[1:]))
"""
)
DPKG = (
    LOG
    + """\
for name in packages.read_text().split():
    print(f"ii  {name}  1.0  all  a package")
"""
)
RPM = (
    LOG
    + """\
if "-qa" in sys.argv:
    print("\\n".join(f"{name} 1.0-1" for name in packages.read_text().split()))
else:
    for name in sys.argv[5:]:
        there = name in packages.read_text().split()
        print(name if there else "no package provides " + name)
"""
)
DNF = (
    LOG
    + """\
if "repoquery" in words:
    if (fake / "epel").exists():
        print("extra")
elif words[0] == "install":
    if "epel-release" in words:
        (fake / "epel").touch()
    elif "extra" in words and not (fake / "epel").exists():
        sys.exit("Error: Unable to find a match: extra")
    packages.write_text(packages.read_text() + " " + " ".join(words[1:]))
"""
)
SUDO = """\
import os, sys
with open(os.environ["FAKE"] + "/sudo.log", "a") as log:
    log.write(repr(sys.argv[1:]) + repr(dict(os.environ)) + "\\n")
words = sys.argv[1:]
if "-S" in words:
    given = b""
    while not given.endswith(b"\\n"):
        given += os.read(0, 1) or sys.exit("sudo: no password was provided")
    if given != b"s3cret\\n":
        sys.exit("Sorry, try again.")
while words and words[0] != "sh" and words[0] != "/bin/sh":
    words.pop(0)
os.execvp(words[0], words)
"""


@pytest.fixture
def debian(fake_host):
    """A Debian without nftables, whose apt knows nothing yet."""
    fake_host.set_packages("iptables")
    fake_host.script("apt-get", APT_GET)
    fake_host.script("dpkg", DPKG)
    fake_host.script("sudo", SUDO)
    return fake_host


@pytest.fixture
def rocky(fake_host):
    """A Rocky Linux that lacks a package of EPEL's."""
    fake_host.path("/etc/os-release").write_text('ID="rocky"\nVERSION_ID="9.4"\n')
    fake_host.set_packages("nftables")
    for name, text in (("dnf", DNF), ("rpm", RPM), ("crb", LOG)):
        fake_host.script(name, text)
    return fake_host


def ran(host):
    path = host.fake / "ran"
    return path.read_text().splitlines() if path.exists() else []


def push(sshd, known, host, manifest, **login):
    fleet = Fleet(
        Remote(KnownHosts.load(known)),
        settings=Settings(root=str(host.root)),
        folders=(known.parent,),
    )
    (result,) = fleet.run([(sshd.host(**login), manifest)], "push")
    return result


@pytest.mark.parametrize(
    "login",
    [
        pytest.param({}, id="root"),
        pytest.param({"become": True}, id="sudo"),
        pytest.param({"become": True, "become_password": "s3cret"}, id="sudo-password"),
    ],
)
def test_apt_brings_what_is_missing(sshd, known, debian, make_manifest, login):
    """The index is fetched, the package installed, and the push goes on; once is enough."""
    sshd.start(debian.environment)

    first = push(sshd, known, debian, make_manifest(), **login)
    second = push(sshd, known, debian, make_manifest(), **login)

    assert ("changed", "") == (first.outcome, first.error)
    assert ("package", "nftables", "install") == (
        first.changes[0].kind,
        first.changes[0].name,
        first.changes[0].action,
    )
    assert "ok" == second.outcome
    assert 1 == sum(line.startswith("apt-get update") for line in ran(debian))
    assert 1 == sum("install" in line and "--simulate" not in line for line in ran(debian))
    sudo = debian.fake / "sudo.log"
    assert not sudo.exists() or "s3cret" not in sudo.read_text()
    assert bool(login) == sudo.exists()


def test_a_failing_package_manager_is_quoted(sshd, known, debian, make_manifest):
    """The host is refused with apt's own last words, and nothing on it is changed."""
    debian.script(
        "apt-get", LOG + 'words[0] == "install" and sys.exit("E: The repository is gone")\n'
    )
    sshd.start(debian.environment)
    before = debian.tree()

    result = push(sshd, known, debian, make_manifest())

    assert ("refused", "cannot install nftables: E: The repository is gone") == (
        result.outcome,
        result.error,
    )
    assert before == debian.tree()


def test_packages_that_do_not_come_are_no_loop(sshd, known, debian, make_manifest):
    """A package that is missing after its install ends as a failure, not as another try."""
    debian.script("apt-get", LOG)
    sshd.start(debian.environment)

    result = push(sshd, known, debian, make_manifest())

    assert "failed" == result.outcome
    assert "still missing after the packages were installed: nftables" == result.error


def test_epel_comes_first_and_with_crb(sshd, known, rocky, make_manifest):
    """A package of EPEL's brings epel-release and the repository that EPEL leans on."""
    sshd.start(rocky.environment)
    manifest = make_manifest(packages={"dnf": ("nftables", "extra")}, epel=("extra",))

    result = push(sshd, known, rocky, manifest)

    assert ("changed", "") == (result.outcome, result.error)
    did = [line for line in ran(rocky) if line.startswith(("dnf install", "crb"))]
    assert ["dnf install -y epel-release", "crb enable", "dnf install -y extra"] == did


def test_epel_is_left_alone_where_it_is_there(sshd, known, rocky, make_manifest):
    """Where the enabled repositories have the package, epel-release is not asked for."""
    (rocky.fake / "epel").touch()
    sshd.start(rocky.environment)
    manifest = make_manifest(packages={"dnf": ("extra",)}, epel=("extra",))

    result = push(sshd, known, rocky, manifest)

    assert ("changed", "") == (result.outcome, result.error)
    assert ["dnf install -y extra"] == [line for line in ran(rocky) if "install" in line]


DEPLOY = """\
from pyinfra.api import deploy
from pyinfra.operations import server

@deploy("greet")
def greet():
    print("noise of a user's own")
    server.shell(name="greet", commands=["echo hello >> {path}"])
"""


def test_deploys_of_roles_run_before_the_switch(sshd, known, fake_host, make_manifest):
    """A role's own pyinfra deploy runs at every push, and its changes are told."""
    (known.parent / "own_deploys.py").write_text(DEPLOY.format(path=fake_host.root / "greeting"))
    sshd.start(fake_host.environment)

    result = push(sshd, known, fake_host, make_manifest(deploys=("own_deploys:greet",)))

    assert ("changed", "") == (result.outcome, result.error)
    assert ("deploy", "own_deploys:greet") == (result.changes[0].kind, result.changes[0].name)
    assert "hello\n" == (fake_host.root / "greeting").read_text()


def test_a_deploy_that_is_not_there_is_named(sshd, known, fake_host, make_manifest):
    """A deploy that cannot be imported fails the host in words."""
    sshd.start(fake_host.environment)

    result = push(sshd, known, fake_host, make_manifest(deploys=("nowhere:nothing",)))

    assert ("failed", "deploy nowhere:nothing: No module named 'nowhere'") == (
        result.outcome,
        result.error,
    )


def lacking(host, **facts):
    values = {"distribution": "debian 12", "package_manager": "apt", "missing": ("nftables",)}
    return Lacking(
        host, Manifest(host.name, ()), Facts(**{**values, **facts}), python=False, key=host.key_file
    )


def test_an_unknown_host_key_stops_bootstrap_too(sshd, known, fake_host):
    """The child is as strict as we are: without a key on record it sends nothing."""
    sshd.start(fake_host.environment)
    known.write_text("")

    (done,) = install(
        [lacking(sshd.host())], KnownHosts.load(known), (), 5, lambda name, text: None
    )

    assert "No host key" in done.error
    assert "Accepted" not in (sshd.folder / "log").read_text()


def test_a_child_that_dies_fails_its_hosts(sshd, known, fake_host, monkeypatch):
    """When the bootstrap process ends early, each of its hosts is told so."""
    monkeypatch.setattr(sys, "executable", "/bin/false")

    (done,) = install(
        [lacking(sshd.host())], KnownHosts.load(known), (), 5, lambda name, text: None
    )

    assert Installed("web1", "the bootstrap process ended early: ") == done


def test_python_itself_is_brought_first(sshd):
    """A host without Python gets the one of its distribution, with what the manifest names."""
    manifest = Manifest("web1", (), packages={"dnf": ("nftables",)}, epel=("extra",))
    facts = Facts(family="rhel", distribution="rocky 8.10", package_manager="dnf")

    told = order(Lacking(sshd.host(), manifest, facts, python=True, key=""))

    assert (["python3.11", "nftables"], []) == (told["packages"], told["epel"])


@pytest.mark.parametrize(
    "distribution, url, release, refusal",
    [
        pytest.param("rocky 9.4", "", "epel-release", "", id="rocky"),
        pytest.param("almalinux 10.0", "", "epel-release", "", id="alma"),
        pytest.param("centos 9", "", "epel-release", "", id="stream"),
        pytest.param("ol 9.4", "", "oracle-epel-release-el9", "", id="oracle"),
        pytest.param("rhel 9.4", "file:///epel.rpm", "file:///epel.rpm", "", id="rhel-with-url"),
        pytest.param("rhel 9.4", "", "", "RHEL has no epel-release of its own", id="rhel"),
        pytest.param("fedora 42", "", "", "Fedora has these packages itself", id="fedora"),
        pytest.param("amzn 2023", "", "", "EPEL is not for Amazon Linux", id="amazon"),
    ],
)
def test_the_way_to_epel(distribution, url, release, refusal):
    """Each distribution has its release package, or a refusal in words."""
    way = epel(distribution, url)

    assert release == way.release
    assert way.refusal.startswith(refusal)
    assert bool(way.refusal) == (not way.release)


@pytest.mark.parametrize(
    "distribution, words",
    [
        pytest.param("rocky 8.10", "powertools", id="rocky8"),
        pytest.param("ol 9.4", "ol9_codeready_builder", id="oracle9"),
        pytest.param("rhel 9.4", "codeready-builder-for-rhel-9-$(uname -m)-rpms", id="rhel9"),
    ],
)
def test_the_repository_that_epel_leans_on(distribution, words):
    """Each distribution has its own name for it."""
    assert words in epel(distribution, "https://epel.example/epel.rpm").builder


def test_the_agent_is_offered_to_pyinfra_users():
    """stockade.bootstrap.agent has a @deploy, and importing it patches nothing."""
    code = (
        "import stockade.bootstrap.agent as a, gevent.monkey; "
        "assert a.agent._inner.deploy_name == 'stockade agent'; "
        "assert not gevent.monkey.saved"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
