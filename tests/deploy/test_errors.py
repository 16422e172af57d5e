# SPDX-License-Identifier: MIT
"""Do several faults of an operator's files come out as one error?"""

from stockade.errors import InputError, InputErrors


def test_faults_are_sorted_and_said_once():
    """Faults are in the order of files and lines, whoever found them and however often."""
    second = InputError("b", path="x", line=10)
    first = InputError("a", path="x", line=9, column=2, remedy="do")
    other = InputError("c", path="a", line=99)
    errors = InputErrors([second, InputErrors([first, other]), InputError("b", path="x", line=10)])

    assert "a:99: c\nx:9:2: a (do)\nx:10: b" == str(errors)
    assert [str(error) for error in (other, first, second)] == [
        str(error) for error in errors.errors
    ]
    assert ("a", 99) == (errors.path, errors.line)


def test_one_fault_is_all_of_itself():
    """Whoever catches an InputError can ask for all faults."""
    error = InputError("a", path="x")

    assert (error,) == error.errors
