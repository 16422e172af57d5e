# SPDX-License-Identifier: MIT
"""Do the commands say what a person or a program needs, and end with the right code?"""

import json
import os
import pwd
import subprocess
import sys

import pytest

from stockade_agent import __version__, cli


JAIL_CONF = """\
[sshd]
enabled = true
port = 22
logpath = {log}
{more}
failregex = {regex}
"""


@pytest.fixture
def etc(tmp_path):
    """Return what writes a configuration and returns its directory."""

    def write(regex="from <HOST>", more=""):
        log = tmp_path / "auth.log"
        log.touch()
        (tmp_path / "jail.conf").write_text(JAIL_CONF.format(regex=regex, more=more, log=log))
        (tmp_path / "stockade.conf").write_text(f"[Definition]\nsocket = {tmp_path}/sock\n")
        return str(tmp_path)

    return write


def test_check_of_a_good_configuration(etc, capsys):
    """One line says that all is well."""
    directory = etc()

    assert 0 == cli.main(["check", directory])
    assert f"{directory}: 1 jail is fine: sshd\n" == capsys.readouterr().out


def test_check_names_every_fault_with_its_place(etc, capsys):
    """Faults of the language and of regexes come in one run, a line each."""
    directory = etc(regex="(<HOST>", more="maxretry = many")
    with open(f"{directory}/jail.conf", "a") as jail:
        jail.write("[two]\nenabled = true\nfailregex = [<HOST>\nlogpath = /x\nport = 1\n")

    assert 1 == cli.main(["check", directory])
    out = capsys.readouterr().out.splitlines()
    assert all(line.startswith(f"{directory}/jail.conf:") for line in out)
    assert any("maxretry" in line for line in out)
    assert any("[two] failregex" in line for line in out)


def test_check_as_json(etc, capsys):
    """A program gets severity, path, line and words apart."""
    directory = etc(regex="(<HOST>", more="colour = red")

    assert 1 == cli.main(["check", "--json", directory])
    found = json.loads(capsys.readouterr().out)
    (fault,), (warning,) = found["faults"], found["warnings"]
    assert [] == found["jails"]
    assert ("fault", "sshd", 6) == (fault["severity"], fault["jail"], fault["line"])
    assert ("warning", "sshd", 5) == (warning["severity"], warning["jail"], warning["line"])


@pytest.mark.parametrize(
    "options, code, warned", [([], 0, True), (["--strict"], 1, True), (["--no-lint"], 0, False)]
)
def test_check_with_warnings_only(etc, capsys, options, code, warned):
    """What runs, but should not stay so, is told, and a failure for whoever wants it strict."""
    directory = etc(regex="^.* from <HOST>\n    ^(a+)+ from <HOST>$", more="")

    assert code == cli.main(["check", directory, *options])
    *warnings, last = capsys.readouterr().out.splitlines()
    assert f"{directory}: 1 jail is fine: sshd" == last
    begin = f"{directory}/jail.conf:{{}}: warning: failregex: a "
    assert all(line.startswith(begin.format(n)) for n, line in enumerate(warnings, start=6))
    assert (2 if warned else 0) == len(warnings)
    assert not warned or "^(a+)+ from <HOST>$" in warnings[1]


