# SPDX-License-Identifier: MIT
"""The configuration that hosts will have, read by the agent's own reader before it travels.

What the reader finds wrong is answered with the file, line and column that the operator
wrote: those of a file that goes out as it is, of the variable that a template printed, or of
the option in ``stockade_jails``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from stockade import variables
from stockade.document import fault
from stockade.errors import InputError
from stockade.model import File, Manifest, Place
from stockade.roles import ETC, Template, shipped
from stockade_agent.config import check, read
from stockade_agent.errors import ConfigError
from stockade_agent.inspection import fault_of
from stockade_agent.specs import JailSpec


JAILS = f"{ETC}/jail.d/zz-stockade-jails.conf"
"""Where ``stockade_jails`` goes: behind all other ``.conf`` of jail.d, so that it wins."""

_SECTION = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"([A-Za-z0-9_.-]+)\s*[=:]")


@dataclass(frozen=True)
class Policy:
    """All that hosts with equal variables share: their manifest, but for the name.

    Attributes:
        files: of the manifest, the agent aside; sorted by path.
        templates: path on the host -> the template that made it.
        places: variable -> where its value was written, defaults included.
    """

    files: tuple[File, ...] = field(repr=False)
    templates: Mapping[str, Template] = field(repr=False)
    variables: Mapping[str, Any] = field(repr=False)
    places: Mapping[str, Place] = field(repr=False)
    packages: Mapping[str, tuple[str, ...]]
    epel: tuple[str, ...]
    jails: tuple[str, ...]
    deploys: tuple[str, ...]

    def manifest(self, host: str, agent: File) -> Manifest:
        """Return the manifest of one of the hosts."""
        return Manifest(
            host=host,
            files=tuple(sorted((*self.files, agent), key=lambda file: file.path)),
            packages=self.packages,
            epel=self.epel,
            firewall=self.variables.get("base_firewall", "auto"),
            controllers=tuple(self.variables.get("base_controllers", ())),
            jails=self.jails,
            deploys=self.deploys,
        )


class Tree:
    """A temporary directory that holds one policy's configuration after the other."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="stockade-")
        self._folder = Path(self._temporary.name)
        self._there: dict[str, str] = {}
        self._good: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def check(self, policy: Policy) -> tuple[tuple[str, ...], list[InputError]]:
        """Return the jails that will run on the policy's hosts, and all that is wrong with it."""
        self._write([file for file in policy.files if file.path.startswith(f"{ETC}/")])
        jails = read(str(self._folder)).jails
        found = [*check(str(self._folder)), *filter(None, map(self._regex_fault, jails))]
        wrong = [self._answer(policy, error) for error in found]
        # A value of the operator's may also break what a shipped file makes of it.
        own = [error for error in wrong if not Path(error.path).is_relative_to(shipped())]
        return tuple(jail.name for jail in jails), own or wrong

    def _regex_fault(self, jail: JailSpec) -> ConfigError | None:
        """Return why a jail's regexes or formulas cannot be used; equal ones are tried once."""
        key = repr((replace(jail.filter, name="", origins={}), jail.escalation))
        if key in self._good:
            return None
        # No verdict depends on the time here: regexes are compiled, no line is judged.
        wrong = fault_of(jail, now=0.0)
        if wrong is None:
            self._good.add(key)
        return wrong

    def _write(self, files: list[File]) -> None:
        """Make the directory hold these files; what is the same as before stays."""
        wanted = {file.path: file for file in files}
        for path in self._there.keys() - wanted.keys():
            self._inside(path).unlink()
            del self._there[path]
        for path, file in wanted.items():
            if self._there.get(path) != file.sha256:
                inside = self._inside(path)
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.write_bytes(file.content)
                self._there[path] = file.sha256

    def _inside(self, path: str) -> Path:
        return self._folder / path.removeprefix(f"{ETC}/")

    def _answer(self, policy: Policy, error: ConfigError) -> InputError:
        """Return a fault of a rendered file as one of the operator's own files."""
        here = str(self._folder)
        place = ":".join(str(p) for p in (error.path, error.line, error.column) if p is not None)
        message = error.message.removeprefix(f"{place}: ").replace(here, ETC)
        remedy = error.remedy.replace(here, ETC)
        target = error.path.replace(here, ETC)
        file = next((file for file in policy.files if file.path == target), None)
        if file is None:
            return InputError(message, path=target, remedy=remedy)
        if target != JAILS and target not in policy.templates:
            return InputError(
                message, path=file.source, line=error.line, column=error.column, remedy=remedy
            )
        section, option = _written_at(file, error.line or 1)
        names: tuple[str, ...]
        if target == JAILS:
            what = f"jail {section}"
            names = (f"{variables.JAILS}.{section}.{option}", f"{variables.JAILS}.{section}")
        else:
            what = f"{policy.templates[target].role}_{option}".replace(".", "_")
            message = message.removeprefix(f"{option}: ")
            names = (what,)
        for name in names:
            if name in policy.places:
                return fault(policy.places[name], f"{what}: {message}", remedy)
        lines = file.content.decode().split("\n")
        text = lines[error.line - 1].strip() if error.line else ""
        return InputError(f"{message} (rendered as {text!r})", path=file.source, remedy=remedy)


def _written_at(file: File, line: int) -> tuple[str, str]:
    """Return the section and the option that a line of a rendered file belongs to, or ""."""
    section = option = ""
    for text in file.content.decode().split("\n")[:line]:
        header, begun = _SECTION.match(text), _OPTION.match(text)
        if header:
            section, option = header[1], ""
        elif begun:
            option = begun[1]
    return section, option
