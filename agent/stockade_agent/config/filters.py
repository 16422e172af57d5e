# SPDX-License-Identifier: MIT
"""Filters: ``filter.d/NAME.conf`` with parameters, as a typed specification."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Optional

from stockade_agent.config.definition import Definition
from stockade_agent.config.faults import Fault, nearest
from stockade_agent.config.inifile import Value
from stockade_agent.config.tree import Library, Tree
from stockade_agent.config.values import BadValue, integer
from stockade_agent.specs import FilterSpec


OPTIONS = (
    "usedns",
    "prefregex",
    "ignoreregex",
    "failregex",
    "maxlines",
    "datepattern",
    "journalmatch",
)
OF_LOGS = ("logencoding", "logtimezone")
"""What the jail says of its logs, and its filter must know."""
FOLDER = "filter.d"
_BOTH = ("failregex", "ignoreregex", "journalmatch")
_FILTER_LAST = ("usedns", "maxlines", "prefregex")


def tree(library: Library, name: str, asked: Value) -> Tree:
    """Return the filter's files.

    Args:
        library: the directory.
        name: without ``.conf``.
        asked: the option that names it, to be blamed if there is none.

    Raises:
        Fault: there is no such filter.
    """
    found = library.tree(os.path.join(FOLDER, name))
    if found is None:
        raise Fault(
            f"no filter named {name}",
            path=asked.path,
            line=asked.line,
            needle=name,
            remedy=likely(library, name),
        )
    return found


def likely(library: Library, name: str) -> str:
    """Return ``did you mean X?`` for the filter most like ``name``, or ""."""
    return nearest(name, names(library, FOLDER))


def names(library: Library, folder: str) -> set[str]:
    """Return the filters or actions that ``folder`` has."""
    try:
        files = os.listdir(os.path.join(library.base, folder))
    except OSError:
        return set()
    split = (os.path.splitext(name) for name in files)
    return {name for name, suffix in split if suffix in (".conf", ".local")}


def whole(library: Library) -> set[str]:
    """Return the filters that no other filter includes."""
    found = names(library, FOLDER)
    folder = os.path.join(library.base, FOLDER)
    parts: set[str] = set()
    for name in found:
        files = library.tree(os.path.join(FOLDER, name))
        read = {os.path.normpath(path) for path in (files.files if files else ())}
        parts |= {os.path.splitext(path)[0] for path in read}.difference(
            {os.path.normpath(os.path.join(folder, name))}
        )
    return {name for name in found if os.path.normpath(os.path.join(folder, name)) not in parts}


class JailFilter:
    """A jail's filter: known to the jail's options, which in turn are known to it.

    Args:
        parameters: from ``filter = name[…]``.
        first: the jail's ``enabled``, ``backend`` and ``filter``.

    Attributes:
        definition: the filter as the jail uses it, once ``beneath`` has been asked.
    """

    def __init__(
        self,
        files: Tree,
        parameters: Mapping[str, Value],
        first: Mapping[str, Value],
    ) -> None:
        self._files, self._first = files, first
        self._parameters = dict(parameters)
        logtype = self._parameters.get("logtype")
        defined = "logtype" in files.sections.get("Definition", {})
        if not defined and (logtype is None or not logtype.text):
            backend = first.get("backend")
            journal = backend is not None and backend.text.startswith("systemd")
            path, line = (backend.path, backend.line) if backend is not None else ("", 0)
            self._parameters["logtype"] = Value("journal" if journal else "file", path, line)
        self._known: Optional[dict[str, Value]] = None
        self.definition: Optional[Definition] = None

    def known(self, option: str) -> Optional[Value]:
        """Return what ``%(known/option)s`` is in the jail: the filter's own value, or None."""
        if self._known is None:
            definition = Definition(self._files, self._parameters)
            definition.read(OPTIONS, self._first, everything=True)
            definition.read_init(self._first)
            self._known = definition.combined()
        return self._known.get(option)

    def beneath(self, jail: Mapping[str, Value]) -> dict[str, Value]:
        """Return the options of the filter with those of the jail over them.

        fail2ban tells its server both where ``[Init]`` or a parameter brings an option that the
        jail has too: of regexes and journal matches then both hold, of others the one told last.
        """
        # fail2ban remembers what tags meant before it had read [Init] and the jail.
        definition = self.definition = Definition(self._files, self._parameters, self._first)
        definition.read_init(self._first)
        definition.read(OPTIONS, jail)
        told = definition.combined()
        merged = {option: told[option] for option in OPTIONS if option in told}
        for option in OPTIONS:
            value = jail.get(option)
            if value is None:
                continue
            mine = merged.get(option)
            if mine is not None and option in _BOTH:
                value = value._replace(text=f"{mine.text}\n{value.text}", lines=())
            elif mine is not None and option in _FILTER_LAST:
                value = mine
            merged[option] = value
        return merged


def alone(files: Tree, parameters: Mapping[str, str]) -> Definition:
    """Return a filter that no jail uses."""
    definition = Definition(files, {name: Value(text, "", 0) for name, text in parameters.items()})
    definition.read(OPTIONS, {})
    definition.read_init({})
    return definition


def spec(
    name: str, options: Mapping[str, Value], *, usedns: str = "warn", faults: list[Fault]
) -> FilterSpec:
    """Return resolved options as a specification.

    Args:
        name: of the filter.
        options: resolved, those that it does not have left out.
        usedns: where no option says it.
        faults: what is wrong with a value is added here.
    """

    def text(option: str) -> Optional[str]:
        value = options.get(option)
        return None if value is None else value.text

    maxlines = 1
    given = options.get("maxlines")
    if given is not None:
        try:
            maxlines = integer(given.text)
        except BadValue as error:
            faults.append(bad(error, "maxlines", given))
    return FilterSpec(
        name=name,
        failregex=lines(text("failregex")),
        ignoreregex=lines(text("ignoreregex")),
        prefregex=text("prefregex") or None,
        datepattern=text("datepattern"),
        maxlines=maxlines,
        usedns=text("usedns") or usedns,
        logencoding=text("logencoding") or "auto",
        logtimezone=text("logtimezone") or None,
        journalmatch=lines(text("journalmatch")),
        origins={
            option: value.origin
            for option, value in options.items()
            if value.path and (option in OPTIONS or option in OF_LOGS)
        },
    )


def lines(text: Optional[str]) -> tuple[str, ...]:
    """Return the lines that are not empty."""
    return tuple(line for line in (text or "").split("\n") if line)


def bad(error: BadValue, option: str, value: Value) -> Fault:
    """Return a bad value as a fault at the place where it was written."""
    return Fault(
        f"{option}: {error}",
        path=value.path,
        line=value.line,
        needle=error.needle or value.text.partition("\n")[0],
        remedy=error.remedy,
    )
