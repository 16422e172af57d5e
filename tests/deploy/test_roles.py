# SPDX-License-Identifier: MIT
"""Are roles read strictly, whoever wrote them?"""

from pathlib import Path

import pytest

from stockade import roles
from stockade.errors import InputError
from stockade.model import Place


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write files below ``inventory`` and load its roles."""
    monkeypatch.chdir(tmp_path)

    def write_and_load(files):
        for name, text in files.items():
            path = Path("inventory", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return roles.load(Path("inventory"))

    return write_and_load


def test_shipped_roles():
    """The roles that come with stockade read without a fault, in their order."""
    shipped = roles.load(Path("/nonexistent"))

    assert {"base", "dropbear", "sshd", "tightvnc"} == set(shipped.named)
    ordered = shipped.ordered(["tightvnc", "sshd"], Place("x", 1))
    assert ["base", "tightvnc", "sshd"] == [role.name for role in ordered]


@pytest.mark.parametrize("name", ["base", "dropbear", "sshd", "tightvnc"])
def test_every_shipped_variable_has_its_kind(name):
    """Each variable of a shipped role is read by a named kind, or is as plain as its default."""
    role = roles.load(Path("/nonexistent")).named[name]
    plain = {n for n, e in role.defaults.items() if isinstance(e.node.data, bool)}

    assert set(role.defaults) - plain == set(role.spec.types)


def test_a_role_of_ones_own(load):
    """Templates, files and the folders of jails, filters and actions come along; samples do not."""
    role = load(
        {
            "roles/mine/role.yml": "description: x\n"
            "templates: {/etc/a: {source: a.j2, mode: 0600}}\n"
            "files: {/usr/bin/b: {source: b, mode: '755'}}\nrequires: [base]\n",
            "roles/mine/defaults.yml": "mine_x: 3\n",
            "roles/mine/templates/a.j2": "{{ mine_x }}",
            "roles/mine/files/b": b"\xff",
            "roles/mine/filter.d/mine.conf": "f",
            "roles/mine/filter.d/ignorecommands/mine": "i",
            "roles/mine/jail.d/50-mine.conf": "j",
            "roles/mine/jail.d/.50-mine.conf.swp": "no",
            "roles/mine/jail.d/50-mine.conf~": "no",
            "roles/mine/action.d/mine.local": "a",
            "roles/mine/samples/mine.log": "no",
        }
    ).named["mine"]

    assert [("/etc/a", 0o600, "{{ mine_x }}")] == [
        (t.target, t.mode, t.text) for t in role.templates
    ]
    assert {
        "/usr/bin/b": (b"\xff", 0o755),
        "/etc/stockade/action.d/mine.local": (b"a", 0o644),
        "/etc/stockade/filter.d/mine.conf": (b"f", 0o644),
        "/etc/stockade/filter.d/ignorecommands/mine": (b"i", 0o644),
        "/etc/stockade/jail.d/50-mine.conf": (b"j", 0o644),
    } == {file.path: (file.content, file.mode) for file in role.files}


def test_inventorys_own_files(load):
    """What lies in the inventory's jail.d, filter.d and action.d goes to every host as it is."""
    found = load({"jail.d/server.conf": "[DEFAULT]\n", "filter.d/x.conf": "", "action.d/y.py": ""})

    assert [
        ("/etc/stockade/action.d/y.py", "inventory/action.d/y.py"),
        ("/etc/stockade/filter.d/x.conf", "inventory/filter.d/x.conf"),
        ("/etc/stockade/jail.d/server.conf", "inventory/jail.d/server.conf"),
    ] == [(file.path, file.source) for file in found.files]


def test_a_file_that_cannot_be_read(load, tmp_path):
    """A link to nowhere among the jail files is a fault, not a traceback."""
    (tmp_path / "inventory" / "jail.d").mkdir(parents=True)
    (tmp_path / "inventory" / "jail.d" / "x.conf").symlink_to("nowhere")
    with pytest.raises(InputError) as caught:
        load({})

    message = "inventory/jail.d/x.conf: cannot be read: No such file or directory"
    assert message == str(caught.value)


def test_an_own_role_replaces_a_shipped_one(load):
    """The inventory's roles come first, whole."""
    found = load({"roles/sshd/role.yml": "description: mine\n"})

    assert "mine" == found.named["sshd"].spec.description
    assert () == found.named["sshd"].templates


def test_requirements_come_first_even_in_a_ring(load):
    """Each role follows what it requires; roles that require each other do no harm."""
    found = load(
        {
            "roles/a/role.yml": "description: a\nrequires: [b]\n",
            "roles/b/role.yml": "description: b\nrequires: [c]\n",
            "roles/c/role.yml": "description: c\nrequires: [a]\n",
        }
    )

    assert ["base", "c", "b", "a"] == [r.name for r in found.ordered(["a"], Place("x", 1))]
    with pytest.raises(InputError, match=r"^x:1:1: unknown role 'aa' \(did you mean a\?\)$"):
        found.ordered(["aa"], Place("x", 1))


