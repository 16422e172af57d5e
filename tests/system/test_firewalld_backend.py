# SPDX-License-Identifier: MIT
"""Does the agent's firewalld backend protect hosts, and keep its hands off what is not its own?

The backend runs on the hosts, under their Python, against the firewalld that they have.
"""

import json
import shutil
from pathlib import Path

import pytest

from lab import attack


AGENT = Path(__file__).parents[2] / "agent"
PLACE = "/opt/backend-under-test"
# Runs the steps that it reads: [method, jails, bans, unbans]; jails are [name, ports, blocktype].
DRIVER = """
import json, sys
sys.path.insert(0, "/opt/backend-under-test")
from stockade_agent.errors import FirewallError
from stockade_agent.firewall.firewalld import Firewalld
from stockade_agent.firewall.selection import select
from stockade_agent.model import Ban, target
from stockade_agent.specs import Shield

def ban(word):
    jail, _, address = word.partition(" ")
    return Ban(jail, address, target(address), 0.0, 600)

def shield(jail, ports, blocktype="reject"):
    return Shield(jail, tuple((port, port) for port in ports), blocktype=blocktype)

firewall, answers = Firewalld(), []
for method, *arguments in json.load(sys.stdin):
    try:
        if method == "select":
            firewall = select("auto")
            answers.append(firewall.name)
        elif method == "start":
            jails, bans = arguments
            shields = [shield(*jail) for jail in jails]
            answers.append(list(firewall.start(shields, [ban(word) for word in bans], 0.0)))
        elif method == "apply":
            answers.append(firewall.apply(*([ban(w) for w in words] for words in arguments), 0.0))
        elif method == "banned":
            found = firewall.banned().items()
            answers.append({jail: sorted(map(str, held)) for jail, held in found})
        else:
            answers.append(getattr(firewall, method)())
    except FirewallError as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""
SSHD = ["sshd", [22]]
NUMBER = 8  # no other test boots the eighth host of a kind
VERSIONS = {"el9": "1.3", "debian11": "0.9", "debian13": "2.3"}
only_on_el9 = pytest.mark.parametrize("host", ["el9"], indirect=True)


@pytest.fixture(scope="module", params=VERSIONS)
def host(request, lab):
    """A host on which firewalld runs, and the agent's code lies."""
    booted = lab.boot(f"{request.param}-{NUMBER}")
    if request.param != "el9":
        install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y firewalld ipset"
        booted.run(f"apt-get update -qq && {install}", timeout=180)
        booted.run("systemctl enable --now firewalld", timeout=60)
    assert booted.run("firewall-cmd --version").stdout.startswith(VERSIONS[request.param])
    shutil.copytree(AGENT, f"{booted.root}{PLACE}", ignore=shutil.ignore_patterns("__pycache__"))
    yield booted
    booted.stop()


@pytest.fixture
def backend(host):
    """Return a function that runs steps in one process on the host and returns their answers."""

    def run(*steps):
        done = host.run(["python3", "-c", DRIVER], input=json.dumps(steps), timeout=300)
        return json.loads(done.stdout)

    yield run
    assert [None] == run(["stop"])


def settings(host):
    """Return all of firewalld's settings, running and permanent."""
    asked = ["--list-all-zones", "--list-all-policies", "--get-ipsets"]
    return [
        host.run(f"firewall-cmd {scope} {words}").stdout
        for words in asked
        for scope in ("", "--permanent")
    ]


def connects(lab, place, address, port=22):
    """Return ``open``, ``refused`` or ``timeout`` for a connection from this place."""
    with attack.Probe(lab, place, address, port, until="never", deadline=3, patience=2.5) as probe:
        found = next(probe.tries())
    return "open" if found.open else found.reason.replace("Connection refused", "refused")


