# SPDX-License-Identifier: MIT
"""Values that most failures bring in vain: of an id only the first failure's are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Callable, Optional


class Later(Mapping[str, str]):
    """Values that are put together only when somebody asks for them.

    Args:
        make: puts them together, of ``parts``; there is one at least.
    """

    __slots__ = ("_made", "_make", "_parts")

    def __init__(self, make: Callable[..., dict[str, str]], *parts: object) -> None:
        self._make, self._parts = make, parts
        self._made: Optional[dict[str, str]] = None

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, name: str) -> str:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def _now(self) -> dict[str, str]:
        if self._made is None:
            self._made, self._parts = self._make(*self._parts), ()
        return self._made
