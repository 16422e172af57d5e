# SPDX-License-Identifier: MIT
"""Does an inventory mean what Ansible would take it for?

The expected values of ``test_precedence`` are what ansible-inventory prints for the same files.
"""

from pathlib import Path

import pytest

from stockade import inventory
from stockade.errors import InputError
from stockade.model import Place


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write files below ``inventory`` and load it."""
    monkeypatch.chdir(tmp_path)

    def write_and_load(files, environ=None):
        for name, text in files.items():
            path = Path("inventory", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return inventory.load("inventory", environ or {})

    return write_and_load


def values(inv, host):
    return {name: entry.node.plain() for name, entry in inv.variables(host).items()}


HOSTS = """\
all:
  vars: {a: all, b: all, c: all, d: all, e: all, f: all, g: all, h: all}
  children:
    parent:
      vars: {b: parent, c: parent, d: parent, e: parent, f: parent, g: parent, h: parent}
      children:
        child:
          vars: {c: child, d: child, e: child, f: child, g: child, h: child}
          hosts:
            host: {g: host, h: host}
"""


@pytest.mark.parametrize(
    "files, expected",
    [
        pytest.param(
            {},
            {"a": "all", "b": "parent", "c": "child", "f": "child", "g": "host"},
            id="in-hosts.yml-the-closer-wins",
        ),
        pytest.param(
            {"group_vars/all.yml": "c: file\ng: file"},
            {"a": "all", "c": "file", "g": "host"},
            id="group_vars-all-over-groups-in-hosts.yml",
        ),
        pytest.param(
            {"group_vars/all.yml": "d: all-file", "group_vars/parent.yml": "d: parent-file\ne: p"},
            {"d": "parent-file", "e": "p"},
            id="group_vars-of-a-group-over-group_vars-all",
        ),
        pytest.param(
            {"group_vars/parent.yml": "d: parent-file\ne: p", "group_vars/child.yml": "d: c"},
            {"d": "c", "e": "p"},
            id="group_vars-of-the-child-over-its-parent",
        ),
        pytest.param(
            {"group_vars/child.yml": "g: child-file\nf: file"},
            {"f": "file", "g": "host"},
            id="host-in-hosts.yml-over-group_vars",
        ),
        pytest.param({"host_vars/host.yml": "h: file"}, {"g": "host", "h": "file"}, id="host_vars"),
        pytest.param(
            {"group_vars/child/10.yml": "d: 10\ne: 10", "group_vars/child/20.yml": "e: 20"},
            {"d": 10, "e": 20},
            id="files-of-a-folder-in-order",
        ),
        pytest.param(
            {"group_vars/child/sub/x.yml": "d: sub", "group_vars/child/.x.yml": "e: hidden"},
            {"d": "sub", "e": "child"},
            id="folders-in-folders-but-nothing-hidden",
        ),
        pytest.param({"group_vars/child": "d: bare"}, {"d": "bare"}, id="a-file-without-suffix"),
        pytest.param({"group_vars/child.json": '{"d": "json"}'}, {"d": "json"}, id="json"),
    ],
)
def test_precedence(load, files, expected):
    """From low to high: all, parent, child in hosts.yml; group_vars so too; host; host_vars."""
    found = values(load({"hosts.yml": HOSTS, **files}), "host")

    assert expected == {name: found[name] for name in expected}


def test_other_files_in_a_folder_of_variables_are_left_alone(load):
    """A README beside the files of a group is no file of variables."""
    inv = load(
        {
            "hosts.yml": "g: {hosts: {x: }}",
            "group_vars/g/README.md": "# [",
            "group_vars/g/a": "v: 1",
        }
    )

    assert {"v": 1} == values(inv, "x")


@pytest.mark.parametrize(
    "priorities, expected",
    [
        pytest.param({}, "b", id="by-name"),
        pytest.param({"a": 2}, "a", id="priority-first"),
        pytest.param({"a": 2, "b": 10}, "b", id="priorities-are-numbers"),
    ],
)
def test_groups_of_one_depth(load, priorities, expected):
    """Of groups side by side the last by name wins, and ansible_group_priority before that."""
    groups = {
        name: f"  vars: {{v: {name}, ansible_group_priority: {priorities.get(name, 1)}}}\n"
        for name in "ab"
    }
    text = "".join(f"{name}:\n  hosts: {{x: }}\n{vars_}" for name, vars_ in groups.items())

    assert {"v": expected} == values(load({"hosts.yml": text}), "x")


def test_depth_is_the_longest_way_down(load):
    """A group that is both child and grandchild counts as grandchild."""
    text = """\
    top: {children: {middle: , low: }, vars: {v: top}}
    middle: {children: {low: }, vars: {v: middle}}
    low: {hosts: {x: }, vars: {v: low}}
    """

    assert {"v": "low"} == values(load({"hosts.yml": text}), "x")


def test_groups_and_names(load):
    """Hosts keep their order; groups have their children's hosts; loose hosts are ungrouped."""
    text = """\
    all:
      hosts: {lone: }
      children:
        web: {hosts: {"web[1:2]": , lone2: }}
        site: {children: {web: , db: {hosts: {db1: , web2: }}}}
    """
    inv = load({"hosts.yml": text})

    assert ("lone", "web1", "web2", "lone2", "db1") == inv.names
    assert {
        "all": ("lone", "web1", "web2", "lone2", "db1"),
        "ungrouped": ("lone",),
        "web": ("web1", "web2", "lone2"),
        "site": ("web1", "web2", "lone2", "db1"),
        "db": ("web2", "db1"),
    } == inv.groups
    assert ("site", "db", "web") == next(h for h in inv.hosts() if h.name == "web2").groups
    assert Path("inventory/known_hosts") == inv.known_hosts


