# SPDX-License-Identifier: MIT
"""Do the commands of action.d run when they should, and can they harm nobody?"""

import time

import pytest

from stockade_agent.audit import audit
from stockade_agent.errors import ControlError
from stockade_agent.firewall import actions as module


DEADLINE = 30.0


def test_a_life(host):
    """Start, ban, unban by the log, by hand and by time: each becomes its command."""
    host.configure().start()
    host.fail("192.0.2.7")
    host.ban("192.0.2.8")
    host.unban("192.0.2.7")
    host.pipe.unban_due(time.time() + 1000)

    host.expect("start", "ban 192.0.2.7 0", "ban 192.0.2.8 0", "unban 192.0.2.7", "unban 192.0.2.8")


def test_an_action_enforces_where_nothing_else_does(host):
    """A ban of a jail without a firewall is in force when its action has taken it, not before."""
    command = f"while [ ! -e {host.folder}/go ]; do sleep 0.01; done"
    host.action("slow", text=f"[Definition]\nactionban = {command}\n")
    host.configure("slow").start()
    host.ban("192.0.2.7")
    before = host.enforced(), host.jail().actions[0].state
    (host.folder / "go").touch()

    host.until(lambda: host.enforced() == {"192.0.2.7"})
    assert (set(), "busy") == before
    assert "" == host.jail().problem


def test_a_firewall_does_not_wait_for_an_action(host):
    """While a mail hangs, bans are in force and the other actions are told of them."""
    host.action("hangs", text="[Definition]\nactionban = sleep 60\n")
    host.configure("auto\n hangs\n notes").start()
    host.fail("192.0.2.7")
    host.fail("192.0.2.8")

    assert {"192.0.2.7", "192.0.2.8"} == host.enforced()
    host.expect("start", "ban 192.0.2.7 0", "ban 192.0.2.8 0")
    states = {action.name: (action.state, action.queued) for action in host.jail().actions}
    assert ("busy", 2) == states["hangs"]
    # The end of the agent does not wait a minute for it either.
    host.pipe.actions._shell.kill()


def test_a_failure_stands_until_it_is_healed(host, monkeypatch):
    """What fails is logged once, stands in the status, is tried again, and goes when it is well."""
    monkeypatch.setattr(module, "BACKOFF", (0.05,))
    command = f"test -e {host.folder}/well || {{ printf 'no \\033[31mway'; false; }}"
    host.action("own", text=f"[Definition]\nactionban = {command}\n")
    host.configure("own").start()
    host.ban("192.0.2.7", "192.0.2.8")
    host.until(lambda: host.jail().actions[0].failed == 2)
    failed = host.jail().actions[0]
    assert set() == host.enforced()
    (host.folder / "well").touch()
    host.until(lambda: host.enforced() == {"192.0.2.7", "192.0.2.8"})
    healed = host.idle().actions[0]

    assert ("failed", 2) == (failed.state, failed.failed)
    assert failed.problem.startswith("ban 192.0.2.")
    assert "actionban: status 1: no \x1b[31mway; again in 0.05 s" in failed.problem
    assert ("ready", 0, 0, "") == (healed.state, healed.queued, healed.failed, healed.problem)
    said = host.said.getvalue()
    assert 1 == said.count("actionban: status 1")
    assert "no \\x1b[31mway" in said
    assert "[sshd] action own: well again\n" in said


def test_a_failure_is_over_with_its_ban(host):
    """Who is free needs no action any more."""
    host.action("own", text="[Definition]\nactionban = false\n")
    host.configure("own").start()
    host.ban("192.0.2.7")
    host.until(lambda: host.jail().actions[0].failed)
    host.unban("192.0.2.7")

    host.until(lambda: host.jail().actions[0].state == "ready")


def test_a_failed_start_is_tried_again(host, monkeypatch):
    """An action whose start failed is started once it can be."""
    monkeypatch.setattr(module, "BACKOFF", (0.05,))
    start = f"test -e {host.folder}/well && echo start >> {host.folder}/notes"
    host.action("own", text=f"[Definition]\nactionstart = {start}\nactionban = true\n")
    host.configure("own").start()
    host.until(lambda: host.jail().actions[0].state == "failed")
    (host.folder / "well").touch()

    host.until(lambda: host.jail().actions[0].state == "ready")
    assert ["start"] == host.notes()


