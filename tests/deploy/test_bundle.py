# SPDX-License-Identifier: MIT
"""Is the agent one file, the same wherever it is made, and does it run by itself?"""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import stockade_agent
from stockade import bundle


def names():
    return zipfile.ZipFile(io.BytesIO(bundle.build())).namelist()


def test_it_has_every_module_and_nothing_else():
    """Modules and the entry point, sorted: no tests, no caches, no other files."""
    root = Path(stockade_agent.__file__).parent
    modules = {f"stockade_agent/{p.relative_to(root).as_posix()}" for p in root.rglob("*.py")}

    assert sorted({"__main__.py", *modules}) == names()
    others = {p.suffix for p in root.rglob("*") if p.is_file() and p.parent.name != "__pycache__"}
    assert {".py"} == others


def test_same_bytes_whatever_the_clock_and_the_modes(tmp_path, monkeypatch):
    """Times, modes and the order of the file system leave no trace."""
    copy = tmp_path / "stockade_agent"
    # Caches apart: who imports meanwhile writes there.
    original = Path(stockade_agent.__file__).parent
    shutil.copytree(original, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for number, path in enumerate(sorted(copy.rglob("*"), reverse=True)):
        os.utime(path, (number, number))
        path.chmod(0o700)
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"x")
    monkeypatch.setattr(stockade_agent, "__file__", str(copy / "__init__.py"))

    assert bundle.build() == bundle.build.__wrapped__()


def test_members_have_fixed_times_and_modes():
    """Every member is a plain file of 1980."""
    members = zipfile.ZipFile(io.BytesIO(bundle.build())).infolist()

    assert {((1980, 1, 1, 0, 0, 0), 0o100644 << 16, 3, zipfile.ZIP_DEFLATED)} == {
        (m.date_time, m.external_attr, m.create_system, m.compress_type) for m in members
    }


def test_command_writes_it(tmp_path):
    """``python -m stockade.bundle PATH`` writes the file and says its size and hash."""
    path = tmp_path / "build" / "agent.pyz"
    command = [sys.executable, "-m", "stockade.bundle", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    content = path.read_bytes()
    assert bundle.build() == content
    digest = hashlib.sha256(content).hexdigest()
    assert f"{path}: {len(content)} bytes, sha256 {digest}\n" == done.stdout


def test_command_explains_itself(capsys):
    """Without a path, or with an option, it says how it is used."""
    assert 2 == bundle.main([])
    assert 2 == bundle.main(["--help"])
    assert "usage: python -m stockade.bundle PATH\n" * 2 == capsys.readouterr().err


def test_it_runs_alone(tmp_path):
    """With nothing but the file, and no site-packages, the agent tells its version."""
    path = tmp_path / "agent.pyz"
    path.write_bytes(bundle.build())
    command = [sys.executable, "-I", "-S", str(path), "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd="/")

    assert (0, "") == (done.returncode, done.stderr)
    assert stockade_agent.__version__ in done.stdout
