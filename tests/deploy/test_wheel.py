# SPDX-License-Identifier: MIT
"""Does the wheel have all that stockade needs, and does stockade find it there?"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stockade import bundle


ROOT = Path(__file__).parent.parent.parent

PROBE = """\
import json, sys
from stockade import bundle, example, inventory, plan, roles
folder = sys.argv[1]
example.init(folder)
inv = inventory.load(folder, {})
manifests = plan.plan(inv, roles.load(inv.folder), inv.hosts(), bundle.build())
print(json.dumps({"roles": str(roles.shipped()), "example": str(example.shipped()),
                  "agent": len(bundle.build()), "hosts": [m.host for m in manifests]}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert 0 == done.returncode, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_has_roles_and_example(wheel):
    """Every file of roles/ and inventory/ is in the wheel, and no cache is."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (("roles", "stockade/roles"), ("inventory", "stockade/example")):
        here = {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file()}
        assert {f"{inside}/{path.as_posix()}" for path in here} <= names
    assert {"stockade/plan.py", "stockade_agent/model.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_stockade_works_from_the_wheel(wheel, tmp_path):
    """Unpacked as pip does it, the same agent comes out, with roles and example of its own."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n{PROBE}"]
    done = subprocess.run(
        [*command, str(tmp_path / "inventory")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert "" == done.stderr
    told = json.loads(done.stdout)

    assert str(site / "stockade" / "roles") == told["roles"]
    assert str(site / "stockade" / "example") == told["example"]
    assert len(bundle.build()) == told["agent"]
    assert 5 == len(told["hosts"])
