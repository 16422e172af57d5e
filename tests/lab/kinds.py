# SPDX-License-Identifier: MIT
"""The kinds of host, as data: what a root file system is made of.

A kind is wholly described by its ``Kind``, so that its hash names what was built.
Scripts run inside the new root, with its packages installed and before it is put away.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping

from lab.errors import LabError
from lab.rpms import OFFERED_RPMS, REPO_FILES, Rpm


#: Raise when the builder changes what it makes of the same data.
FORMAT = 1

OPERATOR = "operator"
PASSWORDER, PASSWORDER_PASSWORD = "passworder", "walnut-ferry-29"
VICTIM, VICTIM_PASSWORD = "victim", "sunshine"

COMMON = (
    "dbus",
    "ipset",
    "iproute2",
    "iptables",
    "libpam-systemd",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tightvncserver",
    "tzdata",
    "xfonts-base",
)

SSHD = """\
# The lab's: passwords may be guessed, root's too.
PasswordAuthentication yes
PermitRootLogin yes
"""

SUDOERS = f"""\
{OPERATOR} ALL=(ALL:ALL) NOPASSWD: ALL
{PASSWORDER} ALL=(ALL:ALL) ALL
"""

USERS = f"""
useradd -m -s /bin/bash $(getent group {OPERATOR} >/dev/null && echo -g {OPERATOR}) {OPERATOR}
useradd -m -s /bin/bash {PASSWORDER}
useradd -m -s /bin/bash {VICTIM}
printf '%s\\n' '{PASSWORDER}:{PASSWORDER_PASSWORD}' '{VICTIM}:{VICTIM_PASSWORD}' | chpasswd
chmod 0440 /etc/sudoers.d/lab
"""

# What a throwaway host does not need costs CPU at each boot, or asks a network that is not there.
QUIET = """
rm -f /etc/ssh/ssh_host_*
touch /etc/default/locale
for unit in apt-daily.timer apt-daily-upgrade.timer dnf-makecache.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer motd-news.timer console-getty.service \
    exim4.service exim4-base.timer \
    getty.target systemd-update-utmp.service systemd-update-utmp-runlevel.service; do
  ln -sf /dev/null /etc/systemd/system/$unit
done
"""

EL9_RSYSLOG = """\
module(load="imuxsock")
$ActionFileDefaultTemplate RSYSLOG_TraditionalFileFormat
$FileCreateMode 0600
*.info;mail.none;authpriv.none;cron.none  /var/log/messages
authpriv.*                                /var/log/secure
mail.*                                    -/var/log/maillog
cron.*                                    /var/log/cron
"""

EL9_RELEASE = """\
NAME="Rocky Linux"
VERSION="9.4 (Blue Onyx)"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.4"
PLATFORM_ID="platform:el9"
PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"
ANSI_COLOR="0;32"
"""

# Its ssh unit is sshd.service, its firewall is firewalld, and nothing of apt answers.
EL9 = """
mv /lib/systemd/system/ssh.service /lib/systemd/system/sshd.service
sed -i '/^Alias=/d' /lib/systemd/system/sshd.service
rm -f /etc/systemd/system/sshd.service /etc/systemd/system/multi-user.target.wants/ssh.service
ln -s sshd.service /lib/systemd/system/ssh.service
ln -s /lib/systemd/system/sshd.service /etc/systemd/system/multi-user.target.wants/sshd.service
ln -sf /lib/systemd/system/firewalld.service \
    /etc/systemd/system/multi-user.target.wants/firewalld.service
ln -sf /lib/systemd/system/firewalld.service \
    /etc/systemd/system/dbus-org.fedoraproject.FirewallD1.service