def test_check_of_nothing(tmp_path, capsys):
    """A directory that is not there is a configuration that is wrong."""
    assert 1 == cli.main(["check", str(tmp_path / "none")])
    assert "none: no such directory" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["ban", "sshd", "192.0.2.7"],
        ["unban", "192.0.2.7"],
        ["reload"],
        ["ping"],
        ["panic"],
    ],
    ids=lambda words: words[0],
)
def test_no_agent(etc, capsys, words):
    """Without an agent there is a line with what to do, and a code of its own."""
    directory = etc()

    assert 4 == cli.main([*words, "-c", directory])
    assert (
        f"stockade-agent: {directory}/sock: no agent answers (systemctl start stockade-agent)\n"
        == capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["frobnicate"], id="unknown"),
        pytest.param(["ban", "sshd"], id="ban-nobody"),
        pytest.param(["run", "--firewall", "pf"], id="firewall"),
    ],
)
def test_usage(words, capsys):
    """A wrong command line is one line on standard error and exit code 1."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    assert 1 == ended.value.code
    assert 1 == len(capsys.readouterr().err.splitlines())


@pytest.mark.parametrize("words", [[], ["sshd"], ["192.0.2.7", "--all"]], ids=str)
def test_unban_wants_to_know_whom(etc, capsys, words):
    """Addresses or all: one of them, not both."""
    assert 1 == cli.main(["unban", *words, "-c", etc()])
    assert "give addresses, or --all" in capsys.readouterr().err


@pytest.mark.parametrize("time", ["soon", "0", "-5"])
def test_panic_wants_to_know_for_how_long(etc, capsys, time):
    """A time that is none is refused, and nobody is asked."""
    assert 1 == cli.main(["panic", f"--for={time}", "-c", etc()])
    assert "--for: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, asked",
    [
        (["panic"], ("panic", "", ())),
        (["panic", "sshd", "web", "--for", "2h"], ("panic", "", ("sshd", "web"), "7200.0")),
        (["resume", "sshd"], ("resume", "", ("sshd",))),
        (["release"], ("release", "", ())),
        (["release", "sshd"], ("release", "sshd", ())),
        (["release", "sshd", "--drop"], ("release", "sshd", (), "drop")),
        (["unban", "192.0.2.7"], ("unban", "", ("192.0.2.7",))),
        (["unban", "sshd", "192.0.2.7"], ("unban", "sshd", ("192.0.2.7",))),
        (["unban", "--all"], ("unban", "", ("all",))),
        (["unban", "sshd", "--all"], ("unban", "sshd", ("all",))),
        (
            ["ban", "sshd", "192.0.2.7", "2001:db8::/64"],
            ("ban", "sshd", ("192.0.2.7", "2001:db8::/64")),
        ),
    ],
    ids=str,
)
def test_what_the_agent_is_asked(monkeypatch, capsys, words, asked):
    """The words become one request; what changed is printed, escaped."""
    requests = []

    def ask(path, request):
        requests.append((path, request.command, request.jail, request.ids, *request.words))
        return {"changed": ["192.0.2.7", "\x1b[31m"]}

    monkeypatch.setattr("stockade_agent.control.client.ask", ask)

    assert 0 == cli.main([*words, "--socket", "/run/x"])
    assert [("/run/x", *asked)] == requests
    assert capsys.readouterr().out.endswith("ed: 192.0.2.7, \\x1b[31m\n")


@pytest.mark.parametrize(
    "sudo, name",
    [("anna", "anna"), ("", pwd.getpwuid(os.getuid()).pw_name)],
    ids=["through-sudo", "as-oneself"],
)
def test_panic_says_who_asks(monkeypatch, sudo, name):
    """Whoever finds a host paused is told whom to call."""
    asked = []
    monkeypatch.setenv("SUDO_USER", sudo)
    monkeypatch.setattr(
        "stockade_agent.control.client.ask",
        lambda _path, request: asked.append(request) or {"changed": []},
    )

    assert 0 == cli.main(["panic", "--socket", "/run/x"])
    assert [name] == [request.by for request in asked]


def test_release_says_how_many_were_dropped(monkeypatch, capsys):
    """What is forgotten is counted; where nothing waited, that is said."""
    for held, said in ((3, "dropped: 3\n"), (0, "none was held back\n")):
        told = {"changed": [], "held": held}
        monkeypatch.setattr("stockade_agent.control.client.ask", lambda _p, _r, told=told: told)
        assert 0 == cli.main(["release", "--drop", "--socket", "/run/x"])
        assert said == capsys.readouterr().out


def test_unban_says_what_holds_an_address(monkeypatch, capsys):
    """Who is within a banned prefix is told which, of what jail; JSON has the same."""
    within = {"2001:db8::7": [["sshd", "2001:db8::/64"]]}
    monkeypatch.setattr(
        "stockade_agent.control.client.ask",
        lambda _path, _request: {"changed": [], "within": within},
    )

    assert 0 == cli.main(["unban", "2001:db8::7", "--socket", "/run/x"])
    said = "not banned\n2001:db8::7 is within 2001:db8::/64, which sshd bans\n"
    assert said == capsys.readouterr().out
    assert 0 == cli.main(["unban", "2001:db8::7", "--json", "--socket", "/run/x"])
    assert {"changed": [], "within": within} == json.loads(capsys.readouterr().out)


def test_version(capsys):
    """The version is the package's."""
    assert 0 == cli.main(["version"])
    assert capsys.readouterr().out.startswith(f"stockade-agent {__version__} (Python 3.")


def test_help_documents_the_exit_codes(capsys):
    """What each code means stands in --help, with examples for each command."""
    with pytest.raises(SystemExit):
        cli.main(["ban", "--help"])
    out = capsys.readouterr().out

    assert "exit codes:" in out
    assert "stockade-agent ban sshd 192.0.2.7" in out


@pytest.mark.parametrize("module", ["daemon", "filter", "config", "sqlite3", "subprocess"])
def test_version_and_ping_import_little(module):
    """What is asked often starts fast: the daemon's modules stay out."""
    code = (
        "import sys; from stockade_agent import cli; cli.main(['version']);"
        "cli.main(['ping', '--socket', '/nowhere']);"
        f"sys.exit(any(name in sys.modules for name in ({module!r}, 'stockade_agent.{module}')))"
    )
    env = {"PYTHONPATH": str(cli.__file__).rsplit("/", 2)[0]}

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=env)


def test_an_internal_error_is_no_usage_error(monkeypatch, capsys):
    """What nobody expected is shown whole, and ends with the code for failure."""
    monkeypatch.setattr(cli.commands, "_print_json", lambda _: 1 / 0)

    assert 3 == cli.main(["version", "--json"])
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("stockade-agent: division by zero\n")
