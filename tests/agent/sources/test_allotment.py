# SPDX-License-Identifier: MIT
"""Who gets the places when there are more logs than may be open?"""

from types import SimpleNamespace

import pytest

from stockade_agent.sources import Watch
from stockade_agent.sources.allotment import allotted, statuses
from stockade_agent.sources.logfile import LogFiles


A = ["a1", "a2", "a3", "a4", "a5"]


def shared(limit, opened=(), **watches):
    """Return who may be open and who may not; a path's number is when it was last written."""
    covered = {}
    for name, paths in watches.items():
        for path in paths:
            covered.setdefault(path, []).append(name)
    found = {path: SimpleNamespace(st_mtime=int(path[1:])) for path in sorted(covered)}
    return allotted(covered, found, opened, limit)


@pytest.mark.parametrize(
    "limit, opened, watches, allowed, refused",
    [
        pytest.param(9, (), {"x": ["a1", "a2"], "y": ["b1"]}, "a1 a2 b1", {}, id="all"),
        pytest.param(4, (), {"x": A}, "a4 a5", {"x": 3}, id="half-the-newest"),
        pytest.param(4, ("a1",), {"x": A}, "a1 a5", {"x": 3}, id="open"),
        pytest.param(
            4, (), {"x": ["a1", "a2", "a3", "a4"], "z": ["b1"]}, "a3 a4 b1", {"x": 2}, id="small"
        ),
        pytest.param(
            4, (), {"x": ["a1", "a2", "a3"], "y": ["a3"], "z": ["b1", "b2"]}, "a2 a3 b1 b2",
            {"x": 1}, id="shared",
        ),
    ],
)  # fmt: skip
def test_places(limit, opened, watches, allowed, refused):
    """No watch takes more than half, the small ones first; open ones stay, then the newest."""
    assert (allowed.split(), refused) == shared(limit, opened, **watches)


def test_what_cannot_be_reached(tmp_path):
    """A path that is gone is left out; one that cannot be followed is a problem."""
    (tmp_path / "there").touch()
    (tmp_path / "loop").symlink_to("loop")
    paths, problems = [str(tmp_path / name) for name in ("there", "gone", "loop")], {}

    assert [paths[0]] == list(statuses(paths, problems))
    assert {paths[2]: "Too many levels of symbolic links"} == problems


def test_a_place_that_becomes_free(tmp_path):
    """A log that found no place is read, from its start, when another is deleted."""
    names = [f"{n}.log" for n in range(6)]
    for name in names:
        (tmp_path / name).write_text(f"{name}\n")
    source = LogFiles([Watch("x", (f"{tmp_path}/*.log",))], {}, limit=4)
    first = sorted(block.data for block in source.read())
    covered = source.logs()["x"]
    said = source.problems()["x"]
    for path in covered:
        (tmp_path / path).unlink()
    rest = sorted(block.data for block in source.read())
    source.close()

    assert (2, 4) == (len(first), len(rest))
    assert set(first).isdisjoint(rest)
    assert "4 files more than may be open" == said
