# SPDX-License-Identifier: MIT
"""The failures that still count, by id, in bounded memory.

    counts = Counts()
    count = counts.take("192.0.2.7")             # out of the table, or None
    counts.put("192.0.2.7", count, horizon)      # (back) in, as the one that failed last
    counts.forget(horizon)                       # what failed last before it

The ids that failed last are kept in full. Those that a flood of others pushes out are kept as
rows of numbers, 14 bytes for an id that failed once: a count goes on as it would have, and only
the lines and values of its failures are gone. Where even the rows become too many, those with the
fewest failures go first, of these the oldest: whoever comes from many addresses pushes out his
own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Optional

from stockade_agent.model import Tally


FULL = 4096
"""Ids that are kept in full."""

MOST = 1_000_000
"""Rows that are kept of ids that failed more than once; of others, three times as many."""

SHARDS = 1 << 14
"""Pieces of a table; a power of two."""

_BITS = 48
# Rows of a shard below which none is dropped for there being too many: they may be the worst.
_FEW = 16
_MASK = (1 << 64) - 1
# So many rows are added, then a shard is looked through for what is over.
_SWEEP, _SWEPT = 32, 32
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Count:
    """The failures of one id that still count.

    ``retry`` is what maxretry is compared with: the number of failures while they all lie
    within findtime, an estimate from their rate afterwards.
    """

    __slots__ = ("data", "failures", "first", "last", "matches", "retry")

    def __init__(
        self, at: float, retry: int, matches: tuple[str, ...], data: Mapping[str, str]
    ) -> None:
        self.first = self.last = at
        self.retry: float = retry
        self.failures = 1 if retry else 0
        self.matches, self.data = matches, data

    @classmethod
    def of(cls, tally: Tally) -> Count:
        """Return what ``under`` made a tally of."""
        self = cls(tally.last, 0, tally.matches, tally.data)
        self.first, self.retry, self.failures = tally.first, tally.retry, tally.failures
        return self

    def under(self, who: str, *, whole: bool) -> Tally:
        """Return it as the tally of an id, for the ledger, with its lines or without."""
        tally = Tally(who, self.first, self.last, self.retry, self.failures)
        return tally._replace(matches=self.matches, data=self.data) if whole else tally

    def follow(self, at: float, findtime: int) -> None:
        """Move on to a later failure: what lies before findtime is weighed by the rate."""
        if at <= self.last:
            return
        if self.first < at - findtime:
            self.retry = round(self.retry / (at - self.first) * findtime)
            self.first = at - findtime
        self.last = at


class Counts:
    """Counts by id; see the module.

    Args:
        full: ids that are kept in full.
        most: rows beside them of ids that failed more than once.
        shards: pieces that rows are kept in.
    """

    def __init__(self, full: int = FULL, most: int = MOST, shards: int = SHARDS) -> None:
        self._full = full
        self._counts: dict[str, Count] = {}
        self._once = _Rows("<6sd", 3 * most, shards)
        self._more = _Rows("<6sddfI", most, shards)

    def __len__(self) -> int:
        """Return how many ids have failures; some of the rows may just be over."""
        return len(self._counts) + self._once.number + self._more.number

    def __iter__(self) -> Iterator[str]:
        """Yield the ids that are kept in full, the longest ago first."""
        return iter(self._counts)

    def get(self, id_: str) -> Optional[Count]:
        """Return an id's count as it is now."""
        count = self._counts.get(id_)
        return self._row(id_, remove=False) if count is None else count

    def take(self, id_: str) -> Optional[Count]:
        """Remove and return an id's count."""
        count = self._counts.pop(id_, None)
        return self._row(id_, remove=True) if count is None else count

    def put(self, id_: str, count: Count, horizon: float) -> None:
        """Keep an id's count, which is taken, and drop something of what is over."""
        self._counts[id_] = count
        oldest = next(iter(self._counts))
        if self._counts[oldest].last <= horizon and oldest != id_:
            del self._counts[oldest]
        elif len(self._counts) > self._full:
            old = self._counts.pop(oldest)
            once = old.first == old.last and old.retry == old.failures == 1
            rows = self._once if once else self._more
            values = (old.last,) if once else (old.last, old.first, old.retry, old.failures)
            rows.add(hash(oldest) & _MASK, values, horizon)

    def forget(self, horizon: float) -> None:
        """Drop what failed last at ``horizon`` or before: all that is kept in full, some rows."""
        while self._counts:
            # The front is what was put longest ago.
            id_ = next(iter(self._counts))
            if self._counts[id_].last > horizon:
                break
            del self._counts[id_]
        for rows in (self._once, self._more):
            for _ in range(min(_SWEPT, rows.number)):
                rows.sweep(horizon)

    def _row(self, id_: str, *, remove: bool) -> Optional[Count]:
        if not self._once.number + self._more.number:
            return None
        key = hash(id_) & _MASK
        row = self._more.find(key, remove=remove) or self._once.find(key, remove=remove)
        if row is None:
            return None
        count = Count(row[1], 1, (), _NOTHING)
        if len(row) > len(("key", "last")):
            _, _, count.first, count.retry, count.failures = row
        return count


