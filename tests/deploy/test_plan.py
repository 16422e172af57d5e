# SPDX-License-Identifier: MIT
"""Does an inventory become the manifests that it should, and a bad one nothing but words?

A case of ``manifests/`` is an inventory and, a text a host, what its hosts get; ``example`` is
the inventory that comes with stockade.
"""

import shutil
from pathlib import Path

import pytest

from stockade import example, inventory, plan, roles
from stockade.errors import InputError


CASES = Path(__file__).with_name("manifests")
GOLDEN = sorted(CASES.glob("*/*.txt"))


@pytest.fixture
def enter(tmp_path, monkeypatch):
    """Work in an empty folder; copy a case's inventory into it if one is named."""
    monkeypatch.chdir(tmp_path)

    def enter_case(case=None):
        if case:
            own = CASES / case / "inventory"
            shutil.copytree(own if own.is_dir() else example.shipped(), "inventory")
        return tmp_path / "inventory"

    return enter_case


def planned(limit=None, environ=None):
    inv = inventory.load("inventory", environ or {})
    return plan.plan(inv, roles.load(inv.folder), inv.hosts(limit), b"the agent")


def told(manifest):
    """Return a manifest as text; of files that are shipped as they are, only the names."""
    packages = [f"{manager}: {' '.join(p)}" for manager, p in manifest.packages.items()]
    lines = [
        *packages,
        f"epel: {' '.join(manifest.epel)}",
        f"firewall: {manifest.firewall}",
        f"controllers: {' '.join(manifest.controllers)}",
        f"jails: {' '.join(manifest.jails)}",
        f"deploys: {' '.join(manifest.deploys)}",
    ]
    shipped = str(roles.shipped())
    for file in manifest.files:
        source = file.source.replace(shipped, "roles")
        notes = "" if file.restart else ", no restart"
        lines.append(f"\n{file.path} {file.mode:04o}{notes} < {source}")
        if not source.startswith("roles") or source.endswith(".j2"):
            lines += [f"| {line}" for line in file.content.decode().splitlines()]
    return "\n".join(line.rstrip() for line in lines) + "\n"


@pytest.mark.parametrize("path", [pytest.param(p, id=f"{p.parent.name}-{p.stem}") for p in GOLDEN])
def test_manifests(enter, path):
    """What a host gets is what the case says, to the letter."""
    enter(path.parent.name)
    (manifest,) = planned(path.stem)

    assert path.read_text() == told(manifest)


def test_sources_are_named_as_the_operator_named_them(enter):
    """Messages and diffs point at paths relative to where the operator stands."""
    enter("tutorial")
    (manifest,) = planned()

    sources = {file.path: file.source for file in manifest.files}
    assert "inventory/jail.d/server.conf" == sources["/etc/stockade/jail.d/server.conf"]


def test_operators_files_win(enter):
    """A file of the inventory replaces a role's of that name, and sorts behind the roles' files."""
    folder = enter("tutorial")
    (folder / "jail.d" / "10-sshd.conf").write_text("[sshd]\nenabled = false\n")
    (manifest,) = planned()

    files = {file.path: file for file in manifest.files}
    mine = files["/etc/stockade/jail.d/10-sshd.conf"]
    assert "inventory/jail.d/10-sshd.conf" == mine.source
    jails = [path for path in files if path.startswith("/etc/stockade/jail.d/")]
    assert ["10-sshd.conf", "server.conf"] == [Path(path).name for path in jails]


def test_faults_of_an_operators_file_stay_with_it(enter):
    """A file that replaces a rendered one is not taken for it when it is wrong."""
    folder = enter("tutorial")
    (folder / "jail.d" / "10-sshd.conf").write_text("[sshd]\nbantime = 5 foo\n")

    assert [
        (
            "inventory/jail.d/10-sshd.conf:2:11: bantime: unknown unit 'foo' in '5 foo' "
            "(units are seconds, minutes, hours, days, weeks, months, years)"
        )
    ] == faults()