def test_matches_are_known_to_the_end(host):
    """A command that wants the log lines has them at the unban and after a restart as well."""
    show = 'printf \'%%s|\' "<ip>" "<F-USER>" "<matches>" >> {folder}/{name}\n'
    text = "[Definition]\n" + "".join(
        f"action{word} = " + show.format(folder=host.folder, name=word) for word in ("ban", "unban")
    )
    (host.folder / "action.d/own.conf").write_text(text)
    host.configure("own").start()
    host.fail("192.0.2.7", "$(touch x)")
    host.until(lambda: host.enforced() == {"192.0.2.7"})
    host.end()
    host.start()
    host.until(lambda: host.enforced() == {"192.0.2.7"})
    host.unban("192.0.2.7")
    host.until(lambda: host.notes("unban"))

    ban, unban = ((host.folder / name).read_text() for name in ("ban", "unban"))
    assert ban == unban * 2
    assert unban.startswith("192.0.2.7|$(touch x)|")
    assert 3 == unban.count("sshd: Failed for $(touch x) from 192.0.2.7")


def test_the_ledger_is_not_asked_in_vain(host, monkeypatch):
    """Where no command wants more than an address, no ban is read back."""
    host.configure().start()
    asked = []
    monkeypatch.setattr(host.pipe.records, "whole", asked.append)
    host.fail("192.0.2.7")
    host.unban("192.0.2.7")

    host.expect("start", "ban 192.0.2.7 0", "unban 192.0.2.7")
    assert [] == asked


def test_a_restart_leaves_bans_in_force(host):
    """At the end nothing is lifted; the next agent starts the actions, and restores the bans."""
    host.configure().start()
    host.ban("192.0.2.7")
    host.idle()
    host.end()
    host.expect("start", "ban 192.0.2.7 0")
    host.start()

    host.expect("start", "ban 192.0.2.7 0", "start", "ban 192.0.2.7 1")


def test_what_only_tells_is_stopped(host):
    """An action with norestored gets its actionstop, and no restored bans."""
    host.action("notes", "norestored = true")
    host.configure("auto\n notes").start()
    host.ban("192.0.2.7")
    host.end()
    host.expect("start", "ban 192.0.2.7 0", "stop")
    host.start()
    host.idle()

    host.expect("start", "ban 192.0.2.7 0", "stop", "start")


def test_what_the_last_agent_left_is_in_nobodys_way(host):
    """Commands that fail because everything is there already are undone and done again."""
    text = f"""\
[Definition]
actionstart = mkdir {host.folder}/chain
actionstop = rm -r {host.folder}/chain
actionban = set -e; mkdir {host.folder}/chain/<ip>
actionunban = rmdir {host.folder}/chain/<ip>
"""
    host.action("chain", text=text)
    host.configure("chain").start()
    host.ban("192.0.2.7")
    host.until(lambda: host.enforced() == {"192.0.2.7"})
    host.end()
    assert (host.folder / "chain/192.0.2.7").is_dir()
    host.start()
    host.until(lambda: host.enforced() == {"192.0.2.7"})
    host.unban("192.0.2.7")
    host.idle()

    assert [] == [*(host.folder / "chain").iterdir()]


def test_a_reload_touches_what_changed(host):
    """An unchanged action goes on without a word; gone ones stop, new ones get the bans."""
    host.action("gone")
    host.action("new")
    host.configure("notes\n gone[file=gone]").start()
    host.ban("192.0.2.7")
    host.idle()
    host.configure("notes\n gone[file=gone]", "maxretry = 4")
    host.reload()
    host.expect("start", "ban 192.0.2.7 0")
    host.configure("notes\n new[file=new]", "maxretry = 4")
    host.reload()

    host.expect("start", "ban 192.0.2.7 0", "unban 192.0.2.7", "stop", name="gone")
    host.expect("start", "ban 192.0.2.7 1", name="new")
    host.expect("start", "ban 192.0.2.7 0")
    host.until(lambda: host.enforced() == {"192.0.2.7"})


