# SPDX-License-Identifier: MIT
"""Text that clients choose, and that looks like something else: addresses, commands, escapes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.cost import until
from conformance.fetch import ROOT
from faults.fuzz import raw
from faults.host import Host, kernel, stamp
from faults.rows import Row


VICTIM = "203.0.113.66"
"""Never did anything."""
REAL = "198.51.100.{}"
LINES = (
    "Invalid user {user} from {real} port 40022",
    "Failed password for invalid user {user} from {real} port 40022 ssh2",
    "Failed password for {user} from {real} port 40022 ssh2",
    "Failed publickey for invalid user {user} from {real} port 40022 ssh2: RSA SHA256:abc",
    "Failed keyboard-interactive/pam for {user} from {real} port 40022 ssh2",
    "Connection closed by invalid user {user} {real} port 40022 [preauth]",
    "Connection closed by authenticating user {user} {real} port 40022 [preauth]",
    "Connection reset by invalid user {user} {real} port 40022 [preauth]",
    "Disconnected from invalid user {user} {real} port 40022 [preauth]",
    "Disconnecting invalid user {user} {real} port 40022: Too many authentication failures",
    "error: maximum authentication attempts exceeded for {user} from {real} port 40022 ssh2",
    "User {user} from {real} not allowed because not listed in AllowUsers",
    "input_userauth_request: invalid user {user} [preauth]",
    "pam_unix(sshd:auth): authentication failure; uid=0 tty=ssh rhost={real}  user={user}",
    "error: PAM: Authentication failure for illegal user {user} from {real}",
    "Bad protocol version identification '{user}' from {real} port 40022",
    "Accepted password for {user} from {real} port 40022 ssh2",
)
MARK = "{mark}"
USERS = (
    # Addresses where one is expected (CVE-2013-2178, CVE-2013-7176, CVE-2007-4321 and others).
    f"root from {VICTIM} port 22 ssh2",
    f"from {VICTIM}",
    f"x from {VICTIM} port 1 ssh2 from {VICTIM} port 1",
    f"a {VICTIM} port 22 [preauth]",
    f"x rhost={VICTIM}",
    f"rhost={VICTIM}  user=root",
    f"' from {VICTIM} port 22",
    f"{VICTIM}",
    f"x from {VICTIM} not allowed because not listed in AllowUsers",
    f"::ffff:{VICTIM}",
    f"x\r{{stamp}} host sshd[1]: Failed password for root from {VICTIM} port 22 ssh2",
    f"x {{stamp}} host sshd[1]: Failed password for root from {VICTIM} port 22 ssh2",
    # Commands, of a shell (CVE-2009-5023, CVE-2012-5642) or of a mail program (CVE-2021-32749).
    f"$(touch {MARK})",
    f"`touch {MARK}`",
    f"'; touch {MARK}; '",
    f'"; touch {MARK}; "',
    f"x | touch {MARK}",
    f"x && touch {MARK} #",
    f"~! touch {MARK}",
    f"~|touch {MARK}",
    f"\\n~!touch {MARK}",
    # What formats, templates and configurations take for their own.
    "%(bantime)s %s %n {0} {{x}}",
    "<ip> <matches> <F-USER> <HOST>",
    "${IFS}$((1/0))",
    # What terminals obey.
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m\x08\x08\x7f",
    "\u202eabc",
    "x" * 4000,
)
ACTION = """\
[Definition]
actionban = printf '%%s\\n' '<ip>' '<F-USER>' '<matches>' >> {told}
            printf '%%s\\n' "<F-USER>" "<matches>" <F-USER> >> {told}
            echo <ip> >> {asked}
"""


def inject(folder: Path, *, small: bool) -> Iterator[Row]:
    """Yield who was banned, what was run, and what reached a terminal raw."""
    mark, told, asked = folder / "mark", folder / "told", folder / "asked"
    users = USERS[::3] if small else USERS
    real = set()
    action = "%(banaction)s[port=22]\n mark"
    options: dict[str, object] = {
        "maxretry": 1,
        "action": action,
        "filter": "sshd[mode=aggressive]",
    }
    with Host(folder / "host", firewall="nftables", options=options) as host:
        (host.etc / "action.d").mkdir()
        (host.etc / "action.d/mark.conf").write_text(ACTION.format(told=told, asked=asked))
        host.start()
        number = 0
        with host.log.open("a", encoding="utf-8", newline="\n") as log:
            for user in users:
                for line in LINES:
                    number += 1
                    address = (
                        REAL.format(number % 250)
                        if number < 250
                        else f"198.51.{100 + number // 250}.{number % 250}"
                    )
                    real.add(address)
                    name = user.replace("{mark}", str(mark)).replace("{stamp}", stamp())
                    text = line.replace("{user}", name).replace("{real}", address)
                    log.write(f"{stamp()} host sshd[{number + 1000}]: {text}\n")
        status = host.until_quiet()
        banned = {ban.id for ban in status.jails[0].bans}
        until(lambda: kernel() == banned, 20, "the kernel agrees")
        until(
            lambda: asked.exists() and len(asked.read_text().split()) >= len(banned),
            120,
            "the actions",
        )
        screens = [(host.folder / "said").read_bytes()]
        for words in (("status", "sshd"), ("status",), ("status", "--json")):
            command = (sys.executable, "-m", "stockade_agent", *words, "-c", str(host.etc))
            env = {"PYTHONPATH": str(ROOT / "agent"), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
            done = subprocess.run(command, env=env, capture_output=True, check=False)
            screens.append(done.stdout + done.stderr)
        tried = f"{number} lines, {len(banned)} bans"
        wrong = [f"{who} is banned" for who in banned - real]
        yield Row.broken("forged addresses in user names: banned though innocent", wrong, tried)
        ran = [f"{mark.name} was made"] if mark.exists() else []
        ran += [action.problem for action in status.jails[0].actions if action.problem]
        yield Row.broken("commands in user names: run by an action", ran, tried)
        obeyed = [found for screen in screens if (found := raw(screen))]
        yield Row.broken("escapes in user names: raw in a log or on a terminal", obeyed, tried)
        host.stop()
