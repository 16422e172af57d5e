# SPDX-License-Identifier: MIT
"""The date of a log line, in fail2ban's date language.

detector   chooses among templates, as fail2ban's detector does
pattern    one ``datepattern``: tokens and boundaries to a regex
defaults   the templates that are tried where no pattern is given
moment     what a template captured -> seconds since the epoch
zones      zone abbreviations and offsets
"""

from __future__ import annotations

from stockade_agent.dates.detector import Date, DateDetector
from stockade_agent.dates.pattern import years


__all__ = ["Date", "DateDetector", "years"]
