# SPDX-License-Identifier: MIT
"""Does ``stockade init`` write an example that works?"""

import pytest

from stockade import example, inventory, plan, roles
from stockade.errors import InputError


def test_init_writes_a_working_inventory(tmp_path):
    """What init writes compiles as it is."""
    folder = tmp_path / "new" / "inventory"
    written = example.init(folder)
    inv = inventory.load(folder, {})
    manifests = plan.plan(inv, roles.load(inv.folder), inv.hosts(), b"agent")

    names = {str(path.relative_to(folder)) for path in written}
    assert {"hosts.yml", "known_hosts", "README.md", "group_vars/all.yml"} <= names
    assert 5 == len(manifests)
    assert {("sshd",), ("sshd", "tightvnc")} == {manifest.jails for manifest in manifests}


def test_init_into_an_empty_directory(tmp_path):
    """A directory that is there but empty will do."""
    assert example.init(tmp_path)


def test_init_harms_nothing(tmp_path):
    """A directory with anything in it, or a file of that name, is left alone."""
    (tmp_path / "x").write_text("mine")
    with pytest.raises(InputError) as caught:
        example.init(tmp_path)
    assert (
        f"{tmp_path}: there is something in it already (name a directory that is new or empty)"
        == str(caught.value)
    )
    with pytest.raises(InputError, match=r"x: cannot be written: Not a directory$"):
        example.init(tmp_path / "x")
    assert ["x"] == [path.name for path in tmp_path.iterdir()]
