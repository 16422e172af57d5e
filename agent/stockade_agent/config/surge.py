# SPDX-License-Identifier: MIT
"""``surge = hold[floor=50, ratio=5, share=30]``: what a jail does when it bans very many."""

from __future__ import annotations

import math

from stockade_agent.config.faults import nearest
from stockade_agent.config.parameters import BadParameters, parse
from stockade_agent.config.values import BadValue, integer
from stockade_agent.specs import Surge


MODES = ("alert", "hold", "off")
NO = {"false": "off", "no": "off"}
"""``off`` is a word for false to those who write YAML for us."""
LIMITS = ("floor", "ratio", "share")


def surge(text: str) -> Surge:
    """Return what ``text`` means.

    Raises:
        BadValue: an unknown word, or a limit that is none.
    """
    try:
        call = parse(text)
    except BadParameters as error:
        raise BadValue(str(error)) from None
    mode = NO.get(call.name.lower(), call.name.lower())
    if mode not in MODES:
        raise BadValue(f"unknown word {call.name!r}", nearest(mode, MODES) or "alert, hold or off")
    for name in call.parameters:
        if name not in LIMITS:
            raise BadValue(f"unknown limit {name!r}", nearest(name, LIMITS))
    default = Surge()
    given = call.parameters
    floor = integer(given["floor"]) if "floor" in given else default.floor
    ratio, share = (
        _number(given[name]) if name in given else standard
        for name, standard in (("ratio", default.ratio), ("share", default.share))
    )
    if floor < 1 or ratio < 1:
        raise BadValue("floor and ratio are 1 at least")
    if share > 100:
        raise BadValue(f"a share of {share:g} percent can never be reached", "100 is the most")
    return Surge(mode, floor, ratio, share)


def _number(text: str) -> float:
    try:
        number = float(text.rstrip("%"))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise BadValue(f"{text!r} is no number", "for example 10")
    return number
