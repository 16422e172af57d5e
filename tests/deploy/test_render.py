# SPDX-License-Identifier: MIT
"""Does a template give its text, or the line at which it cannot?"""

import pytest

from stockade.errors import InputError
from stockade.render import Renderer


@pytest.fixture
def renderer():
    return Renderer()


@pytest.mark.parametrize(
    "text, variables, expected",
    [
        pytest.param("a = {{ x }}\n", {"x": 3}, "a = 3\n", id="number"),
        pytest.param("a = {{ x }}\n", {"x": True}, "a = true\n", id="switch"),
        pytest.param(
            "[s]\n{{ options({'a': x, 'b': none, 'c': y}) -}}\n",
            {"x": "1h", "y": ["/1", "/2"]},
            "[s]\na = 1h\nc = /1\n    /2\n",
            id="options",
        ),
        pytest.param("a = {{ value(x) }}\n", {"x": ["1", "2"]}, "a = 1\n    2\n", id="value"),
        pytest.param("{{ x | join(' ') }}", {"x": ["1", "2"]}, "1 2", id="join"),
        pytest.param("{% if x %}\nyes\n{% endif %}\n", {"x": 1}, "yes\n", id="no-stray-lines"),
        pytest.param("{{ '<' }}&", {}, "<&", id="no-html"),
        pytest.param("{{ x is defined }}", {}, "false", id="defined"),
        pytest.param("{{ range(2) | join }}", {}, "01", id="range"),
    ],
)
def test_render(renderer, text, variables, expected):
    """Values come out as configuration files write them."""
    assert expected == renderer.render("x.j2", text, variables)


@pytest.mark.parametrize(
    "text, variables, expected",
    [
        pytest.param(
            "a\n\n{{ sshd_prot }}\n",
            {"sshd_port": 1},
            "3: there is no variable 'sshd_prot' (did you mean sshd_port?)",
            id="undefined",
        ),
        pytest.param(
            "{{ x.y }}",
            {"x": {}},
            "1: template: 'dict object' has no attribute 'y'",
            id="undefined-attribute",
        ),
        pytest.param(
            "[x]\n{{ options({'a': sshd_prot}) }}\n",
            {"sshd_port": 1},
            "2: there is no variable 'sshd_prot' (did you mean sshd_port?)",
            id="undefined-in-options",
        ),
        pytest.param(
            "a\n{% if x %}\n",
            {},
            "2: template: Unexpected end of template. Jinja was looking for the following tags: "
            "'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'.",
            id="syntax",
        ),
        pytest.param(
            "\n{{ x | nope }}", {"x": 1}, "2: template: No filter named 'nope'.", id="filter"
        ),
        pytest.param(
            "a = {{ x }}\n",
            {"x": "1\n[sshd]"},
            r"1: template: '1\n[sshd]' is not one line of printable text",
            id="line-break",
        ),
        pytest.param(
            "a = {{ x | join('\n') }}\n",
            {"x": ["1", "b = 2"]},
            r"1: template: '1\nb = 2' is not one line of printable text",
            id="line-break-by-join",
        ),
        pytest.param(
            "\na = {{ x }}\n",
            {"x": None},
            "2: template: a value that is null is printed: use options(), or test it before",
            id="null",
        ),
        pytest.param(
            "a = {{ x }}\n",
            {"x": ["1"]},
            "1: template: a list or mapping is printed: use options(), value() or | join",
            id="list",
        ),
        pytest.param(
            "\n{{ options({'a': x}) }}\n",
            {"x": ["1", "#2"]},
            "2: template: '#2' would be read as a comment",
            id="comment",
        ),
        pytest.param("{{ 1 / x }}", {"x": 0}, "1: template: division by zero", id="arithmetic"),
        pytest.param(
            "{{ x.__class__ }}",
            {"x": 0},
            "1: template: access to attribute '__class__' of 'int' object is unsafe.",
            id="sandbox",
        ),
        pytest.param(
            "{% for i in range(1000000000) %}{% endfor %}",
            {},
            "1: template: Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).",
            id="endless",
        ),
        pytest.param(
            "{% include '/etc/passwd' %}",
            {},
            "1: template: no loader for this environment specified",
            id="include",
        ),
    ],
)
def test_faults_name_the_line(renderer, text, variables, expected):
    """What a template cannot do is answered with its line, as the operator named the file."""
    with pytest.raises(InputError) as caught:
        renderer.render("roles/x.j2", text, variables)

    assert f"roles/x.j2:{expected}" == str(caught.value)


def test_renders_once_for_the_values_it_uses(renderer):
    """Variables that a template does not ask for cost no further render."""
    text = "{{ a }} {{ options({'b': b}) }}"
    for other in range(50):
        renderer.render("x.j2", text, {"a": other % 2, "b": 1, "other": other})

    assert 2 == renderer.renders
    assert {"a", "b"} == renderer.used("x.j2", text)
