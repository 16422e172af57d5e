# SPDX-License-Identifier: MIT
"""Templates of roles: Jinja in a sandbox, where a missing variable is an error with its line.

What ``{{ … }}`` prints is one line of text: a value with a line break, a list, a mapping or
null is refused, so that no value can add an option or a section of its own. Two functions
write more than that, in a form that INI readers read back as it was:

- ``options({"maxretry": n, …})``: ``option = value`` lines; those that are null are left out,
  a list becomes a value of several lines;
- ``value(list)``: the value alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import jinja2.meta
import jinja2.sandbox

from stockade import ini
from stockade.document import nearest
from stockade.errors import InputError


_UNDEFINED = re.compile(r"'([^']+)' is undefined")


class Renderer:
    """Renders templates, each once for every distinct set of the values that it uses.

    Attributes:
        renders: how often a template was really rendered.
    """

    def __init__(self) -> None:
        self.renders = 0
        self._environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined,
            finalize=_printed,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,
        )
        kept = ("namespace", "range")
        self._environment.globals = {
            **{name: self._environment.globals[name] for name in kept},
            "options": lambda values: ini.options({n: _defined(v) for n, v in values.items()}),
            "value": lambda value: ini.value(_defined(value)),
        }
        self._compiled: dict[tuple[str, str], tuple[jinja2.Template, frozenset[str]]] = {}
        self._rendered: dict[tuple[str, str, str], str] = {}

    def render(self, path: str, text: str, variables: Mapping[str, Any]) -> str:
        """Return a template's text with the variables filled in.

        Args:
            path: of the template, for messages.
            text: its content.
            variables: values of JSON's types.

        Raises:
            InputError: the template is wrong, asks for a variable that is not there, or prints
                a value that one line cannot hold; with the template's line.
        """
        template, used = self._template(path, text)
        given = {name: variables[name] for name in sorted(used & variables.keys())}
        key = (path, text, json.dumps(given, sort_keys=True, default=str))
        if key not in self._rendered:
            self._rendered[key] = self._fill(path, template, variables)
        return self._rendered[key]

    def used(self, path: str, text: str) -> frozenset[str]:
        """Return the names of the variables that a template asks for."""
        return self._template(path, text)[1]

    def _template(self, path: str, text: str) -> tuple[jinja2.Template, frozenset[str]]:
        if (path, text) not in self._compiled:
            try:
                tree = self._environment.parse(text, name=path, filename=path)
                code = self._environment.compile(tree, name=path, filename=path)
            except jinja2.TemplateSyntaxError as exc:
                raise InputError(f"template: {exc.message}", path=path, line=exc.lineno) from exc
            used = frozenset(jinja2.meta.find_undeclared_variables(tree))
            template = jinja2.Template.from_code(self._environment, code, self._environment.globals)
            self._compiled[path, text] = (template, used)
        return self._compiled[path, text]

    def _fill(self, path: str, template: jinja2.Template, variables: Mapping[str, Any]) -> str:
        self.renders += 1
        try:
            return template.render(variables)
        except jinja2.UndefinedError as exc:
            missing = _UNDEFINED.search(exc.message or "")
            if missing is None:
                raise InputError(
                    f"template: {exc.message}", path=path, line=_line(exc, path)
                ) from exc
            name = missing[1]
            raise InputError(
                f"there is no variable {name!r}",
                path=path,
                line=_line(exc, path),
                remedy=nearest(name, variables),
            ) from exc
        except (ArithmeticError, LookupError, TypeError, ValueError, jinja2.TemplateError) as exc:
            raise InputError(f"template: {exc}", path=path, line=_line(exc, path)) from exc


def _defined(value: Any) -> Any:
    """Return a value; one that is undefined raises jinja's error, which names it."""
    if isinstance(value, jinja2.Undefined):
        str(value)
    return value


def _printed(value: Any) -> Any:
    """Return what ``{{ value }}`` prints."""
    if isinstance(value, ini.Text | jinja2.Undefined):
        return value
    if value is None:
        raise ValueError("a value that is null is printed: use options(), or test it before")
    if isinstance(value, list | tuple | Mapping):
        raise ValueError("a list or mapping is printed: use options(), value() or | join")  # noqa: TRY004
    return ini.line(value)


def _line(error: BaseException, path: str) -> int | None:
    """Return the template's line that was being rendered; jinja rewrites tracebacks to it."""
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
