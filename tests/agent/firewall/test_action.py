# SPDX-License-Identifier: MIT
"""Which commands does an action run, in what order, for what happens to its jail?"""

import pytest

from agent.firewall.names import Names
from stockade_agent.errors import FirewallError
from stockade_agent.firewall.action import Action
from stockade_agent.firewall.tags import Facts
from stockade_agent.model import Ban, target
from stockade_agent.specs import ActionSpec


FACTS = Facts(jail="sshd", now=1000.0)
ONE = {
    "actionstart": "create",
    "actionstop": "destroy",
    "actioncheck": "check",
    "actionban": "add <ip>",
    "actionunban": "del <ip>",
}
TWO = {f"set?family={family}": name for family, name in (("inet4", "four"), ("inet6", "six"))}
PAIR = {
    name: text.replace(" ", " <set> ") if " " in text else f"{text} <set>"
    for name, text in ONE.items()
}


def action(definition, parameters=None, **options):
    spec = ActionSpec("test", "test", parameters=parameters or {}, definition=definition)
    return Action(spec, Names(), **options)


def ban(id_="192.0.2.1", **facts):
    facts = {"at": 990.0, "bantime": 600, "failures": 3, **facts}
    return Ban("sshd", id_, target(id_), **facts)


def run(steps, failing=()):
    """Return what steps run, in words, and whether all went well.

    A command that is in ``failing`` fails once for each time that it is there; "word…" for ever.
    """
    failing, words = list(failing), []
    try:
        step = next(steps)
        while True:
            values = step.script.environment(step.values)
            text = step.script.text
            for name, value in values.items():
                text = text.replace(f'${{{name}:+"${{{name}}}"}}', value.decode())
            words.append(text)
            ok = text not in failing and f"{text.split()[0]}…" not in failing
            if text in failing:
                failing.remove(text)
            step = steps.send(ok)
    except StopIteration as stop:
        return words, stop.value


def test_start_ban_unban_stop():
    """An action without families starts and stops once, and is told of each ban."""
    one = action(ONE)

    assert (["create"], True) == run(one.start(FACTS))
    assert (["add 192.0.2.1"], True) == run(one.ban(ban(), FACTS))
    assert (["add 2001:db8::1"], True) == run(one.ban(ban("2001:db8::1"), FACTS))
    assert (["del 192.0.2.1"], True) == run(one.unban(ban(), FACTS))
    assert (["destroy"], True) == run(one.stop(FACTS))


def test_families_start_on_demand():
    """With options for a family, each family starts at its first ban, and stops if it started."""
    two = action(PAIR, TWO)

    assert ([], True) == run(two.start(FACTS))
    assert (["create six", "add six 2001:db8::1"], True) == run(two.ban(ban("2001:db8::1"), FACTS))
    assert (["add six 2001:db8::2"], True) == run(two.ban(ban("2001:db8::2"), FACTS))
    assert (["destroy six"], True) == run(two.stop(FACTS))


def test_families_start_at_once_where_told_so():
    """With actionstart_on_demand off, all families start with the jail."""
    two = action({**PAIR, "actionstart_on_demand": "false"}, TWO)

    assert (["create four", "create six"], True) == run(two.start(FACTS))
    assert (["destroy four", "destroy six"], True) == run(two.stop(FACTS))


def test_no_inet6_where_the_host_has_none():
    """On a host without IPv6 only inet4 starts."""
    two = action({**PAIR, "actionstart_on_demand": "false"}, TWO, inet6=False)

    assert (["create four"], True) == run(two.start(FACTS))


def test_on_demand_without_families():
    """actionstart_on_demand puts the start of any action off until its first ban."""
    one = action({**ONE, "actionstart_on_demand": "yes"})

    assert ([], True) == run(one.start(FACTS))
    assert (["create", "add 192.0.2.1"], True) == run(one.ban(ban(), FACTS))


def test_a_command_that_is_the_same_for_both_families_runs_once():
    """What is not written with a family in mind is not done twice."""
    shared = {**PAIR, "actionstart": "create", "actionstop": "destroy", "actionflush": "flush"}
    two = action(shared, TWO)

    assert (["create", "add four 192.0.2.1"], True) == run(two.ban(ban(), FACTS))
    assert (["add six 2001:db8::1"], True) == run(two.ban(ban("2001:db8::1"), FACTS))
    assert (["flush"], True) == run(two.flush(FACTS))
    assert (["destroy"], True) == run(two.stop(FACTS))


