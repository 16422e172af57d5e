# SPDX-License-Identifier: MIT
r"""A command with its run-time tags as variables: the same text whatever is banned.

    printf %b "Bad login: <F-USER>\n" | mail root      as it is written in action.d
    printf %b "Bad login: ${f2bBM_F_user}\n" | mail root    what the shell gets, for every ban
    f2bBM_F_user=…                                          in its environment

So no value is ever parsed as shell code: there is nothing that could be escaped from. Where text
that a command was given is parsed once more, by ``printf %b``, by an inner shell, by a mail
program, the value comes in a form that survives that too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from stockade_agent.errors import FirewallError
from stockade_agent.firewall.shell import Unplaceable, places
from stockade_agent.firewall.tags import CAPTURED, TAG, is_runtime
from stockade_agent.firewall.words import MARK, Part, Place, Quote, Reader


LONGEST = 48 * 1024
"""Bytes of a value; what is beyond is cut off. Linux takes 128 KiB for one variable."""

# What may mean something to a shell or another interpreter; fail2ban looks at the same ones.
_SPECIAL = re.compile("[" + re.escape("\n\r\"#$&'()*;<>?[\\]^`{|}~") + "]")
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9A-Fa-f]+|[0-9]+)")
_FORMS = {
    Reader.NOBODY: "V",
    Reader.ESCAPES: "B",
    Reader.ECHO: "E",
    Reader.FORMAT: "F",
    Reader.CODE: "Q",
}


class Source(Protocol):
    """Knows the value of every run-time tag."""

    def __getitem__(self, tag: str, /) -> str:
        """Return the value; hostile text."""


class Slot(NamedTuple):
    """A variable of a script: what it is called, whose value it has, and in which form.

    Forms: ``V`` as it is; ``B``, ``E``, ``F`` as ``printf %b``, ``echo`` and a format of ``printf``
    have to be given it; ``N`` only if it is a number; ``Q`` only if no interpreter could
    take any of it for its own, otherwise the name of the variable that holds it. A further ``M``:
    no line begins with ``~``.
    """

    variable: str
    tag: str
    form: str


@dataclass(frozen=True)
class Script:
    """A command that the shell can be given.

    Attributes:
        text: for ``sh -c``.
    """

    text: str
    slots: tuple[Slot, ...] = ()

    @property
    def tags(self) -> frozenset[str]:
        """The run-time tags that it needs."""
        return frozenset(slot.tag for slot in self.slots)

    def environment(self, values: Source, *, echo_escapes: bool = True) -> dict[str, bytes]:
        """Return the variables that it needs.

        Args:
            echo_escapes: whether the shell's own ``echo`` obeys backslashes.
        """
        known: dict[str, str] = {}
        found: dict[str, bytes] = {}
        for variable, tag, form in self.slots:
            if tag not in known:
                known[tag] = _bounded(values[tag])
            value = known[tag]
            if form[0] in "QN" and not _harmless(value, form[0]):
                plain = variable_name(tag)
                # An inner shell sees the variable itself; to anything else it is a word.
                found[plain] = _encoded(value)
                value = f"${plain}"
            found[variable] = _encoded(_shaped(value, form, echo_escapes=echo_escapes))
        return found


def compiled(text: str) -> Script:
    """Return the script of a command in which only run-time tags are left.

    Raises:
        FirewallError: a tag stands where the shell takes no variable.
    """
    tags: list[str] = []

    def mark(match: re.Match[str]) -> str:
        if not is_runtime(match.group(1)):
            return match.group()
        tags.append(match.group(1))
        return MARK

    marked = TAG.sub(mark, text.replace(MARK, ""))
    if not tags:
        return Script(marked)
    try:
        parts = places(marked, tags)
    except Unplaceable as error:
        raise FirewallError(
            f"no value can stand where {error} stands",
            backend="action",
            remedy=f'assign it to a variable first: x="<{error.tag}>"',
        ) from None
    return _rendered(parts)


def _rendered(parts: list[Part]) -> Script:
    slots: dict[str, Slot] = {}
    text = []
    for part in parts:
        if isinstance(part, str):
            text.append(part)
            continue
        form = _form(part)
        variable = variable_name(part.tag, form)
        # Two tags may make one name: <F-A_B> and <F-A-B>.
        while variable in slots and slots[variable].tag != part.tag:
            variable += "_"
        slots[variable] = Slot(variable, part.tag, form)
        text.append(_reference(part.quote, variable))
    return Script("".join(text), tuple(slots.values()))


def _form(place: Place) -> str:
    if place.quote is Quote.NUMBER:
        return "N"
    if place.quote in (Quote.SINGLE, Quote.VERBATIM):
        return "Q"
    form = _FORMS[place.reader]
    return form + "M" if place.mailed and form != "Q" else form


def _reference(quote: Quote, variable: str) -> str:
    if quote is Quote.NONE:
        # One word, or none if the value is empty.
        return f'${{{variable}:+"${{{variable}}}"}}'
    if quote is Quote.SINGLE:
        return f"'\"${{{variable}}}\"'"
    return f"${{{variable}}}"


def variable_name(tag: str, form: str = "V") -> str:
    """Return the name of the variable that holds a tag's value."""
    captured = CAPTURED.fullmatch(tag)
    name = f"F_{captured.group(1).lower()}" if captured else tag
    return f"f2b{form}_" + re.sub(r"\W", "_", name, flags=re.ASCII)


def _harmless(value: str, form: str) -> bool:
    if form == "N":
        return _NUMBER.fullmatch(value) is not None
    return _SPECIAL.search(value) is None


def _shaped(value: str, form: str, *, echo_escapes: bool) -> str:
    if form[-1] == "M":
        value = re.sub(r"^~", " ~", value, flags=re.MULTILINE)
    if form[0] in "BF" or (form[0] == "E" and echo_escapes):
        value = value.replace("\\", "\\\\")
    return value.replace("%", "%%") if form[0] == "F" else value


def _bounded(value: str) -> str:
    """Return what an environment can hold of a value."""
    value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if len(value) * 4 <= LONGEST:
        return value
    kept = _encoded(value)[:LONGEST]
    return kept.decode("utf-8", "ignore") if len(kept) == LONGEST else value


def _encoded(value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")
