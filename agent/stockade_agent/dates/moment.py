# SPDX-License-Identifier: MIT
"""From the fields that a template captured to seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Optional

from stockade_agent.dates.zones import minutes_east


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_UTC = frozenset(("Z", "UTC", "GMT"))
_CENTURY = 2000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - of times that are UTC already


def moment(
    captured: Mapping[str, Optional[str]], now: float, zone: Optional[int]
) -> Optional[float]:
    """Return the time that the fields of a date say, or None where they say none.

    Args:
        captured: token letter (``Y``, ``b``, ``z``, …) -> text.
        now: fills what the fields leave out: the year, or year, month and day.
        zone: minutes east of UTC where the fields name no zone; None: the host's own zone.
    """
    fields = {key: text for key, text in captured.items() if text is not None}
    if "z" in fields or "Z" in fields:
        name = fields["z"] if "z" in fields else fields["Z"]
        zone = 0 if name in _UTC else minutes_east(name)
        if zone is None:
            return None
    try:
        today = datetime.fromtimestamp(now)  # noqa: DTZ006 - the log's dates are local time
        year, month, day = _date(fields, today)
        hour, minute, second = _time(fields)
        when = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
        if zone is not None:
            when -= timedelta(minutes=zone)
        if _is_today(fields) and when > today:
            when -= timedelta(days=1)
        if "Y" not in fields and "y" not in fields and when > today + timedelta(days=1):
            when = when.replace(year=year - 1, month=month, day=day)
        return when.timestamp() if zone is None else (when - _EPOCH).total_seconds()
    except (ValueError, OverflowError, TypeError):
        return None


def _date(fields: Mapping[str, str], today: datetime) -> tuple[int, int, int]:
    if "Y" in fields:
        year = int(fields["Y"])
    elif "y" in fields:
        year = int(fields["y"])
        year += _CENTURY if year <= _CENTURY else 0
    else:
        year = today.year
    month = _month(fields)
    day = int(fields["d"]) if "d" in fields else None
    if month is None or day is None:
        yearday = _yearday(fields, year)
        if yearday is not None:
            found = date(year, 1, 1) + timedelta(days=yearday - 1)
            return found.year, found.month, found.day
    if month is None and day is None:
        return year, today.month, today.day
    if month is None or day is None:
        raise ValueError("a month without a day, or a day without a month")
    return year, month, day


def _is_today(fields: Mapping[str, str]) -> bool:
    if "d" in fields or _month(fields) is not None:
        return False
    return _yearday(fields, _CENTURY) is None


def _month(fields: Mapping[str, str]) -> Optional[int]:
    if "m" in fields:
        return int(fields["m"])
    name = fields.get("b", fields.get("B"))
    return None if name is None else MONTHS.index(name[:3].lower()) + 1


def _yearday(fields: Mapping[str, str], year: int) -> Optional[int]:
    if "j" in fields:
        return int(fields["j"])
    name = fields.get("a", fields.get("A"))
    if name is not None:
        weekday = DAYS.index(name[:3].lower())
    elif "w" in fields:
        weekday = (int(fields["w"]) - 1) % 7
    else:
        return None
    if "U" not in fields and "W" not in fields:
        return None
    # Weeks are counted from the first Monday (%W) or Sunday (%U); days before are week 0.
    starts_sunday = "U" in fields
    shift = 1 if starts_sunday else 0
    first = (date(year, 1, 1).weekday() + shift) % 7
    week = int(fields["U"] if starts_sunday else fields["W"])
    day = (weekday + shift) % 7
    if week == 0:
        return 1 + day - first
    return 1 + (7 - first) % 7 + 7 * (week - 1) + day


def _time(fields: Mapping[str, str]) -> tuple[int, int, int]:
    hour = int(fields.get("H", 0))
    if "I" in fields:
        noon, hour = 12, int(fields["I"])
        if fields.get("p", "").lower() == "pm":
            hour += noon if hour != noon else 0
        elif hour == noon:
            hour = 0
    return hour, int(fields.get("M", 0)), int(fields.get("S", 0))
