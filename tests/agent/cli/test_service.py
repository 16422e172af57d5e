# SPDX-License-Identifier: MIT
"""Is the agent run by what its unit says, without what reads other command lines?"""

import sys

import pytest

from stockade_agent.cli import service


@pytest.mark.parametrize(
    "words, given",
    [
        pytest.param(["run"], {}, id="as-its-unit"),
        pytest.param(["run", "-c", "./etc"], {"config": "./etc"}, id="another-configuration"),
        pytest.param(
            ["run", "--firewall", "nftables", "--config", "/etc/x"],
            {"firewall": "nftables", "config": "/etc/x"},
            id="both",
        ),
    ],
)
def test_what_needs_no_parser(words, given):
    """The words of a unit run the agent as the parser would."""
    run = service.plain(words)

    assert (service.agent, given) == (run.func, run.keywords)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["ping"], id="another-command"),
        pytest.param(["run", "--debug"], id="another-option"),
        pytest.param(["run", "-c"], id="no-value"),
        pytest.param(["run", "-c", "--help"], id="an-option-as-value"),
        pytest.param(["run", "--firewall", "pf"], id="no-such-firewall"),
        pytest.param(["run", "--firewall="], id="joined"),
        pytest.param(["run", "etc"], id="a-word-too-many"),
    ],
)
def test_everything_else_is_the_parsers(words):
    """Whatever is wrong or unusual is answered by what knows all options."""
    assert service.plain(words) is None


def test_a_module_is_loaded_when_something_of_it_is_wanted(monkeypatch):
    """Importing a promised module costs nothing; its first attribute loads it."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    service._later("colorsys")
    import colorsys  # noqa: PLC0415

    assert colorsys.__spec__ is None
    assert (0.0, 0.0, 1.0) == colorsys.rgb_to_hsv(1, 1, 1)
    assert sys.modules["colorsys"].__spec__ is not None


def test_a_module_that_is_there_stays():
    """Nobody's module is taken away."""
    service._later("sys")

    assert sys.modules["sys"] is sys
