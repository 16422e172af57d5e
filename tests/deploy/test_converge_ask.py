# SPDX-License-Identifier: MIT
"""Does a request reach the agent of a host, and is it told what became of it?"""

import threading

import pytest

from stockade.converge import main
from stockade_agent.control.protocol import NO_JAIL, Request


LIFTED = {"changed": ["192.0.2.7"], "count": 1, "until": None}


@pytest.fixture
def ask(converge, make_manifest):
    """Put a request to the agent of the fake host."""

    def put(command="panic", **values):
        return converge(make_manifest(files=()), "ask", ask=Request(command, **values))

    return put


@pytest.fixture
def running(fake_host, converge, make_manifest):
    """A host that was pushed to."""
    converge(make_manifest())
    fake_host.asked.clear()
    return fake_host


def test_the_request_arrives_as_it_is(running, ask):
    """Who asks, for what jails, for how long; the reply comes back, nothing else is touched."""
    running.replies["panic"] = {"ok": True, "result": LIFTED}
    before = running.tree()

    result = ask(ids=("web",), words=("60.0",), by="anna@desk")

    assert ("ok", "", running.replies["panic"]) == (result.outcome, result.error, result.answer)
    assert [
        {"command": "panic", "jail": "", "ids": ["web"], "option": "", "words": ["60.0"]}
        | {"by": "anna@desk"}
    ] == running.asked
    assert before == running.tree()


def test_what_the_agent_could_not_do_is_told(running, ask):
    """The host has failed, with the agent's own words."""
    said = "paused, but the firewall has bans: nft is gone"
    running.replies["panic"] = {"ok": False, "error": said}

    result = ask()

    assert ("failed", said) == (result.outcome, result.error)


def test_a_jail_that_runs_elsewhere_is_no_failure(running, ask):
    """Hosts of a fleet have different jails; the reply tells."""
    assert NO_JAIL == main.NO_JAIL
    running.replies["panic"] = {"ok": False, "error": "no jail named web", "code": NO_JAIL}

    result = ask(ids=("web",))

    assert ("ok", "") == (result.outcome, result.error)
    assert running.replies["panic"] == result.answer


def test_an_agent_that_is_too_old(running, ask):
    """It does not know the word; the remedy is a push."""
    running.replies["panic"] = {"ok": False, "error": "no command 'panic'"}

    result = ask()

    assert ("refused", "the agent is too old for panic") == (result.outcome, result.error)
    assert "stockade push brings a newer one" == result.remedy


def test_no_agent_is_installed(ask):
    """A host without an agent has failed, with the remedy."""
    result = ask()

    assert ("failed", "no agent is installed") == (result.outcome, result.error)
    assert "stockade push installs it" == result.remedy


def test_an_agent_that_does_not_run_is_not_waited_for(running, ask):
    """Its unit says so, and so does the answer."""
    running.set_unit(active="failed")

    result = ask()

    assert ("failed", "the agent does not run and does not answer") == (
        result.outcome,
        result.error,
    )


def test_an_agent_that_is_just_being_started_is_waited_for(running, ask):
    """A push may restart it at this very moment: whoever panics is heard all the same."""
    running.replies["panic"] = {"ok": True, "result": LIFTED}
    deaf, ours = threading.Event(), running.reply

    def reply(request):
        if not deaf.is_set():
            deaf.set()
            raise OSError
        return ours(request)

    running.reply = reply

    assert ("ok", LIFTED) == ((result := ask()).outcome, (result.answer or {}).get("result"))
    assert deaf.is_set()
