# SPDX-License-Identifier: MIT
"""Can any content of files make the reader raise, or run on?"""

import random
from pathlib import Path

import pytest

from stockade_agent.config import check, read, resolve
from stockade_agent.errors import ConfigError


PIECES = (
    "[", "]", "[DEFAULT]\n", "[any]\n", "[INCLUDES]\n", "[Definition]\n", "[Init]\n", "\n", "\n  ",
    "before = jail.conf\n", "after = x.conf\n", "enabled = true\n", "filter = any", "filter = ",
    "action = ", "failregex = ", "%(", ")s", "%(known/failregex)s", "%(default/x)s", "%%", "%",
    "<", ">", "<known/x>", "<x>", "<F-", "x = ", "x[y=", '"', "'", ",", "=", ":", ";", " #", "\t",
    "port = 0:99999999999999999999", "maxretry = 9" * 5, "bantime = ((", "findtime = 1/0", "\x00",
    "é", "\ufeff", "backend = systemd[", "?family=inet6", "actionban = ", "logpath = ", " tail",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_random_files(base, seed):
    """Random files become faults, never an exception of another kind."""
    chance = random.Random(seed)

    def text():
        return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 40)))

    names = ("jail.local", "jail.d/x.conf", "filter.d/any.conf", "action.d/x.conf", "stockade.conf")
    files = {name: text() for name in chance.sample(names, 3)}
    files["jail.d/on.local"] = "[any]\nenabled = true\n"
    directory = base(files)

    read(directory)
    check(directory)
    try:
        resolve(directory, "any")
    except ConfigError:
        assert "any" not in Path(directory, "jail.d/on.local").read_text()


@pytest.mark.parametrize("seed", range(50))
def test_flipped_bytes(base, seed):
    """A damaged file of the base role becomes faults."""
    chance = random.Random(seed)
    directory = base({"jail.local": "[any]\nenabled = true\n[sshd]\nenabled = true\n"})
    path = Path(directory, "jail.conf")
    data = bytearray(path.read_bytes())
    for _ in range(20):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(data)

    check(directory)


def test_includes_without_end(write):
    """A long chain of includes is cut, not followed into the ground."""
    files = {
        f"i{n}.conf": f"[INCLUDES]\nbefore = i{n + 1}.conf\n[x]\na{n} = 1\n" for n in range(200)
    }
    files["jail.conf"] = "[INCLUDES]\nbefore = i0.conf\n"

    assert () == read(write(files)).faults


def test_unreadable_kind_of_file(base):
    """A directory in the place of a file is a fault."""
    directory = base({"filter.d/dir.conf/x": "", "jail.local": "[dir]\nenabled=1\nlogpath=/x\n"})

    assert ["dir"] == [fault.jail for fault in read(directory).faults]


@pytest.mark.parametrize(
    "text",
    [
        "[x]\nenabled = true\nfilter = a\0b\nlogpath = /log\n",
        "[x]\nenabled = true\naction = a\0b\nlogpath = /log\n",
        "[DEFAULT]\nlogpath = /a\0b\n[x]\nenabled = true\n",
    ],
    ids=["filter", "action", "default"],
)
def test_nul_bytes_in_names_of_files(tmp_path, text):
    """A name that no file can have is a fault with its line, and ends nothing."""
    (tmp_path / "jail.conf").write_text(text)

    found = [str(fault) for fault in read(str(tmp_path)).faults]

    assert any("jail.conf:" in fault and "NUL byte" in fault for fault in found)
