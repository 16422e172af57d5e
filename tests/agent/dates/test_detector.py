# SPDX-License-Identifier: MIT
"""Which part of a line is its date, and when is that?"""

from datetime import UTC, datetime

import pytest

from stockade_agent.dates import DateDetector, years
from stockade_agent.errors import RegexError


NOW = datetime(2024, 5, 10, 12, tzinfo=UTC).timestamp()


def found(line, pattern=None, zone=None, now=NOW):
    """Return the date's text and its time as UTC; the text alone where it is no date; or None."""
    date = DateDetector(pattern, zone=zone, exact_years=years(now)).find(line, now)
    if date is None:
        return None
    text = line[date.start : date.end]
    return text if date.at is None else (text, said(date.at))


def said(at):
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


TEN = "2024-05-01 10:00:00"


@pytest.mark.parametrize(
    "date, expected",
    [
        ("2024-05-01T10:00:00", TEN),
        ("2024-05-01 10:00:00.123456", TEN),
        ("2024/05/01 10:00:00", TEN),
        ("2024.05.01 10:00:00,5", TEN),
        ("2024-05-01T10:00:00Z", TEN),
        ("2024-05-01T10:00:00+02:00", "2024-05-01 08:00:00"),
        ("2024-05-01 10:00:00 -0330", "2024-05-01 13:30:00"),
        ("May  1 10:00:00", TEN),
        ("May 01 10:00:00.123", TEN),
        ("Wed May 01 10:00:00 2024", TEN),
        ("Wed May  1 2024 10:00:00", TEN),
        ("01/05/2024 10:00:00", TEN),
        ("01-05-24 10:00:00", TEN),
        ("01/May/2024:10:00:00 +0100", "2024-05-01 09:00:00"),
        ("01-May-2024 10:00:00.123", TEN),
        ("05/01/2024:10:00:00", TEN),
        ("05-21-2024 10:00:00", "2024-05-21 10:00:00"),
        ("1714557600", TEN),
        ("1714557600.123", TEN),
        ("10:00:00", "2024-05-10 10:00:00"),
        ("13:00:00", "2024-05-09 13:00:00"),
        ("<05/01/24@10:00:00>", TEN),
        ("240501 10:00:00", TEN),
        ("240501  9:00:00", "2024-05-01 09:00:00"),
        ("May 01, 2024 10:00:00 PM", "2024-05-01 22:00:00"),
        ("May-01-24 10:00:00", TEN),
        ("20240501T100000", TEN),
        ("20240501-10:00:00", TEN),
        ("PDT May 01 10:00:00", "2024-05-01 17:00:00"),
        ("+02:00 May 01 10:00:00", "2024-05-01 08:00:00"),
        ("@40000000663211a000000000", "2024-05-01 09:55:44"),
        ("Dec 31 10:00:00", "2023-12-31 10:00:00"),
        ("May 11 11:00:00", "2024-05-11 11:00:00"),
    ],
)
def test_defaults(date, expected, zone):
    """Without a pattern the usual dates are found, cut out whole, and read."""
    zone("UTC")

    assert (date, expected) == found(f"{date} host app: text")
    assert found(f"{date} host app: text") == found(f"{date} host app: text", "{DEFAULT}")


@pytest.mark.parametrize(
    "line, date",
    [
        ("[1714557600] text", "1714557600"),
        ("audit(1714557600.123:45): text", "1714557600.123"),
        ("- [01/May/2024:10:00:00 +0000] text", "01/May/2024:10:00:00 +0000"),
        ("nothing here", None),
        ("x1714557600 text", None),
        ("May 32 10:00:00", None),
        ("Feb 30 10:00:00", "Feb 30 10:00:00"),
        ("abcdef Feb 28 10:00:00 x", "Feb 28 10:00:00"),
        # As in fail2ban, a short word at the begin is taken for a zone, though it is none.
        ("abc Feb 28 10:00:00 x", "abc Feb 28 10:00:00"),
    ],
)
def test_places(line, date, zone):
    """A date need not stand at the line's begin; some must; and some are none."""
    zone("UTC")
    got = found(line)

    assert date == (got[0] if isinstance(got, tuple) else got)


