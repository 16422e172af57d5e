# SPDX-License-Identifier: MIT
"""In which order do files win over each other?"""

import os

from stockade_agent.config.tree import Library


def tree(directory, name="jail"):
    return Library(directory).tree(name)


def names(found):
    return [os.path.basename(path) for path in found.files]


def test_order_of_files(write):
    """N.conf, N.d/*.conf, N.local, N.d/*.local, each group by name."""
    directory = write(
        dict.fromkeys(
            ("jail.d/b.conf", "jail.local", "jail.d/a.local", "jail.conf", "jail.d/a.conf"), ""
        )
    )

    assert ["jail.conf", "a.conf", "b.conf", "jail.local", "a.local"] == names(tree(directory))


def test_later_files_win(write):
    """The last file that has an option decides, for DEFAULT as for sections."""
    directory = write(
        {
            "jail.conf": "[DEFAULT]\nx = 1\ny = 1\n[s]\na = 1\nb = 1\n",
            "jail.local": "[DEFAULT]\nx = 2\n[s]\na = 2\n",
        }
    )

    found = tree(directory)

    assert ("2", "1") == tuple(found.defaults[option].text for option in "xy")
    assert ("2", "1") == tuple(found.sections["s"][option].text for option in "ab")


def test_known_is_the_value_before(write):
    """An option that is redefined leaves its last predecessor behind, and only that."""
    directory = write(
        {
            "jail.conf": "[s]\na = 1\n",
            "jail.d/x.conf": "[s]\na = 2\n",
            "jail.local": "[s]\na = 3\nb = 1\n",
        }
    )

    assert {"a": "2"} == {k: v.text for k, v in tree(directory).known["s"].items()}


def test_includes_stand_around_their_file(write):
    """before, the file, after; each with its own .local; relative to the including file."""
    directory = write(
        {
            "filter.d/f.conf": "[INCLUDES]\nbefore = c.conf\n  sub/d.conf\nafter = e.conf\n",
            "filter.d/c.conf": "",
            "filter.d/c.local": "",
            "filter.d/sub/d.conf": "",
            "filter.d/e.conf": "",
            "filter.d/f.local": "",
        }
    )

    expected = ["c.conf", "c.local", "d.conf", "f.conf", "e.conf", "f.local"]
    assert expected == names(tree(directory, "filter.d/f"))


def test_reference_in_includes(write):
    """The names of includes may refer to options of their own file."""
    text = "[INCLUDES]\nbefore = paths-%(distro)s.conf\n{}\n[DEFAULT]\nx = 1\n"
    directory = write(
        {
            "jail.conf": text.format("distro = debian"),
            "paths-debian.conf": "[DEFAULT]\ny = 1\n",
            "filter.d/f.conf": text.format(""),
        }
    )

    assert "1" == tree(directory).defaults["y"].text
    assert [2] == [fault.line for fault in tree(directory, "filter.d/f").faults]


def test_local_of_a_missing_include(write):
    """A .local is included where its .conf is missing."""
    directory = write(
        {
            "jail.conf": "[INCLUDES]\nbefore = paths.conf\n",
            "paths.local": "[DEFAULT]\ny = 1\n",
        }
    )

    assert ["paths.local", "jail.conf"] == names(tree(directory))


def test_circle_of_includes(write):
    """Files that include each other are read, and the reading ends."""
    directory = write(
        {
            "filter.d/a.conf": "[INCLUDES]\nbefore = b.conf\n[Definition]\nx = a\n",
            "filter.d/b.conf": "[INCLUDES]\nbefore = a.conf\n[Definition]\nx = b\n",
        }
    )

    assert "a" == tree(directory, "filter.d/a").sections["Definition"]["x"].text


def test_missing_include(write):
    """An include that is not there is no fault but noted; a .local one is nobody's business."""
    directory = write({"jail.conf": "[INCLUDES]\nbefore = pahts.conf\nafter = more.local\n"})

    found = tree(directory)

    assert [] == found.faults
    assert ["no file pahts.conf to include"] == [fault.message for fault in found.missing]


def test_local_alone_is_enough(write):
    """A name exists by its .local as well."""
    directory = write({"filter.d/f.local": "[Definition]\nx = 1\n"})

    assert "1" == tree(directory, "filter.d/f").sections["Definition"]["x"].text


def test_no_file(write):
    """Without any file there is no tree."""
    assert tree(write({}), "filter.d/f") is None


def test_conditional_section(write):
    """[Init?family=inet6] is Init, its options named after the condition."""
    directory = write({"action.d/a.conf": "[Init]\nx = 4\n[Init?family=inet6]\nx = 6\n"})

    section = tree(directory, "action.d/a").sections["Init"]

    assert {"x": "4", "x?family=inet6": "6"} == {k: v.text for k, v in section.items()}


def test_faults_are_told_once(write):
    """A file that is included twice has its faults once."""
    directory = write(
        {
            "filter.d/a.conf": "[INCLUDES]\nbefore = b.conf\n  c.conf\n",
            "filter.d/c.conf": "[INCLUDES]\nbefore = b.conf\n",
            "filter.d/b.conf": "[Definition]\njunk\n",
        }
    )

    assert 1 == len(tree(directory, "filter.d/a").faults)
