# SPDX-License-Identifier: MIT
"""The dates that are recognized where no ``datepattern`` is given, in order of trial."""

from __future__ import annotations

import re
from functools import lru_cache

from stockade_agent.dates.pattern import LINE_BEGIN, Template, fields_template, special_template


_CLOCK, _PADDED = "%H:%M:%S", "%k:%M:%S"
_FRACTION, _DECIMALS = r"(?:[.,]%f)?", r"(?:\.%f)?"
_OFFSET = r"(?:\s*%z)?"
_ASCTIME = rf"(?:%a )?%b %d {_PADDED}{_DECIMALS}(?: %ExY)?"


def _dated(first: str, second: str, third: str, separators: str) -> str:
    """Join three fields by one separator, the same at both places."""
    return f"{first}(?P<_sep>[{separators}]){second}(?P=_sep){third}"


PATTERNS = (
    # 2024-05-01T10:00:00.123+02:00, 2024/05/01 10:00:00, 2024.05.01 10:00:00
    _dated("%ExY", "%m", "%d", "-/.") + f"(?:T|  ?){_CLOCK}{_FRACTION}{_OFFSET}",
    # May  1 10:00:00, Wed May 01 10:00:00.123 2024
    _ASCTIME,
    # Wed May 01 2024 10:00:00
    rf"(?:%a )?%b %d %ExY {_PADDED}{_DECIMALS}",
    # 01/05/2024 10:00:00, 01-05-24 10:00:00
    _dated("%d", "%m", "(?:%ExY|%Exy)", "-/") + f" {_PADDED}",
    # 01/May/2024:10:00:00 +0200, 01-May-2024 10:00:00.123
    _dated("%d", "%b", "%ExY", "-/") + f"[ :]?{_CLOCK}{_DECIMALS}(?: %z)?",
    # 05/01/2024:10:00:00
    f"%m/%d/%ExY:{_CLOCK}",
    # 05-01-2024 10:00:00.123
    f"%m-%d-%ExY {_PADDED}{_DECIMALS}",
    "EPOCH",
    # 10:00:00
    f"{LINE_BEGIN}{_CLOCK}",
    # <05/01/24@10:00:00>
    f"^<%m/%d/%Exy@{_CLOCK}>",
    # 240501 10:00:00
    f"%Exy%Exm%Exd  ?{_CLOCK}",
    # May 01, 2024 10:00:00 AM
    "%b %d, %ExY %I:%M:%S %p",
    # May-01-24 10:00:00
    f"^%b-%d-%Exy {_PADDED}",
    # 20240501T100000, 20240501-10:00:00
    rf"%ExY%Exm%Exd(?:-|T|  ?)%ExH:?%ExM:?%ExS{_FRACTION}{_OFFSET}",
    # PDT May 01 10:00:00
    f"(?:%Z )?{_ASCTIME}",
    # +02:00 May 01 10:00:00
    f"(?:%z )?{_ASCTIME}",
    "TAI64N",
)

# How much a template at the line's begin is preferred when templates are reordered.
_PREFERRED = 100.0
_DATE_PLACE = re.compile(r"(?<!\\)\{DATE\}", re.IGNORECASE)


def template(pattern: str, exact_years: str) -> Template:
    """Return the template of any one pattern."""
    return special_template(pattern) or fields_template(pattern, exact_years)


@lru_cache(maxsize=1)
def default_templates(exact_years: str) -> tuple[Template, ...]:
    """Return all default templates: first those at the line's begin, then the same anywhere.

    Nearly all jails have them, with the same years.
    """
    anchored = [
        template(LINE_BEGIN + pattern, exact_years)._replace(weight=_PREFERRED)
        for pattern in PATTERNS
        if not pattern.startswith((LINE_BEGIN, "^"))
    ]
    anywhere = [template(pattern, exact_years) for pattern in PATTERNS]
    # All end in a word character, or begin the line: a property that user patterns may lack.
    return tuple(one._replace(clean_cut=True) for one in anchored + anywhere)


def has_date_place(pattern: str) -> bool:
    """Return whether a pattern embeds the defaults by ``{DATE}``."""
    return bool(_DATE_PLACE.search(pattern))


def embedded_templates(pattern: str, exact_years: str) -> list[Template]:
    """Return each default template put in the place of ``{DATE}`` in a pattern.

    EPOCH and TAI64N are no patterns of fields: they can stand at the line's begin only.
    """
    found = []
    for default in PATTERNS:
        bare = default.removeprefix(LINE_BEGIN)
        whole = _DATE_PLACE.sub(lambda _, bare=bare: bare, pattern)  # type: ignore[misc]
        special = None if "%" in default else special_template(whole)
        if special is not None:
            found.append(special)
        elif "%" in default:
            found.append(fields_template(whole, exact_years))
    return found