def test_a_lone_word_is_a_key_without_a_value(load):
    """``hosts: web1`` names one host, as it does to Ansible."""
    inv = load({"hosts.yml": "web:\n  hosts: web1\n  children: db\ndb:\n  hosts: db1:2222\n"})

    assert {"web1": 22, "db1": 2222} == {host.name: host.port for host in inv.hosts()}
    assert ("web1", "db1") == inv.groups["web"]


def test_one_host_in_two_places(load):
    """Variables of a host that is written twice are joined, the later over the earlier."""
    inv = load({"hosts.yml": "a: {hosts: {x: {v: 1, w: 1}}}\nb: {hosts: {x: {v: 2}}}"})

    assert {"v": 2, "w": 1} == values(inv, "x")


def test_jails_are_merged_per_option(load):
    """stockade_jails is merged per jail and option over all levels; every other mapping is not."""
    inv = load(
        {
            "hosts.yml": "all: {vars: {stockade_jails: {sshd: {maxretry: 5, bantime: 1h}}}, "
            "hosts: {x: {stockade_jails: {sshd: {maxretry: 2}, vnc: {enabled: true}}}}}",
            "group_vars/all.yml": "stockade_jails:\n  sshd:\n    bantime: 2h\n  vnc: {}\n",
            "host_vars/x.yml": "stockade_jails:\n  sshd:\n    findtime: 5m\n    bantime:\n",
        }
    )
    (host,) = inv.hosts()

    assert {
        "sshd": {"maxretry": 2, "bantime": None, "findtime": "5m"},
        "vnc": {"enabled": True},
    } == host.variables["stockade_jails"]
    assert Place("inventory/host_vars/x.yml", 3, 15) == host.places["stockade_jails.sshd.findtime"]
    assert Place("inventory/hosts.yml", 1, 113) == host.places["stockade_jails.sshd.maxretry"]


def test_places_follow_the_winner(load):
    """A variable's place is where the value that holds was written."""
    files = {"hosts.yml": "all: {hosts: {x: }, vars: {v: 1, w: 1}}", "group_vars/all.yml": "v: 2"}
    (host,) = load(files).hosts()

    assert Place("inventory/group_vars/all.yml", 1, 4) == host.places["v"]
    assert Place("inventory/hosts.yml", 1, 37) == host.places["w"]


