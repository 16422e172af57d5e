# SPDX-License-Identifier: MIT
"""Do the two files of the classic fail2ban tutorial, dropped in as they are, protect a host?"""

import pytest

from lab import attack
from system import kernel
from system.controller import Controller
from system.test_guard import WRONG, can_connect, eventually


SERVER_CONF = """\
[DEFAULT]
bantime = 300
findtime = 120
maxretry = 3
destemail = admin@example.com
sender = fail2ban@example.com
mta = sendmail

[sshd]
enabled = true

[tightvnc-auth]
enabled = true
port = 5901
filter = tightvnc-auth
logpath = /home/*/.vnc/*:1.log
"""
TIGHTVNC_AUTH_CONF = """\
[Definition]
failregex = authentication failed from <HOST>
ignoreregex =
"""


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    """A Debian host and an inventory that holds nothing but the two files."""
    host = lab.boot("debian12-20")
    controller = Controller(lab, tmp_path_factory.mktemp("tutorial"))
    controller.write_inventory([host], {"stockade_roles": ["base", "sshd"]})
    controller.write("jail.d/server.conf", SERVER_CONF)
    controller.write("filter.d/tightvnc-auth.conf", TIGHTVNC_AUTH_CONF)
    yield host, controller
    host.stop()


def test_the_slip_in_the_filter_name_is_answered(site, lab):
    """``filter = tighvnc-auth`` is refused with the file, the line and the right name."""
    host, controller = site
    slip = SERVER_CONF.replace("filter = tightvnc-auth", "filter = tighvnc-auth")
    controller.write("jail.d/server.conf", slip)
    before = host.run("find / -xdev -newer /proc/1/cmdline -path '*stockade*'").stdout

    answer = controller.stockade("push", json=False)
    controller.write("jail.d/server.conf", SERVER_CONF)

    assert 1 == answer.rc
    assert "jail.d/server.conf:15:" in answer.stderr
    assert "did you mean tightvnc-auth?" in answer.stderr
    assert before == host.run("find / -xdev -newer /proc/1/cmdline -path '*stockade*'").stdout


def test_the_two_files_protect_a_host(site, lab):
    """Both jails ban after three failures for 300 seconds, ssh and VNC alike."""
    host, controller = site
    vnc_log = attack.start_vnc(host, "victim")
    controller.push()

    attack.hydra(lab, "attacker", host, "victim", WRONG[:5], tasks=3, timeout=60)
    ssh_closed = eventually(lambda: not can_connect(lab, "attacker", host.address, 22))
    outcomes = attack.fail_vnc(lab, "attacker2", host, count=3)
    vnc_closed = eventually(lambda: not can_connect(lab, "attacker2", host.address, 5901))

    assert ssh_closed
    assert ["auth-failed"] * 3 == outcomes
    assert vnc_closed
    assert {lab.address("attacker"), lab.address("attacker2")} == kernel.banned(host, "nftables")
    sshd, tightvnc = controller.jail(host, "sshd"), controller.jail(host, "tightvnc-auth")
    assert (3, 120, 300) == (sshd["maxretry"], sshd["findtime"], sshd["bantime"])
    assert (3, 120, 300) == (tightvnc["maxretry"], tightvnc["findtime"], tightvnc["bantime"])
    assert [vnc_log] == tightvnc["logs"]
