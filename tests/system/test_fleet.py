# SPDX-License-Identifier: MIT
"""Does one bad host leave the others alone, and is each told what to do?"""

import pytest

from system.controller import Controller


@pytest.fixture(scope="module")
def good(lab):
    """A host that can be served."""
    host = lab.boot("debian12-30")
    yield host
    host.stop()


def fleet(lab, tmp_path, good, **bad):
    """An inventory of the good host and one named ``bad`` with these variables."""
    controller = Controller(lab, tmp_path)
    controller.write_inventory([good], {"stockade_roles": ["base", "sshd"]})
    text = (tmp_path / "hosts.yml").read_text()
    extra = {"ansible_ssh_private_key_file": str(lab.key), **bad}
    lines = [f"      {key}: {value}" for key, value in extra.items()]
    text = text.replace("  hosts:\n", "  hosts:\n    bad:\n" + "\n".join(lines) + "\n")
    (tmp_path / "hosts.yml").write_text(text)
    return controller


def test_an_unreachable_host_does_not_stop_the_others(lab, tmp_path, good):
    """The one that does not answer is reported and the other pushed to; exit 4."""
    controller = fleet(lab, tmp_path, good, ansible_host="10.77.250.250", ansible_ssh_timeout=2)
    answer = controller.stockade("push")

    assert 4 == answer.rc
    assert "unreachable" == answer.host("bad")["outcome"]
    assert answer.host("bad")["error"]
    assert answer.host(good.name)["outcome"] in {"ok", "changed"}


def test_panic_on_many_hosts(lab, tmp_path, good):
    """It wants --yes where nobody can be asked; the host that answers is paused, exit 4."""
    controller = fleet(lab, tmp_path, good, ansible_host="10.77.250.250", ansible_ssh_timeout=2)
    controller.push("--limit", good.name)
    good.run("stockade-agent ban sshd 192.0.2.7")

    unsure = controller.stockade("panic", json=False)
    sure = controller.stockade("panic", "--yes", json=False)
    status = controller.stockade("status", "--limit", good.name)
    resumed = controller.stockade("resume")

    assert (1, "") == (unsure.rc, unsure.stdout)
    assert "for 2 hosts" in unsure.stderr
    assert 4 == sure.rc
    assert "bad unreachable: " in sure.stdout
    assert f"{good.name}  paused until stockade resume, 1 ban lifted\n" in sure.stdout
    assert sure.stdout.endswith("1 of 2 hosts paused, 1 ban lifted\n")
    assert [good.name] == list(status.document["paused"])
    assert (4, ["all"]) == (resumed.rc, resumed.host(good.name)["answer"]["result"]["changed"])


def test_a_changed_host_key_is_refused_loudly(lab, tmp_path, good):
    """A host that shows another key than known_hosts has is not talked to."""
    other = lab.boot("debian12-31")
    # A machine that boots other hosts at the same time may take longer than the default.
    controller = fleet(lab, tmp_path, good, ansible_host=other.address, ansible_ssh_timeout=60)
    known = (tmp_path / "known_hosts").read_text().splitlines()
    mine = [line for line in known if other.name not in line]
    wrong = [f"{other.address} {key}" for key in good.host_keys]
    (tmp_path / "known_hosts").write_text("\n".join([*mine, *wrong, ""]))

    answer = controller.stockade("push")

    assert 4 == answer.rc
    assert "unreachable" == answer.host("bad")["outcome"]
    assert "key" in answer.host("bad")["error"]
    assert answer.host("bad")["remedy"]
    assert answer.host(good.name)["outcome"] in {"ok", "changed"}
    assert 0 != other.run("test -e /etc/stockade", check=False).rc
    other.stop()


def test_a_refused_key_is_explained(lab, tmp_path, good):
    """A user whose key the host does not take is reported with the reason."""
    controller = fleet(lab, tmp_path, good, ansible_host=good.address, ansible_user="victim")

    answer = controller.stockade("push", "--limit", "bad")

    assert 4 == answer.rc
    assert "unreachable" == answer.host("bad")["outcome"]
    assert "victim" in answer.host("bad")["error"]


@pytest.mark.parametrize(
    "become",
    [
        pytest.param({"ansible_user": "operator", "ansible_become": "true"}, id="sudo-nopasswd"),
        pytest.param(
            {
                "ansible_user": "passworder",
                "ansible_become": "true",
                "ansible_become_password": "{env: SUDO}",
            },
            id="sudo-asks",
        ),
    ],
)
def test_push_through_sudo(lab, tmp_path, good, become, monkeypatch):
    """A user who is root only through sudo, with or without a password, can push and resume."""
    from lab import kinds  # noqa: PLC0415

    monkeypatch.setenv("SUDO", kinds.PASSWORDER_PASSWORD)
    controller = fleet(lab, tmp_path, good, ansible_host=good.address, **become)

    answer = controller.stockade("push", "--limit", "bad")

    resumed = controller.stockade("resume", "--limit", "bad")

    assert 0 == answer.rc, answer.stderr
    assert answer.host("bad")["outcome"] in {"ok", "changed"}
    assert kinds.PASSWORDER_PASSWORD not in answer.stdout + answer.stderr
    assert {"changed": []} == resumed.host("bad")["answer"]["result"]


@pytest.mark.parametrize(
    "name, text, words",
    [
        pytest.param(
            "group_vars/all.yml",
            "sshd_maxrety: 3\n",
            ["group_vars/all.yml:1:1:", "did you mean sshd_maxretry?"],
            id="unknown-variable",
        ),
        pytest.param(
            "group_vars/all.yml",
            "stockade_jails:\n  sshd:\n    findtme: 10m\n",
            ["group_vars/all.yml:3:5:", "did you mean findtime?"],
            id="unknown-jail-option",
        ),
        pytest.param(
            "group_vars/all.yml",
            "sshd_maxretry: [3\n",
            ["group_vars/all.yml:"],
            id="malformed-yaml",
        ),
        pytest.param(
            "jail.d/mine.conf",
            "[sshd]\nmaxretyr = 3\n",
            ["jail.d/mine.conf:2", "did you mean maxretry?"],
            id="unknown-option-in-a-jail-file",
        ),
        pytest.param(
            "roles/mine/role.yml",
            "descripton: mine\n",
            ["roles/mine/role.yml:1:1:", "did you mean description?"],
            id="unknown-key-in-a-role",
        ),
    ],
)
def test_a_wrong_file_touches_no_host(lab, tmp_path, name, text, words):
    """file:line:column, what is wrong, the nearest name, exit 1; the host is not even asked."""
    controller = Controller(lab, tmp_path)
    roles = ["base", "sshd", *(["mine"] if name.startswith("roles") else [])]
    controller.write_inventory([], {"stockade_roles": roles})
    hosts = (tmp_path / "hosts.yml").read_text()
    # Nobody is there: a connection would end as unreachable, exit 4.
    text_of_hosts = hosts.replace("hosts: {}", "hosts: {nobody: {ansible_host: 10.77.250.251}}")
    (tmp_path / "hosts.yml").write_text(text_of_hosts)
    controller.write(name, text)

    answer = controller.stockade("push", json=False)

    assert 1 == answer.rc
    for word in words:
        assert word in answer.stderr
    assert "Traceback" not in answer.stderr