GOOD = "description: x\n"


@pytest.mark.parametrize(
    "files, expected",
    [
        pytest.param(
            {"mine/role.yml": "packges: {apt: [x]}\npackages: {apt: x, yum: [y]}\n"},
            [
                "mine/role.yml:1:1: description is missing",
                "mine/role.yml:1:1: unknown key 'packges' (did you mean packages?)",
                "mine/role.yml:2:17: packages.apt: input should be a valid list",
                "mine/role.yml:2:20: unknown key 'yum'",
            ],
            id="unknown-keys",
        ),
        pytest.param(
            {
                "mine/role.yml": GOOD
                + "files: {etc/x: f, /etc/../y: f, /etc/z: {source: f, mod: 3}}\n"
                "templates:\n  /etc/y: {mode: 0644}\ndeploys: [foo]\n"
            },
            [
                "mine/role.yml:2:9: files.etc/x: 'etc/x' is not an absolute path",
                "mine/role.yml:2:19: files./etc/../y: '/etc/../y' is not an absolute path",
                "mine/role.yml:2:53: unknown key 'mod'",
                "mine/role.yml:4:3: templates./etc/y.source is missing",
                "mine/role.yml:5:11: deploys.0: 'foo' is not module:function",
            ],
            id="paths-and-deploys",
        ),
        pytest.param(
            {"mine/role.yml": GOOD + "files: {/etc/x: hello}\n", "mine/files/hallo": ""},
            [
                (
                    "mine/role.yml:2:9: files: inventory/roles/mine/files/hello cannot be read: "
                    "No such file or directory (did you mean hallo?)"
                )
            ],
            id="missing-source",
        ),
        pytest.param(
            {
                "mine/role.yml": GOOD + "types: {mine_x: tesxt, mine_z: text, mine_y: count}\n",
                "mine/defaults.yml": "x: 1\nmine_x: 3\nmine_y: 0\n",
            },
            [
                "mine/defaults.yml:1:1: 'x': the variables of this role begin with mine_",
                "mine/defaults.yml:3:9: mine_y: 0 is not a number from 1 up",
                "mine/role.yml:2:17: unknown type 'tesxt' (did you mean text?)",
                "mine/role.yml:2:24: unknown variable 'mine_z' (did you mean mine_y?)",
            ],
            id="variables",
        ),
        pytest.param(
            {"mine/role.yml": GOOD + "requires: [bse]\n"},
            ["mine/role.yml:2:12: unknown role 'bse' (did you mean base?)"],
            id="requirement",
        ),
        pytest.param(
            {
                "a/role.yml": GOOD,
                "a_b/role.yml": GOOD,
                "a/defaults.yml": "a_b_c: 1\n",
                "a_b/defaults.yml": "a_b_c: 1\n",
            },
            ["a_b/defaults.yml:1:1: a_b_c is a variable of role a too"],
            id="one-name-for-two",
        ),
        pytest.param(
            {
                "mine/role.yml": GOOD + "templates: {/etc/x: x.j2}\n",
                "mine/templates/x.j2": b"a\n\xff",
            },
            ["mine/templates/x.j2:2: not UTF-8 text"],
            id="template-encoding",
        ),
        pytest.param(
            {"mine/role.yml": GOOD, "mine/jail.d/x.cnf": "", "mine/jail.d/y/x.conf": ""},
            [
                f"mine/jail.d/{name}: nothing reads this file "
                "(files of jail.d end in .conf or .local and are in no folder)"
                for name in ("x.cnf", "y/x.conf")
            ],
            id="jail-files",
        ),
        pytest.param(
            {"mine/defaults.yml": ""},
            ["mine/role.yml: cannot be read: No such file or directory"],
            id="no-role.yml",
        ),
        pytest.param(
            {"Mine/role.yml": GOOD},
            ["Mine: roles are named with lower-case letters, digits and _"],
            id="name",
        ),
        pytest.param(
            {"mine/role.yml": "- x\n"},
            ["mine/role.yml:1:1: input should be a valid dictionary or instance of RoleFile"],
            id="list",
        ),
    ],
)
def test_faults(load, files, expected):
    """What is wrong with a role is said with file, line and column, everything at once."""
    with pytest.raises(InputError) as caught:
        load({f"roles/{name}": text for name, text in files.items()})

    assert expected == [
        str(error).removeprefix("inventory/roles/") for error in caught.value.errors
    ]
