# SPDX-License-Identifier: MIT
"""Can every value be traced to the lines that it is made of?"""

import pytest

from stockade_agent.config import origin, resolve
from stockade_agent.errors import ConfigError


FILES = {
    "jail.local": """\
        [any]
        enabled = true
        logpath = %(any_log)s
        any_log = /var/log/any
        failregex = %(known/failregex)s
            ^own <HOST>
    """,
    "filter.d/any.conf": """\
        [Definition]
        failregex = ^<lead-<mode>> <HOST>
            %(second)s
        second = ^second <HOST>
        lead-normal = first
        datepattern = {^LN-BEG}
    """,
}


def outline(part, directory):
    """Return a part as nested names with file and line."""
    place = str(part.origin).replace(f"{directory}/", "") if part.origin else None
    return part.name, place, [outline(inner, directory) for inner in part.parts]


def test_option_of_a_jail(base):
    """An option is told with what it refers to."""
    directory = base(FILES)

    told = resolve(directory, "any")["logpath"]

    assert "/var/log/any" == told.value
    expected = ("logpath", "jail.local:3", [("%(any_log)s", "jail.local:4", [])])
    assert expected == outline(told.part, directory)


def test_option_of_a_filter(base):
    """A tag that is made by a tag is told under its full name."""
    directory = base({**FILES, "jail.local": FILES["jail.local"].partition("        failregex")[0]})

    told = resolve(directory, "any")["failregex"]

    assert "^first <HOST>\n^second <HOST>" == told.value
    assert (
        "failregex",
        "filter.d/any.conf:2",
        [
            ("%(second)s", "filter.d/any.conf:4", []),
            ("<lead-normal>", "filter.d/any.conf:5", []),
            ("<mode>", "jail.conf:29", []),
        ],
    ) == outline(told.part, directory)


def test_option_of_an_action(base):
    """Actions are told by their name; what the program gives has no place."""
    text = "[Definition]\nactionban = x <name> <tool>\n[Init]\ntool = t\n"
    files = {"jail.local": FILES["jail.local"] + "action = a\n", "action.d/a.conf": text}
    directory = base({**FILES, **files})

    told = resolve(directory, "any")["a/actionban"]

    assert "x any t" == told.value
    assert (
        "actionban",
        "action.d/a.conf:2",
        [("<name>", None, []), ("<tool>", "action.d/a.conf:4", [])],
    ) == outline(told.part, directory)


def test_disabled_and_faulty_jails(base):
    """A jail can be explained before it runs."""
    directory = base({"jail.local": "[any]\nmaxretry = x\naction = nosuch\n"})

    assert "x" == resolve(directory, "any")["maxretry"].value


def test_unknown_jail(base):
    """A jail that is not there is answered with the nearest one."""
    with pytest.raises(ConfigError, match=r"no jail named shd \(did you mean sshd\?\)"):
        resolve(base({}), "shd")


@pytest.mark.parametrize(
    "regex, place",
    [
        ("^first <HOST>", "filter.d/any.conf:2"),
        ("^second <HOST>", "filter.d/any.conf:4"),
        ("^own <HOST>", "jail.local:6"),
        ("^nowhere", None),
    ],
)
def test_origin_of_a_regex(base, regex, place):
    """A regex is found in the jail, or where the filter that it takes up has it."""
    directory = base(FILES)

    found = origin(directory, "any", "failregex", regex)

    assert place == (found and str(found).replace(f"{directory}/", ""))
