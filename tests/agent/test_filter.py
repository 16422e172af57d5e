# SPDX-License-Identifier: MIT
"""Which lines are failures, of whom, and when?"""

from ipaddress import ip_address, ip_network

import pytest

from stockade_agent.errors import RegexError
from stockade_agent.filter import Filter
from stockade_agent.model import Block, Failure
from stockade_agent.naming import resolved
from stockade_agent.specs import FilterSpec


NOW = 1714557600.0  # 2024-05-01 10:00:00 UTC


@pytest.fixture(autouse=True)
def utc(zone):
    zone("UTC")


def made(*failregex, findtime=600, **options):
    return Filter(FilterSpec("f", failregex, **options), findtime=findtime, now=NOW)


def block(*lines, times=None, log="log"):
    data = b"".join(x if isinstance(x, bytes) else f"{x}\n".encode() for x in lines)
    return Block(("w",), log, data, "", times)


def failures(judge, *lines, live=True, now=NOW, **more):
    return list(judge.failures(block(*lines, **more), now, live=live))


def ids(judge, *lines, **more):
    return [failure.id for failure in failures(judge, *lines, **more)]


def test_failure():
    """A failure has id, address, time, line and the values of tags."""
    judge = made("^ <F-USER>\\w+</F-USER> failed from <HOST>$")
    line = "May  1 09:59:58 root failed from 2001:DB8::7"

    assert [
        Failure(
            NOW - 2,
            "2001:db8::7",
            ip_address("2001:db8::7"),
            matches=(line,),
            data={"user": "root", "ip6": "2001:DB8::7"},
        )
    ] == failures(judge, line, "May  1 09:59:59 another line")


@pytest.mark.parametrize(
    "regex, text, id_, address",
    [
        pytest.param("<HOST>", "192.0.2.7", "192.0.2.7", "192.0.2.7", id="address"),
        pytest.param("<HOST>", "999.0.2.7", "999.0.2.7", None, id="no-address"),
        pytest.param("<SUBNET>", "192.0.2.7/28", "192.0.2.0/28", "192.0.2.0/28", id="network"),
        pytest.param("u=<F-ID>\\w+</F-ID>", "u=root", "root", None, id="id"),
        pytest.param("u=<F-ID>\\S+</F-ID>", "u=::1", "::1", "::1", id="id-is-address"),
        pytest.param(
            "u=<F-ID>\\w+</F-ID> <ADDR>",
            "u=root 192.0.2.7",
            "root",
            "192.0.2.7",
            id="id-and-address",
        ),
        pytest.param(
            "<F-ID>\\w+</F-ID>-<F-TUPLE_ID>\\w+</F-TUPLE_ID>", "a-b", "('a', 'b')", None, id="tuple"
        ),
    ],
)
def test_identity(regex, text, id_, address):
    """The id is what counts; the address what a firewall can refuse."""
    expected = None if address is None else (ip_network if "/" in address else ip_address)(address)
    (failure,) = failures(made(f"^ {regex}$"), f"May  1 10:00:00 {text}")

    assert (id_, expected) == (failure.id, failure.address)


@pytest.mark.parametrize(
    "usedns, found",
    [("yes", "host"), ("warn", "host"), ("no", None), ("raw", "id"), ("nonsense", None)],
)
def test_usedns(usedns, found):
    """A host name is to be resolved, an id as it is, or nothing."""
    got = failures(made("from <HOST>$", usedns=usedns), "May  1 10:00:00 from a.example")

    assert [found] == [("host" if one.host else "id") for one in got] or (found is None and not got)
    assert all(one.id == "a.example" for one in got)


def test_resolved():
    """A name stands for a failure of each of its addresses."""
    failure = Failure(NOW, "a.example", host="a.example", matches=("x",))
    found = resolved(failure, [ip_address("192.0.2.7"), ip_address("2001:db8::7")])

    assert ["192.0.2.7", "2001:db8::7"] == [one.id for one in found]
    assert all(one.host is None and one.matches == ("x",) and one.address for one in found)
    assert [] == resolved(failure, [])


def test_first_match_wins():
    """The first failregex that matches says who; later ones are not asked."""
    judge = made("a <ADDR>", "<ADDR> b")

    assert ["192.0.2.1"] == ids(judge, "May  1 10:00:00 a 192.0.2.1 192.0.2.2 b")


def test_prefregex():
    """Failregexes see what F-CONTENT captured; its groups are theirs unless they say otherwise."""
    judge = made(
        "^<F-USER>\\w+</F-USER> bad$",
        "^bad(?P<user>x)?$",
        prefregex="^ app <ADDR>: <F-USER>\\w</F-USER> <F-CONTENT>.+</F-CONTENT>$".replace(
            "<F-USER>", "<F-ALT_USER>"
        ).replace("</F-USER>", "</F-ALT_USER>"),
    )
    lines = ("app 192.0.2.7: u root bad", "app 192.0.2.7: u bad", "other 192.0.2.7: u bad")
    got = failures(judge, *(f"May  1 10:00:00 {line}" for line in lines))

    assert ["root", "u"] == [one.data["user"] for one in got]


