# SPDX-License-Identifier: MIT
"""Is everything found that is wrong with a configuration, in one run, each with its place?"""

import pytest

from stockade_agent.audit import audit


NOW = 1714557600.0
JAIL = "[app]\nenabled = true\nfilter = app\n"
FILTER = "[Definition]\nfailregex = ^ bad from <HOST>$\n"


@pytest.fixture
def look(tmp_path):
    """Return what writes files and returns the faults and warnings, without the folder's name."""

    def look(files, **options):
        for name, text in {"jail.conf": JAIL, "filter.d/app.conf": FILTER, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{etc}", str(tmp_path)))
        found = audit(str(tmp_path), NOW, **options)
        said = [
            [str(one).replace(f"{tmp_path}/", "") for one in each]
            for each in (found.faults, found.warnings)
        ]
        return (found.jails, *said)

    return look


@pytest.fixture
def warnings(look):
    """Return what writes files and returns the warnings, where there must not be a fault."""

    def warnings(files):
        jails, faults, found = look({"jail.conf": JAIL + "logpath = {etc}/jail.conf\n", **files})
        assert (("app",), []) == (jails, faults)
        return found

    return warnings


def test_all_is_well(warnings):
    """Where nothing is wrong, nothing is said."""
    assert [] == warnings({})


def test_all_in_one_run(look):
    """A fault of the language, each bad regex with its own line, a bad date: all are told."""
    jail = JAIL + (
        "[other]\nenabled = true\nfilter = ap\n"
        "[third]\nenabled = true\nfailregex = <HOST>\nmaxretry = many\n"
    )
    text = (
        "[Definition]\n_x = (\nfailregex = ok <HOST>\n    bad(<HOST>\n    %(_x)s<HOST>\n"
        "ignoreregex = [\ndatepattern = %%q\n"
    )
    jails, faults, _ = look({"jail.conf": jail, "filter.d/app.conf": text})
    begun = [fault.partition(": missing")[0].partition(": unterm")[0] for fault in faults]

    assert () == jails
    assert "jail.conf:6:10: no filter named ap (did you mean app?)" == faults[0]
    assert faults[1].startswith("jail.conf:10:12: maxretry: 'many'")
    assert [
        "filter.d/app.conf:4: [app] failregex: does not compile",
        "filter.d/app.conf:5: [app] failregex: does not compile",
        "filter.d/app.conf:6: [app] ignoreregex: does not compile",
    ] == begun[2:5]
    assert faults[5].startswith("filter.d/app.conf:7: [app] datepattern: ")
    assert 6 == len(faults)


def test_a_formula_that_is_none(look):
    """What is no regex, but would not run either, is a fault."""
    _, faults, _ = look(
        {"jail.conf": JAIL + "bantime.increment = true\nbantime.formula = import os\n"}
    )

    assert ["jail.conf:5: [app] bantime.formula: "] == [fault[:36] for fault in faults]


def test_commands_that_cannot_run(look):
    """All of a jail's commands are looked at, whatever is wrong with its regexes."""
    text = "[Definition]\nactionban = x $<ip>\n"
    jail = JAIL + "failregex = (<HOST>\naction = one\n    two\nignorecommand = y $<ip>\n"
    _, faults, _ = look({"jail.conf": jail, "action.d/one.conf": text, "action.d/two.conf": text})

    assert [
        "jail.conf:4: [app] failregex",
        "action.d/one.conf:2: [app] actionban",
        "action.d/two.conf:2: [app] actionban",
        "jail.conf:7: [app] ignorecommand",
    ] == [": ".join(fault.split(": ")[:2]) for fault in faults]


def test_slips(warnings):
    """A name that nobody knows is passed over, as fail2ban does; whoever wrote it is told."""
    text = FILTER + "ignoreregx = x\n"

    (said,) = warnings({"filter.d/app.conf": text})
    assert "filter.d/app.conf:3:1: warning: unknown option ignoreregx in [Definition]" == said[:73]
    assert "(did you mean ignoreregex?)" == said[74:]


def test_dangerous_regexes(look):
    """Each with the line where it was written, whatever option brings it; once, not per jail."""
    jails = JAIL + "logpath = {etc}/jail.conf\n"
    text = (
        "[Definition]\n_all = ^.* from <HOST>\n    (?:x+)+ <HOST>\n"
        "failregex = fine <HOST>\n    %(_all)s\n"
    )
    files = {"jail.conf": jails + jails.replace("[app]", "[two]"), "filter.d/app.conf": text}
    names, faults, (greedy, endless) = look(files)

    assert (("app", "two"), []) == (names, faults)
    assert greedy.startswith("filter.d/app.conf:2: warning: failregex: a catch-all before")
    assert endless.startswith("filter.d/app.conf:3: warning: failregex: a repeat within a repeat")


def test_filters_that_no_jail_uses(warnings):
    """What is wrong with them stops nothing yet; what others include is no filter."""
    whole = "[INCLUDES]\nbefore = part.conf\n[Definition]\n_x = <HOST>\n"
    new, torn = warnings(
        {
            "filter.d/new.conf": "[Definition]\nfailregex = (<HOST>\n",
            "filter.d/torn.conf": "[Definition]\nfailregex = %(nowhere)s\n",
            "filter.d/whole.conf": whole,
            "filter.d/part.conf": "[Definition]\nfailregex = %(_x)s\n",
        }
    )

    assert new.startswith("filter.d/new.conf:2: warning: failregex: does not compile")
    assert torn.startswith("filter.d/torn.conf:2:13: warning: failregex refers to %(nowhere)s")


def test_samples_that_take_for_ever(warnings):
    """A sample that hangs its filter is told; after a few of them no more are tried."""
    files = {
        "filter.d/app.conf": "[Definition]\nfailregex = ^ (?:a+)+ <HOST>$\n",
        "samples/app.log": f"May  1 10:00:00 {'a' * 40}! 192.0.2.7\n" * 9,
    }
    found = [one for one in warnings(files) if one.startswith("samples/app.log")]

    assert found[0].startswith("samples/app.log: warning: none of its 2 lines is a failure")
    assert [f"samples/app.log:{number}" for number in (1, 2)] == [
        one.partition(": warning: filter app: a line took more than 1 s")[0] for one in found[1:]
    ]


def test_samples(warnings):
    """Who keeps samples is told which filter has none, and which are none."""
    filters = {f"filter.d/{name}.conf": FILTER for name in ("good", "other")}
    good = "# a comment\nMay  1 10:00:00 bad from 192.0.2.7\n"

    assert [] == warnings(filters)
    none, other = warnings(
        {**filters, "samples/good.log": good, "samples/other.log": "May  1 10:00:00 all is well\n"}
    )
    assert none.startswith(
        "filter.d/app.conf: warning: filter app has no samples: samples/app.log: No such file"
    )
    assert other.startswith(
        "samples/other.log: warning: none of its 1 lines is a failure for filter other"
    )


def test_logpath_that_matches_nothing(look):
    """It is told at its own line, with the name most like it, once for jails that share it."""
    jails = "[DEFAULT]\nlogs = {etc}/*.none\n    {etc}/ap.log\n" + JAIL + "logpath = %(logs)s\n"
    more = "[two]\nenabled = true\nfilter = app\nlogpath = %(logs)s\n"
    _, faults, found = look({"jail.conf": jails + more, "app.log": ""})

    assert [] == faults
    begin = "jail.conf:{}: warning: [app and 1 more] logpath: nothing matches {}"
    assert [
        begin.format(2, "*.none (until something does, nothing is read from there)"),
        begin.format(3, "ap.log (did you mean app.log?)"),
    ] == found


@pytest.mark.parametrize("backend, journalmatch", [("systemd", ""), ("auto", "_COMM=app")])
def test_a_jail_that_reads_the_journal_needs_no_log(look, backend, journalmatch):
    """No file is missed where none is read."""
    options = f"logpath = /nowhere/x\nbackend = {backend}\njournalmatch = {journalmatch}\n"

    assert (("app",), [], []) == look({"jail.conf": JAIL + options})


def test_without_lint(look):
    """Only what keeps jails from running."""
    assert (("app",), [], []) == look({"jail.conf": JAIL + "colour = red\n"}, lint=False)
