# SPDX-License-Identifier: MIT
"""``<name>``: tags of the configuration, resolved as far as it knows them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Callable, Optional


REPEATS = 25
"""How often one value may take in the same tag."""

LONGEST = 1_000_000
"""How long a value may become."""

TAG = re.compile(r"<([^ <>]+)>")


class Unresolvable(Exception):
    """A value that would contain itself, or grow without end.

    Attributes:
        option: whose value.
        tag: the tag that it is about.
    """

    def __init__(self, option: str, tag: str, why: str) -> None:
        super().__init__(f"<{tag}> in {option} {why}")
        self.option, self.tag = option, tag


def resolve(
    options: Mapping[str, str],
    further: Callable[[str], Optional[str]],
    *,
    leave: Collection[str] = (),
) -> dict[str, str]:
    """Return ``options`` with every tag replaced that names one of them.

    Tags may be made by tags (``<lt_<logtype>/datepattern>``). What nobody knows stays as it is:
    it may be a tag of the regex language, of a ban to come, or a shell's redirection.

    Args:
        options: values by name.
        further: asked for tags that are no key of ``options``.
        leave: names that are neither replaced nor looked into.

    Raises:
        Unresolvable: a value would contain itself.
    """
    resolved = dict(options)
    counts: dict[str, dict[str, int]] = {}
    pending = [option for option, value in resolved.items() if option not in leave and "<" in value]
    while pending:
        again: list[str] = []
        for option in pending:
            before = resolved[option]
            count = counts.setdefault(option, {})
            after = _replace(option, before, resolved, further, leave, count)
            resolved[option] = after
            if after != before and TAG.search(after):
                again.append(option)
        # A tag that stays unknown here may be completed by another option's later value.
        pending = [option for option in pending if "<" in resolved[option]] if again else []
    return resolved


def _replace(
    option: str,
    value: str,
    options: Mapping[str, str],
    further: Callable[[str], Optional[str]],
    leave: Collection[str],
    count: dict[str, int],
) -> str:
    found = TAG.search(value)
    while found:
        tag = found.group(1)
        text: Optional[str] = None
        if tag not in leave:
            if tag == option or count.get(tag, 0) > REPEATS:
                raise Unresolvable(option, tag, "refers to itself")
            text = options.get(tag)
            if text is None:
                text = further(tag)
        if text is None:
            found = TAG.search(value, found.end())
            continue
        value = value.replace(found.group(), text)
        if len(value) > LONGEST:
            raise Unresolvable(option, tag, f"makes it longer than {LONGEST} characters")
        count[tag] = count.get(tag, 0) + 1
        found = TAG.search(value, found.start())
    return value