def test_a_life_of_bans(lab, host, backend):
    """Who is banned is refused, and nobody else, through reloads, until the unban."""
    before = settings(host)
    attacker = f"sshd {lab.address('attacker')}"
    attacker6 = f"sshd {lab.address6('attacker')}"

    answers = backend(
        ["probe"], ["start", [SSHD, ["all", [], "drop"]], []], ["apply", [attacker, attacker6], []]
    )
    assert [None, [], None] == answers
    reloads = ["", "--reload", "--complete-reload"]
    if host.kind == "debian11" and not Path("/proc/modules").exists():
        reloads.pop()  # firewalld 0.9 breaks on a kernel without modules
    for reload in reloads:
        host.run(f"firewall-cmd {reload or '--state'}")
        assert "refused" == connects(lab, "attacker", host.address)
        assert "refused" == connects(lab, "attacker", host.address6)
        assert "open" == connects(lab, "attacker2", host.address)
        assert "open" == connects(lab, "controller", host.address6)
        ipset = host.run("firewall-cmd --info-ipset=stockade-sshd-4").stdout
        assert lab.address("attacker") in ipset
    assert "stockade-sshd-4" in host.run("firewall-cmd --info-policy=stockade").stdout

    jails = [SSHD, ["all", [], "drop"]]
    [_, banned, _] = backend(
        ["start", jails, [attacker, attacker6]], ["banned"], ["apply", [], [attacker]]
    )
    expected = sorted([lab.address("attacker"), lab.address6("attacker")])
    assert {"sshd": expected, "all": []} == banned
    policy = host.run("firewall-cmd --info-policy=stockade").stdout
    assert 'source ipset="stockade-sshd-4" port port="22"' in policy
    assert "open" == connects(lab, "attacker", host.address)
    assert "refused" == connects(lab, "attacker", host.address6)

    backend(["start", [SSHD], []], ["stop"])
    assert before == settings(host)


def test_every_zone(lab, host, backend):
    """A ban holds in whatever zone the attacker comes in, also where everything is allowed."""
    backend(["start", [SSHD], []])
    interface = host.run("ls /sys/class/net | grep -v lo | head -1").stdout.strip()
    host.run(f"firewall-cmd --zone=trusted --change-interface={interface}")
    try:
        backend(["start", [SSHD], [f"sshd {lab.address('attacker')}"]])

        assert "refused" == connects(lab, "attacker", host.address)
        assert "open" == connects(lab, "attacker2", host.address)
        found = host.run("firewall-cmd --zone=trusted --list-interfaces").stdout
        assert interface == found.strip()
    finally:
        host.run(f"firewall-cmd --zone=public --change-interface={interface}")


def test_somebodys_running_settings_are_not_lost(host, backend):
    """Where a reload would cost a setting, firewalld is left alone and ``auto`` goes on."""
    host.run("firewall-cmd --add-port=9999/tcp")
    before = settings(host)
    try:
        [started, name, warnings, _] = backend(
            ["start", [SSHD], []], ["select"], ["start", [SSHD], []], ["stop"]
        )

        assert "zone public: ports: 9999/tcp" in started["error"]
        assert "firewall-cmd --runtime-to-permanent" in started["error"]
        assert "nftables" == name
        assert "passed over firewalld" in warnings[0]
        assert before == settings(host)
    finally:
        host.run("firewall-cmd --remove-port=9999/tcp")


@only_on_el9
def test_five_thousand_bans(host, backend):
    """Bans by the thousand, networks that overlap included, are held as they were told."""
    single = [f"sshd 10.{i >> 8}.{i & 255}.7" for i in range(2500)]
    single += [f"sshd 2001:db8::{i:x}" for i in range(1, 2401)]
    networks = ["sshd 10.1.0.0/16", "sshd 10.1.2.0/24", "sshd 2001:db8::/120"]
    networks += [f"sshd 2001:db8:{i:x}::/64" for i in range(1, 98)]
    bans = [*single, *networks]
    assert 5000 == len(bans)

    [_, _, all_of_them, _, without_the_wide, _, one] = backend(
        ["start", [SSHD], bans[:100]],
        ["apply", bans, []],
        ["banned"],
        ["apply", [], networks],
        ["banned"],
        ["apply", [], single[1:]],
        ["banned"],
    )

    def addresses(words):
        return sorted(word.split()[1] for word in words)

    assert {"sshd": addresses(bans)} == all_of_them
    assert {"sshd": addresses(single)} == without_the_wide
    assert {"sshd": addresses(single[:1])} == one


@only_on_el9
def test_jails_come_and_go(host, backend):
    """A jail that comes back finds none of its old bans, and one that is gone leaves no rule."""
    web = ["web shop", [80, 443]]
    [_, _, _, banned] = backend(
        ["start", [SSHD, web], ["web shop 192.0.2.1", "sshd 192.0.2.2"]],
        ["start", [SSHD], ["sshd 192.0.2.2"]],
        ["start", [SSHD, web], ["sshd 192.0.2.3"]],
        ["banned"],
    )

    assert {"sshd": ["192.0.2.3"], "web shop": []} == banned
    backend(["start", [SSHD], []])
    for scope in ("", "--permanent"):
        assert "web" not in host.run(f"firewall-cmd {scope} --info-policy=stockade").stdout
    assert "web" not in host.run("firewall-cmd --permanent --get-ipsets").stdout
