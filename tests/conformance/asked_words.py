# SPDX-License-Identifier: MIT
"""Run by fail2ban's Python: its client, for each line of words; answers what it printed.

A line in: the words of a command line as JSON. A line out: ``[stdout, exit code]``. Each is said in
a process of its own, as from a shell, but forked, so that the client is loaded only once.
"""

import json
import os
import sys
import tempfile

from fail2ban.client import fail2banclient


def run(words):
    """Run the client in a child; return what it printed, and its exit code."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                fail2banclient.exec_command_line(["fail2ban-client", *words])
            except SystemExit as end:
                code = end.code
            finally:
                # Whatever happens, the child reads no line that is for its parent.
                sys.stdout.flush()
                os._exit(code or 0)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return said.read().decode(errors="replace"), os.waitstatus_to_exitcode(status)


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