class _Rows:
    """A table of numbers by the hash of an id.

    A table of Python objects takes 100 bytes an entry and more. These are plain bytes, in many
    small pieces, which are searched as fast as any text.
    """

    def __init__(self, layout: str, most: int, shards: int) -> None:
        self._struct, self._most, self._last = struct.Struct(layout), most, shards - 1
        self._shards: dict[int, bytearray] = {}
        self.number = self._added = self._next = 0

    def find(self, key: int, *, remove: bool) -> Optional[tuple[Any, ...]]:
        """Return a key's row."""
        shard = self._shards.get(key >> _BITS & self._last)
        if not shard:
            return None
        bytes_, size = _bytes(key), self._struct.size
        place = shard.find(bytes_)
        while place >= 0 and place % size:
            place = shard.find(bytes_, place + 1)
        if place < 0:
            return None
        row = self._struct.unpack_from(shard, place)
        if remove:
            # The last row takes the place of the one that goes.
            shard[place : place + size] = shard[-size:]
            del shard[-size:]
            self.number -= 1
        return row

    def add(self, key: int, values: tuple[float, ...], horizon: float) -> None:
        """Add a key's row, the first value when it failed last; it must have none."""
        number = key >> _BITS & self._last
        if self.number >= self._most:
            self._thin(number)
        shard = self._shards.get(number)
        if shard is None:
            shard = self._shards[number] = bytearray()
        shard += self._struct.pack(_bytes(key), *values)
        self.number += 1
        self._added += 1
        if self._added % _SWEEP == 0:
            self.sweep(horizon)

    def sweep(self, horizon: float) -> None:
        """Drop the rows of the next shard that are over."""
        self._next = (self._next + 1) & self._last
        shard = self._shards.get(self._next)
        if shard:
            rows = [row for row in self._struct.iter_unpack(shard) if row[1] > horizon]
            self._replace(self._next, rows)

    def _thin(self, number: int) -> None:
        """Drop an eighth of a shard: the fewest failures, the oldest of these."""
        shard = self._shards.get(number, b"")
        if len(shard) >= _FEW * self._struct.size:
            rows = sorted(self._struct.iter_unpack(shard), key=lambda row: (row[3:4], row[1]))
            self._replace(number, rows[len(rows) // 8 :])

    def _replace(self, number: int, rows: list[tuple[Any, ...]]) -> None:
        before = len(self._shards[number]) // self._struct.size
        if len(rows) < before:
            self._shards[number] = bytearray().join(self._struct.pack(*row) for row in rows)
            self.number -= before - len(rows)


def _bytes(key: int) -> bytes:
    """Return what tells the keys of a shard apart."""
    return (key & (1 << _BITS) - 1).to_bytes(_BITS // 8, "little")