def test_hosts_with_equal_variables_share_them(load):
    """Ten thousand hosts of one group are not ten thousand copies."""
    hosts = load({"hosts.yml": "g: {hosts: {'h[1:3]': {ansible_port: 22}, x: {v: 1}}}"}).hosts()

    assert hosts[0].variables is hosts[2].variables
    assert hosts[0].places is hosts[2].places
    assert hosts[0].variables is not hosts[3].variables


def test_no_secret_is_among_the_variables(load):
    """Connection variables are fields of the host, and a password is in no text of it."""
    files = {"hosts.yml": "g: {hosts: {x: {ansible_become_password: s3cret}}}"}
    (host,) = load(files).hosts()

    assert "s3cret" == host.become_password
    assert {} == host.variables
    assert "s3cret" not in repr(host)


def test_hosts_yml_itself_may_be_named(load, tmp_path):
    """As with ansible -i, the file will do."""
    load({"hosts.yml": "g: {hosts: {x: }}"})

    assert ("x",) == inventory.load(tmp_path / "inventory" / "hosts.yml").names


ONE = {"hosts.yml": "all:\n  hosts:\n    web1:\n"}


@pytest.mark.parametrize(
    "files, expected",
    [
        pytest.param(
            {"hosts.yml": "all:\n\thosts:\n"},
            [("hosts.yml:2:1: not YAML: found character '\\t' that cannot start any token "
             "(indent with spaces)")],
            id="not-yaml",
        ),
        pytest.param({"hosts.yml": ""}, ["hosts.yml: no host is named here"], id="empty"),
        pytest.param(
            {"hosts.yml": "- web1\n"},
            ["hosts.yml:1:1: the inventory: a list is not a mapping (write 'name:' on each line)"],
            id="list",
        ),
        pytest.param(
            {"hosts.yml": "all:\n  hosts:\n    - web1\n"},
            ["hosts.yml:3:5: hosts of all: a list is not a mapping (write 'name:' on each line)"],
            id="hosts-as-list",
        ),
        pytest.param(
            {"hosts.yml": "all:\n  hots:\n    web1:\n"},
            ["hosts.yml:2:3: unknown key 'hots' of group all (did you mean hosts?)"],
            id="unknown-key",
        ),
        pytest.param(
            {"hosts.yml": "web:\n  hosts:\n    'web[3:1]':\n    'a b':\n"},
            [
                "hosts.yml:3:5: [3:1] ends before it begins",
                "hosts.yml:4:5: 'a b' cannot be the name of a host",
            ],
            id="host-names",
        ),
        pytest.param(
            {"hosts.yml": "a:\n  hosts: {x: }\n  children:\n    b:\n      children:\n        a:\n"},
            [
                "hosts.yml:1:1: group a is a child of its own children",
                "hosts.yml:4:5: group b is a child of its own children",
            ],
            id="loop",
        ),
        pytest.param(
            {"hosts.yml": "all:\n  children:\n    a:\n      hosts: {x: }\n"
             "      children:\n        b: {children: {a: }}\n"},
            ["hosts.yml:3:5: groups contain one another: a > b > a"],
            id="loop-below-all",
        ),
        pytest.param(
            {**ONE, "group_vars/wbe.yml": "x: 1", "host_vars/web2.yml": "x: 1"},
            [
                "group_vars/wbe.yml: there is no group 'wbe'",
                "host_vars/web2.yml: there is no host 'web2' (did you mean web1?)",
            ],
            id="files-of-nobody",
        ),
        pytest.param(
            {**ONE, "group_vars/all.yml": "a: [\n", "host_vars/web1/x.yml": "[a]"},
            [
                ("group_vars/all.yml:2:1: not YAML: expected the node content, but found "
                "'<stream end>'"),
                ("host_vars/web1/x.yml:1:1: x.yml: a list is not a mapping "
                "(write 'name:' on each line)"),
            ],
            id="broken-files-all-at-once",
        ),
        pytest.param(
            {**ONE, "groupvars/all.yml": "x: 1"},
            ["groupvars: nothing reads this (did you mean group_vars?)"],
            id="folder-nearly-named",
        ),
        pytest.param(
            {**ONE, "jail.local": "[sshd]"},
            [("jail.local: nothing reads this "
             "(jails go into jail.d, filters into filter.d, actions into action.d)")],
            id="jail-file-out-of-place",
        ),
        pytest.param(
            {**ONE, "group_vars/all.yml": "ansible_group_priority: 3"},
            [("group_vars/all.yml:1:1: ansible_group_priority has no effect here "
             "(give it in the group's vars in hosts.yml)")],
            id="priority-in-a-file",
        ),
        pytest.param(
            {"hosts.yml": "g: {hosts: {x: }, vars: {ansible_group_priority: high}}"},
            ["hosts.yml:1:50: ansible_group_priority: 'high' is not a whole number"],
            id="priority-is-no-number",
        ),
        pytest.param(
            {"hosts": "[all]\nweb1\n"},
            [("hosts: inventories in INI format are not read "
             "(ansible-inventory -i hosts --list --yaml prints it as hosts.yml)")],
            id="ini",
        ),
    ],
)  # fmt: skip
def test_faults(load, files, expected):
    """What is wrong is said with file, line and column, everything at once."""
    with pytest.raises(InputError) as caught:
        load(files)

    assert expected == [str(error).removeprefix("inventory/") for error in caught.value.errors]