firewall-offline-cmd --quiet --add-service=vnc-server
rm -rf /var/log/journal /etc/rsyslog.d/* /etc/debian_version /etc/dnf/plugins/local.conf
"""

EL9_LATE = """
rm -rf /etc/apt
mkdir -p /usr/lib/of-the-lab/bin
mv /usr/bin/apt* /usr/bin/dpkg* /usr/lib/of-the-lab/bin/
mv /var/lib/dpkg /var/lib/apt /usr/lib/of-the-lab/
"""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a root file system is made of.

    Attributes:
        suite: the Debian release that its packages come from
        octet: of its hosts' addresses
        packages: installed besides COMMON
        offered: kept with all they need in a local apt repository on the host
        files: path to text, written before ``script``
        script: shell, run inside
        rpms: built of the installed packages and of nothing, offered by dnf
        late: shell, run inside after the rpms are made
    """

    suite: str
    octet: int
    packages: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    script: str = ""
    rpms: tuple[Rpm, ...] = ()
    late: str = ""


_DEBIAN_OFFERED = ("firewalld", "ipset", "iptables", "nftables", "python3", "rsyslog")
_FILES = {
    "/etc/ssh/sshd_config.d/50-lab.conf": SSHD,
    "/etc/sudoers.d/lab": SUDOERS,
    "/etc/resolv.conf": "",
}


def _debian(suite: str, octet: int, packages: tuple[str, ...] = ()) -> Kind:
    return Kind(suite, octet, packages, offered=_DEBIAN_OFFERED, files=_FILES, script=USERS + QUIET)


KINDS: Mapping[str, Kind] = {
    "debian11": _debian("bullseye", 110),
    "debian12": _debian(
        "bookworm", 120, ("bsd-mailx", "dropbear-bin", "exim4-daemon-light", "whois")
    ),
    "debian13": _debian("trixie", 130, ("dropbear-bin",)),
    "el9": Kind(
        suite="bookworm",
        octet=90,
        packages=(
            "createrepo-c",
            "dnf",
            "dnf-plugins-core",
            "firewalld",
            "python3-nftables",
            "rpm",
            "rsyslog",
        ),
        files={
            **_FILES,
            "/etc/ssh/sshd_config.d/50-lab.conf": SSHD
            + "SyslogFacility AUTHPRIV\nDebianBanner no\n",
            "/etc/os-release": EL9_RELEASE,
            "/etc/redhat-release": "Rocky Linux release 9.4 (Blue Onyx)\n",
            "/etc/rocky-release": "Rocky Linux release 9.4 (Blue Onyx)\n",
            "/etc/rsyslog.conf": EL9_RSYSLOG,
            "/etc/rpm/macros.rhel": "%_dbpath /var/lib/rpm\n",
            **REPO_FILES,
        },
        script=USERS + QUIET + EL9,
        rpms=OFFERED_RPMS,
        late=EL9_LATE,
    ),
}

DEFAULT_KINDS = ("debian12", "el9")

_NAME = re.compile(r"([a-z]+[0-9]+)(?:-([1-9][0-9]*))?")
_PER_OCTET = 240
_MOST = 10 * _PER_OCTET


def kind_of(name: str) -> str:
    """The kind that a host of this name is of: ``debian12-3`` is a ``debian12``."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in KINDS:
        raise LabError(f"{name}: no such host; name a kind ({', '.join(KINDS)}) or KIND-NUMBER")
    return match[1]


def addresses_of(name: str) -> tuple[str, str]:
    """The IPv4 and IPv6 address of a host, the same in every lab."""
    kind = KINDS[kind_of(name)]
    number = int(name.partition("-")[2] or 0)
    if number > _MOST:
        raise LabError(f"{name}: the highest number is {_MOST}")
    if number == 0:
        high, low = kind.octet, 1
    else:
        high, low = kind.octet + (number - 1) // _PER_OCTET, 11 + (number - 1) % _PER_OCTET
    return f"10.77.{high}.{low}", f"fd77::{high}:{low}"


def base_digest(suite: str) -> str:
    """Names the Debian base that kinds of one suite start from."""
    return _digest([FORMAT, suite, COMMON])


def digest(kind: Kind) -> str:
    """Names what a kind is built to: another recipe, another digest."""
    return _digest([base_digest(kind.suite), dataclasses.asdict(kind)])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
