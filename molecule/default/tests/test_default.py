# SPDX-License-Identifier: MIT
"""Does a host that was pushed to run the agent, and does the agent guard ssh?"""

import json


def test_the_agent_runs(host):
    """The unit is enabled and active."""
    agent = host.service("stockade-agent")

    assert agent.is_enabled
    assert agent.is_running


def test_the_agent_guards_ssh(host):
    """The agent answers on its socket, and its sshd jail runs."""
    status = json.loads(host.check_output("stockade-agent status --json"))

    assert ["running"] == [jail["state"] for jail in status["jails"] if jail["name"] == "sshd"]


def test_the_configuration_is_clean(host):
    """The agent finds no fault in what was pushed."""
    assert 0 == host.run("stockade-agent check").rc
