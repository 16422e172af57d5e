# SPDX-License-Identifier: MIT
"""Do Ansible's connection variables lead to the same host, or to a refusal in words?"""

from pathlib import Path

import pytest

from stockade import document, variables
from stockade.model import Host


def entries(tmp_path, text):
    path = tmp_path / "x.yml"
    path.write_text(text)
    return document.read(path).entries


def connection(tmp_path, text, environ=None):
    return variables.connection("web1", entries(tmp_path, text), Path("inv"), environ or {})


@pytest.mark.parametrize(
    "text, fields",
    [
        pytest.param("", {"address": "web1"}, id="nothing"),
        pytest.param("ansible_host: 192.0.2.1", {"address": "192.0.2.1"}, id="host"),
        pytest.param("ansible_ssh_host: 192.0.2.1", {"address": "192.0.2.1"}, id="old-host"),
        pytest.param(
            "ansible_ssh_host: 192.0.2.1\nansible_host: 192.0.2.2",
            {"address": "192.0.2.2"},
            id="new-name-over-old",
        ),
        pytest.param("ansible_port: '2222'", {"port": 2222}, id="port-as-text"),
        pytest.param("ansible_user: admin", {"user": "admin"}, id="user"),
        pytest.param("ansible_become: yes", {"become": True}, id="become"),
        pytest.param("ansible_become: 'no'", {"become": False}, id="become-not"),
        pytest.param("ansible_become_pass: x", {"become_password": "x"}, id="password"),
        pytest.param("ansible_become_password: {env: P}", {"become_password": "y"}, id="env"),
        pytest.param("ansible_private_key_file: keys/id", {"key_file": "inv/keys/id"}, id="key"),
        pytest.param("ansible_ssh_private_key_file: /k", {"key_file": "/k"}, id="absolute-key"),
        pytest.param("ansible_ssh_private_key_file: ~/k", {"key_file": "/home/me/k"}, id="home"),
        pytest.param("ansible_python_interpreter: auto", {"python": None}, id="python-auto"),
        pytest.param("ansible_python_interpreter: /opt/py", {"python": "/opt/py"}, id="python"),
        pytest.param("ansible_ssh_timeout: 3", {"connect_timeout": 3.0}, id="timeout"),
        pytest.param("ansible_timeout: 2.5", {"connect_timeout": 2.5}, id="other-timeout"),
    ],
)
def test_connection(tmp_path, monkeypatch, text, fields):
    """Each variable sets its field, under each of its names."""
    monkeypatch.setenv("HOME", "/home/me")
    expected = Host(**{"name": "web1", "address": "web1", **fields})

    assert [] == list(variables.faults(entries(tmp_path, text)))
    assert expected == connection(tmp_path, text, {"P": "y"})


@pytest.mark.parametrize(
    "text",
    [
        "ansible_connection: ssh",
        "ansible_connection: smart",
        "ansible_become_method: sudo",
        "ansible_become_user: root",
        "ansible_become_flags: -H -S -n",
        "ansible_ssh_common_args: ''",
        "ansible_ssh_args: -C -o ControlMaster=auto -oControlPersist=60s",
        "ansible_ssh_extra_args: -o 'ServerAliveInterval 30'",
        "ansible_ssh_pipelining: true",
        "ansible_host_key_checking: true",
        "ansible_remote_tmp: /tmp/x",
        "ansible_ssh_retries: 3",
    ],
)
def test_what_changes_nothing_is_accepted(tmp_path, text):
    """Variables for Ansible's own workings may stand in the inventory."""
    assert [] == list(variables.faults(entries(tmp_path, text)))
    assert Host(name="web1", address="web1") == connection(tmp_path, text)


def cases():
    """Yield the pairs of refused_variables.txt: what is written, what is said about it."""
    blocks = Path(__file__).with_name("refused_variables.txt").read_text().split("\n\n")
    for block in blocks[1:]:
        text, expected = block.strip().split("\n    ")
        yield pytest.param(text, expected, id=text.split(":")[0])


@pytest.mark.parametrize("text, expected", list(cases()))
def test_refused_in_words(tmp_path, text, expected):
    """What stockade cannot do, or does not know, is said at its place; a secret never is."""
    found = [str(error) for error in variables.faults(entries(tmp_path, text))]

    assert [f"{tmp_path}/x.yml:{expected}"] == found
    assert "s3cret" not in found[0]


def test_null_takes_an_option_away(tmp_path):
    """An option that is null is as if nobody had set it, and no fault."""
    text = "stockade_jails: {sshd: {maxretry: }, DEFAULT: {bantime: 1h}}"

    assert [] == list(variables.faults(entries(tmp_path, text)))


def test_roles_of(tmp_path):
    """A host has the roles that it names, or the usual ones."""
    assert ("base", "sshd") == variables.roles_of({})
    assert ("tightvnc",) == variables.roles_of(entries(tmp_path, "stockade_roles: [tightvnc]"))
    assert () == variables.roles_of(entries(tmp_path, "stockade_roles: []"))
