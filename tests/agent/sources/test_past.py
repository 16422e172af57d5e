# SPDX-License-Identifier: MIT
"""Is the journal of the past read as the running agent would have read it?"""

import json
import sys

import pytest

from stockade_agent.errors import StockadeError
from stockade_agent.sources.past import arguments, entries


ENTRY = {
    "__CURSOR": "s=1",
    "__REALTIME_TIMESTAMP": "1714557600000000",
    "_HOSTNAME": "web1",
    "SYSLOG_IDENTIFIER": "sshd",
    "_PID": "7",
    "MESSAGE": "bad from 192.0.2.7",
}


def fake(folder, code, *lines):
    path = folder / "journalctl.py"
    path.write_text(f"import sys\nfor line in {list(lines)!r}:\n    print(line)\n{code}\n")
    return (sys.executable, str(path))


def test_entries(tmp_path):
    """Each entry is the line that fail2ban would see, with its time; what is none is left out."""
    command = fake(tmp_path, "", json.dumps(ENTRY), "torn {", json.dumps({**ENTRY, "_PID": "8"}))

    assert [
        ("web1 sshd[7]: bad from 192.0.2.7", 1714557600.0),
        ("web1 sshd[8]: bad from 192.0.2.7", 1714557600.0),
    ] == list(entries((), {}, command))


@pytest.mark.parametrize(
    "matches, parameters, told",
    [
        pytest.param((), {}, ["--system"], id="all"),
        pytest.param(
            ("_SYSTEMD_UNIT=a.service + _COMM=b", "_COMM=c"),
            {},
            ["--system", "_SYSTEMD_UNIT=a.service", "+", "_COMM=b", "+", "_COMM=c"],
            id="matches",
        ),
        pytest.param((), {"journalpath": "/j"}, ["--directory=/j"], id="path"),
        pytest.param((), {"journalfiles": "/a,/b"}, ["--file=/a", "--file=/b"], id="files"),
        pytest.param((), {"journalflags": "9"}, ["--user"], id="flags"),
        pytest.param((), {"namespace": "*"}, ["--namespace=*", "--system"], id="namespace"),
    ],
)
def test_arguments(matches, parameters, told):
    """What journalctl is told beyond how to print."""
    common = arguments((), {"journalflags": "0"})
    found = arguments(matches, parameters)

    assert common == found[: len(common)]
    assert told == found[len(common) :]


@pytest.mark.parametrize(
    "matches, parameters",
    [((), {"journalflags": "x"}), ((), {"path": "/"}), (("nonsense",), {}), (("A='",), {})],
    ids=str,
)
def test_what_has_no_meaning(matches, parameters):
    """It is refused before anything runs."""
    with pytest.raises(StockadeError):
        arguments(matches, parameters)


def test_a_refusal(tmp_path):
    """What journalctl complains of is said, and so is that there is none."""
    with pytest.raises(StockadeError, match="ended with 3: no such journal"):
        list(entries((), {}, fake(tmp_path, "sys.stderr.write('no such journal')\nsys.exit(3)")))
    with pytest.raises(StockadeError, match="/nowhere: No such file"):
        list(entries((), {}, ("/nowhere",)))


def test_whoever_has_enough_may_leave(tmp_path):
    """A reader that stops leaves no process behind that writes for ever."""
    command = fake(tmp_path, "", *[json.dumps(ENTRY)] * 10_000)
    reading = entries((), {}, command)

    assert 1714557600.0 == next(reading)[1]
    reading.close()
