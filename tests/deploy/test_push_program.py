# SPDX-License-Identifier: MIT
"""Does the one command start converge behind any login shell, and carry no secret?"""

import shutil
import subprocess
import zlib

import pytest

from stockade.errors import Refused
from stockade.facts import python_package, without_python
from stockade.model import File, Host
from stockade.push import Settings
from stockade.push.program import CONVERGE, ORDER, command, program, request
from stockade.push.talk import Lacking, talk


MARKER = "STOCKADE-0123"


def test_the_program_is_small_and_the_same_for_all():
    """What every host reads first is packed once, and stays below 16 kB."""
    assert program() is program()
    assert len(program()) < 16_000


def test_comments_and_docstrings_stay_here_and_lines_keep_their_numbers():
    """A traceback on a host names the line of the module as it is here."""
    text = zlib.decompress(program()).decode()

    for name in ORDER:
        source = (CONVERGE / f"{name}.py").read_text()
        assert text.count("'" + name + "'") or text.count('"' + name + '"')
        assert source.splitlines()[1] not in text  # its docstring
    assert "SPDX" not in text


def test_the_request_carries_hashes_and_no_contents(make_manifest):
    """Contents travel only when the host asks for them."""
    manifest = make_manifest(files=(File("/etc/x", b"the content", 0o600, secret=True),))

    order = zlib.decompress(request("push", manifest, health_timeout=1.0, lock_timeout=1.0))

    assert b"the content" not in order
    assert manifest.files[0].sha256.encode() in order


@pytest.mark.parametrize("become", [False, True])
def test_any_shell_can_quote_the_command(become):
    """Outside of its single quotes the command has no character that a shell could mind."""
    host = Host("web1", "192.0.2.1", become=become, become_password="s3cret" if become else None)

    words = command(host, MARKER).split("'")

    assert "s3cret" not in "".join(words)
    assert "exec /bin/sh -c " == words[0]
    assert all(word.strip() == "" for word in words[2::2])
    assert not set("!\n\r") & set("".join(words))


def test_an_interpreter_that_is_no_path_is_refused():
    """What the inventory names as Python cannot smuggle words into the command."""
    with pytest.raises(Refused, match="is no path of a Python"):
        command(Host("web1", "192.0.2.1", python="python3'; reboot"), MARKER)


SHELLS = [name for name in ("dash", "bash", "zsh", "fish", "tcsh", "ksh") if shutil.which(name)]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_here_starts_python(shell):
    """The loader reaches Python, which says that it is ready and ends with its input."""
    line = command(Host("web1", "192.0.2.1"), MARKER)

    done = subprocess.run([shell, "-c", line], input=b"", capture_output=True, check=False)

    assert b"\n" + MARKER.encode() + b'{"say": "ready"}\n' == done.stdout


def test_a_host_without_python_tells_what_it_is(tmp_path):
    """Where no Python serves, the shell itself answers with one line of JSON."""
    line = command(Host("web1", "192.0.2.1", python="/no/such/python"), MARKER)
    line = line.replace("/usr/bin/python3", "/no/python3").replace("/usr/local/bin/python3", "/no")

    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env={"SSH_CONNECTION": "192.0.2.9 1 192.0.2.1 22", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )

    assert done.stdout.startswith(b"\n" + MARKER.encode() + b'{"say": "bare"')
    assert b'"managers": "apt' in done.stdout
    assert b'"connection": "192.0.2.9 1 192.0.2.1 22"' in done.stdout


@pytest.mark.parametrize(
    "python",
    [
        pytest.param("#!/bin/sh\nexit 97\n", id="too-old"),
        pytest.param("#!/bin/sh\necho 'Unknown option: -I' >&2\nexit 2\n", id="python2"),
        pytest.param("not a program", id="broken"),
    ],
)
def test_a_python_that_does_not_serve_is_passed_over(fake_host, converge, make_manifest, python):
    """ansible_python_interpreter comes first, and the host's own where that one is too old."""
    path = fake_host.root / "python"
    path.write_text(python)
    path.chmod(0o755)

    result = converge(make_manifest(), host=Host("web1", "192.0.2.1", python=str(path)))

    assert "changed" == result.outcome
    assert "/usr/bin/python3" == result.facts.python


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param("echo Welcome to web1;", id="greeting"),
        pytest.param("printf 'no newline';", id="without-newline"),
        pytest.param('printf \'STOCKADE-\\x1b[31m{"say": "result"}\\n\';', id="hostile"),
        pytest.param("echo to-stderr >&2;", id="stderr"),
    ],
)
def test_junk_of_a_login_shell_is_passed_over(fake_host, local, make_manifest, junk):
    """What .bashrc prints does not disturb the talk."""
    settings = Settings(root=str(fake_host.root))
    result = talk(
        local(junk), Host("web1", "192.0.2.1"), make_manifest(), "push", settings, lambda h, t: None
    )

    assert ("changed", "") == (result.outcome, result.error)


@pytest.mark.parametrize(
    "told, package",
    [
        pytest.param(("debian", "", "12", "apt"), "python3", id="debian12"),
        pytest.param(("debian", "", "10", "apt"), "", id="debian10-has-none"),
        pytest.param(("ubuntu", "debian", "20.04", "apt"), "python3.9", id="ubuntu20"),
        pytest.param(("rocky", "rhel centos fedora", "8.10", "dnf"), "python3.11", id="rocky8"),
        pytest.param(("rhel", "fedora", "9.4", "dnf"), "python3", id="rhel9"),
        pytest.param(("amzn", "fedora", "2023", "dnf"), "python3", id="amazon2023"),
        pytest.param(("amzn", "centos rhel fedora", "2", "dnf"), "", id="amazon2-has-none"),
        pytest.param(("alpine", "", "3.20", ""), "", id="neither-family"),
        pytest.param(("debian", "", "", "apt"), "", id="debian-without-version"),
    ],
)
def test_which_package_brings_python(told, package):
    """Each distribution has its package, or none that would do."""
    name, like, version, managers = told
    facts = without_python(
        {
            "id": name,
            "id_like": like,
            "version_id": version,
            "managers": managers,
            "connection": "192.0.2.9 1 192.0.2.1 22",
        }
    )

    assert package == python_package(facts)
    assert "192.0.2.9" == facts.controller
    assert not isinstance(facts, Lacking)
