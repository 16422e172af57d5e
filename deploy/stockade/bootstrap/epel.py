# SPDX-License-Identifier: MIT
"""How each distribution of the RHEL family comes by EPEL, and by the repository it leans on."""

from __future__ import annotations

from typing import NamedTuple


class Epel(NamedTuple):
    """The way to EPEL.

    Attributes:
        release: the package that brings the repository, or the URL of one.
        builder: shell command that enables the repository that EPEL's packages lean on (CRB,
            PowerTools), best effort; "" for none.
        refusal: why there is no way, or "".
    """

    release: str = ""
    builder: str = ""
    refusal: str = ""


# The first that is there: the tool that epel-release brings, else dnf's plug-in.
_CRB = (
    "if command -v crb >/dev/null 2>&1; then crb enable; "
    "else dnf -q config-manager --set-enabled crb || "
    "dnf -q config-manager --set-enabled powertools; fi"
)
_RHEL = (
    "subscription-manager repos --enable codeready-builder-for-rhel-{0}-$(uname -m)-rpms || "
    "dnf -q config-manager --set-enabled codeready-builder-for-rhel-{0}-rhui-rpms"
)


def epel(distribution: str, url: str) -> Epel:
    """Return the way to EPEL for ``ID VERSION_ID``.

    ``url`` is the inventory's ``base_epel_url``, which wins where there is a choice.
    """
    name, _, version = distribution.partition(" ")
    major = version.split(".")[0]
    builder = _CRB
    if name == "fedora":
        return Epel(refusal="Fedora has these packages itself; EPEL is not for it")
    if name == "amzn":
        return Epel(refusal="EPEL is not for Amazon Linux; use packages of its own repositories")
    if name == "rhel":
        if not url:
            return Epel(
                refusal="RHEL has no epel-release of its own: set base_epel_url to that rpm"
            )
        builder = _RHEL.format(major)
    if name == "ol":
        builder = f"dnf -q config-manager --set-enabled ol{major}_codeready_builder"
        return Epel(url or f"oracle-epel-release-el{major}", builder)
    return Epel(url or "epel-release", builder)
