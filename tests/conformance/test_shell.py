# SPDX-License-Identifier: MIT
"""Are the commands that fail2ban's own tests expect of stock actions ours, too?"""

import shutil

import pytest

from conformance import oracle, shell, tally
from conformance.fetch import SUITES, fetch


pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("version", SUITES)
def test_expected_commands(version):
    """Each text is where it must be, and nowhere else."""
    came = shell.run(fetch(version), tally.silent)

    assert [] == came.differences
    assert came.total > 500


def test_another_command_differs(tmp_path):
    """A stock action that does something else is found out."""
    package = fetch("1.1.0")
    shutil.copytree(oracle.stock(package), tmp_path / "config", symlinks=True)
    tests = tmp_path / "fail2ban/tests"
    tests.mkdir(parents=True)
    shutil.copy(package / "usr/lib/python3/dist-packages/fail2ban/tests" / shell.FILE, tests)
    path = tmp_path / "config/action.d/hostsdeny.conf"
    path.write_text(path.read_text().replace("actionban = printf", "actionban = echo"))

    came = shell.run(tmp_path, tally.silent)

    assert {"hostsdeny ip4-ban", "hostsdeny ip6-ban"} == {one.key for one in came.differences}