@pytest.mark.parametrize(
    "pattern, line, expected",
    [
        pytest.param("^%d/%m/%y %H:%M:%S", "01/05/24 10:00:00 x", TEN, id="tightvnc"),
        pytest.param("^%d/%m/%y %H:%M:%S", "x 01/05/24 10:00:00 x", None, id="not-at-the-begin"),
        pytest.param("%H:%M:%S", "x10:00:00", None, id="word-boundary-before"),
        pytest.param("%H:%M:%S", "10:00:001", None, id="word-boundary-after"),
        pytest.param("**%H:%M:%S**", "x10:00:00x", "2024-05-10 10:00:00", id="no-boundary"),
        pytest.param("{UNB}%H:%M:%S", "x10:00:00x", "2024-05-10 10:00:00", id="unbound"),
        pytest.param("{^LN-BEG}%H:%M", "[ 10:00 ]", "2024-05-10 10:00:00", id="near-the-begin"),
        pytest.param("{^LN-BEG}%H:%M", "[x 10:00 ]", None, id="not-near-the-begin"),
        pytest.param(r"^\[{DATE}\]", "[May  1 10:00:00] x", TEN, id="date-in-brackets"),
        pytest.param(r"^\[{EPOCH}\]", "[1714557600] x", TEN, id="epoch-in-brackets"),
        pytest.param("LEPOCH", "1714557600123 x", "2024-05-01 10:00:00", id="milliseconds"),
        pytest.param("^LEPOCH", "1714557600123456 x", "2024-05-01 10:00:00", id="microseconds"),
        pytest.param("%Y-%j", "2024-122 x", "2024-05-01 00:00:00", id="day-of-the-year"),
        pytest.param(
            "%A week %W of %Y", "wednesday week 18 of 2024", "2024-05-01 00:00:00", id="week"
        ),
        pytest.param("%l:%M %p", " 1:05 pm", "2024-05-09 13:05:00", id="twelve-hours"),
        pytest.param("%I:%M %p", "12:05 am", "2024-05-10 00:05:00", id="midnight"),
        pytest.param("%b %d %H:%M:%S %Z", "May 01 10:00:00 CEST", "2024-05-01 08:00:00", id="zone"),
        pytest.param("%Exy%Exm%Exd", "240501", "2024-05-01 00:00:00", id="exact-digits"),
        pytest.param("%ExY", "1999", None, id="not-this-century"),
        pytest.param("%c", "Wed May 01 10:00:00 2024", TEN, id="locale"),
        pytest.param("%x %X", "05/01/24 10:00:00", TEN, id="locale-date-and-time"),
        pytest.param("100%% %H:%M", "100% 10:00", "2024-05-10 10:00:00", id="percent"),
    ],
)
def test_patterns(pattern, line, expected, zone):
    """A pattern says what a date looks like and where it may stand."""
    zone("UTC")
    got = found(line, pattern)

    assert expected == (got[1] if isinstance(got, tuple) else got)


def test_a_group_is_what_is_cut_out(zone):
    """With a plain group in the pattern, only that is cut out."""
    zone("UTC")

    assert ("10:00:00", "2024-05-10 10:00:00") == found("at 10:00:00, x", "^at (%H:%M:%S),")


def test_no_date():
    """{NONE} finds a date in every line, and nothing to cut."""
    date = DateDetector("{NONE}", exact_years=years(NOW)).find("text", NOW)

    assert (0, 0, None) == date
    assert DateDetector("{NONE}", exact_years=years(NOW)).dateless


def test_zone_of_the_log(zone):
    """Dates that name no zone are local time, or what logtimezone says; others are their own."""
    zone("EST5EDT,M3.2.0,M11.1.0")

    assert "2024-05-01 14:00:00" == found("2024-05-01 10:00:00 x")[1]
    assert "2024-05-01 08:00:00" == found("2024-05-01 10:00:00 x", zone="UTC+0200")[1]
    assert TEN == found("2024-05-01 10:00:00Z x", zone="CET")[1]


