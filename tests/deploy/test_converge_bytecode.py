# SPDX-License-Identifier: MIT
"""Does an installed agent start from bytecode, and never from that of another agent?"""

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stockade import bundle
from stockade.converge import bytecode
from stockade.converge.host import Host
from stockade.model import File


BUNDLE = "/usr/lib/stockade/stockade-agent.pyz"
JAIL = "/etc/stockade/jail.d/sshd.conf"
IMPORTED = """
import runpy, sys
path, sys.argv = sys.argv[1], [sys.argv[1], "version"]
try:
    runpy.run_path(path, run_name="__main__")
except SystemExit as end:
    assert not end.code
specs = [m.__spec__ for name, m in sys.modules.items() if name.startswith("stockade_agent")]
print({f"{s.loader.archive} {s.origin.rpartition('.')[2]}" for s in specs})
"""


def another(content):
    """Return the agent as a later release is: another ``BUILD``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            source = re.sub(rb'BUILD = "[0-9a-f]+"', b'BUILD = "0123456789abcdef"', old.read(name))
            new.writestr(name, source)
    return buffer.getvalue()


def compiled(host):
    """Return the names of what lies beside the agent."""
    folder = host.path(BUNDLE).parent
    return sorted(path.name for path in folder.glob("*.pyz.*"))


@pytest.fixture
def installed(tmp_path):
    """An agent and its compiled modules in a folder; returns (agent, compiled)."""
    path, content = tmp_path / "agent.pyz", bundle.build()
    path.write_bytes(content)
    place = bytecode.place(str(path), content)
    bytecode.write(Host(), place, content)
    return path, Path(place)


def imported(agent):
    """Return which archives the agent's modules come from when it runs."""
    command = [sys.executable, "-I", "-c", IMPORTED, str(agent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.splitlines()[-1]


def test_an_agent_runs_from_what_was_compiled_of_it(installed):
    """No module is compiled at its start: all come as bytecode."""
    agent, place = installed

    assert f"{{'{place} pyc'}}" == imported(agent)
    place.unlink()
    assert f"{{'{agent} py'}}" == imported(agent)


def test_docstrings_take_no_memory(installed):
    """Neither modules nor functions keep theirs; ``dataclasses`` wants those of classes."""
    _, place = installed
    told = "import sys; sys.path.insert(0, sys.argv[1]); from stockade_agent import model; "
    told += "print(model.__doc__, model.target.__doc__, bool(model.Ban.__doc__), model.target('x'))"
    command = [sys.executable, "-I", "-S", "-c", told, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ("None None True None\n", "") == (done.stdout, done.stderr)


def test_bytecode_of_another_agent_or_python_is_not_taken(installed):
    """An agent put back by a rollback, or a Python that was upgraded, compiles as ever."""
    agent, place = installed
    agent.write_bytes(another(bundle.build()))
    assert f"{{'{agent} py'}}" == imported(agent)
    agent.write_bytes(bundle.build())
    place.rename(f"{agent}.{place.name.split('.')[2]}.cpython-27")

    assert f"{{'{agent} py'}}" == imported(agent)


def test_bytecode_of_a_python_that_cannot_read_it(installed):
    """A Python whose bytecode has changed within its version falls back to the sources."""
    agent, place = installed
    content = place.read_bytes().replace(bytecode._UNCHECKED[:2], b"\0\1")
    place.write_bytes(content)

    assert " py'" in imported(agent)


@pytest.fixture
def real(make_manifest):
    """Return a function that makes a manifest with a real agent, which finds nothing wrong."""

    def make(content):
        changes = {JAIL: File(JAIL, b"# no jail\n"), BUNDLE: File(BUNDLE, content)}
        files = tuple(changes.get(file.path, file) for file in make_manifest().files)
        return make_manifest(files=files)

    return make


def test_a_push_compiles_and_tidies(fake_host, converge, real):
    """One archive lies beside the agent, the one of that agent; a push brings it back."""
    for content in (bundle.build(), another(bundle.build())):
        result = converge(real(content))
        assert ("changed", "") == (result.outcome, result.error)
        name = Path(bytecode.place(BUNDLE, content)).name
        assert [name] == compiled(fake_host)
    fake_host.path(f"{BUNDLE[: BUNDLE.rindex('/')]}/{name}").unlink()
    assert ("ok", []) == ((again := converge(real(content))).outcome, list(again.changes))

    assert [name] == compiled(fake_host)


def test_a_push_that_is_undone_leaves_no_bytecode(fake_host, converge, real):
    """What was compiled goes with the agent that it was compiled of."""
    first = bundle.build()
    converge(real(first))
    fake_host.jails.clear()
    result = converge(real(another(first)), health_timeout=0.5)

    assert "failed" == result.outcome
    assert [Path(bytecode.place(BUNDLE, first)).name] == compiled(fake_host)
