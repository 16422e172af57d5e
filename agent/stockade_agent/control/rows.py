# SPDX-License-Identifier: MIT
"""Lists too long to be made at once: their JSON is written while it is sent.

    pieces({"bans": Rows(bans, of_ban)})    bytes, some tens of kilobytes at a time

A host with 100,000 bans answers `status` with 11 MB. Whoever asks for it and does not read holds
the bans that it is made from, which are in memory anyway, and one piece.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Generic, TypeVar, Union, overload


Item = TypeVar("Item")
Row = TypeVar("Row")
Other = TypeVar("Other")

TOGETHER = 300
"""Rows that are made at a time; a millisecond or two."""
PIECE = 1 << 15


class Rows(Sequence[Row], Generic[Row]):
    """A sequence whose rows are made each time that they are asked for."""

    def __init__(self, items: Sequence[Item], row: Callable[[Item], Row]) -> None:
        self._items: Sequence[Any] = items
        self._row: Callable[[Any], Row] = row

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: Union[int, slice]) -> Union[Row, Sequence[Row]]:
        if isinstance(index, slice):
            return [self._row(item) for item in self._items[index]]
        return self._row(self._items[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, self._items)

    def changed(self, call: Callable[[Row], Other]) -> Rows[Other]:
        """Return the same with something done to each row."""
        return Rows(self._items, lambda item: call(self._row(item)))


def pieces(value: Any) -> Iterator[bytes]:
    """Yield the JSON of a value, in which ``Rows`` may stand where lists may, and a newline."""
    found: list[Rows[Any]] = []
    # Nobody can write it into the value.
    token = os.urandom(16).hex()

    def later(rows: Any) -> str:
        if not isinstance(rows, Rows):
            raise TypeError(f"{type(rows).__name__} is not JSON")
        found.append(rows)
        return token

    first, *texts = json.dumps(value, default=later).split(f'"{token}"')
    made = bytearray(first.encode())
    for rows, text in zip(found, texts):
        made += b"["
        for start in range(0, len(rows), TOGETHER):
            if len(made) >= PIECE:
                yield bytes(made)
                made.clear()
            made += b", " if start else b""
            made += json.dumps(rows[start : start + TOGETHER])[1:-1].encode()
        made += b"]" + text.encode()
    yield bytes(made) + b"\n"
