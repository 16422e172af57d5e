# SPDX-License-Identifier: MIT
"""Stand-ins for the tools that actions call: they write down how they were called.

A record is the tool's name, its words and what it read, each ended by a zero byte. ``STUB_FAIL``
is a file with a shell pattern: the calls that it matches ("name words") fail, or only the first
if the file's second line is "once".
"""

import os
import shutil
from pathlib import Path


_NAMES = """
afctl apf apprise conntrack curl date dig firewall-cmd geoiplookup ip ip6tables ipf ipfw ipset
iptables jq logger mail nft nginx npfctl nsupdate pfctl sendmail shorewall shorewall6 ss ssh ufw
wget whois
"""
TOOLS = _NAMES.split()

SCRIPT = r"""#!/bin/sh
name=${0##*/}
input=$(cat; printf x)
{
  printf '%s\0' "$name" "$@"
  printf '<<%s\0\001\n' "${input%x}"
} >> "$STUB_LOG"
if [ -e "$STUB_FAIL" ]; then
  { read -r pattern; read -r times; } < "$STUB_FAIL"
  case "$name $*" in
    $pattern)
      case $times in
        once) rm -f "$STUB_FAIL";;
      esac
      echo "$name: told to fail" >&2
      exit 3;;
  esac
fi
case $name in
  date) echo "DATE$#";;
  dig) echo '"abuse@example.com,noc@example.com"';;
  whois) printf 'netname: EXAMPLE\n~! touch whois\n';;
  geoiplookup) echo 'GeoIP: XX';;
  ip) echo '    inet 203.0.113.9/24';;
  jq) echo 'id-7';;
  nft) printf '\tset x\n  ip saddr @addr-set-web reject # handle 7\n'
    printf '  @addr6-set-web reject # handle 8\n';;
  firewall-cmd) echo 'f2b-a f2b-web';;
  ipfw) printf '00111 deny ip from table(9)\n00112 deny tcp from 192.0.2.1 to me\n';;
  pfctl) echo "block quick from <f2b-${2#*/}>";;
esac
exit 0
"""


def install(folder: Path) -> None:
    """Put all of them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for tool in TOOLS:
        path = folder / tool
        path.write_text(SCRIPT)
        path.chmod(0o755)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which commands find them and nothing that could do harm."""
    return {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "STUB_LOG": str(folder / "log"),
        "STUB_FAIL": str(folder / "fail"),
        "HOME": str(folder / "files"),
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
    }


def recorded(folder: Path) -> list[str]:
    """Return the calls since the last time, each as its words and its input, and forget them."""
    log = folder / "log"
    if not log.exists():
        return []
    text = log.read_text(errors="surrogateescape")
    log.unlink()
    return text.split("\x01\n")[:-1]


def files(folder: Path) -> dict[str, str]:
    """Return what commands have written."""
    return {
        path.name: path.read_text(errors="surrogateescape")
        for path in sorted((folder / "files").iterdir())
        if path.is_file()
    }


def clean(folder: Path) -> None:
    """Forget what commands have written, and give them a log to look into."""
    shutil.rmtree(folder / "files", ignore_errors=True)
    (folder / "files").mkdir()
    (folder / "files" / "auth.log").write_text(
        "".join(f"line {n} of 192.0.2.1 and 2001:db8::1\n" for n in range(5))
    )
    for leftover in ("log", "fail"):
        if (folder / leftover).exists():
            os.unlink(folder / leftover)
