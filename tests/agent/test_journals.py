# SPDX-License-Identifier: MIT
"""Do the parameters of ``systemd[…]`` mean the journal that they mean to fail2ban?"""

import os

import pytest

from stockade_agent.journals import SYSTEM, inodes, renamed, which


@pytest.mark.parametrize(
    "parameters, options, own",
    [
        pytest.param({}, "--system", True, id="none"),
        pytest.param({"journalflags": "1"}, "", True, id="local"),
        pytest.param({"journalflags": "4"}, "--system", True, id="system"),
        pytest.param({"journalflags": "8"}, "--user", True, id="user"),
        pytest.param({"journalflags": "0xd"}, "--system --user", True, id="all"),
        pytest.param({"journalflags": "0"}, "", True, id="no-flags"),
        pytest.param({"journalflags": "2"}, "--directory=/run/log/journal", True, id="runtime"),
        pytest.param(
            {"journalflags": "6"}, "--directory=/run/log/journal --system", True, id="runtime-4"
        ),
        pytest.param({"journalpath": "/j"}, "--directory=/j", False, id="path"),
        pytest.param(
            {"journalpath": "/j", "journalflags": "4"}, "--directory=/j --system", False, id="both"
        ),
        pytest.param({"namespace": "web"}, "--namespace=web --system", True, id="namespace"),
        pytest.param({"namespace": ""}, "--system", True, id="empty"),
        pytest.param({"rotated": "on"}, "--system", True, id="rotated"),
    ],
)  # fmt: skip
def test_which_journal(parameters, options, own):
    """Flags are those of sd_journal_open(3), of which 4 is the one that holds without any."""
    assert (tuple(options.split()), own) == which(parameters)[:2]


def test_files():
    """Files stand between commas or blanks and may be globs; flags say nothing of them."""
    files = ("/a", "b*.journal", "/c")
    chosen = which({"journalfiles": "/a, b*.journal /c", "journalflags": "4"})

    assert (tuple(f"--file={file}" for file in files), False, files, files) == chosen


@pytest.mark.parametrize(
    "parameters, places",
    [
        ({}, ()),
        ({"journalpath": "/j"}, ("/j/*.journal", "/j/*/*.journal")),
        ({"journalflags": "2"}, ("/run/log/journal/*/*.journal",)),
        (
            {"namespace": "web"},
            ("/var/log/journal/*.web/*.journal", "/run/log/journal/*.web/*.journal"),
        ),
        ({"namespace": "+web"}, ()),
    ],
    ids=str,
)
def test_where_its_files_will_be(parameters, places):
    """Of a journal that may not be there yet it is known where to look for it."""
    assert places == which(parameters).places


def test_without_parameters_it_is_the_systems_own():
    """Who says nothing shares one journalctl with who says what holds anyway."""
    assert SYSTEM == which({}) == which({"journalflags": "4", "rotated": "off"})


@pytest.mark.parametrize(
    "parameters, said",
    [
        ({"journalflag": "1"}, "unknown parameter journalflag"),
        ({"journalflags": "x"}, "journalflags: 'x' is no number"),
        ({"journalflags": "32"}, "has flags besides"),
        ({"journalpath": "/j", "journalfiles": "/f"}, "exclude each other"),
        ({"namespace": "x", "journalflags": "2"}, "exclude each other"),
        ({"rotated": "perhaps"}, "neither yes nor no"),
    ],
    ids=str,
)
def test_what_has_no_meaning(parameters, said):
    """A parameter that cannot be met is told, not passed over."""
    with pytest.raises(ValueError, match=said):
        which(parameters)


def test_files_that_were_renamed(tmp_path):
    """A file is known by its inode, whatever it is called by now."""
    path = tmp_path / "system.journal"
    path.touch()
    globs = [str(tmp_path / "sys*.journal"), str(tmp_path / "none")]
    before = inodes(globs)
    path.rename(tmp_path / "old")
    path.touch()
    after = inodes(globs)

    assert (1, 1) == (len(before), len(after))
    assert (str(tmp_path / "old"),) == renamed(before - after, globs)
    os.unlink(tmp_path / "old")
    assert () == renamed(before - after, globs)
