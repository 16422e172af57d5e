# SPDX-License-Identifier: MIT
"""Runs under a Python with fail2ban on its path: what its date detector makes of lines.

One JSON object a line on stdin, {"now", "pattern", "zone", "lines"}; for each a JSON list of
[begin, end, seconds] or null on stdout, or "error" where it refuses the pattern.
"""

import json
import logging
import os
import re
import sys

from fail2ban.server.datedetector import DateDetector
from fail2ban.server.mytime import MyTime


logging.disable(logging.CRITICAL)


def detector(pattern, zone):
    found = DateDetector()
    found.default_tz = zone
    for line in filter(None, map(str.strip, (pattern or "").split("\n"))):
        found.appendTemplate(line)
    for template in found.templates:
        template.template._compileRegex()  # it would do so at the first line
    return found


def date(found, line):
    try:
        match, template = found.matchTime(line)
    except IndexError:  # an empty line
        return None
    if match is None:
        return None
    start, end = match.start(1), match.end(1)
    text = line[start:end]
    if not text:
        return [0, 0, None]
    try:
        at = found.getTime(text, (match, template))
    except (KeyError, TypeError):  # a zone or field that it does not know ends the line there
        return [start, end, None]
    return [start, end, at and at[0]]


def answer(case):
    MyTime.setTime(case["now"])
    try:
        found = detector(case["pattern"], case["zone"])
        return [date(found, line) for line in case["lines"]]
    except (TypeError, ValueError, re.error) as error:
        return f"error: {error}"


for request in sys.stdin:
    # fail2ban shares templates, with their hits, between detectors: each case gets its own process.
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        print(json.dumps(answer(json.loads(request))), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
