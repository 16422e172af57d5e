# SPDX-License-Identifier: MIT
"""Does check find what fail2ban would silently pass over, and nothing else?"""

import pytest

from stockade_agent.config import check


def found(directory):
    """Return the faults without the directory's name."""
    return [str(error).replace(directory + "/", "") for error in check(directory)]


ON = "[any]\nenabled = true\nlogpath = /x\n"


@pytest.mark.parametrize(
    "options, expected",
    [
        pytest.param(
            "maxretyr = 3",
            "jail.local:4:1: unknown option maxretyr in [any] (did you mean maxretry?)",
            id="option",
        ),
        pytest.param(
            "colour = red",
            "jail.local:4:1: unknown option colour in [any] (no other option refers to it)",
            id="option-like-none",
        ),
        pytest.param(
            "usedns = wran",
            "jail.local:4:10: usedns: unknown: 'wran' (did you mean warn?)",
            id="usedns",
        ),
        pytest.param(
            "ignoreself = flase",
            "jail.local:4:14: ignoreself: 'flase' is neither true nor false (did you mean false?)",
            id="switch",
        ),
        pytest.param(
            "[DEFAULT]\nbantme = 1h",
            "jail.local:5:1: unknown option bantme in [DEFAULT] (did you mean bantime?)",
            id="default",
        ),
        pytest.param(
            "[DEFUALT]\nbantime = 1h",
            "jail.local:4:2: section [DEFUALT] is a jail of that name (did you mean [DEFAULT]?)",
            id="section",
        ),
        pytest.param(
            "[other]\nenabled = ture",
            "jail.local:5:11: enabled: 'ture' is neither true nor false (did you mean true?)",
            id="enabled",
        ),
        pytest.param(
            "failregex =",
            "jail.local:2: jail any has no failregex"
            " (its filter must bring one, or the jail itself)",
            id="no-failregex",
        ),
        pytest.param(
            "[INCLUDES]\nbefore = pahts.conf",
            "jail.local:5:10: no file pahts.conf to include",
            id="include",
        ),
    ],
)
def test_slip(base, options, expected):
    """A slip in a jail file is told with place and nearest name."""
    assert [expected] == found(base({"jail.local": ON + options + "\n"}))


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param(
            "[Definitoin]\nfailregex = x\n[Definition]\nfailregex = bad <HOST>\n",
            "filter.d/any.conf:1:2: unknown section [Definitoin] (did you mean [Definition]?)",
            id="section",
        ),
        pytest.param(
            "[Definition]\nfailregex = bad <HOST>\nignoreregx = x\n",
            "filter.d/any.conf:3:1: unknown option ignoreregx in [Definition]"
            " (did you mean ignoreregex?)",
            id="option",
        ),
        pytest.param(
            "[INCLUDES]\nbefore = comon.conf\n[Definition]\nfailregex = bad <HOST>\n",
            "filter.d/any.conf:2:10: no file comon.conf to include",
            id="include",
        ),
    ],
)
def test_slip_in_filter(base, text, expected):
    """A slip in a filter that an enabled jail uses is told as well."""
    assert [expected] == found(base({"jail.local": ON, "filter.d/any.conf": text}))


def test_slip_in_action(base):
    """And in an action."""
    text = "[Definition]\nactionban = x <ip>\nactionunbann = y <ip>\n"
    files = {"jail.local": ON + "action = a\n", "action.d/a.conf": text}

    message = "unknown option actionunbann in [Definition] (did you mean actionunban?)"
    assert [f"action.d/a.conf:3:1: {message}"] == found(base(files))


def test_unused_option_of_a_filter(base):
    """What is broken in a filter but not used is told: fail2ban would not start."""
    text = "[Definition]\nfailregex = bad <HOST>\nother = %(nope)s\n"

    message = "other refers to %(nope)s, which is not defined"
    assert [f"filter.d/any.conf:3:9: {message}"] == found(
        base({"jail.local": ON, "filter.d/any.conf": text})
    )


@pytest.mark.parametrize("word", ["192.0.2.300", "192.0.2.0/33", "2001:db8::/129", "10.0.0/8x"])
def test_ignoreip_that_is_none(base, word):
    """An address that is none would protect nobody."""
    directory = base({"jail.local": f"{ON}ignoreip = 192.0.2.1 {word}\n"})

    expected = f"jail.local:4:22: ignoreip: {word!r} is neither address nor network"
    assert [expected] == found(directory)


def test_ignoreip(base):
    """Addresses, networks, masks, names and files are fine."""
    words = (
        "192.0.2.1, 192.0.2.0/24 198.51.100.0/255.255.255.0 2001:db8::/32 a.example.org file:/x/y"
    )

    assert [] == found(base({"jail.local": f"{ON}ignoreip = {words}\n"}))


def test_jail_that_sees_nothing(base):
    """A jail without log file and journal match never bans."""
    expected = "jail.local:2: jail any has neither logpath nor journalmatch (say where to look)"

    assert [expected] == found(base({"jail.local": "[any]\nenabled = true\n"}))


def test_no_false_alarm(base):
    """Names that shortcuts, tutorials or other options use are no slips."""
    files = {
        "jail.local": ON
        + """
destemail = a@example.org
mta = mail
banaction = auto
custom = x
ignorecommand = /bin/x %(custom)s
mode = strict
action = a[sect="%(mine)s"]
mine = 1
[DEFAULT]
somebodys_own = 3
""",
        "action.d/a.conf": """\
            [Definition]
            actionban = <do_<kind>/ban> <ip>
            actionunban = %(undo/ban)s
            variant-a = <x>
            [do_z]
            ban = <variant-<which>>
            [undo]
            ban = y
            [Init]
            kind = z
            which = a
        """,
        "filter.d/any.conf": """\
            [Definition]
            _daemon = x
            mdre-strict = ^strict <HOST>
            failregex = <mdre-<mode>>
        """,
    }

    assert [] == found(base(files))


def test_all_in_one_run(base):
    """Faults of several jails and files come together, each once."""
    files = {
        "jail.local": "[DEFAULT]\nfindtime = x\n" + ON + "[b]\nenabled = 1\nfilter = nosuch\n",
    }

    assert [
        "jail.local:2:12: findtime: 'x' is no duration (for example 600, 10m, 1h 30m, 1d12h, -1)",
        "jail.local:8:10: no filter named nosuch",
    ] == sorted(found(base(files)))