def test_a_jail_that_goes_takes_its_actions_along(host):
    """A jail that is switched off is unbanned and stopped, and one that comes back starts anew."""
    host.configure().start()
    host.ban("192.0.2.7")
    host.configure(more="enabled = false")
    text = (host.folder / "jail.conf").read_text().replace("enabled = true\n", "")
    (host.folder / "jail.conf").write_text(text)
    host.reload()
    host.configure()
    host.reload()

    host.expect("start", "ban 192.0.2.7 0", "unban 192.0.2.7", "stop", "start")


def test_all_unbanned_at_once(host):
    """``unban --all`` is one actionflush, where the action has one."""
    host.action("notes", f"actionflush = echo flush >> {host.folder}/notes")
    host.configure().start()
    host.ban("192.0.2.7", "192.0.2.8")
    host.unban("all")

    host.expect("start", "ban 192.0.2.7 0", "ban 192.0.2.8 0", "flush")
    assert [] == host.unban("all")


def test_a_ban_that_fails_to_keep_out_is_looked_into(host):
    """Who fails again though banned has the action checked; lost bans are made again."""
    host.action(
        "notes",
        f"actioncheck = test -e {host.folder}/chain\n"
        f"actionrepair = touch {host.folder}/chain; echo repair >> {host.folder}/notes",
    )
    (host.folder / "chain").touch()
    host.configure().start()
    host.ban("192.0.2.8")
    host.fail("192.0.2.7")
    host.idle()
    (host.folder / "chain").unlink()
    now = time.time() + 60
    ban = host.pipe.guards["sshd"].jail.ban("192.0.2.7", now)
    host.pipe.actions.order(ban)
    host.pipe.carry_out(now, at_once=True)
    host.pipe.actions.carry_out(now)

    host.until(lambda: len(host.notes()) == 6)
    assert ["start", "ban 192.0.2.8 0", "ban 192.0.2.7 0", "repair"] == host.notes()[:4]
    assert {"ban 192.0.2.8 1", "ban 192.0.2.7 1"} == {*host.notes()[4:]}


@pytest.mark.parametrize(
    "text, place, said",
    [
        pytest.param("actionban = x $<ip>", "action.d/own.conf:2", "actionban: ", id="tag"),
        pytest.param(
            "actionban = x\n[Init]\ntimeout = soon", "action.d/own.conf:4", "timeout", id="timeout"
        ),
        pytest.param(
            "actionban = x\n[Init]\ntimeout = 0", "action.d/own.conf:4", "timeout", id="no-time"
        ),
        pytest.param(
            "actionban = x\n[Init]\ndigest_time = soon",
            "action.d/own.conf:4",
            "digest_time",
            id="digest-time",
        ),
        pytest.param(
            "actionban = x\n[Init]\ndigest_after = few",
            "action.d/own.conf:4",
            "digest_after: 'few' is no number",
            id="digest-after",
        ),
    ],
)
def test_a_jail_whose_action_cannot_be_run(host, text, place, said):
    """It is a failed jail, with file and line; the others run, and check tells as well."""
    host.action("own", text=f"[Definition]\n{text}\n")
    host.configure(more="[bad]\nenabled = true\naction = own\n").start()
    bad, good = host.jail("bad"), host.jail()

    assert ("failed", "running") == (bad.state, good.state)
    assert place in bad.problem
    assert said in bad.problem
    faults = [str(fault) for fault in audit(str(host.folder), time.time()).faults]
    assert any(place in fault for fault in faults)


def test_a_reload_to_an_action_that_cannot_be_run(host):
    """The old configuration stays, its actions too."""
    host.configure().start()
    host.action("own", text="[Definition]\nactionban = x $<ip>\n")
    host.configure("own")
    with pytest.raises(ControlError, match=r"own\.conf:2: \[sshd\] actionban: "):
        host.reload()
    host.ban("192.0.2.7")

    host.expect("start", "ban 192.0.2.7 0")


def test_an_unknown_action_is_a_fault_of_its_jail(host):
    """A file that is not there is said with the place that asked for it."""
    host.configure(more="[bad]\nenabled = true\naction = nots\n").start()

    assert "jail.conf:" in host.jail("bad").problem
    assert "did you mean notes" in host.jail("bad").problem
    assert "running" == host.jail().state