def test_families_that_differ_in_their_tag_alone():
    """A command that names <family> differs for each."""
    text = {**PAIR, "actionstart": "create <family>", "actionstart_on_demand": "no"}

    assert (["create inet4", "create inet6"], True) == run(action(text, TWO).start(FACTS))


def test_an_id_that_is_no_address():
    """A ban of an id without an address has no family; on demand it starts all of them."""
    two = action(PAIR, {**TWO, "set": "any"})

    words, _ = run(two.ban(ban("session-1"), FACTS))

    assert ["create four", "create six", "add any session-1"] == words


def test_an_unban_before_any_ban():
    """Nothing is undone where nothing was done."""
    one = action(ONE)
    run(one.start(FACTS))

    assert ([], True) == run(one.unban(ban(), FACTS))


def test_flush_empties_each_family_that_has_bans():
    """The command actionflush runs for families with bans, and again once there are bans again."""
    two = action({**PAIR, "actionflush": "flush <set>"}, TWO)
    run(two.ban(ban(), FACTS))

    assert two.flushes
    assert (["flush four"], True) == run(two.flush(FACTS))
    assert ([], True) == run(two.flush(FACTS))
    run(two.ban(ban(), FACTS))
    assert (["flush four"], True) == run(two.flush(FACTS))


@pytest.mark.parametrize(
    "definition, failing, words, well",
    [
        pytest.param(
            {"actionban": "add <ip>"},
            ["add 192.0.2.1"],
            ["add 192.0.2.1", "add 192.0.2.1"],
            True,
            id="no-check-once-more",
        ),
        pytest.param(
            {"actionban": "add <ip>"},
            ["add…"],
            ["add 192.0.2.1", "add 192.0.2.1"],
            False,
            id="no-check-for-ever",
        ),
        pytest.param(
            ONE,
            ["add 192.0.2.1"],
            ["add 192.0.2.1", "check", "add 192.0.2.1"],
            True,
            id="sound-once-more",
        ),
        pytest.param(
            ONE,
            ["add 192.0.2.1", "check"],
            ["add 192.0.2.1", "check", "destroy", "create", "check", "add 192.0.2.1"],
            True,
            id="broken-restarted",
        ),
        pytest.param(
            ONE,
            ["add 192.0.2.1", "check", "destroy"],
            ["add 192.0.2.1", "check", "destroy", "create", "check", "add 192.0.2.1"],
            True,
            id="too-broken-to-stop",
        ),
        pytest.param(
            ONE,
            ["add 192.0.2.1", "check", "create"],
            ["add 192.0.2.1", "check", "destroy", "create"],
            False,
            id="cannot-be-restarted",
        ),
        pytest.param(
            ONE,
            ["add 192.0.2.1", "check…"],
            ["add 192.0.2.1", "check", "destroy", "create", "check"],
            False,
            id="still-broken",
        ),
        pytest.param(
            {**ONE, "actionrepair": "repair"},
            ["add 192.0.2.1", "check"],
            ["add 192.0.2.1", "check", "repair", "check", "add 192.0.2.1"],
            True,
            id="repaired",
        ),
        pytest.param(
            {**ONE, "actionrepair": "repair"},
            ["add 192.0.2.1", "check", "repair"],
            ["add 192.0.2.1", "check", "repair"],
            False,
            id="cannot-be-repaired",
        ),
    ],
)
def test_a_ban_that_fails(definition, failing, words, well):
    """A failed ban is checked, repaired where that is needed, and tried once more."""
    one = action(definition)
    run(one.start(FACTS))

    assert (words, well) == run(one.ban(ban(), FACTS), failing)


def test_a_repair_loses_the_bans_before_it():
    """The epoch tells that earlier bans have to be made again."""
    one = action(ONE)
    run(one.start(FACTS))
    run(one.ban(ban(), FACTS), ["add 192.0.2.1"])
    before = one.epoch

    run(one.ban(ban(), FACTS), ["add 192.0.2.1", "check"])

    assert before + 1 == one.epoch


def test_one_family_is_repaired_and_the_other_left_alone():
    """A repair of one family does not touch the other."""
    two = action(PAIR, TWO)
    run(two.ban(ban(), FACTS))
    run(two.ban(ban("2001:db8::1"), FACTS))

    words, well = run(two.ban(ban("2001:db8::2"), FACTS), ["add six 2001:db8::2", "check six"])

    expected = ["check six", "destroy six", "create six", "check six"]
    assert (["add six 2001:db8::2", *expected, "add six 2001:db8::2"], True) == (words, well)
    assert (["del four 192.0.2.1"], True) == run(two.unban(ban(), FACTS))


