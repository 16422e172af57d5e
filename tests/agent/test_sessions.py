# SPDX-License-Identifier: MIT
"""What do several lines of one session say together?"""

import pytest

from stockade_agent.sessions import MAX_AGE, MAX_SESSIONS, Sessions, mark


def told(sessions, key, now=0, line="x", **groups):
    return sessions.merge(key, dict(groups), (line,), now)


def test_values_gather():
    """What a line does not say was said by an earlier one; what it says replaces that."""
    sessions = Sessions()
    told(sessions, "1", user="a", ip4="192.0.2.7", nofail="x")
    merged = told(sessions, "1", user="b", ip4=None)

    assert {"user": "b", "ip4": "192.0.2.7"} == merged.groups
    assert {"a", "b"} == merged.users


def test_harmless_lines_come_with_the_failure():
    """Lines of context are no failure, and are told with the next one."""
    sessions = Sessions()
    first = told(sessions, "1", line="context", nofail="x")
    second = told(sessions, "1", line="failure")

    assert (True, False) == (first.harmless, second.harmless)
    assert ("context", "failure") == second.matches


def test_lines_are_told_once():
    """Lines that went out with a failure do not go out with the next."""
    sessions = Sessions()
    told(sessions, "1", line="a")

    assert ("b",) == told(sessions, "1", line="b").matches


def test_pending_failure_needs_an_address():
    """A failure of nobody known counts when a harmless line brings the address."""
    sessions = Sessions()
    told(sessions, "1", line="locked", user="u")
    sessions.pend()
    merged = told(sessions, "1", line="bye", ip4="192.0.2.7", nofail="x")

    assert not merged.harmless
    assert ("locked", "bye") == merged.matches
    assert told(sessions, "1", line="bye", nofail="x").harmless


def test_access_settles_what_was_pending():
    """A login makes earlier failures of the same user harmless."""
    sessions = Sessions()
    told(sessions, "1", user="u")
    sessions.pend()

    assert told(sessions, "1", user="u", ip4="192.0.2.7", mlfgained="x").harmless


def test_access_by_another_user_does_not():
    """A login after another user was tried is a failure."""
    sessions = Sessions()
    told(sessions, "1", user="root", nofail="x")
    merged = told(sessions, "1", user="known", ip4="192.0.2.7", mlfgained="x")

    assert not merged.harmless
    assert {"root", "known"} == merged.users


def test_forget():
    """After the session's last line, the same number is another session."""
    sessions = Sessions()
    told(sessions, "1", user="a", nofail="x")
    told(sessions, "1", mlfforget="x", nofail="x")

    assert {"ip4": "192.0.2.7"} == told(sessions, "1", ip4="192.0.2.7").groups


def test_sessions_end():
    """A session ends some time after its first line."""
    sessions = Sessions()
    told(sessions, "1", now=0, user="a")

    assert "user" in told(sessions, "1", now=MAX_AGE - 1).groups
    assert "user" not in told(sessions, "1", now=MAX_AGE).groups


def test_sessions_are_bounded():
    """The oldest sessions give way to new ones."""
    sessions = Sessions()
    for number in range(MAX_SESSIONS + 1):
        told(sessions, str(number), user="a")

    assert "user" in told(sessions, str(MAX_SESSIONS)).groups
    assert "user" not in told(sessions, "0").groups


@pytest.mark.parametrize("excuse", [{"nofail": "x"}, {}], ids=["harmless", "failing"])
def test_talkative_sessions_are_bounded(excuse):
    """Who keeps a session busy does not fill memory."""
    sessions = Sessions()
    for number in range(1000):
        told(sessions, "1", line=str(number), **excuse)
        sessions.pend() if not excuse else None

    assert len(told(sessions, "1", line="last").matches) <= 200


@pytest.mark.parametrize(
    "key, word",
    [
        pytest.param(" web1 sshd[4711]: ", b"sshd[4711]:", id="number-before-name"),
        pytest.param("web1 sshd[4711]: ", b"sshd[4711]:", id="first-word-may-go-on"),
        pytest.param("web1 sshd[4711]", None, id="last-word-may-go-on"),
        pytest.param("", None, id="empty"),
        pytest.param(" [4711] ", None, id="marks-may-stand-before-the-date"),
        pytest.param(" café 1 ", None, id="beyond-ascii"),
    ],
)
def test_mark(key, word):
    """The lines of a session are known by a word, where one is sure."""
    assert word == mark(key)


def test_marks_are_those_of_open_sessions():
    """A session that ends, is given up or grows old takes its mark along."""
    sessions = Sessions()
    told(sessions, " a[1]: ", user="a")
    told(sessions, " b a[1]: ", user="a")
    told(sessions, " a[2]: ", user="a")
    told(sessions, " a[1]: ", mlfforget="x")
    assert {b"a[1]:", b"a[2]:"} == set(sessions.marks)
    told(sessions, " b a[1]: ", mlfforget="x")
    assert {b"a[2]:"} == set(sessions.marks)
    told(sessions, "?", user="a")
    assert sessions.marks is None
    for number in range(MAX_SESSIONS):
        told(sessions, f" c[{number}]: ", user="a")

    assert MAX_SESSIONS == len(sessions) == len(sessions.marks)
