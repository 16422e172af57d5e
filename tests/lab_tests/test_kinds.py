# SPDX-License-Identifier: MIT
"""Does a name say which host is meant, and a digest what was built?"""

from __future__ import annotations

import dataclasses

import pytest

from lab import LabError, kinds


@pytest.mark.parametrize(
    "name, kind, addresses",
    [
        pytest.param("debian12", "debian12", ("10.77.120.1", "fd77::120:1"), id="by-kind-alone"),
        pytest.param("debian12-1", "debian12", ("10.77.120.11", "fd77::120:11"), id="first"),
        pytest.param("el9-240", "el9", ("10.77.90.250", "fd77::90:250"), id="last-of-an-octet"),
        pytest.param("el9-241", "el9", ("10.77.91.11", "fd77::91:11"), id="next-octet"),
    ],
)
def test_names(name, kind, addresses):
    """A name gives the kind and always the same addresses."""
    assert (kind, addresses) == (kinds.kind_of(name), kinds.addresses_of(name))


@pytest.mark.parametrize("name", ["el8", "debian12-0", "debian12-x", "", "../el9"])
def test_names_that_are_none(name):
    """A name that is no kind and no KIND-NUMBER is refused."""
    with pytest.raises(LabError, match="no such host"):
        kinds.kind_of(name)


def test_addresses_differ():
    """No two hosts of any kinds share an address."""
    names = [kind + number for kind in kinds.KINDS for number in ("", "-1", "-2", "-2400")]

    assert len(names) == len({kinds.addresses_of(name)[0] for name in names})


def test_digest_follows_the_recipe():
    """Another recipe has another digest, the same one the same."""
    kind = kinds.KINDS["debian12"]

    assert kinds.digest(kind) == kinds.digest(dataclasses.replace(kind))
    assert kinds.digest(kind) != kinds.digest(dataclasses.replace(kind, script="true"))
