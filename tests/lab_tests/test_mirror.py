# SPDX-License-Identifier: MIT
"""Is the machine's own Debian mirror found in its apt sources?"""

from __future__ import annotations

import pytest

from lab import LabError, mirror


DEB822 = """\
Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm

Types: deb
# a comment between
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
"""
DISABLED = "Types: deb\nURIs: http://off.example/debian\nSuites: bookworm\nEnabled: no\n"


@pytest.fixture(autouse=True)
def bookworm(monkeypatch):
    monkeypatch.setattr(mirror, "_codename", lambda: "bookworm")


@pytest.mark.parametrize(
    "name, text",
    [
        pytest.param("sources.list", "deb http://mirror.example/debian bookworm main", id="line"),
        pytest.param(
            "sources.list",
            "# deb http://old.example/debian bookworm main\n"
            "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main",
            id="line-with-options",
        ),
        pytest.param("sources.list.d/debian.sources", DEB822, id="deb822"),
        pytest.param("sources.list.d/debian.sources", f"{DISABLED}\n{DEB822}", id="one-disabled"),
    ],
)
def test_found(tmp_path, name, text):
    """The first enabled source of binary packages for the machine's release is it."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)

    assert mirror.of_machine(tmp_path) == "http://mirror.example/debian"


def test_none(tmp_path):
    """Sources of other releases only are an error that says where was looked."""
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian sid main")

    with pytest.raises(LabError, match=f"no source of bookworm in {tmp_path}"):
        mirror.of_machine(tmp_path)