def test_what_takes_no_part_does_not_override():
    """A group of failregex without a value leaves that of prefregex."""
    judge = made("bad(?P<user>x)?$", prefregex="^ <ADDR> (?P<user>\\w+) <F-CONTENT>.+</F-CONTENT>$")
    (failure,) = failures(judge, "May  1 10:00:00 192.0.2.7 root bad")

    assert "root" == failure.data["user"]


@pytest.mark.parametrize("count", [1, 4], ids=["after-the-match", "before-all"])
def test_ignoreregex(count):
    """A line that ignoreregex matches is none, in whatever order they are tried."""
    judge = made(*["failed from <ADDR>"] * count, ignoreregex=("for alice",))
    lines = ("failed from 192.0.2.7 for alice", "failed from 192.0.2.8 for bob")

    assert ["192.0.2.8"] == ids(judge, *(f"May  1 10:00:00 {line}" for line in lines))


@pytest.mark.parametrize(
    "live, date, expected",
    [
        pytest.param(True, "May  1 09:59:30", NOW - 30, id="live"),
        pytest.param(True, "May  1 08:00:00", NOW, id="live-but-late"),
        pytest.param(True, "May  1 10:00:30", NOW, id="live-and-early"),
        pytest.param(False, "May  1 09:55:00", NOW - 300, id="catch-up"),
        pytest.param(False, "May  1 09:50:00", NOW - 600, id="catch-up-at-findtime"),
        pytest.param(False, "May  1 09:49:59", None, id="catch-up-too-old"),
        pytest.param(False, "May  1 11:00:00", NOW, id="catch-up-early"),
    ],
)
def test_time(live, date, expected):
    """Live, odd dates are taken as now; in catch-up, old lines are dropped; none is future."""
    got = failures(made("failed <ADDR>"), f"{date} failed 192.0.2.7", live=live)

    assert ([] if expected is None else [expected]) == [one.at for one in got]


@pytest.mark.parametrize(
    "live, before, expected",
    [
        pytest.param(True, (), NOW, id="live"),
        pytest.param(False, (), None, id="catch-up"),
        pytest.param(True, ("May  1 09:59:30 other",), NOW - 30, id="date-of-a-rejected-line"),
        pytest.param(
            False, ("May  1 09:59:30 other", "x", "y"), NOW - 30, id="date-of-an-earlier-line"
        ),
        pytest.param(False, ("May  1 09:58:00 other",), None, id="too-long-ago"),
        pytest.param(False, ("May  1 09:59:30 failed 192.0.2.1",), NOW - 30, id="date-of-a-match"),
    ],
)
@pytest.mark.parametrize("blocks", [1, 2])
def test_lines_without_date(live, before, expected, blocks):
    """A line without a date has the last one, if it is recent; else it is now, or never."""
    judge = made("failed <ADDR>")
    line = "failed 192.0.2.7"
    if blocks == 1:
        got = failures(judge, *before, line, live=live)
    else:
        failures(judge, *before, live=live)
        got = failures(judge, line, live=live)
    got = [one.at for one in got if one.id == "192.0.2.7"]

    assert ([] if expected is None else [expected]) == got


def test_journal():
    """Lines of the journal have the times that come with them, and no date to be found."""
    judge = made("^host app\\[\\d+\\]: failed <ADDR> 10:00:00$")
    lines = [f"host app[{n}]: failed 192.0.2.{n} 10:00:00" for n in range(4)]
    lines[1] = "host other[1]: x"
    got = failures(judge, *lines, times=[NOW - n for n in range(4)])

    assert [("192.0.2.0", NOW), ("192.0.2.2", NOW - 2), ("192.0.2.3", NOW - 3)] == [
        (one.id, one.at) for one in got
    ]


@pytest.mark.parametrize(
    "encoding, raw, id_",
    [
        pytest.param("utf-8", "ü failed 192.0.2.7".encode(), "192.0.2.7", id="utf-8"),
        pytest.param("utf-8", b"\xff failed 192.0.2.7\r", "192.0.2.7", id="undecodable"),
        pytest.param("latin-1", b"\xfc failed 192.0.2.7", "192.0.2.7", id="latin-1"),
        pytest.param("auto", b"x failed 192.0.2.7", "192.0.2.7", id="auto"),
    ],
)
def test_encoding(encoding, raw, id_):
    """Bytes that are no text of the encoding do not hide the rest of the line."""
    judge = made("^ \\S failed <ADDR>$", logencoding=encoding)

    assert [id_] == ids(judge, b"May  1 10:00:00 " + raw + b"\n")


def test_wide_encoding():
    """Lines of an encoding in which a newline is more than a byte are found across blocks."""
    judge = made("failed <ADDR>$", logencoding="utf-16-le")
    data = "".join(f"May  1 10:00:00 failed 192.0.2.{n}\n" for n in (7, 8)).encode("utf-16-le")
    cut = data.index(b"\n") + 1  # as a reader of bytes sees a line's end

    assert ["192.0.2.7", "192.0.2.8"] == ids(judge, data[:cut]) + ids(judge, data[cut:])


