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
        given: options of the jail that tags may name; those that ``read`` is given if None.

    Attributes:
        options: the asked-for options of ``[Definition]``, references resolved, tags not.
        init: the parameters, and ``[Init]`` behind them.
        space: what the file's options mean as they were read.
        tag_space: what tags mean that neither the file's own options nor ``init`` has.
    """

    def __init__(
        self,
        tree: Tree,
        parameters: Mapping[str, Value],
        given: Optional[Mapping[str, Value]] = None,
    ) -> None:
        self.tree = tree
        self.options: dict[str, Value] = {}
        self.init: dict[str, Value] = dict(parameters)
        self.space = Namespace(tree, "Definition")
        self.tag_space = Namespace(tree, "Definition", {**(given or {}), **self.init})
        self._follow = given is None
        self._further: dict[str, Optional[str]] = {}

    def read(
        self, names: Iterable[str], given: Mapping[str, Value], *, everything: bool = False
    ) -> None:
        """Read options of ``[Definition]``, but for those which ``given`` or parameters have.

        Args:
            names: the options.
            given: the jail's options, which the file may refer to.
            everything: read all other options of ``[Definition]`` as well.
        """
        over = {**given, **self.init}
        self.space = space = Namespace(self.tree, "Definition", over)
        if self._follow:
            self.tag_space = space
        own = self.tree.sections.get("Definition")
        self.options = {}
        if own is None:
            return
        self._take(space, (name for name in names if name not in over))
        if everything:
            # fail2ban reads the rest as if nothing had been passed.
            self._take(space.within("Definition"), own)

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

    def tag(self, name: str) -> Optional[str]:
        """Return what ``<name>`` is in ``[Definition]``, its own tags unresolved, or None."""
        if name not in self._further:
            place = self.tagged(name)
            value = None if place is None else place[0].get(place[1])
            self._further[name] = None if value is None else value.text
        return self._further[name]

    def tagged(self, name: str) -> Optional[tuple[Namespace, str]]:
        """Return where the option stands that ``<name>`` means in ``[Definition]``, or None."""
        own = self.tree.sections.get("Definition")
        if own is None:
            return None
        return (self.space if name in own else self.tag_space).tagged(name)
