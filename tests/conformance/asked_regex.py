# SPDX-License-Identifier: MIT
"""Runs under a Python with fail2ban on its path: what fail2ban-regex prints, and how it ends.

One JSON object a line on stdin, {"now", "arguments"}; for each a JSON list [exit code, output].
"""

import io
import json
import logging
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

from fail2ban.client import fail2banregex
from fail2ban.server.ipdns import DNSUtils, IPAddr
from fail2ban.server.mytime import MyTime


def address(name):
    """Stand in for the name server: every name has an address that is computed from it."""
    return {IPAddr(f"198.51.100.{sum(name.encode()) % 256}")}


DNSUtils.dnsToIp = staticmethod(address)
localtime = time.localtime
sys.argv = ["fail2ban-regex"]

for request in sys.stdin:
    case = json.loads(request)
    now = case["now"]
    MyTime.setTime(now)
    time.localtime = lambda at=None, now=now: localtime(now if at is None else at)
    code, out = 0, io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        try:
            fail2banregex.exec_command_line(case["arguments"])
        except SystemExit as end:
            code = end.code
        except Exception as error:  # noqa: BLE001 - where the tool breaks off with a traceback
            code = repr(error)
    logging.getLogger("fail2ban").handlers.clear()
    print(json.dumps([code, out.getvalue()]), flush=True)
