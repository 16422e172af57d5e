# SPDX-License-Identifier: MIT
"""Do we find the dates of the tables in fail2ban's own tests, and are these read as they stand?"""

import pytest

from conformance import datetable, literals, tally
from conformance.fetch import SUITES, fetch


@pytest.mark.conformance
@pytest.mark.parametrize("version", SUITES)
def test_tables(version):
    """Every row of the four tables."""
    came = datetable.run(fetch(version), tally.silent)

    assert [] == came.differences
    assert came.total > 150


def test_wrong_rows_are_told(tmp_path, monkeypatch):
    """A row that asks for another date, for one that is none, or for none where one is, differs."""
    tests = tmp_path / "fail2ban/tests"
    tests.mkdir(parents=True)
    (tests / datetable.FILE).write_text(
        "def testVariousTimes(self):\n"
        "    for a, b, c, d in ((False, True, '2005-01-23 21:59:58', None),): pass\n"
        "def testAmbiguousDatePattern(self):\n"
        "    for a, b, c in (\n"
        "        (1072746123.0 - 3600, '%Y-%m-%d %H:%M:%S', '2003-12-30 02:02:03'),\n"
        "        (False, None, '2005-01-23 21:59:59'),\n"
        "        ('1', None, 'nothing'),\n"
        "    ): pass\n"
        "def testVariousFormatSpecs(self):\n"
        "    for a, b, c in (): pass\n"
        "def testAmbiguousInOrderedTemplates(self):\n"
        "    for a, b, c in (('2005', '2005-01-23 21:59:59', 3),): pass\n"
    )

    came = datetable.run(tmp_path, tally.silent)

    assert 7 == came.total
    assert [
        "various 0 alone",
        "various 0 bogus-prefix",
        "testAmbiguousDatePattern 0",
        "testAmbiguousDatePattern 1",
        "testAmbiguousDatePattern 2",
        "in turn 0",
    ] == [one.key for one in came.differences]


def test_what_is_not_there(tmp_path):
    """A tree without tests, or with others, is told so, not passed."""
    with pytest.raises(literals.Missing, match="is not there"):
        datetable.run(tmp_path, tally.silent)
    path = tmp_path / "tests.py"
    path.write_text("def testOther(self):\n    x = 1\n")
    with pytest.raises(literals.Missing, match="has no testWanted"):
        literals.looped(path, "testWanted")
    with pytest.raises(literals.Missing, match="has no loop"):
        literals.looped(path, "testOther")
    assert 1 == literals.assigned(path, "testOther", "x")
