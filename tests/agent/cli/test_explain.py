# SPDX-License-Identifier: MIT
"""Does ``explain`` tell a person, and a program, where values come from and what lines count?"""

import json

import pytest

from stockade_agent import cli


JAIL = """\
[DEFAULT]
long = 1h
[app]
enabled = true
filter = app
logpath = /var/log/app.log
bantime = %(long)s
ignoreip = 192.0.2.7
failregex = %(known/failregex)s
    ^ app: gone <HOST>$
[off]
filter = app
[torn]
enabled = true
filter = none
"""
FILTER = "[Definition]\nfailregex = ^ app: bad login from <HOST>$\nignoreregex = never\n"


@pytest.fixture(autouse=True)
def utc(zone):
    zone("UTC")


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Return what runs the command: exit code, standard output, standard error."""
    (tmp_path / "filter.d").mkdir()
    (tmp_path / "jail.conf").write_text(JAIL)
    (tmp_path / "filter.d/app.conf").write_text(FILTER)
    monkeypatch.setattr("time.time", lambda: 1714557600.0)  # 2024-05-01 10:00:00 UTC

    def run(*words):
        code = cli.main(["explain", "-c", str(tmp_path), *words])
        out, err = capsys.readouterr()
        return code, out.replace(f"{tmp_path}/", ""), err.replace(f"{tmp_path}/", "")

    return run


def test_option(run):
    """The value, and each part with its place."""
    expected = (
        "[app] bantime = 1h\n"
        "made of\n"
        "  jail.conf:7: bantime = %(long)s\n"
        "    jail.conf:2: %(long)s = 1h\n"
    )

    assert (0, expected, "") == run("app", "bantime")


def test_option_of_several_lines(run):
    """Each line has a place of its own; known/ leads to the file that it means."""
    assert (
        "[app] failregex =\n"
        "  filter.d/app.conf:2: ^ app: bad login from <HOST>$\n"
        "  jail.conf:10: ^ app: gone <HOST>$\n"
        "made of\n"
        "  jail.conf:9: failregex = %(known/failregex)s\n"
        "      ^ app: gone <HOST>$\n"
        "    filter.d/app.conf:2: %(known/failregex)s = ^ app: bad login from <HOST>$\n"
    ) == run("app", "failregex")[1]


@pytest.mark.parametrize(
    "option, value",
    [("maxretry", "5"), ("bantime.increment", "false"), ("usedns", "warn"), ("action", "")],
)
def test_what_no_file_says(run, option, value):
    """A default is told as one."""
    assert run("app", option)[1].startswith(f"[app] {option} = {value}\nmade of\n  built in: ")


def test_all_options(run):
    """Every option in effect, a line each, with its place."""
    code, out, _ = run("app")

    assert 0 == code
    assert "jail.conf:7: bantime = 1h\n" in out
    assert "jail.conf:9: failregex = ^ app: bad login from <HOST>$ … 1 more\n" in out
    assert "filter.d/app.conf:3: ignoreregex = never\n" in out


@pytest.mark.parametrize("option, shown", [("filter", True), ("bantime", False), ("", True)])
def test_option_of_a_faulty_jail(run, tmp_path, option, shown):
    """What can be read is told, and what is wrong; no default stands for what cannot be read."""
    with open(tmp_path / "jail.conf", "a") as jail:
        jail.write("bantime = %(none)s\n")
    code, out, err = run("torn", *filter(None, [option]))

    assert 1 == code
    assert "jail.conf:16:11: bantime refers to %(none)s, which is not defined" in err
    assert "jail.conf:15:10: no filter named none" in err
    assert shown == ("filter = none" in out)
    assert "600" not in out


def test_option_as_json(run):
    """A program gets the same as a tree."""
    told = json.loads(run("app", "failregex", "--json")[1])["options"]["failregex"]

    assert [2, 10] == [line["line"] for line in told["lines"]]
    assert ("failregex", 9) == (told["from"]["name"], told["from"]["line"])
    assert ["%(known/failregex)s"] == [part["name"] for part in told["from"]["parts"]]
    assert "1h" == json.loads(run("app", "--json")[1])["options"]["bantime"]["value"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["ap"], "no jail named ap (did you mean app?)"),
        (["app", "bantme"], "[app] has no option bantme (did you mean bantime?)"),
        ([], "give JAIL [OPTION], or --line TEXT"),
        (["app", "bantime", "x"], "give JAIL [OPTION], or --line TEXT"),
        (["--line", "x", "ap"], "no jail named ap (did you mean app?)"),
        (["--line", "x", "torn"], "no filter named none"),
    ],
)
def test_what_is_wrong(run, words, said):
    """One line says it."""
    code, _, err = run(*words)

    assert 1 == code
    assert said in err
    assert 1 == err.count("\n")


def test_line(run):
    """A line's way through every jail that runs; one that cannot run is told."""
    code, out, err = run("--line", "May  1 09:59:58 app: bad login from 203.0.113.7")
    date = "{^LN-BEG}(?:%a )?%b %d %k:%M:%S(?:\\.%f)?(?: %ExY)?"

    assert 0 == code
    assert err == "stockade-agent explain: jail.conf:15:10: no filter named none\n"
    assert out == (
        "May  1 09:59:58 app: bad login from 203.0.113.7\n"
        "[app] counts a failure of 203.0.113.7\n"
        f"  date         May  1 09:59:58 is 2024-05-01 09:59:58+00:00 by {date}\n"
        "  failregex    1 of 2 matches: filter.d/app.conf:2: ^ app: bad login from <HOST>$\n"
        "               ip4 = 203.0.113.7\n"
        "  counts       5 within 10 min earn a ban for 1 h\n"
    )


