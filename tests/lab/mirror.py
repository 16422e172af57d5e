# SPDX-License-Identifier: MIT
"""Where the machine's own apt gets Debian from, so that the lab names no mirror of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError


_APT = Path("/etc/apt")


def of_machine(apt: Path = _APT) -> str:
    """The address of the Debian mirror that the machine's own sources name.

    Raises:
        LabError: they name none.
    """
    codename = _codename()
    for address, suites in _sources(apt):
        if codename in suites and address.startswith(("http://", "https://", "file:", "copy:")):
            return address
    raise LabError(f"no source of {codename} in {apt}: add Debian's own to sources.list.d")


def settings() -> str:
    """The machine's settings for fetching (proxies, checks), in apt.conf's format."""
    dump = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True
    )
    keep = [line for line in dump.stdout.splitlines() if not line.startswith("Acquire::cdrom")]
    return "\n".join(keep) + "\n"


def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise LabError("/etc/os-release has no VERSION_CODENAME: the lab runs on Debian 12 or later")


def _sources(apt: Path) -> Iterator[tuple[str, list[str]]]:
    """Each (address, suites) of the one-line and of the deb822 sources."""
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))):
        if not path.is_file():
            continue
        for line in path.read_text().splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["deb"]:
                rest = words[1:]
                if rest and rest[0].startswith("["):
                    closing = next(at for at, word in enumerate(rest) if word.endswith("]"))
                    rest = rest[closing + 1 :]
                if len(rest) > 1:
                    yield rest[0], [rest[1]]
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in path.read_text().split("\n\n"):
            yield from _stanza(stanza)


def _stanza(stanza: str) -> Iterator[tuple[str, list[str]]]:
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[key] = f"{fields.get(key, '')} {line.strip()}"
        elif ":" in line:
            key, _, value = line.partition(":")
            key = key.lower()
            fields[key] = value.strip()
    if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
        for address in fields.get("uris", "").split():
            yield address, fields.get("suites", "").split()
