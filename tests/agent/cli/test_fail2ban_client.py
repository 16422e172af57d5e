# SPDX-License-Identifier: MIT
"""Is the command line of fail2ban-client ours, too, whatever name it was called by?"""

import io
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import stockade_agent
from agent.piped import Agent
from stockade_agent import answers
from stockade_agent.cli import main, words
from stockade_agent.control.protocol import Request
from stockade_agent.control.rows import pieces


DOCS = Path(__file__).parents[3] / "docs/fail2ban-client.md"
EXAMPLE_CONF = """\
[DEFAULT]
enabled = true
backend = polling
bantime = 1h
ignoreself = false
failregex = ^ failed from <HOST>$
action = nftables

[sshd]
logpath = {folder}/auth.log
ignoreip = 203.0.113.0/24 192.0.2.1

[web]
logpath = {folder}/web.log
"""


def told(agent, request):
    """Return what an agent answers, as it comes over the socket."""
    return json.loads(b"".join(pieces(answers.answer(agent.pipe, request, agent.now))))


@pytest.mark.parametrize("arguments", [["fail2ban-client", "-h"], ["fail2ban-client", "--help"]])
def test_help(arguments, capsys):
    """It says which words there are."""
    assert 0 == main(arguments)
    assert "unbanip" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["-Z"], ["--nonsense"], ["-c"]])
def test_no_command(arguments, capsys):
    """Nothing asked, or an unknown option, is answered by the usage and 255."""
    assert 255 == main(["fail2ban-client", *arguments])
    assert capsys.readouterr().out.startswith("Usage:")


def test_no_agent(tmp_path, capsys):
    """Nothing on stdout, one line with the remedy on stderr."""
    assert 255 == main(["fail2ban-client", "-s", str(tmp_path / "none"), "ping"])
    out, err = capsys.readouterr()
    assert "" == out
    assert re.fullmatch(r"fail2ban-client: .*none: .*systemctl .*\n", err)


def test_versions_and_durations(capsys):
    """The short version is that of the words; a duration is seconds, never evaluated."""
    assert [0, 0, 0, 255] == [
        main(["fail2ban-client", *text.split()])
        for text in ("-V", "--version", "--str2sec 1d12h", "--str2sec __import__('os')")
    ]
    short, long, seconds = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"1\.\d+\.\d+", short)
    assert long.startswith(f"Fail2Ban v{short}, ")
    assert "129600" == seconds


@pytest.fixture
def tree(tmp_path):
    jail = "[sshd]\nenabled = true\nfailregex = ^x <HOST>$\nlogpath = /none\n"
    (tmp_path / "jail.conf").write_text(jail + "action = nftables\n")
    (tmp_path / "stockade.conf").write_text(f"[Definition]\nsocket = {tmp_path}/sock\n")
    return tmp_path


def test_a_configuration_is_tested(tree, capsys):
    """``-t`` says OK and 0, or each fault with its place and 255."""
    assert 0 == main(["fail2ban-client", "-c", str(tree), "-t"])
    assert "OK: configuration test is successful\n" == capsys.readouterr().out
    (tree / "jail.local").write_text("[sshd]\nmaxretry = three\n")

    assert 255 == main(["fail2ban-client", "-c", str(tree), "--test"])
    out, err = capsys.readouterr()
    assert "" == out
    assert f"{tree}/jail.local:2" in err


def test_a_configuration_is_dumped(tree, capsys):
    """``-d`` prints the commands, one a line, the faults aside."""
    (tree / "jail.d").mkdir()
    (tree / "jail.d/x.conf").write_text("[bad]\nenabled = true\nmaxretry = three\nfilter =\n")
    assert 0 == main(["fail2ban-client", "-c", str(tree), "-d"])
    out, err = capsys.readouterr()

    assert "['set', 'sshd', 'addfailregex', '^x <HOST>$']" in out.splitlines()
    assert "['start', 'sshd']" == out.splitlines()[-1]
    assert "Jail 'bad' skipped" in out
    assert f"{tree}/jail.d/x.conf:3" in err


def test_an_old_agent_is_refused(tree, monkeypatch, capsys):
    """A status of another kind is a refusal, not a traceback."""
    monkeypatch.setattr("stockade_agent.cli.fail2ban_client.ask", lambda *_: {"odd": 1})

    assert 255 == main(["fail2ban-client", "-c", str(tree), "status"])
    assert "no status that we understand" in capsys.readouterr().out


def test_a_terminal_of_few_characters(tree, alone, monkeypatch):
    """A table on a terminal without line drawing is escaped, and no traceback."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    agent = Agent(tree, EXAMPLE_CONF).start()
    answer = told(agent, Request("status"))
    monkeypatch.setattr("stockade_agent.cli.fail2ban_client.ask", lambda *_: answer)

    assert 0 == main(["fail2ban-client", "-c", str(tree), "stats"])
    stream.flush()
    assert b"sshd     \\u2551" in stream.buffer.getvalue()
    agent.end()


def test_a_link_of_that_name(tmp_path):
    """A link ``fail2ban-client`` to the command speaks its words."""
    script = tmp_path / "stockade-agent"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom stockade_agent.cli import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    (tmp_path / "fail2ban-client").symlink_to("stockade-agent")
    path = str(Path(stockade_agent.__file__).parents[1])
    done = subprocess.run(
        (tmp_path / "fail2ban-client", "--str2sec", "1h"),
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("3600\n", 0) == (done.stdout, done.returncode)


def test_the_example_of_the_docs(tmp_path, alone):
    """An agent whose log has told of one failure answers what the docs show."""
    agent = Agent(tmp_path, EXAMPLE_CONF)
    agent.write("1700000000 failed from 198.51.100.1\n", "auth.log")
    agent.write("", "web.log")
    agent.start().pipe.take("file", agent.now)

    example = re.search(r"```console\n(.*?)```", DOCS.read_text(), re.DOTALL)[1]
    for shown in example.split("# fail2ban-client ")[1:]:
        asked, _, expected = shown.partition("\n")
        try:
            said = words.answer(asked.split(), partial(told, agent))
        except words.Refusal as refusal:
            said = str(refusal)
        assert expected == said.replace(str(tmp_path), "/var/log") + "\n", asked
    agent.end()


@pytest.mark.parametrize(
    "name, told", [("stockade-agent", "a b\n"), ("fail2ban-client", "fail2ban-client a b\n")]
)
def test_the_command_that_a_push_brings(tmp_path, name, told):
    """By its own name it hands the words on; by a link's name it says whose they are."""
    text = (DOCS.parents[1] / "roles/base/files/stockade-agent").read_text()
    whole = "/usr/lib/stockade/python3 -I -S /usr/lib/stockade/stockade-agent.pyz"
    assert whole in text
    (tmp_path / "stockade-agent").write_text(text.replace(whole, "echo"))
    (tmp_path / "stockade-agent").chmod(0o755)
    if name != "stockade-agent":
        (tmp_path / name).symlink_to("stockade-agent")
    done = subprocess.run((tmp_path / name, "a", "b"), capture_output=True, text=True, check=False)

    assert told == done.stdout
