# SPDX-License-Identifier: MIT
"""What filters and actions have in common: ``[Definition]``, ``[Init]`` and parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Optional

from stockade_agent.config import tags
from stockade_agent.config.faults import Fault
from stockade_agent.config.inifile import Value
from stockade_agent.config.interpolation import Namespace
from stockade_agent.config.tree import Tree


CONDITIONAL = re.compile(r"(\w+)(\?.+)$")
KNOWN = "known/"


class Definition:
    """A filter or action file with what was passed to it.

    Args:
        parameters: from the brackets behind its name; they win over everything in the file.

    Attributes:
        options: the asked-for options of ``[Definition]``, references resolved, tags not.
        init: the parameters, and ``[Init]`` behind them.
    """

    def __init__(self, tree: Tree, parameters: Mapping[str, Value]) -> None:
        self.tree = tree
        self.options: dict[str, Value] = {}
        self.init: dict[str, Value] = dict(parameters)
        self._space = Namespace(tree, "Definition")
        self._further: dict[str, Optional[str]] = {}

    def read(
        self, names: Iterable[str], given: Mapping[str, Value], *, everything: bool = False
    ) -> None:
        """Read options of ``[Definition]``, but for those which ``given`` or parameters have.

        Args:
            given: the jail's options, which the file may refer to.
            everything: read all other options as well, those of ``[DEFAULT]`` included.
        """
        over = {**given, **self.init}
        self._further = {}
        self._space = space = Namespace(self.tree, "Definition", over)
        own = self.tree.sections.get("Definition")
        self.options = {}
        if own is None:
            return
        self._take(space, (name for name in names if name not in over))
        if everything:
            # fail2ban reads the rest as if nothing had been passed.
            self._take(space.within("Definition"), (*self.tree.defaults, *own))

    def _take(self, space: Namespace, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.options:
                value = space.get(name)
                if value is not None:
                    self.options[name] = value

    def read_init(self, given: Mapping[str, Value]) -> None:
        """Put ``[Init]`` behind the parameters; ``known/option`` keeps its own value.

        A plain parameter stands for all families of an option.
        """
        section = self.tree.sections.get("Init")
        if section is None:
            return
        space = Namespace(self.tree, "Init")
        passed = {**given, **self.init}
        for option in section:
            value = space.get(option)
            if value is None:
                continue
            self.init[KNOWN + option] = value
            if option in self.init:
                continue
            conditional = CONDITIONAL.match(option)
            self.init[option] = passed.get(conditional.group(1), value) if conditional else value

    def combined(self, leave: Collection[str] = ()) -> dict[str, Value]:
        """Return options and parameters with the tags in them resolved.

        Args:
            leave: tags that belong to the time of a ban.

        Raises:
            Fault: a tag leads to itself, or to an option that cannot be resolved.
        """
        merged = {**self.options, **self.init}
        left = set(leave)
        for name in merged:
            conditional = CONDITIONAL.match(name)
            if conditional:
                left.add(conditional.group(1))
        texts = {name: value.text for name, value in merged.items()}
        try:
            resolved = tags.resolve(texts, self.tag, leave=left)
        except tags.Unresolvable as error:
            value = merged[error.option]
            raise Fault(
                str(error), path=value.path, line=value.line, needle=f"<{error.tag}>"
            ) from None
        return {
            name: value
            if resolved[name] == value.text
            else value._replace(text=resolved[name], lines=())
            for name, value in merged.items()
        }

    def lookup(self, name: str) -> Optional[str]:
        """Return what ``<name>`` stands for wherever it may stand, its own tags unresolved."""
        value = self.init.get(name) or self.options.get(name)
        return self.tag(name) if value is None else value.text

    @property
    def space(self) -> Namespace:
        """What the file's options mean as they were read."""
        return self._space

    def tag(self, name: str) -> Optional[str]:
        """Return what ``<name>`` is in ``[Definition]``, its own tags unresolved, or None."""
        if name not in self._further:
            value = self._space.tag(name) if "Definition" in self.tree.sections else None
            self._further[name] = None if value is None else value.text
        return self._further[name]
