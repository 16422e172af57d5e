# SPDX-License-Identifier: MIT
"""What hosts say of themselves, and what this controller knows of their distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stockade.model import Facts


FAMILIES: Mapping[str, tuple[str, ...]] = {
    "debian": ("debian", "ubuntu", "raspbian", "linuxmint"),
    "rhel": ("rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn", "scientific"),
}
"""Family -> the words in os-release's ID and ID_LIKE that put a host into it."""

MANAGERS: Mapping[str, str] = {"debian": "apt", "rhel": "dnf"}
"""Family -> the package manager that bootstrap drives there."""

# (ID, first version, last version) -> the package that brings a Python >= 3.9 there.
_PYTHONS = (
    ("debian", 11, 99, "python3"),
    ("ubuntu", 22, 99, "python3"),
    ("ubuntu", 20, 21, "python3.9"),
    ("raspbian", 11, 99, "python3"),
    ("linuxmint", 21, 99, "python3"),
    ("fedora", 33, 99, "python3"),
    ("amzn", 2023, 2099, "python3"),
    ("", 8, 8, "python3.11"),  # RHEL 8 and its kin: the system's own is 3.6
    ("", 9, 99, "python3"),
)


def parse(data: Mapping[str, Any]) -> Facts:
    """Return the facts that converge told."""
    return Facts(
        family=str(data["family"]),
        distribution=str(data["distribution"]),
        python=str(data["python"]),
        python_version=str(data["python_version"]),
        package_manager=str(data["package_manager"]),
        missing=tuple(str(name) for name in data["missing"]),
        firewalls=tuple(str(name) for name in data["firewalls"]),
        controller=str(data["controller"]),
    )


def without_python(data: Mapping[str, Any]) -> Facts:
    """Return the facts that the loader's shell told of a host without a usable Python."""
    words = [str(data["id"]), *str(data["id_like"]).split()]
    family = next(
        (name for word in words for name, members in FAMILIES.items() if word in members), ""
    )
    managers = str(data["managers"]).split()
    manager = MANAGERS.get(family, "")
    return Facts(
        family=family,
        distribution=f"{data['id']} {data['version_id']}".strip(),
        package_manager=manager if manager in managers else "",
        missing=(),
        controller=str(data["connection"]).split(" ")[0].split("%")[0],
    )


def python_package(facts: Facts) -> str:
    """Return the package that brings a usable Python to this host, or "" where none is known."""
    name, _, version = facts.distribution.partition(" ")
    major = version.split(".")[0]
    if not facts.package_manager or not major.isdigit():
        return ""
    for distribution, first, last, package in _PYTHONS:
        kin = distribution == name or (
            not distribution and facts.family == "rhel" and name not in ("fedora", "amzn")
        )
        if kin and first <= int(major) <= last:
            return package
    return ""
