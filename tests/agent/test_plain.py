# SPDX-License-Identifier: MIT
"""Can hostile text reach a terminal or a log line?"""

import pytest

from stockade_agent.plain import plain, printable


@pytest.mark.parametrize(
    "text, shown",
    [
        pytest.param("Failed password for ünïcode", "Failed password for ünïcode", id="harmless"),
        pytest.param("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m", id="colour"),
        pytest.param("a\nb\r\tc", "a\\nb\\r\\tc", id="lines"),
        pytest.param("a\u202eb\u2028", "a\\u202eb\\u2028", id="bidi-and-separators"),
        pytest.param("\udcff\x00\x9b", "\\udcff\\x00\\x9b", id="surrogate-nul-csi"),
        pytest.param("a\\nb", "a\\\\nb", id="backslash"),
        pytest.param("", "", id="empty"),
    ],
)
def test_what_is_not_printable_is_written_out(text, shown):
    """All but printable characters are escaped, and the escape cannot be imitated."""
    assert shown == plain(text)


def test_long_text_is_cut():
    """A limit counts characters of the text, the mark of the cut included."""
    assert "abc…" == plain("abcdefgh", 4)


def test_regexes_stay_readable():
    """Where many backslashes are, they and tabs stay; nothing else that acts on a terminal does."""
    assert "\\d+\t\\x1b[2J" == printable("\\d+\t\x1b[2J")