def test_first_match_is_kept(zone):
    """A log whose dates stand in the middle keeps its format, whatever stands before them."""
    zone("UTC")
    detector = DateDetector(exact_years=years(NOW))
    line = "192.0.2.7 - - [01/May/2024:10:00:00 +0000] at 09:00:00"
    for _ in range(3):
        date = detector.find(line, NOW)

    assert "01/May/2024:10:00:00 +0000" == line[date.start : date.end]
    assert 3 == dict(detector.hits())[detector.hits()[0][0]]


@pytest.mark.parametrize(
    "pattern, zone_, option",
    [
        pytest.param("%q", None, "datepattern", id="unknown-token"),
        pytest.param("(%H", None, "datepattern", id="unbalanced"),
        pytest.param("%H:%M\n%H:%M", None, "datepattern", id="twice"),
        pytest.param("%Y %ExY", None, "datepattern", id="a-field-twice"),
        pytest.param(None, "Europe/Paris", "logtimezone", id="no-fixed-offset"),
    ],
)
def test_faults(pattern, zone_, option):
    """What cannot be used is refused, and the option named."""
    with pytest.raises(RegexError) as caught:
        DateDetector(pattern, zone=zone_, exact_years=years(NOW))

    assert option == caught.value.option


@pytest.mark.parametrize(
    "now, good, bad",
    [
        pytest.param(2024, ("2000", "2029"), ("1999", "2030"), id="decades-around-now"),
        pytest.param(2027, ("2030",), ("2040",), id="three-years-ahead"),
    ],
)
def test_years(now, good, bad):
    """%ExY takes the years of this century up to those of the decade in three years."""
    moment = datetime(now, 6, 1, tzinfo=UTC).timestamp()

    assert all(found(year, "%ExY", now=moment) for year in good)
    assert not any(found(year, "%ExY", now=moment) for year in bad)


@pytest.mark.parametrize(
    "pattern, word, places",
    [
        pytest.param("{^LN-BEG}", " [x] ", {1, 2}, id="marks-before"),
        pytest.param("{^LN-BEG}", "Failed x", set(), id="words-stay-whole"),
        pytest.param("^%Y-%m-%d", " x", set(), id="nothing-before"),
        pytest.param(r"^[^\[]*\[({DATE})", 'a["x', {2}, id="after-a-mark"),
        pytest.param(r"^[^\[]*\[(%Y)|^x(%H)", "a[b", {1, 2}, id="mark-in-one-branch"),
        pytest.param(r"^\[(%Y)|(%H:%M)", "ab", {1}, id="begin-in-one-branch"),
        pytest.param(None, "ab c", {2}, id="before-a-blank"),
        pytest.param("**%H:%M:%S**", "abc", {1, 2}, id="anywhere"),
    ],
)
def test_tears(pattern, word, places):
    """Where a date may have torn a word is known from what may stand before and after it."""
    assert places == DateDetector(pattern, exact_years=years(NOW)).tears(word)


@pytest.mark.parametrize("second", ["58", "59", "60"])
def test_seconds_of_a_minute(second):
    """Dates of one minute are told apart, whichever was read first."""
    texts = [f"May 10 11:59:{s}" for s in ("07", second, "00", "07")]
    each = [DateDetector(exact_years=years(NOW)).find(text, NOW).at for text in texts]
    detector = DateDetector(exact_years=years(NOW))

    assert each == [detector.find(text, NOW).at for text in texts]


def test_a_minute_in_which_the_year_changes():
    """A date without a year is of last year from the second on that is too far ahead."""
    now = NOW + 30.0
    texts = [f"May 11 12:00:{second:02}" for second in (10, 30, 31, 50)]
    each = [DateDetector(exact_years=years(now)).find(text, now).at for text in texts]
    detector = DateDetector(exact_years=years(now))

    assert each == [detector.find(text, now).at for text in texts]
    assert each[0] > each[-1]


def test_an_address_before_the_date_is_no_part_of_it():
    """The same date behind another address is the same, and is cut out at its own place."""
    detector = DateDetector(r"^[^\[]*\[({DATE})", exact_years=years(NOW))
    dates = [
        detector.find(f"{address} - - [10/May/2024:11:00:00 +0000]", NOW)
        for address in ("192.0.2.1", "198.51.100.77", "192.0.2.1")
    ]

    assert 1 == len({date.at for date in dates})
    assert [15, 19, 15] == [date.start for date in dates]
