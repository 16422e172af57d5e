# SPDX-License-Identifier: MIT
"""Does the role dropbear ban who guesses at a real dropbear?"""

import pytest

from lab import attack
from system import kernel
from system.controller import Controller
from system.test_guard import can_connect, eventually


PORT = 2222
# As Debian's dropbear.service starts it.
UNIT = f"""\
[Service]
ExecStart=/usr/sbin/dropbear -EF -p {PORT} -R
[Install]
WantedBy=multi-user.target
"""
WRONG = [f"guess-{number}" for number in range(8)]


@pytest.fixture(scope="module", params=["debian12", "debian13"])
def served(request, lab, tmp_path_factory):
    """A host with dropbear on a port of its own, after a push of the role."""
    host = lab.boot(f"{request.param}-25")
    host.write("/etc/systemd/system/dropbear.service", UNIT)
    host.run("mkdir -p /etc/dropbear && systemctl enable --now dropbear.service")
    controller = Controller(lab, tmp_path_factory.mktemp(f"{request.param}-dropbear"))
    variables = {"stockade_roles": ["sshd", "dropbear"], "dropbear_port": PORT}
    controller.write_inventory([host], {**variables, "dropbear_maxretry": 3})
    controller.push()
    return host, controller


def test_push_starts_the_jail(served):
    """The jail follows the journal, as no log file is there."""
    host, controller = served
    jail = controller.jail(host, "dropbear")

    assert ("running", "journal", str(PORT)) == (jail["state"], jail["source"], jail["ports"])
    assert "" == jail["problem"]
    assert "ok" == controller.push().host(host.name)["outcome"]


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("user", ["victim", "nobody-of-this-name"])
def test_guesses_end(lab, served, user, family):
    """Who guesses passwords or names is shut out of dropbear, and of nothing else."""
    host, _ = served
    source, there = lab.address("attacker"), host.address
    if family == "IPv6":
        source, there = lab.address6("attacker"), host.address6
    # A name that does not exist is told once a connection, however often it is tried.
    guesses = attack.hydra(
        lab, "attacker", host, user, WRONG, tasks=4, port=PORT, address=there, timeout=60
    )
    shut = eventually(lambda: not can_connect(lab, "attacker", there, PORT))
    banned = kernel.banned(host, "nftables")
    others = can_connect(lab, "attacker2", there, PORT)
    elsewhere = can_connect(lab, "attacker", there, 22)
    host.run(["stockade-agent", "unban", "dropbear", source])

    assert () == guesses.found
    assert shut
    assert {source} == banned
    assert others
    assert elsewhere
    assert can_connect(lab, "attacker", there, PORT)