def test_commands_end_with_the_agent(host, monkeypatch):
    """A command that hangs at the end is waited for a while, and then killed."""
    monkeypatch.setattr("stockade_agent.actions.FAREWELL", 0.2)
    host.action("hangs", text="[Definition]\nactionban = sleep 60\n")
    host.configure("hangs").start()
    host.ban("192.0.2.7")
    began = time.monotonic()
    host.end()

    assert time.monotonic() - began < DEADLINE
    assert "actions: 1 orders were not carried out" in host.said.getvalue()


def test_bans_of_other_jails_are_merged_where_they_are_asked_for(host):
    """``<ipmatches>`` has the lines of all bans of an address that are in force."""
    command = f'printf "%%s" "<ipfailures>|<ipmatches>" > {host.folder}/<name>'
    host.action("own", text=f"[Definition]\nactionban = {command}\n")
    host.configure("own", "[other]\nenabled = true\nmaxretry = 4\naction = own\n").start()
    host.fail("192.0.2.7", times=4)
    host.until(lambda: (host.folder / "other").exists() and (host.folder / "other").read_text())

    merged = (host.folder / "other").read_text()
    assert merged.startswith("7|")
    assert 7 == merged.count("Failed for root")


def test_a_queue_has_an_end(host, monkeypatch):
    """What only tells of bans is told of no more than it can take, and the status says so."""
    monkeypatch.setattr(module, "QUEUE", 2)
    command = (
        f"while [ ! -e {host.folder}/go ]; do sleep 0.01; done; echo <ip> >> {host.folder}/out"
    )
    host.action("tells", text=f"[Definition]\nactionban = {command}\nnorestored = 1\n")
    host.configure("auto\n tells").start()
    host.idle()
    for number in range(5):
        host.ban(f"198.51.100.{number}")
    (full,) = host.jail().actions
    (host.folder / "go").touch()
    host.until(lambda: host.jail().actions[0].state == "ready")

    assert 5 == len(host.enforced())
    assert ("failed", "too many orders wait, bans are not told of") == (full.state, full.problem)
    assert ["198.51.100.0", "198.51.100.1"] == host.notes("out")
    assert 1 == host.said.getvalue().count("too many orders wait")
    assert "[sshd] action tells: well again" in host.said.getvalue()


def test_what_mends_the_firewall_forgets_no_action(host):
    """Bans that waited for their batch, and were carried out by a mended firewall, are told."""
    host.configure("auto\n notes").start()
    host.idle()
    host.ban("198.51.100.1")
    now = time.time()
    host.pipe.enforcement.order(host.pipe.guards["sshd"].jail.ban("198.51.100.2", now))
    host.pipe.actions.order(host.pipe.guards["sshd"].jail.banned["198.51.100.2"])
    host.pipe.carry_out(now)
    waited = host.pipe.wait
    host.pipe.enforcement.start(now)
    left = host.pipe.wait
    host.pipe.carry_out(now)

    assert 0 < waited
    assert (0.0, None) == (left, host.pipe.wait)
    host.expect("start", "ban 198.51.100.1 0", "ban 198.51.100.2 0")


def test_a_ban_that_ended_while_nobody_ran(host):
    """The next agent lifts what the former one left, and does not mind if it is gone by itself."""
    command = f'test -e {host.folder}/<ip> && rm {host.folder}/<ip>; echo "<F-USER>" >> {{}}'
    unban = command.format(f"{host.folder}/users") + "; test <ip> != 198.51.100.9"
    ban = f"touch {host.folder}/<ip>"
    host.action("files", text=f"[Definition]\nactionban = {ban}\nactionunban = {unban}\n")
    host.configure("files").start()
    host.fail("198.51.100.8", "somebody")
    host.fail("198.51.100.9", "nobody")
    host.until(lambda: len(host.enforced()) == 2)
    host.end()
    text = (host.folder / "jail.conf").read_text().replace("bantime = 600", "bantime = 1")
    (host.folder / "jail.conf").write_text(text)
    host.start(time.time() + 60)
    host.until(lambda: len(host.notes("users")) == 2)

    assert not (host.folder / "198.51.100.8").exists()
    assert ["somebody", "nobody"] == host.notes("users")
    assert "ready" == host.idle().actions[0].state
