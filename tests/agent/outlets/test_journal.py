# SPDX-License-Identifier: MIT
"""Does journald get the fields that we mean, and none that somebody else wrote?"""

import array
import contextlib
import io
import os
import socket
import struct

import pytest

from stockade_agent.log import Log
from stockade_agent.model import Ban
from stockade_agent.outlets import journal
from stockade_agent.outlets.journal import IDS, Journal


class Journald:
    """Receives datagrams, and reads them as the protocol's document says."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(5.0)

    def datagram(self):
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for _, _, raw in ancillary:
            (fileno,) = array.array("i", raw)
            with open(fileno, "rb") as file:
                file.seek(0)
                return file.read()
        return data

    def entries(self):
        return read(self.datagram())


def read(data):
    """Return the entries of a datagram, each a list of fields with values."""
    found, fields = [], []
    while data:
        line, _, rest = data.partition(b"\n")
        if not line:
            found.append(fields)
            fields, data = [], rest
        elif b"=" in line:
            fields.append(tuple(line.split(b"=", 1)))
            data = rest
        else:
            (length,) = struct.unpack("<Q", rest[:8])
            fields.append((line, rest[8 : 8 + length]))
            assert b"\n" == rest[8 + length : 9 + length]
            data = rest[9 + length :]
    return [*found, fields] if fields else found


@pytest.fixture
def journald(tmp_path):
    found = Journald(str(tmp_path / "socket"))
    yield found
    found.socket.close()


@pytest.fixture
def log(journald):
    found, outlet = Log(io.StringIO(), "DEBUG"), Journal(lambda: 0.0, journald.path)
    found.to(outlet)
    yield found
    outlet.close()


def ban(id_="192.0.2.7", **more):
    return Ban("sshd", id_, None, 1.0, 600, failures=5, **more)


def own(event, **more):
    """Return the fields that an entry of sshd has."""
    priority = {"found": "6", "ignore": "6"}.get(event, "5")
    fields = {
        "PRIORITY": priority,
        "SYSLOG_IDENTIFIER": "stockade-agent",
        "MESSAGE_ID": IDS[event],
        "STOCKADE_EVENT": event,
        "STOCKADE_JAIL": "sshd",
        **more,
    }
    return {name.encode(): value.encode() for name, value in fields.items()}


COUNTS = {"STOCKADE_BANTIME": "600", "STOCKADE_FAILURES": "5", "STOCKADE_COUNT": "1"}


@pytest.mark.parametrize(
    "say, expected",
    [
        (
            lambda log: log.found("sshd", "192.0.2.7"),
            own("found", MESSAGE="[sshd] Found 192.0.2.7", STOCKADE_ID="192.0.2.7"),
        ),
        (
            lambda log: log.ban(ban()),
            own("ban", MESSAGE="[sshd] Ban 192.0.2.7", STOCKADE_ID="192.0.2.7", **COUNTS),
        ),
        (
            lambda log: log.ban(ban(prolonged=True)),
            own(
                "again",
                MESSAGE="[sshd] 192.0.2.7 already banned",
                STOCKADE_ID="192.0.2.7",
                **COUNTS,
            ),
        ),
        (
            lambda log: log.unban(ban()),
            own("unban", MESSAGE="[sshd] Unban 192.0.2.7", STOCKADE_ID="192.0.2.7"),
        ),
        (
            lambda log: log.ignored("sshd", "192.0.2.7", "ip"),
            own(
                "ignore",
                MESSAGE="[sshd] Ignore 192.0.2.7 by ip",
                STOCKADE_ID="192.0.2.7",
                STOCKADE_BY="ip",
            ),
        ),
    ],
    ids=["found", "ban", "again", "unban", "ignore"],
)
def test_fields(log, journald, say, expected):
    """Each event has its fields, its own MESSAGE_ID, and the line that it always had."""
    say(log)
    (fields,) = journald.entries()

    assert expected == dict(fields)
    assert len(expected) == len(fields)


def test_no_event_has_another_ones_id():
    """A MESSAGE_ID stands for one thing."""
    assert len(IDS) == len(set(IDS.values()))
    assert all(len(bytes.fromhex(id_)) == 16 for id_ in IDS.values())


def test_what_has_no_name_is_a_line(log, journald):
    """Problems have their subject; all else is a message with its priority."""
    log.problem("firewall", "nft is not there")
    log.info("ready")
    (problem,), (line,) = journald.entries(), journald.entries()

    assert (b"firewall", b"3") == (dict(problem)[b"STOCKADE_SUBJECT"], dict(problem)[b"PRIORITY"])
    assert {
        b"MESSAGE": b"ready",
        b"PRIORITY": b"6",
        b"SYSLOG_IDENTIFIER": b"stockade-agent",
    } == dict(line)


@pytest.mark.parametrize(
    "id_",
    [
        "a\nPRIORITY=0",
        "a\n\nMESSAGE=forged\n\n",
        "\nSTOCKADE_JAIL\n\x01\0\0\0\0\0\0\0x\n",
        "STOCKADE_EVENT=ban",
        "\n",
        "x" * 300 + "\n" + "é" * 300,
        "\udcff\ud800",
    ],
    ids=["field", "entry", "length", "equals", "empty-line", "long", "surrogates"],
)
@pytest.mark.parametrize("say", ["found", "ban"])
def test_nobody_forges_fields(log, journald, id_, say):
    """Whatever an id is made of, it is one value, and no field comes or goes with it."""
    if say == "found":
        log.found("sshd", id_)
    else:
        log.ban(ban(id_))
    (fields,) = journald.entries()
    names = [name for name, _ in fields]

    value = dict(fields)[b"STOCKADE_ID"]
    assert id_.encode("utf-8", "backslashreplace") == value
    assert len(set(names)) == len(names)
    assert say.encode() == dict(fields)[b"STOCKADE_EVENT"]
    assert b"\n" not in dict(fields)[b"MESSAGE"]
    expected = {b"PRIORITY", b"SYSLOG_IDENTIFIER", b"MESSAGE_ID", b"MESSAGE"}
    assert expected == {name for name in names if not name.startswith(b"STOCKADE_")}


def test_each_entry_is_a_datagram(log, journald):
    """Whatever is written together: of several in one, systemd 257 would keep the first alone."""
    with log.together():
        for number in range(5):
            log.found("sshd", f"192.0.2.{number}")
    each = [journald.entries() for _ in range(5)]

    assert [1] * 5 == [len(entries) for entries in each]
    ids = [dict(entries[0])[b"STOCKADE_ID"].decode() for entries in each]
    assert [f"192.0.2.{number}" for number in range(5)] == ids


def test_what_journald_took_before_it_hung_is_not_lost(journald, monkeypatch):
    """Of many entries that are written together the first ones are there, the others told."""
    monkeypatch.setattr(journal, "PATIENCE", 0.05)
    stream = io.StringIO()
    log, outlet = Log(stream), Journal(lambda: 0.0, journald.path)
    log.to(outlet)
    with log.together():
        for number in range(256):
            text = f"{number} {'x' * 10_000}"
            log.info(text)
    taken = []
    journald.socket.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while True:
            taken += [dict(fields)[b"MESSAGE"].split()[0] for fields in journald.entries()]
    outlet.close()

    assert 0 < len(taken) < 256
    assert [str(number).encode() for number in range(len(taken))] == taken
    assert f"{256 - len(taken)} lines lost" in log.trouble
    assert "" == stream.getvalue()


def test_what_is_too_long_goes_by_a_file(log, journald):
    """A message larger than any datagram arrives whole, in a file that nobody can change."""
    log.found("sshd", "x" * (4 << 20))
    data, ancillary, _, _ = journald.socket.recvmsg(1 << 10, socket.CMSG_SPACE(4))
    (fileno,) = array.array("i", ancillary[0][2])

    assert b"" == data
    with pytest.raises(PermissionError):
        os.ftruncate(fileno, 0)
    with open(fileno, "rb") as file:
        file.seek(0)
        (fields,) = read(file.read())
    assert 4 << 20 == len(dict(fields)[b"STOCKADE_ID"])


def test_journald_is_gone(tmp_path):
    """Lines go to standard error while it is, and the status says so."""
    stream = io.StringIO()
    log, path = Log(stream), str(tmp_path / "socket")
    outlet = Journal(lambda: 0.0, path)
    log.to(outlet)
    log.ban(ban())

    assert "<5>[sshd] Ban 192.0.2.7\n" == stream.getvalue()
    assert log.trouble.startswith("log: SYSTEMD-JOURNAL: No such file")
    journald = Journald(path)
    log.info("well")
    assert b"well" == dict(journald.entries()[0])[b"MESSAGE"]
    assert ("", "<5>[sshd] Ban 192.0.2.7\n") == (log.trouble, stream.getvalue())
    journald.socket.close()
    outlet.close()


def test_journald_hangs(journald, monkeypatch):
    """It is waited for once, then left alone for a while; what was lost is told when it is back."""
    monkeypatch.setattr(journal, "PATIENCE", 0.05)
    now, stream = [0.0], io.StringIO()
    log, outlet = Log(stream), Journal(lambda: now[0], journald.path)
    log.to(outlet)
    count = 0
    while not log.trouble:
        log.info("x" * 1000)
        count += 1
        assert count < 10_000
    for _ in range(1000):
        log.info("not even tried")

    assert f"log: SYSTEMD-JOURNAL: journald takes nothing; {1001} lines lost" == log.trouble
    assert "" == stream.getvalue()
    taken = [journald.entries() for _ in range(count - 1)]
    assert all(len(entries) == 1 for entries in taken)
    now[0] = 100.0
    log.info("back")
    texts = [dict(journald.entries()[0])[b"MESSAGE"] for _ in range(2)]
    assert [b"1001 lines were lost while SYSTEMD-JOURNAL took nothing", b"back"] == texts
    outlet.close()


def test_values_of_any_kind(journald):
    """Numbers and line ends in other fields are values, too."""
    outlet = Journal(lambda: 0.0, journald.path)
    outlet.write([(6, "a", "", "", "", {"n": -1, "t": "x\ny=z"})])
    (fields,) = journald.entries()

    assert (b"-1", b"x\ny=z") == (dict(fields)[b"STOCKADE_N"], dict(fields)[b"STOCKADE_T"])
    outlet.close()
