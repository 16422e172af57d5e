# SPDX-License-Identifier: MIT
"""Does a tool's trouble reach a person as one line with a remedy?"""

import re
import sys
import time

import pytest

from stockade_agent.firewall.command import Runner, ToolError


def script(text):
    return ("sh", "-c", text)


def test_output_of_a_tool():
    """A tool gets its arguments as they are and its whole input, and its output comes back."""
    run = Runner("nftables")

    assert "$HOME; x\n" == run(("printf", "%s\n", "$HOME; x"))
    assert "ban\n" == run(("cat",), stdin="ban\n")


def test_messages_are_english():
    """Tools are asked for messages that can be recognised, and found outside of PATH too."""
    answer = Runner("nftables")(script('echo "$LC_ALL $PATH"'))

    assert answer.startswith("C ")
    assert "/usr/sbin" in answer


def test_a_prefix_stands_before_the_tool():
    """A command may be put before all others, such as one that enters a namespace."""
    assert "1 nft -v\n" == Runner("nftables", ("echo", "1"))(("nft", "-v"))


@pytest.mark.parametrize(
    "stderr, cause, remedy",
    [
        pytest.param(
            "Error: Could not process rule: Operation not permitted\\nadd table inet x",
            "Could not process rule: Operation not permitted",
            "CAP_NET_ADMIN",
            id="no-right",
        ),
        pytest.param(
            "/dev/stdin:4:1-9: Error: syntax error, unexpected }\\nadd element",
            "syntax error",
            "",
            id="position-is-dropped",
        ),
        pytest.param(
            "iptables-restore v1.8.9 (nf_tables): Couldn't load match `multiport':No such file",
            "Couldn't load match `multiport'",
            "kernel-modules-extra",
            id="no-module",
        ),
        pytest.param(
            "iptables-restore: line 3 failed", "line 3 failed", "kernel module", id="mute"
        ),
        pytest.param(
            "Fatal: can't open lock file /run/xtables.lock: Permission denied",
            "can't open lock file /run/xtables.lock",
            "iptables -w -L as root",
            id="no-lock",
        ),
        pytest.param("FirewallD is not running", "not running", "systemctl", id="not-running"),
        pytest.param("", "exit status 3", "", id="silent"),
    ],
)
def test_failure(stderr, cause, remedy, monkeypatch):
    """The line that tells the cause is kept, and a remedy is offered where one is known."""
    monkeypatch.setenv("COMPLAINT", stderr)

    with pytest.raises(ToolError) as caught:
        Runner("iptables")(script('printf %b "$COMPLAINT" >&2; exit 3'))

    assert 3 == caught.value.code
    assert cause in caught.value.message
    assert remedy in caught.value.remedy
    assert bool(remedy) == bool(caught.value.remedy)
    assert "\n" not in str(caught.value)


def test_a_batch_repeated_in_a_complaint_is_cut():
    """The whole line that nft did not like is in its complaint; nobody wants to read it."""
    with pytest.raises(ToolError) as caught:
        Runner("nftables")(script("yes 192.0.2.1 | head -10000 | tr '\\n' ' ' >&2; exit 1"))

    assert len(str(caught.value)) < 700
    assert len(caught.value.stderr) > 50_000


@pytest.mark.parametrize(
    "tool, package",
    [("nft", "install nftables"), ("ip6tables-save", "install iptables"), ("nope", "install nope")],
)
def test_a_missing_tool_names_its_package(tool, package, monkeypatch):
    """What is not installed is said with the package that brings it."""
    monkeypatch.setattr("stockade_agent.firewall.command._SYSTEM_PATH", ())
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ToolError, match="is not installed") as caught:
        Runner("nftables")((tool, "-v"))

    assert caught.value.code is None
    assert package in caught.value.remedy


def test_a_tool_that_hangs_is_killed_with_its_children():
    """Nothing of a tool that takes too long stays behind."""
    code = "import subprocess, sys; subprocess.run(['sleep', '61.7'])"
    begun = time.monotonic()

    with pytest.raises(ToolError, match=re.escape("did not end within 0.3 s and was killed")):
        Runner("nftables")((sys.executable, "-c", code), timeout=0.3)

    assert time.monotonic() - begun < 30
    assert "61.7" not in Runner("nftables")(script("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))
