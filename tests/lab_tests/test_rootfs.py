# SPDX-License-Identifier: MIT
"""Is what lies in the cache whole, current, and never taken from under a running lab?"""

from __future__ import annotations

import fcntl
import os

import pytest

from lab import BuildError, rootfs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, in which building a kind makes a folder with one file."""

    def build_kind(name, base, path, log):
        path.mkdir()
        (path / "built").write_text(name)

    monkeypatch.setattr(rootfs, "CACHE", tmp_path)
    monkeypatch.setattr(rootfs, "build_kind", build_kind)
    return tmp_path


def folders(cache):
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_built_once(cache):
    """A root file system that is there is not built again."""
    rootfs._build("kind", "debian12")
    rootfs.path_of("debian12").joinpath("built").write_text("before")
    rootfs._build("kind", "debian12")

    assert "before" == rootfs.path_of("debian12").joinpath("built").read_text()


def test_failed_build_is_not_taken_for_whole(cache, monkeypatch):
    """What a failed or killed build leaves has another name, and the next build clears it."""
    with monkeypatch.context() as patch:

        def fail(name, base, path, log):
            path.mkdir()
            (path / "half").touch()
            raise BuildError("no disk")

        patch.setattr(rootfs, "build_kind", fail)
        with pytest.raises(BuildError):
            rootfs._build("kind", "debian12")
    assert not rootfs.path_of("debian12").exists()

    rootfs._build("kind", "debian12")

    assert [rootfs.path_of("debian12").name] == folders(cache)
    assert not (rootfs.path_of("debian12") / "half").exists()


def test_old_recipes_go_unless_in_use(cache):
    """A build removes what the recipe of before had made, but not under a lab that holds it."""
    for name in ("debian12-000000000000", "debian12-111111111111", "el9-000000000000"):
        (cache / name).mkdir()
    held = os.open(cache / "debian12-111111111111", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)
    try:
        rootfs._build("kind", "debian12")

        kept = ["debian12-111111111111", rootfs.path_of("debian12").name, "el9-000000000000"]
        assert sorted(kept) == folders(cache)
    finally:
        os.close(held)
