# SPDX-License-Identifier: MIT
"""The rows that stand in the pages of a sqlite file whose tree is damaged.

Only pages of tables WITHOUT ROWID are read, as those of the ledger are: each holds whole rows,
so that nothing but the page itself has to be sound. https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Union


Value = Union[None, int, float, bytes, str]

SIZE = 4096
"""Bytes of a page."""
HEAD = 100
"""Bytes of a file that tell sqlite what it is."""

_MAGIC = b"SQLite format 3\0"
_MOST_COLUMNS = 64
# Page type -> (bytes of its own head, bytes of a cell before its row)
_KINDS = {2: (12, 4), 10: (8, 0)}
# Bytes of a row in the page itself, where it has others too
_MOST_HERE, _LEAST_HERE = (SIZE - 12) * 64 // 255 - 23, (SIZE - 12) * 32 // 255 - 23
_REAL = struct.Struct(">d")
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Serial type -> bytes."""


def head(pages: int) -> bytes:
    """Return the head of a file with tables like ours: UTF-8, schema format 4."""
    made = bytearray(HEAD)
    made[: len(_MAGIC)], made[16:18] = _MAGIC, SIZE.to_bytes(2, "big")
    made[18:24] = b"\x01\x01\x00\x40\x20\x20"
    made[24:28] = made[92:96] = b"\x00\x00\x00\x01"
    made[28:32] = pages.to_bytes(4, "big")
    made[44:48], made[56:60] = b"\x00\x00\x00\x04", b"\x00\x00\x00\x01"
    return bytes(made)


def is_head(found: bytes) -> bool:
    """Return whether what says how a file is to be read is as in every ledger of ours."""
    ours = head(0)
    return (
        len(found) >= HEAD
        and found[:18] == ours[:18]
        and {found[18], found[19]} <= {1, 2}  # 2 with a WAL
        and found[20:24] == ours[20:24]
        # None of both while all tables are in the WAL
        and found[44:48] + found[56:60] in (ours[44:48] + ours[56:60], bytes(8))
        and found[52:56] == found[64:68] == bytes(4)
    )


def rows(file: BinaryIO) -> Iterator[tuple[Value, ...]]:
    """Yield every row that can be read, of all tables and in no order.

    Nothing tells of which table a row is, and damage may have made some up: the caller knows what
    a row must look like.

    Raises:
        OSError: it cannot be read.
    """
    number = 2  # the first page has the schema
    while page := _page(file, number):
        number += 1
        if page[0] not in _KINDS:
            continue
        start, skipped = _KINDS[page[0]]
        count = min(int.from_bytes(page[3:5], "big"), (SIZE - start) // 2)
        for (place,) in struct.iter_unpack(">H", page[start : start + 2 * count]):
            try:
                yield _row(_payload(file, page, place + skipped))
            except (IndexError, ValueError, struct.error):  # noqa: PERF203 - a damaged cell
                continue


def _page(file: BinaryIO, number: int) -> bytes:
    file.seek((number - 1) * SIZE)
    page = file.read(SIZE)
    return page if len(page) == SIZE else b""


def _payload(file: BinaryIO, page: bytes, place: int) -> bytes:
    """Return the bytes of a row, of which many stand in pages of their own."""
    length, place = _number(page, place)
    if length <= _MOST_HERE:
        return page[place : place + length]
    here = _LEAST_HERE + (length - _LEAST_HERE) % (SIZE - 4)
    if here > _MOST_HERE:
        here = _LEAST_HERE
    parts, missing = [page[place : place + here]], length - here
    place += here
    following = int.from_bytes(page[place : place + 4], "big")
    while missing > 0:
        page = _page(file, following) if following else b""
        if not page:
            raise ValueError("the end of a row is gone")
        parts.append(page[4 : 4 + missing])
        missing -= SIZE - 4
        following = int.from_bytes(page[:4], "big")
    return b"".join(parts)


def _row(payload: bytes) -> tuple[Value, ...]:
    end, place = _number(payload, 0)
    kinds = []
    while place < end:
        kind, place = _number(payload, place)
        kinds.append(kind)
        if len(kinds) > _MOST_COLUMNS:
            raise ValueError("no row of ours")
    if place != end or end + sum(map(_length, kinds)) != len(payload):
        raise ValueError("a row whose head does not fit")
    row = []
    for kind in kinds:
        length = _length(kind)
        row.append(_value(kind, payload[place : place + length]))
        place += length
    return tuple(row)


def _length(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return 8 if kind == 7 else _INTEGERS.get(kind, 0)


def _value(kind: int, data: bytes) -> Value:
    if kind == 0:
        return None
    if kind in _INTEGERS:
        return int.from_bytes(data, "big", signed=True)
    if kind == 7:
        value: float = _REAL.unpack(data)[0]
        return value
    if kind in (8, 9):
        return kind - 8
    if kind < 12:
        raise ValueError("a serial type that sqlite keeps for itself")
    return data.decode("utf-8", "replace") if kind % 2 else data


def _number(data: Sequence[int], place: int) -> tuple[int, int]:
    """Return a number of sqlite's variable length, and the place behind it."""
    value = 0
    for n in range(9):
        byte = data[place + n]
        if n == 8:
            return value << 8 | byte, place + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + n + 1
    raise AssertionError