def test_prefixes(run, tmp_path):
    """By which prefix a jail counts is told of its option, and of a line."""
    (tmp_path / "jail.conf").write_text(JAIL.replace("ignoreip", "prefix6 = 56\nignoreip"))
    told = run("--line", "May  1 09:59:58 app: bad login from 2001:db8::7", "app")[1]

    assert "earn a ban for 1 h; IPv6 counts by /56\n" in told
    assert "prefix6 = 56\n" in run("app", "prefix6")[1]
    assert "prefix6.members = 4\n" in run("app", "prefix6.members")[1]
    assert "prefix6.wider = \n" in run("app", "prefix6.wider")[1]


def test_line_that_nearly_matches(run):
    """Which regex comes nearest, and where it and the line part."""
    _, out, _ = run("--line", "May  1 09:59:58 app: bad logon from 203.0.113.7", "app")

    assert "[app] passes it over\n" in out
    assert "  failregex    none of 2 matches\n" in out
    assert "  nearest      1, 58 % of which agrees: filter.d/app.conf:2: ^ app: bad login" in out
    assert "  agrees       ' app: bad log'\n" in out
    assert "  then         'on from 203.0.113.7'; 'in from ' is wanted\n" in out


def test_line_that_is_ignored(run):
    """By ignoreip or by ignoreregex: the place is told."""
    _, out, _ = run("--line", " app: gone 192.0.2.7", "app")
    assert "[app] ignores it\n" in out
    assert "  never banned 192.0.2.7: 192.0.2.7 (jail.conf:8)\n" in out

    _, out, _ = run(
        "--line", "who never was", "--line", " app: bad login from never.invalid", "app"
    )
    assert "  ignoreregex  1 matches: filter.d/app.conf:3: never\n" in out.partition("\n\n")[2]


def test_line_that_takes_for_ever(run, tmp_path):
    """It is given up, as the agent does, which is told; the other jails judge it."""
    text = (tmp_path / "jail.conf").read_text().replace("[off]", "filtertime = 0.1\n[off]")
    (tmp_path / "jail.conf").write_text(text.replace("gone <HOST>", "(?:a+)+ <HOST>"))
    code, out, _ = run("--line", f" app: {'a' * 40}! 192.0.2.9", "app", "off")

    assert 0 == code
    assert (
        "[app] gives it up: a line took more than 0.1 s of CPU time and was given up, "
        "in '^ app: (?:a+)+ <HOST>$'\n[off] passes it over\n"
    ) in out


def test_line_as_json(run):
    """Lines one after the other, each with what every jail makes of it, enabled or not."""
    words = ("--line", " app: bad login from 203.0.113.7", "--line", "x", "off", "--json")
    first, second = json.loads(run(*words)[1])

    assert ["failure", "missed"] == [one["jails"][0]["verdict"] for one in (first, second)]
    assert "203.0.113.7" == first["jails"][0]["counts"][0]["id"]
    assert 2 == first["jails"][0]["failregex"]["origin"]["line"]
    assert 0 < second["jails"][0]["nearest"]["share"] < 1


def test_hostile_line(run):
    """No byte of a line reaches the terminal as a command."""
    for text in (" app: bad login from \x1b[31m", "\x1b]0;x\x07", " app: gone a\x9bb.example"):
        for words in ((), ("--json",)):
            code, out, err = run("--line", text, "app", *words)
            assert 0 == code
            assert all(char.isprintable() or char == "\n" for char in out + err)