def test_no_inventory(load):
    """A directory that is not there, is empty, or has two inventories is an error in words."""
    with pytest.raises(InputError) as caught:
        inventory.load("nowhere")
    assert "nowhere: there is no such directory (stockade init nowhere writes an example)" == str(
        caught.value
    )
    with pytest.raises(InputError) as caught:
        load({"README.md": ""})
    assert "inventory: has no hosts.yml (stockade init inventory writes an example)" == str(
        caught.value
    )
    with pytest.raises(InputError) as caught:
        load({"hosts.yml": "", "inventory.yaml": ""})
    assert "inventory: hosts.yml and inventory.yaml are both here (keep one of them)" == str(
        caught.value
    )


def test_limit(load):
    """Hosts come as the limit chooses; a limit that is empty is not the lack of one."""
    inv = load({"hosts.yml": "web: {hosts: {'web[1:3]': }}\ndb: {hosts: {db1: }}"})

    assert ["web1", "web2", "web3", "db1"] == [host.name for host in inv.hosts()]
    assert ["web3"] == [host.name for host in inv.hosts("web:!web[0:1]")]
    with pytest.raises(InputError, match=r"^--limit: names no host$"):
        inv.hosts("")


def test_environment(load):
    """A password may be in the environment; without it only the hosts that need it fail."""
    text = "g: {hosts: {x: {ansible_become_password: {env: SUDO}}, y: }}"
    inv = load({"hosts.yml": text}, environ={"SUDO": "s3cret"})
    assert "s3cret" == inv.hosts("x")[0].become_password

    inv = load({"hosts.yml": text}, environ={"SUDO_PASS": "s3cret"})
    assert ("y",) == tuple(host.name for host in inv.hosts("y"))
    with pytest.raises(InputError) as caught:
        inv.hosts()
    assert "inventory/hosts.yml:1:48: the environment has no variable SUDO" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_many_hosts_are_bounded_work(load, monkeypatch):
    """Two thousand hosts of forty groups resolve forty chains of groups, not two thousand."""
    merges = []
    over = inventory.variables.over
    monkeypatch.setattr(inventory.variables, "over", lambda *two: merges.append(1) or over(*two))
    lines = ["all:", "  children:"]
    for group in range(40):
        lines += [f"    g{group}:", "      vars: {v: 1}", "      hosts:"]
        lines += [f"        h{group}-{n}: {{ansible_port: {n + 1}}}" for n in range(50)]
    inv = load({"hosts.yml": "\n".join(lines), "group_vars/all.yml": "w: 1"})
    hosts = inv.hosts()

    assert 2000 == len(hosts)
    assert 40 == len({id(host.variables) for host in hosts})
    # Once a group, four layers a chain of groups, and thrice a host: read, joined, looked up.
    assert len(merges) <= 40 + 40 * 4 + 3 * 2000 + 1
