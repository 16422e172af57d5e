# SPDX-License-Identifier: MIT
"""Does ``regex`` tell what a filter makes of a log? The numbers: see ``conformance.regex``."""

import gzip
import io
import json
import os
import pty
import subprocess
import sys

import pytest

from stockade_agent import cli


FILTER = """\
[Definition]
failregex = ^ app: bad login of <F-USER>.*</F-USER> from <HOST>$
    ^ app: nobody comes from <HOST>$
ignoreregex = from 198\\.51\\.100\\.
"""
BAD = "May  1 10:00:00 app: bad login of root from 192.0.2.7"
OWN = "May  1 10:00:01 app: bad login of root from 198.51.100.1"
GOOD = "May  1 10:00:02 app: all is well"


@pytest.fixture(autouse=True)
def utc(zone):
    zone("UTC")


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "filter.d").mkdir()
    (tmp_path / "filter.d/app.conf").write_text(FILTER)
    (tmp_path / "jail.conf").write_text("[door]\nfilter = app\nmaxlines = 1\n")
    return tmp_path


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "app.log"
    path.write_text("".join(f"{line}\n" for line in (BAD, OWN, "", "# comment", GOOD)))
    return str(path)


@pytest.fixture
def run(etc, capsys):
    """Return what runs the command: exit code, standard output, standard error."""

    def run(*words):
        try:
            code = cli.main(["regex", "-c", str(etc), *words])
        except SystemExit as ended:
            code = ended.code
        return (code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("name", ["app", "door", "app.conf", "filter.d/app", "{etc}/filter.d/app"])
def test_blocks(run, log, etc, name):
    """A jail, a filter, or a file: totals, regexes that matched, dates, and the missed lines."""
    code, out, err = run(log, name.format(etc=etc))

    assert (0, "") == (code, err)
    assert "Failregex: 1 total\n|-  #) [# of hits] regular expression\n|   1) [1] ^ app: bad" in out
    assert "nobody" not in out
    assert "Ignoreregex: 1 total\n" in out
    assert "Date template hits:\n|- [# of hits] date format\n|  [3] " in out
    assert "Lines: 3 lines, 1 ignored, 1 matched, 1 missed\n" in out
    assert f"|- Ignored line(s):\n|  {OWN}\n`-\n|- Missed line(s):\n|  {GOOD}\n`-\n" in out


EVIL = f"May  1 10:00:00 app: {'a' * 40}! from 192.0.2.7"
ENDLESS = "^ app: (?:a+)+ from <HOST>$"


def test_a_line_that_takes_for_ever(run, tmp_path):
    """It is given up, and told with its number; the others are tried."""
    path = tmp_path / "evil.log"
    path.write_text(f"{EVIL}\n{EVIL.replace('!', '')}\n")
    code, out, err = run(str(path), ENDLESS)

    assert 0 == code
    said = "a line took more than 1 s of CPU time and was given up"
    assert f"ERROR: line 1: {said}, in '{ENDLESS}'\n" == err
    assert "Lines: 2 lines, 0 ignored, 1 matched, 1 missed\n" in out


def test_lines_that_take_for_ever(run, tmp_path):
    """After a few there is no more sense in it."""
    path = tmp_path / "evil.log"
    path.write_text(f"{EVIL}\n" * 1000)
    code, _, err = run(str(path), ENDLESS)

    assert 255 == code
    assert [3, "ERROR: 2 lines took too long: an agent would suspend this filter"] == [
        len(err.splitlines()),
        err.splitlines()[-1].partition(" (")[0],
    ]


def test_json(run, log):
    """A program gets the same numbers, and the lines that were asked for."""
    code, out, _ = run(log, "app", "--json", "--print-all-matched", "--print-no-missed")
    told = json.loads(out)

    assert 0 == code
    assert {"tested": 3, "matched": 1, "ignored": 1, "missed": 1} == told["lines"]
    assert [1, 0] == [one["hits"] for one in told["failregex"]]
    assert [1] == [one["hits"] for one in told["ignoreregex"]]
    assert 3 == told["dates"][0]["hits"]
    assert ([BAD], [OWN]) == (told["matched"], told["ignored"])
    assert "missed" not in told


def test_too_many_lines(run, tmp_path):
    """From 20 lines on they are counted, and listed when all are asked for, in their order."""
    lines = [f"{GOOD} {number}" for number in range(20)]
    (tmp_path / "long.log").write_text("\n".join(lines))
    asked = (str(tmp_path / "long.log"), "app")

    _, few, _ = run(*asked)
    _, every, _ = run(*asked, "--print-all-missed")
    _, data, _ = run(*asked, "--json")

    assert "Missed line(s): too many to print.  Use --print-all-missed to print all 20" in few
    assert "\n".join(f"|  {line}" for line in lines) in every
    assert json.loads(data)["missed"] is None


@pytest.mark.parametrize(
    "wanted, printed",
    [
        ("ip", "192.0.2.7\n"),
        ("user", "root\n"),
        ("msg", f"{BAD}\n"),
        ("<F-USER>@<ip> <time> <nothing>", "root@192.0.2.7 1777629600.0 <nothing>\n"),
        ("a<br>b", "a\nb\n"),
        ("matches", f"[{BAD!r}]\n"),
    ],
)
def test_out(run, log, monkeypatch, wanted, printed):
    """Only what is asked for is printed, a line each failure."""
    monkeypatch.setattr("time.time", lambda: 1777633200.0)  # an hour after the log's lines

    assert (0, printed, "") == run(log, "app", "-o", wanted)


def test_invert(run, log):
    """With -i it is the lines that are no failure."""
    assert (0, f"{OWN}\n{GOOD}\n", "") == run("-i", "-o", "msg", log, "app")


def test_lines_of_the_command_line(run):
    """A line, or several, may stand where a log is named; a regex where a filter is."""
    _, one, _ = run(BAD, "from <HOST>$", "root")
    _, two, _ = run(f"{BAD}\n{GOOD}", "from <HOST>$")

    assert "Lines: 1 lines, 1 ignored, 0 matched, 0 missed" in one
    assert "Lines: 2 lines, 0 ignored, 1 matched, 1 missed" in two


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_and_gzip(run, tmp_path, monkeypatch, packed):
    """A log may be compressed, or come through a pipe."""
    data, name = f"{BAD}\n{GOOD}\n".encode(), "-"
    if packed:
        name = str(tmp_path / "app.log.1.gz")
        with gzip.open(name, "wb") as log:
            log.write(data)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    assert "Lines: 2 lines, 0 ignored, 1 matched, 1 missed" in run(name, "app")[1]


def test_hostile_text(run, tmp_path):
    """No byte of a log or a file's name reaches the terminal as a command."""
    path = tmp_path / "app.log"
    path.write_bytes(b"May  1 10:00:00 app: \x1b]0;x\x07 \xc2\x9b\xff\r bad\n")
    evil = "May  1 10:00:00 app: bad login of \x1b[31m from 192.0.2.7"

    told = [run(str(path), "app", "-v"), run(str(path), "app", "-i", "-o", "msg")]
    told += [run(evil, "app", *more) for more in (["-vv"], ["--print-all-matched"])]
    told += [run(evil, "app", "-o", wanted) for wanted in ("msg", "row", "user", "<F-USER>")]
    told.append(run("\x1b/x", "a\x1b"))

    for _, out, err in told:
        assert all(char.isprintable() or char in "\n\t" for char in out + err)
    assert "\\x1b]0;x\\x07 \\x9b\ufffd" in told[0][1]


@pytest.mark.parametrize(
    "words, said",
    [
        pytest.param(["x", "ap"], "did you mean app?", id="misspelt"),
        pytest.param(["x", "(<HOST>"], "unterminated subpattern", id="regex"),
        pytest.param(["x", "nothing at all"], "says who failed", id="anonymous"),
        pytest.param(["x", "<HOST>", "("], "ignoreregex", id="ignoreregex"),
        pytest.param(["x", "app", "-d", "%Q("], "datepattern", id="datepattern"),
        pytest.param(["x", "app", "--usedns", "maybe"], "yes, warn, no or raw", id="usedns"),
        pytest.param(["x", "app", "-l", "loud"], "no such level", id="level"),
        pytest.param(["x", "app", "-D"], "no links", id="debuggex"),
        pytest.param(["x", "app", "-i"], "-o only", id="invert"),
        pytest.param(["x", "app", "-o", "ip", "--json"], "--json", id="out-and-json"),
        pytest.param(
            ["x", "app", "--print-no-missed", "--print-all-missed"], "choose one", id="both"
        ),
        pytest.param(["journal[nonsense=1]", "app"], "unknown parameter nonsense", id="journal"),
        pytest.param(["{etc}", "app"], "Is a directory", id="directory"),
        pytest.param(["x"], "FILTER", id="usage"),
    ],
)
def test_what_is_wrong(run, etc, words, said):
    """One line says it, and the code is fail2ban-regex's."""
    code, _, err = run(*(word.format(etc=etc) for word in words))

    assert 255 == code
    assert said in err
    assert 1 == err.count("\n")


def test_place_of_a_fault(run, etc):
    """A filter that is wrong is told with its file and line."""
    for text, name in (("failregex = %(none)s <HOST>", "app"), ("failregex = (<HOST>", "door")):
        (etc / "filter.d/app.conf").write_text(f"[Definition]\n{text}\n")
        code, _, err = run("x", name)

        assert 255 == code
        assert f"ERROR: {etc}/filter.d/app.conf:2:" in err


def test_a_file_that_is_none(run):
    """Whoever mistypes a path is told that it was taken as a line."""
    _, _, err = run("/nowhere/auth.log", "app")

    assert err.endswith("/nowhere/auth.log: no such file; it is taken as a log line\n")


def test_timezone_and_datepattern(run):
    """Options stand for what the filter says."""
    line = "01|05|2026 10:00 bad from 192.0.2.7"
    pattern = "%d\\|%m\\|%Y %H:%M"
    told = run(line, "from <HOST>$", "-d", pattern, "--timezone", "UTC+0200", "-o", "<time>")

    assert (0, "1777622400.0\n", "") == told


def test_progress(etc, tmp_path):
    """Only at a terminal, and only where it takes long, is told how far it is; then it is gone."""
    log = tmp_path / "app.log"
    log.write_text(f"{GOOD}\n" * 2000)
    code = (
        "import itertools, sys, time; ticks = itertools.count();"
        "time.monotonic = lambda: float(next(ticks));"
        f"from stockade_agent import cli; sys.exit(cli.main(['regex', '-c', {str(etc)!r},"
        f" {str(log)!r}, 'app']))"
    )
    env = {**os.environ, "PYTHONPATH": str(cli.__file__).rsplit("/", 3)[0]}
    ours, theirs = pty.openpty()
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    subprocess.run(
        [sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL, stderr=theirs, check=True
    )
    os.close(theirs)
    told = os.read(ours, 65536).decode()
    os.close(ours)

    assert b"" == shown.stderr
    assert "1,024 lines, " in told
    assert told.endswith("\r\x1b[K")
