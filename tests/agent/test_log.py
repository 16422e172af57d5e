# SPDX-License-Identifier: MIT
"""Does the agent's own log say each thing once, and nothing that an attacker wrote as it is?"""

import io

import pytest

from stockade_agent.log import TOGETHER, Log


def test_priorities_are_those_of_syslog():
    """The priority stands at the start of a line, where journald reads it."""
    stream = io.StringIO()
    log = Log(stream)
    log.error("e")
    log.warning("w")
    log.notice("n")
    log.info("i")

    assert "<3>e\n<4>w\n<5>n\n<6>i\n" == stream.getvalue()


@pytest.mark.parametrize(
    "level, said",
    [
        ("CRITICAL", ""),
        ("WARNING", "w\n"),
        ("NOTICE", "w\nn\n"),
        ("odd", "w\nn\n"),
        ("30", "w\n"),
        ("25", "w\nn\n"),
        ("26", "w\n"),
        ("50", ""),
    ],
)
def test_level(level, said):
    """What is less important than ``loglevel`` is left out; an odd one is INFO."""
    stream = io.StringIO()
    log = Log(stream, level, prefixed=False)
    log.warning("w")
    log.notice("n")

    assert said == stream.getvalue()


def test_a_problem_is_said_when_it_begins_changes_or_ends():
    """A problem that stands is not repeated."""
    stream = io.StringIO()
    log = Log(stream, prefixed=False)
    for text in ("", "a", "a", "b", "b", "", ""):
        log.problem("firewall", text)

    assert "firewall: a\nfirewall: b\nfirewall: well again\n" == stream.getvalue()


def test_one_line_is_one_line():
    """Newlines and control characters of hostile text are written out."""
    stream = io.StringIO()
    Log(stream).info("[sshd] Found a\n<0>forged\x1b[2J")

    assert "<6>[sshd] Found a\\n<0>forged\\x1b[2J\n" == stream.getvalue()


def test_a_reader_that_is_gone_stops_nothing():
    """A closed standard error is no reason to end."""
    stream = io.StringIO()
    stream.close()

    Log(stream).error("nobody reads this")


class Pieces(io.StringIO):
    """A stream that counts how often it is written to."""

    count = 0

    def write(self, text):
        self.count += bool(text)
        return super().write(text)


def test_lines_written_together():
    """A thousand lines are few pieces, in order; afterwards each is written as it comes."""
    stream = Pieces()
    log = Log(stream, prefixed=False)
    with log.together():
        for number in range(1000):
            log.info(str(number))
    assert list(map(str, range(1000))) == stream.getvalue().split()
    assert -(-1000 // TOGETHER) == stream.count
    log.info("last")

    assert stream.getvalue().endswith("999\nlast\n")


def test_lines_said_before_an_error_are_written():
    """What was kept back is not lost with the exception that follows it."""
    stream = io.StringIO()
    log = Log(stream, prefixed=False)

    def fail():
        with log.together():
            log.error("so far")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert "so far\n" == stream.getvalue()
