# SPDX-License-Identifier: MIT
"""A configuration directory out of the texts of its files."""

from pathlib import Path
from textwrap import dedent

import pytest


ROOT = Path(__file__).parent.parent.parent.parent
BASE_JAIL_CONF = ROOT / "roles" / "base" / "files" / "jail.conf"


@pytest.fixture
def write(tmp_path):
    """Return a function that writes files by name and returns the directory."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(text, bytes):
                path.write_bytes(text)
            else:
                path.write_text(dedent(text))
        return str(tmp_path)

    return write


@pytest.fixture
def base(write):
    """Return the same with the base role's jail.conf and a filter named ``any``."""

    def base(files):
        files = {
            "jail.conf": BASE_JAIL_CONF.read_text(),
            "filter.d/any.conf": "[Definition]\nfailregex = bad <HOST>\n",
            **files,
        }
        return write(files)

    return base
