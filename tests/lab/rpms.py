# SPDX-License-Identifier: MIT
"""What dnf offers on a RHEL-like host, as data: its repositories and their rpms.

The files of such a host came from Debian's packages. An rpm that is made ``of`` Debian packages
carries their files, and where it is ``installed`` the rpm database owns them: ``rpm -q`` says so,
``rpm -e`` takes them away and ``dnf install`` brings them back. An rpm made of nothing is there for
its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lab.paths import OFFERED


@dataclasses.dataclass(frozen=True)
class Rpm:
    """One rpm and the repository that offers it.

    Attributes:
        of: Debian packages whose files it carries
        files: path to text; a path below a ``bin`` folder is executable
        installed: known to the rpm database from the start
        post: shell, run after dnf installed it
    """

    name: str
    version: str
    repo: str
    of: tuple[str, ...] = ()
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    installed: bool = False
    post: str = ""


REPOS = ("baseos", "appstream", "extras", "crb", "epel")


def _repo(repo: str, title: str, *, enabled: bool = True) -> str:
    return (
        f"[{repo}]\nname={title}\nbaseurl=file://{OFFERED}/{repo}\n"
        f"enabled={int(enabled)}\ngpgcheck=0\n"
    )


#: ``epel`` is not among them: that file comes with epel-release.
REPO_FILES = {
    f"/etc/yum.repos.d/{repo}.repo": _repo(repo, f"Lab 9 - {repo}", enabled=repo != "crb")
    for repo in REPOS
    if repo != "epel"
}

_CRB = """\
#!/bin/sh
# crb enable|disable|status, as the one that comes with the real epel-release.
file=/etc/yum.repos.d/crb.repo
case "$1" in
  enable) sed -i s/^enabled=.*/enabled=1/ $file ;;
  disable) sed -i s/^enabled=.*/enabled=0/ $file ;;
esac
grep -q ^enabled=1 $file && echo "CRB repo is enabled" || echo "CRB repo is disabled"
"""


def _says(name: str) -> Mapping[str, str]:
    return {f"/usr/bin/{name}": f"#!/bin/sh\necho {name}\n"}


_ENABLE = "systemctl daemon-reload || :\nsystemctl enable --quiet %s.service || :\n"

OFFERED_RPMS = (
    Rpm("rocky-release", "9.4", "baseos", provides=("system-release = 9.4",), installed=True),
    Rpm("bash", "5.1.8", "baseos", provides=("/bin/sh", "/usr/bin/sh"), installed=True),
    Rpm("systemd", "252", "baseos", installed=True),
    Rpm("sudo", "1.9.5p2", "baseos", installed=True),
    Rpm("python3", "3.11.2", "baseos", provides=("python(abi) = 3.11",), installed=True),
    Rpm("openssh-server", "8.7p1", "baseos", of=("openssh-server",), installed=True),
    Rpm("nftables", "1.0.9", "baseos", of=("nftables", "libnftables1"), installed=True),
    Rpm(
        "python3-nftables",
        "1.0.9",
        "baseos",
        of=("python3-nftables",),
        requires=("nftables",),
        installed=True,
    ),
    Rpm(
        "iptables-nft",
        "1.8.10",
        "baseos",
        of=("iptables",),
        provides=("iptables = 1.8.10",),
        installed=True,
    ),
    Rpm("ipset", "7.11", "baseos", of=("ipset",), installed=True),
    Rpm(
        "firewalld",
        "1.3.4",
        "baseos",
        of=("firewalld", "python3-firewall"),
        requires=("nftables", "python3-nftables", "ipset"),
        installed=True,
        post=_ENABLE % "firewalld",
    ),
    Rpm(
        "rsyslog",
        "8.2310.0",
        "appstream",
        of=("rsyslog",),
        installed=True,
        post=_ENABLE % "rsyslog",
    ),
    Rpm("lab-in-baseos", "1.0", "baseos", files=_says("lab-in-baseos")),
    Rpm("lab-in-crb", "1.0", "crb", files=_says("lab-in-crb")),
    Rpm("lab-in-epel", "1.0", "epel", files=_says("lab-in-epel")),
    Rpm(
        "lab-in-epel-with-crb",
        "1.0",
        "epel",
        files=_says("lab-in-epel-with-crb"),
        requires=("lab-in-crb",),
    ),
    Rpm(
        "epel-release",
        "9",
        "extras",
        files={
            "/etc/yum.repos.d/epel.repo": _repo("epel", "Extra Packages for Enterprise Linux 9"),
            "/usr/bin/crb": _CRB,
        },
    ),
)


def spec(rpm: Rpm, paths: list[str]) -> str:
    """The rpmbuild spec of an rpm that carries ``paths`` from its buildroot."""
    head = [
        "%global debug_package %{nil}",
        "%global __os_install_post %{nil}",
        "%global _build_id_links none",
        f"Name: {rpm.name}",
        f"Version: {rpm.version}",
        "Release: 1.el9",
        "Summary: A stand-in of the lab",
        "License: MIT",
        "AutoReqProv: no",
        *([] if rpm.of else ["BuildArch: noarch"]),
        *(f"Provides: {name}" for name in rpm.provides),
        *(f"Requires: {name}" for name in rpm.requires),
        "%description",
        "A stand-in of the lab.",
    ]
    if rpm.post:
        head += ["%post", rpm.post]
    head.append("%files")
    for path in paths:
        head.append(f'%config(noreplace) "{path}"' if path.startswith("/etc/") else f'"{path}"')
    return "\n".join(head) + "\n"