def test_a_start_on_demand_that_fails():
    """A ban whose start fails is not made, and the start is tried again with the next one."""
    two = action(PAIR, TWO)

    assert (["create four"], False) == run(two.ban(ban(), FACTS), ["create four"])
    assert (["create four", "add four 192.0.2.1"], True) == run(two.ban(ban(), FACTS))


@pytest.mark.parametrize(
    "definition, words, well",
    [
        pytest.param(ONE, ["del 192.0.2.1", "check"], False, id="not-worth-it"),
        pytest.param(
            {**ONE, "actionrepair_on_unban": "true"},
            ["del 192.0.2.1", "check", "destroy", "create", "check", "del 192.0.2.1"],
            True,
            id="restarted",
        ),
        pytest.param(
            {**ONE, "actionrepair_on_unban": "true", "actionstart_on_demand": "true"},
            ["del 192.0.2.1", "check", "destroy", "del 192.0.2.1"],
            True,
            id="left-to-the-next-ban",
        ),
        pytest.param(
            {**ONE, "actionrepair_on_unban": "1", "actionrepair": "repair"},
            ["del 192.0.2.1", "check", "repair", "check", "del 192.0.2.1"],
            True,
            id="repaired",
        ),
    ],
)
def test_an_unban_that_fails_on_broken_ground(definition, words, well):
    """An unban repairs nothing, unless actionrepair_on_unban says so."""
    one = action(definition)
    run(one.start(FACTS))
    run(one.ban(ban(), FACTS))

    assert (words, well) == run(one.unban(ban(), FACTS), ["del 192.0.2.1", "check"])


def test_check_repairs_what_was_started():
    """A check looks at each started family, repairs what is broken and says that it was."""
    two = action(PAIR, TWO)
    run(two.ban(ban(), FACTS))
    run(two.ban(ban("2001:db8::1"), FACTS))

    words, well = run(two.check(FACTS), ["check six"])

    assert (["check four", "check six", "destroy six", "create six", "check six"], True) == (
        words,
        well,
    )
    assert 1 == two.epoch


def test_check_when_stopping_repairs_nothing():
    """What is about to be stopped is not repaired before."""
    one = action(ONE)
    run(one.start(FACTS))

    assert (["check"], False) == run(one.check(FACTS, stopping=True), ["check…"])


def test_prolong_and_reban_have_commands_of_their_own():
    """The command actionprolong moves an end; actionreban stands in for actionban after a loss."""
    texts = {"actionprolong": "prolong <ip> <bantime>", "actionreban": "again <ip>"}
    one = action({**ONE, **texts})

    assert one.prolongs
    assert (["prolong 192.0.2.1 3600"], True) == run(one.prolong(ban(bantime=3600), FACTS))
    assert (["again 192.0.2.1"], True) == run(one.reban(ban(), FACTS))
    assert not action(ONE).prolongs
    assert (["add 192.0.2.1"], True) == run(action(ONE).reban(ban(), FACTS))


def test_reload_takes_on_another_definition():
    """After a reload the new commands run, for what was started before."""
    one = action({**ONE, "actionreload": "reload <port>"}, {"port": "22"})
    run(one.start(FACTS))
    definition = {**ONE, "actionreload": "reload <port>", "actionstop": "remove <port>"}
    spec = ActionSpec("test", "test", parameters={"port": "80"}, definition=definition)

    assert (["reload 80"], True) == run(one.reload(spec, FACTS))
    assert (["remove 80"], True) == run(one.stop(FACTS))


def test_families_by_name():
    """A list of families stands for options of theirs."""
    one = action({**ONE, "actionstart": "create <family>"}, {"families": "inet4, inet6"})

    assert (["create inet4", "create inet6"], True) == run(one.start(FACTS))


def test_switches_and_parameters():
    """Switches are true in fail2ban's words for it; a timeout is each command's own."""
    one = action({**ONE, "norestored": "TRUE"}, {"timeout": "1m"}, timeout=60.0)

    assert one.norestored
    assert not action({**ONE, "norestored": "0"}).norestored
    assert 60.0 == next(one.start(FACTS)).timeout
    assert {"ip"} == one.tags


def test_a_tag_that_leads_to_itself():
    """An action whose tags go in a circle is refused when it is made."""
    with pytest.raises(FirewallError, match="leads to itself"):
        action(ONE, {"a?family=inet4": "<b>", "b?family=inet4": "<a>"} | {"actionban": "<a>"})
