# SPDX-License-Identifier: MIT
"""What does %(name)s stand for?"""

import pytest

from stockade_agent.config.faults import Fault
from stockade_agent.config.interpolation import Namespace
from stockade_agent.config.tree import Library


FILES = {
    "jail.conf": """\
        [DEFAULT]
        port = 1
        name = %(__name__)s
        deep = %(a)s
        [other]
        port = 3
        made = %(port)s
        [Upper]
        port = 4
        [s]
        a = old
        port = 2
        loop = %(pool)s
        pool = %(loop)s
        lone = 50% off
        nowhere = x
            %(prot)s
    """,
    "jail.local": """\
        [s]
        a = new
    """,
}


@pytest.fixture
def get(write):
    """Return what a text is in section [s]."""

    def get(text):
        files = {**FILES, "jail.d/z.local": "[s]\nx = " + text.replace("\n", "\n  ") + "\n"}
        return Namespace(Library(write(files)).tree("jail"), "s").get("x").text

    return get


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("%(a)s", "new", id="own-section"),
        pytest.param("%(A)s", "new", id="any-case"),
        pytest.param("%(name)s", "s", id="name-of-the-section-that-reads"),
        pytest.param("%(deep)s-%(deep)s", "new-new", id="nested"),
        pytest.param("100%%", "100%", id="percent"),
        pytest.param("%%(a)s", "%(a)s", id="escaped"),
        pytest.param("%(known/a)s", "old", id="known"),
        pytest.param("%(known/port)s", "1", id="known-falls-back-to-default"),
        pytest.param("%(default/port)s", "1", id="default"),
        pytest.param("%(other/port)s", "3", id="section"),
        pytest.param("%(other/made)s", "2", id="raw-value-of-a-section-read-here"),
        pytest.param("%(other/name)s", "s", id="section-falls-back-to-default"),
        pytest.param("a\n%(a)s", "a\nnew", id="lines"),
    ],
)
def test_reference(get, text, expected):
    """A reference is looked up in the section, in [DEFAULT], or where its prefix says."""
    assert expected == get(text)


@pytest.mark.parametrize(
    "text, line, message",
    [
        pytest.param("%(nope)s", 2, "x refers to %(nope)s, which is not defined", id="unknown"),
        pytest.param(
            "%(Upper/port)s",
            2,
            "x refers to %(Upper/port)s, which is not defined",
            id="only-lower-case-sections",
        ),
        pytest.param("%(loop)s", 14, "x refers to itself: loop -> pool -> loop", id="circle"),
        pytest.param("%(x)s", 2, "x refers to itself: x -> x", id="itself"),
        pytest.param("%(lone)s", 15, "a lone % in lone", id="lone-percent"),
        pytest.param(
            "%(nowhere)s",
            17,
            "nowhere refers to %(prot)s, which is not defined",
            id="line-within-a-value",
        ),
    ],
)
def test_fault(get, text, line, message):
    """What cannot be resolved is told with the very line that refers to it."""
    with pytest.raises(Fault) as caught:
        get(text)

    assert (line, message) == (caught.value.line, caught.value.message)


def test_suggestion(get):
    """The nearest name that would have done is offered."""
    with pytest.raises(Fault) as caught:
        get("%(prot)s")

    assert "did you mean port?" == caught.value.remedy


@pytest.mark.parametrize("nested, fine", [(9, True), (10, False)], ids=["ten", "eleven"])
def test_depth(write, nested, fine):
    """Ten options may be nested; one more is refused, as fail2ban does."""
    chain = "".join(f"a{n} = %(a{n + 1})s\n" for n in range(nested)) + f"a{nested} = %%\n"
    space = Namespace(Library(write({"jail.conf": "[s]\n" + chain})).tree("jail"), "s")

    if fine:
        assert "%" == space.get("a0").text
    else:
        with pytest.raises(Fault, match="nested deeper than 10"):
            space.get("a0")


def test_growth_is_bounded(write):
    """Options that multiply each other end in a fault, not in all memory."""
    chain = "".join(f"a{n} = {f'%(a{n + 1})s' * 40}\n" for n in range(8)) + f"a8 = {'%%' * 9999}\n"
    space = Namespace(Library(write({"jail.conf": "[s]\n" + chain})).tree("jail"), "s")

    with pytest.raises(Fault, match="grows beyond"):
        space.get("a0")
