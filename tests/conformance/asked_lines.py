# SPDX-License-Identifier: MIT
"""Runs under a Python with fail2ban on its path: which lines of a log are failures, and of whom.

One JSON object a line on stdin, {"base", "filter", "parameters", "options", "now", "findtime",
"live", "lines"}; for each a JSON list: for each line [[id, seconds, [matches]], ...].
"""

import json
import logging
import sys

from fail2ban.client.filterreader import FilterReader
from fail2ban.server.filter import Filter
from fail2ban.server.ipdns import DNSUtils, IPAddr
from fail2ban.server.mytime import MyTime


logging.disable(logging.CRITICAL)


def address(name):
    """Stand in for the name server: every name has an address that is computed from it."""
    return {IPAddr(f"198.51.100.{sum(name.encode()) % 256}")}


DNSUtils.dnsToIp = staticmethod(address)


def made(case):
    found = Filter(None, useDns=case["options"].get("usedns", "warn"))
    found.setFindTime(case["findtime"])
    found.inOperation = case["live"]
    reader = FilterReader(case["filter"], "jail", case["parameters"], basedir=case["base"])
    reader.read()
    reader.getOptions({})
    setters = {
        "maxlines": found.setMaxLines,
        "datepattern": found.setDatePattern,
        "prefregex": lambda value: setattr(found, "prefRegex", value),
        "addfailregex": found.addFailRegex,
        "addignoreregex": found.addIgnoreRegex,
    }
    for command in reader.convert():
        values = command[3] if command[0] == "multi-set" else [command[3]]
        for value in values:
            if command[2] in setters:
                setters[command[2]](value)
    return found


def judged(found, line):
    try:
        failures = found.processLine(line)
    except Exception:  # noqa: BLE001 - what a server would log as "failed to process line"
        return []
    said = []
    for _, who, at, data in failures:
        matches = ["".join(one) for one in data.get("matches", [])]
        said.append([str(who), min(at, MyTime.time()), matches])
    return said


for request in sys.stdin:
    case = json.loads(request)
    MyTime.setTime(case["now"])
    found = made(case)
    print(json.dumps([judged(found, line) for line in case["lines"]]), flush=True)