@pytest.mark.parametrize("end", ["\u2028", "\x0b", "\x0c", "\x1c", "\x85", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_nothing_but_a_newline_ends_a_line(end, encoding):
    """What a client sends forges no line, whatever the encoding."""
    judge = made("^ failed <ADDR>$", logencoding=encoding)
    text = f"May  1 10:00:00 no such user x{end}May  1 10:00:00 failed 192.0.2.7\n"

    assert [] == ids(judge, text.encode(encoding, "replace"))
    assert ["192.0.2.8"] == ids(judge, "May  1 10:00:01 failed 192.0.2.8\n".encode(encoding))


def test_a_wide_encoding_and_the_journal():
    """The journal's entries are UTF-8 whatever ``logencoding`` says; each has its own time."""
    judge = made("^é failed <ADDR>$", logencoding="utf-16")

    (failure,) = failures(judge, "a\x0bb\u2028c", "é failed 192.0.2.7", times=(NOW - 9, NOW - 3))

    assert ("192.0.2.7", NOW - 3) == (failure.id, failure.at)


def test_sessions():
    """A failure may take several lines: one says what, another who."""
    judge = made(
        "^locked <F-USER>\\w+</F-USER>$",
        "^<F-NOFAIL>bye</F-NOFAIL> <ADDR>$",
        prefregex="^ app\\[<F-MLFID>\\d+</F-MLFID>\\]: <F-CONTENT>.+</F-CONTENT>$",
    )
    lines = ("app[1]: bye 192.0.2.1", "app[2]: locked root", "app[2]: bye 192.0.2.7")
    (failure,) = failures(judge, *(f"May  1 10:00:00 {line}" for line in lines))

    assert ("192.0.2.7", "root", "root") == (
        failure.id,
        failure.data["user"],
        failure.data["users"],
    )
    assert 2 == len(failure.matches)


def test_maxlines():
    """A failregex may span lines that follow each other, others between them left for later."""
    judge = made("^ a (?P<n>\\d)<SKIPLINES> b (?P=n) from <ADDR>$", maxlines=4)
    lines = (
        "a 1",
        "a 2",
        "b 1 from 192.0.2.1",
        "other",
        "b 2 from 192.0.2.2",
        "b 2 from 192.0.2.3",
    )
    got = failures(judge, *(f"May  1 10:00:00 {line}" for line in lines))

    assert ["192.0.2.1", "192.0.2.2"] == [one.id for one in got]
    assert ("May  1 10:00:00 a 1", "May  1 10:00:00 b 1 from 192.0.2.1") == got[0].matches


def test_maxlines_forgets():
    """Lines further back than maxlines are gone."""
    judge = made("^ a\\n(?:.*\\n)* b <ADDR>$", maxlines=2)
    lines = ("a", "x", "b 192.0.2.1", "a", "b 192.0.2.2")

    assert ["192.0.2.2"] == ids(judge, *(f"May  1 10:00:00 {line}" for line in lines))


def test_maxlines_with_ignoreregex():
    """An ignored match takes its lines out of the buffer."""
    judge = made("^ a\\n b <ADDR>", maxlines=5, ignoreregex=("192\\.0\\.2\\.1",))
    lines = ("a", "b 192.0.2.1", "a", "b 192.0.2.2")

    assert ["192.0.2.2"] == ids(judge, *(f"May  1 10:00:00 {line}" for line in lines))


def test_check_all():
    """For tools, every failregex is tried on every line."""
    spec = FilterSpec("f", ("a <ADDR>", "<ADDR> b"))
    judge = Filter(spec, now=NOW, check_all=True, any_time=True)

    assert [0, 1] == [one.number for one in judge.examine("a 192.0.2.7 b", NOW)]


@pytest.mark.parametrize(
    "options, option, message",
    [
        pytest.param({"failregex": ("x",)}, "failregex", "says who failed", id="no-id"),
        pytest.param({"failregex": ("<HOST>", "(")}, "failregex", "does not compile", id="compile"),
        pytest.param({"logencoding": "utf-9"}, "logencoding", "utf-9", id="encoding"),
        pytest.param({"logtimezone": "Mars"}, "logtimezone", "Mars", id="zone"),
        pytest.param({"datepattern": "%q"}, "datepattern", "%q", id="date"),
    ],
)
def test_faults(options, option, message):
    """What is wrong with a filter is told when it is made."""
    with pytest.raises(RegexError, match=message) as caught:
        Filter(FilterSpec("f", **{"failregex": (), **options}), now=NOW)

    assert option == caught.value.option


def test_huge_line():
    """A line of ten megabytes is just a line."""
    judge = made("^ failed <ADDR>$")
    lines = ("May  1 10:00:00 " + "failed x" * 1_250_000, "May  1 10:00:00 failed 192.0.2.7")

    assert ["192.0.2.7"] == ids(judge, *lines)