def test_a_base_of_ones_own_may_do_without_our_variables(enter):
    """A host whose base role knows no firewall has the automatic one."""
    enter()
    write(
        {
            "hosts.yml": HOSTS,
            "group_vars/all.yml": "stockade_roles: []\n",
            "roles/base/role.yml": "description: bare\n",
            "jail.d/own.conf": "[DEFAULT]\nbantime = 1h\n",
        }
    )
    (manifest,) = planned()

    assert ("auto", ()) == (manifest.firewall, manifest.controllers)
    assert "/etc/stockade/stockade.conf" not in {file.path for file in manifest.files}


def test_jails_are_those_that_the_agent_will_run(enter):
    """A jail that the operator's own file turns off is not waited for after a push."""
    folder = enter("tutorial")
    server = folder / "jail.d" / "server.conf"
    server.write_text(server.read_text().replace("[sshd]\nenabled = true", "[sshd]\nenabled = no"))

    assert ("tightvnc-auth",) == planned()[0].jails


def faults(**about):
    with pytest.raises(InputError) as caught:
        planned(**about)
    shipped = str(roles.shipped())
    return [str(error).replace(shipped, "roles") for error in caught.value.errors]


def write(files):
    for name, text in files.items():
        path = Path("inventory", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


HOSTS = "all:\n  hosts:\n    web1:\n"


@pytest.mark.parametrize(
    "files, expected",
    [
        pytest.param(
            {"hosts.yml": HOSTS + "      ansible_hots: 192.0.2.1\n"},
            "inventory/hosts.yml:4:7: unknown variable 'ansible_hots' (did you mean ansible_host?)",
            id="connection-variable",
        ),
        pytest.param(
            {"group_vars/all.yml": "# all\nbase_bantme: 1h\n"},
            "inventory/group_vars/all.yml:2:1: unknown variable 'base_bantme' "
            "(did you mean base_bantime?)",
            id="variable-of-a-role",
        ),
        pytest.param(
            {"host_vars/web1.yml": "sshd_maxretry: 3\nhttp_port: 80\n"},
            "inventory/host_vars/web1.yml:2:1: unknown variable 'http_port' "
            "(did you mean sshd_port?)",
            id="variable-of-nobody",
        ),
        pytest.param(
            {"group_vars/all.yml": "base_bantime: 1 fortnight\n"},
            "inventory/group_vars/all.yml:1:15: base_bantime: unknown unit 'fortnight' "
            "in '1 fortnight' (units are seconds, minutes, hours, days, weeks, months, years)",
            id="duration",
        ),
        pytest.param(
            {"group_vars/all.yml": "sshd_port: shs\n"},
            "inventory/group_vars/all.yml:1:12: sshd_port: unknown port 'shs' (did you mean ssh?)",
            id="port",
        ),
        pytest.param(
            {"group_vars/all.yml": "base_firewall: nft\n"},
            "inventory/group_vars/all.yml:1:16: base_firewall: 'nft' is not one of "
            "auto, nftables, iptables, firewalld",
            id="choice",
        ),
        pytest.param(
            {"group_vars/all.yml": "base_firewall:\n"},
            "inventory/group_vars/all.yml:1:15: base_firewall: no value is not text",
            id="null-where-there-must-be-a-value",
        ),
        pytest.param(
            {"group_vars/all.yml": "stockade_roles: [base, tightvcn]\n"},
            "inventory/group_vars/all.yml:1:24: unknown role 'tightvcn' (did you mean tightvnc?)",
            id="role",
        ),
        pytest.param(
            {"group_vars/all.yml": "stockade_jails:\n  sshd:\n    maxrety: 3\n"},
            "inventory/group_vars/all.yml:3:5: unknown option 'maxrety' of jail sshd "
            "(did you mean maxretry?)",
            id="jail-option",
        ),
        pytest.param(
            {"group_vars/all.yml": "stockade_jails:\n  sshd:\n    findtime: 1h\n    maxretry: x\n"},
            "inventory/group_vars/all.yml:4:15: jail sshd: maxretry: 'x' is no whole number "
            "(write digits)",
            id="jail-value",
        ),
        pytest.param(
            {"host_vars/web1.yml": "sshd_mode: ddos\nsshd_surge: hodl\n"},
            "inventory/host_vars/web1.yml:2:13: sshd_surge: unknown word 'hodl' "
            "(did you mean hold?)",
            id="surge",
        ),
        pytest.param(
            {"group_vars/all.yml": "base_surge: hold[flor=5]\n"},
            "inventory/group_vars/all.yml:1:13: base_surge: unknown limit 'flor' "
            "(did you mean floor?)",
            id="surge-of-all-jails",
        ),
        pytest.param(
            {"group_vars/all.yml": "sshd_filtertime: -1\n"},
            "inventory/group_vars/all.yml:1:18: sshd_filtertime: -1 is less than nothing "
            "(0 lets a line take any time)",
            id="filtertime",
        ),
        pytest.param(
            {"group_vars/all.yml": "stockade_jails:\n  sshd:\n    surge: hold[share=101]\n"},
            "inventory/group_vars/all.yml:3:12: jail sshd: surge: a share of 101 percent can "
            "never be reached (100 is the most)",
            id="surge-in-a-jail",
        ),
        pytest.param(
            {
                "group_vars/all.yml": "stockade_jails:\n  vnc:\n    enabled: true\n"
                "    logpath:\n      - /a\n      - /b\n    filter: sshdd\n"
            },
            "inventory/group_vars/all.yml:7:13: jail vnc: no filter named sshdd "
            "(did you mean sshd?)",
            id="jail-filter",
        ),
        pytest.param(
            {
                "jail.d/vnc.conf": "[tightvnc-auth]\nenabled = true\nfilter = tighvnc-auth\n"
                "logpath = /root/.vnc/*.log\n",
                "filter.d/tightvnc-auth.conf": "[Definition]\nfailregex = failed from <HOST>\n",
            },
            "inventory/jail.d/vnc.conf:3:10: no filter named tighvnc-auth "
            "(did you mean tightvnc-auth?)",
            id="the-tutorials-own-slip",
        ),
        pytest.param(
            {"jail.d/server.conf": "[DEFAULT]\n\n[sshd]\nenabled = true\nmaxrety = 3\n"},
            "inventory/jail.d/server.conf:5:1: unknown option maxrety in [sshd] "
            "(did you mean maxretry?)",
            id="key-in-a-jail-file",
        ),
        pytest.param(
            {"jail.d/server.conf": "[sshd]\nenabled = true\nbantime = 5 foo\n"},
            "inventory/jail.d/server.conf:3:11: bantime: unknown unit 'foo' in '5 foo' "
            "(units are seconds, minutes, hours, days, weeks, months, years)",
            id="value-in-a-jail-file",
        ),
        pytest.param(
            {"jail.d/server.conf": "[sshd]\nenabled true\n"},
            "inventory/jail.d/server.conf:2:1: neither [section] nor option = value",
            id="malformed-jail-file",
        ),
        pytest.param(
            {
                "jail.d/server.conf": "[own]\nenabled = true\nlogpath = /x\n",
                "filter.d/own.conf": "[Definition]\nfailregex = ^no address$\n",
            },
            "inventory/filter.d/own.conf:2: [own] failregex: nothing in it says who failed: "
            "^no address$ (put <HOST>, <ADDR> or <F-ID>…</F-ID> where the address stands)",
            id="filter-without-an-address",
        ),
    ],
)
def test_mistakes_are_answered_at_their_place(enter, files, expected):
    """Every mistake of an operator is answered with his own file, line and column."""
    enter()
    write({"hosts.yml": HOSTS, **files})

    assert [expected] == faults()


def test_all_mistakes_come_at_once(enter):
    """Two hosts with faults of their own, and a fault of both: three answers, each once."""
    enter()
    write(
        {
            "hosts.yml": "all:\n  hosts:\n"
            "    web1: {stockade_jails: {sshd: {maxretry: x}}}\n"
            "    web2: {stockade_jails: {sshd: {findtime: soon}}}\n",
            "jail.d/own.conf": "[sshd]\nusedns = perhaps\n",
        }
    )
    found = faults()

    assert [
        "inventory/hosts.yml:3:46",
        "inventory/hosts.yml:4:46",
        "inventory/jail.d/own.conf:2",
    ] == [":".join(text.split(":")[: 3 if "yml" in text else 2]) for text in found]


def test_roles_mistakes_are_answered_at_the_template(enter):
    """A fault that no variable of the operator explains names the template and what it made."""
    enter("own-role")
    template = Path("inventory/roles/sshd/templates/jail.j2")
    template.write_text(
        "[sshd]\nenabled = true\nfilter =\nfailregex = ^x <HOST>$\nfindtime = x y\n"
    )

    assert [
        (
            f"{template}: 'x y' is no duration (rendered as 'findtime = x y') "
            "(for example 600, 10m, 1h 30m, 1d12h, -1)"
        )
    ] == faults()

    template.write_text("[sshd]\n\nenabled = {{ sshd_strit }}\n")
    assert [
        f"{template}:3: there is no variable 'sshd_strit' (did you mean sshd_strict?)"
    ] == faults()


def test_a_variable_that_a_template_prints_is_named(enter):
    """A fault in a rendered line is answered with the place of the variable behind the option."""
    enter("own-role")
    write(
        {
            "roles/sshd/defaults.yml": "sshd_findtime: 10m\n",
            "roles/sshd/templates/jail.j2": "[sshd]\nenabled = true\nfilter =\n"
            "failregex = ^x <HOST>$\nfindtime = {{ sshd_findtime }}\n",
            "host_vars/web2.yml": "sshd_findtime: 5 foo\n",
        }
    )

    assert [
        (
            "inventory/host_vars/web2.yml:1:16: sshd_findtime: unknown unit 'foo' in '5 foo' "
            "(units are seconds, minutes, hours, days, weeks, months, years)"
        )
    ] == faults()


def test_two_roles_and_one_file(enter):
    """Two roles that write the same file are a mistake, not a race."""
    enter("own-role")
    write({"roles/motd/jail.d/10-sshd.conf": "[sshd]\n"})

    assert [
        (
            "inventory/roles/motd/jail.d/10-sshd.conf: role motd writes "
            "/etc/stockade/jail.d/10-sshd.conf, and role sshd too"
        )
    ] == faults()


def test_two_thousand_hosts_are_bounded_work(enter, monkeypatch):
    """Renders and checks grow with distinct variables, not with hosts."""
    enter()
    checks = []
    check = plan.Tree.check
    monkeypatch.setattr(plan.Tree, "check", lambda *a: checks.append(1) or check(*a))
    renderers = []
    renderer = plan.Renderer
    monkeypatch.setattr(plan, "Renderer", lambda: renderers.append(renderer()) or renderers[-1])
    lines = ["all:", "  children:"]
    for group in range(20):
        lines += [f"    g{group}:", "      hosts:"]
        lines += [f"        h{group}-{n}: {{ansible_port: {n + 1}}}" for n in range(100)]
    write({"hosts.yml": "\n".join(lines)})
    write({f"group_vars/g{group}.yml": f"base_maxretry: {group % 5 + 1}\n" for group in range(20)})
    write({f"host_vars/h0-{n}.yml": f"sshd_bantime: {n % 3 + 1}h\n" for n in range(100)})
    manifests = planned()

    assert 2000 == len(manifests)
    assert [f"h19-{n}" for n in range(100)] == [m.host for m in manifests[-100:]]
    # Five values of base_maxretry; with the first of them, three of sshd_bantime besides none.
    assert 8 == len({manifest.files for manifest in manifests})
    assert 8 == len(checks)
    # Seven templates of the role base once, 00-stockade.conf five times, 10-sshd.conf four times.
    assert 16 == renderers[0].renders


def test_compile_host_asks_nobody(enter):
    """One host can be compiled by itself; the jails are then those that its roles name."""
    enter("example")
    inv = inventory.load("inventory", {})
    (host,) = inv.hosts("desk1*")
    compiled = plan.compile_host(inv, roles.load(inv.folder), host, b"the agent")

    assert planned("desk1*")[0] == compiled
