# SPDX-License-Identifier: MIT
"""Does a push install what a host lacks, and refuse in words where that cannot be had?"""

import textwrap

from system.controller import Controller


def controller_for(lab, tmp_path, host, **variables):
    controller = Controller(lab, tmp_path)
    controller.write_inventory([host], {"stockade_roles": ["base", "sshd"], **variables})
    return controller


def write_role(controller, text):
    """Bring a role of the user's own, named ``extra``."""
    controller.write("roles/extra/role.yml", textwrap.dedent(text))


def test_debian_without_python_and_nftables(lab, tmp_path):
    """Apt brings Python and nftables, and the host ends up guarded."""
    host = lab.boot("debian12-21", without=["python3", "python3-minimal", "nftables", "iptables"])
    controller = controller_for(lab, tmp_path, host)

    planned = controller.stockade("plan").host(host.name)
    untouched = host.run("command -v nft", check=False).rc
    pushed = controller.push().host(host.name)
    again = controller.push().host(host.name)

    assert "changed" == planned["outcome"]
    assert 0 != untouched
    assert "nftables" == pushed["agent"]["firewall"]["backend"]
    assert {"python3", "nftables"} <= {
        change["name"] for change in pushed["changes"] if change["kind"] == "package"
    }
    assert "ok" == again["outcome"]
    host.stop()


def test_el9_role_with_a_package_from_epel(lab, tmp_path):
    """Dnf brings epel-release first, then the package that only EPEL has, and only once."""
    host = lab.boot("el9-21")
    controller = controller_for(lab, tmp_path, host, stockade_roles=["base", "sshd", "extra"])
    write_role(
        controller,
        """\
        description: A package that only EPEL has.
        packages: {epel: [lab-in-epel]}
        """,
    )

    pushed = controller.push().host(host.name)
    again = controller.push().host(host.name)

    assert 0 == host.run("rpm -q epel-release lab-in-epel").rc
    assert "lab-in-epel" in [change["name"] for change in pushed["changes"]]
    assert [] == again["changes"]
    host.stop()


def test_without_any_firewall_the_host_is_refused(lab, tmp_path):
    """Where no firewall can be had the host is refused with the reason, and left untouched."""
    host = lab.boot("debian12-22", without=["nftables", "iptables"])
    host.run("rm -r /opt/offered /var/lib/apt/lists/*; rm -f /etc/apt/sources.list.d/*")
    controller = controller_for(lab, tmp_path, host)

    answer = controller.stockade("push")

    found = answer.host(host.name)
    assert 3 == answer.rc
    assert "refused" == found["outcome"]
    assert found["error"].startswith("cannot install nftables: ")
    assert 0 != host.run("test -e /etc/stockade -o -e /usr/lib/stockade", check=False).rc
    host.stop()
