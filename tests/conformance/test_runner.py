# SPDX-License-Identifier: MIT
"""Does ``make conformance`` fail when something differs, and only then?"""

import json
import shutil

import pytest

from conformance import __main__ as runner
from conformance import listed, oracle, samples, tally
from conformance.fetch import SUITES, fetch
from conformance.tally import Difference, Tally


RELEASE = "1.1.0"
TABLE = f"""
{listed.BEGIN}
| family | release | key | reason |
|---|---|---|---|
| samples | 1.1.0 | `exim:7` | ours is right |
| samples | 1.0.2 | `exim:8` | an old one |
{listed.END}
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Return what runs the family of samples, which comes to a given tally."""
    document, output = tmp_path / "conformance.md", tmp_path / "conformance.json"
    document.write_text(TABLE)
    output.write_text('{"rows": [{"name": "bans 1.0.2"}, {"name": "samples 1.1.0"}]}')
    package = tmp_path / "tree/fail2ban"
    package.mkdir(parents=True)
    (package / "version.py").write_text(f'version = "{RELEASE}"\n')
    table = listed.rows(document)

    def run(total, *keys):
        def family(root, tell):
            if "broken" in keys:
                raise RuntimeError("no answer")
            return Tally(total, [Difference(key, "they say this, we say that") for key in keys])

        monkeypatch.setattr(runner, "found", lambda name: family)
        monkeypatch.setattr(runner, "JSON", output)
        monkeypatch.setattr(listed, "rows", lambda: table)
        monkeypatch.setattr(runner, "save", lambda rows: SAVE(rows, output))
        code = runner.main(["samples", str(tmp_path / "tree")])
        return code, capsys.readouterr().out, json.loads(output.read_text())["rows"]

    return run


SAVE = runner.save


def test_what_is_listed_passes(run):
    """A difference that the document lists counts as passed, and is told."""
    code, out, rows = run(10, "exim:7")

    assert (0, "samples 1.1.0: 10/10 (1 differ as listed)\n") == (code, out)
    assert ["bans 1.0.2", "samples 1.1.0"] == [row["name"] for row in rows]
    assert (10, 10, 1, True) == tuple(rows[1][key] for key in ("figure", "goal", "listed", "met"))


def test_a_difference_fails(run):
    """A difference that is not listed is shown, and the exit code says so."""
    code, out, rows = run(10, "exim:7", "sshd:1")

    assert 1 == code
    assert "  sshd:1: they say this, we say that\nsamples 1.1.0: 9/10 (1 differ as listed)\n" == out
    assert (9, 10, False) == tuple(rows[1][key] for key in ("figure", "goal", "met"))


def test_that_of_another_release_fails(run):
    """What is listed of one release is a fault with another."""
    code, out, _ = run(10, "exim:7", "exim:8")

    assert 1 == code
    assert "  exim:8: they" in out


def test_what_is_over_fails(run):
    """A listed difference that does not occur any more is a fault of the document."""
    code, out, _ = run(10)

    assert 1 == code
    assert "lists `exim:7` of 1.1.0, which is over" in out


def test_nothing_compared_fails(run):
    """No cases at all prove nothing."""
    assert 1 == run(0, "exim:7")[0]


def test_a_family_that_breaks_off_fails(run):
    """It is a row that is not met, not the end of the run."""
    code, out, rows = run(10, "broken")

    assert (1, "samples 1.1.0: broke off\n", False) == (code, out, rows[1]["met"])


@pytest.mark.parametrize(
    "table", ["", f"{listed.BEGIN}\n|a|\n|-|\n| samples | all | | why |\n{listed.END}"]
)
def test_a_broken_table(table, tmp_path):
    """Without a table, or with a row that lacks something, nothing is judged."""
    document = tmp_path / "conformance.md"
    document.write_text(table)

    with pytest.raises(listed.Unreadable):
        listed.rows(document)


def test_every_family_is_there():
    """Each name is a module that runs, and what the document lists is of one of them."""
    assert all(callable(runner.found(name)) for name in runner.FAMILIES)
    assert {row.family for row in listed.rows()} <= set(runner.FAMILIES)


def test_what_is_no_fail2ban(capsys):
    """A word that is no family, release or tree is told as one line."""
    assert 2 == runner.main(["samplse"])
    assert "conformance: samplse: no fail2ban is unpacked there" in capsys.readouterr().err


@pytest.mark.conformance
@pytest.mark.parametrize("version", SUITES)
def test_a_git_tree(version, tmp_path):
    """A tree laid out as fail2ban's repository is read as the package is, planted fault and all."""
    package = fetch(version)
    for source, name in (
        (package / "etc/fail2ban", "config"),
        (package / "usr/bin", "bin"),
        (package / "usr/lib/python3/dist-packages/fail2ban", "fail2ban"),
    ):
        shutil.copytree(source, tmp_path / name, symlinks=True)
    for path in (tmp_path / "fail2ban/tests/config/filter.d").glob("zzz-*.conf"):
        # Debian points them to where it installs the stock filters.
        path.write_text(path.read_text().replace(f"{'../' * 7}config/", f"{'../' * 4}config/"))
    log = tmp_path / "fail2ban/tests/files/logs/sshd"
    text = log.read_text()
    log.write_text(text.replace('"host": "', '"host": "9', 1))

    came = samples.run(tmp_path, tally.silent)

    assert version == oracle.version(tmp_path)
    assert samples.run(package, tally.silent).total == came.total
    assert 1 == len(came.differences)
    assert came.differences[0].key.startswith("sshd:")
