# SPDX-License-Identifier: MIT
"""Text that clients choose, and that looks like something else: addresses, commands, escapes."""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cost import until
from conformance.fetch import ROOT
from faults.fuzz import raw
from faults.host import Host, kernel, stamp
from faults.rows import Row


VICTIM = "203.0.113.66"
"""Never did anything."""
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
DROPBEAR = (
    "Bad password attempt for '{user}' from {real}:40022",
    "Bad PAM password attempt for '{user}' from {real}:40022",
    "Exit before auth from <{real}:40022>: (user '{user}', 2 fails): Exited normally",
    "Exit ({user}) from <{real}:40022>: Disconnect received",
)
NAMES = (
    # What a client lets its reverse DNS say, where a log has that in the address's place
    # (CVE-2009-0362, CVE-2006-6302): no jail here asks the DNS.
    f"{VICTIM}.attacker.example",
    f"x{VICTIM}",
    f"{VICTIM}@attacker.example",
    "203-0-113-66.attacker.example",
    f"attacker.example ({VICTIM})",
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
    usual: dict[str, object] = {
        "enabled": "true",
        "usedns": "no",
        "maxretry": 1,
        "port": "22",
        "banaction": "nftables-multiport",
        "action": "%(banaction)s[port=22]\n mark",
    }
    with Host(folder / "host", firewall="nftables") as host:
        logs = {"sshd": host.log, "dropbear": host.folder / "dropbear.log"}
        host.configure(
            **{
                name: {**usual, "filter": f"{name}[mode=aggressive]", "logpath": log}
                for name, log in logs.items()
            }
        )
        shutil.copy(ROOT / "roles/dropbear/filter.d/dropbear.conf", host.etc / "filter.d")
        (host.etc / "action.d").mkdir()
        (host.etc / "action.d/mark.conf").write_text(ACTION.format(told=told, asked=asked))
        logs["dropbear"].touch()
        host.start()
        real, number = _written(logs, str(mark), USERS[::3] if small else USERS)
        status = host.until_quiet()
        until(lambda: host.status().lines >= number, 60, "all lines read")
        status = host.status()
        banned = {ban.id for jail in status.jails for ban in jail.bans}
        until(lambda: kernel() | kernel("dropbear") == banned, 20, "the kernel agrees")
        until(
            lambda: asked.exists() and set(asked.read_text().split()) >= banned, 120, "the actions"
        )
        screens = [(host.folder / "said").read_bytes()]
        for words in (("status", "sshd"), ("status",), ("status", "--json")):
            command = (sys.executable, "-m", "stockade_agent", *words, "-c", str(host.etc))
            env = {"PYTHONPATH": str(ROOT / "agent"), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
            done = subprocess.run(command, env=env, capture_output=True, check=False)
            screens.append(done.stdout + done.stderr)
        each = [f"{jail.banned_now} by {jail.name}" for jail in status.jails]
        tried = f"{number} lines, bans: {', '.join(each)}"
        wrong = [f"{who} is banned" for who in banned - real]
        wrong += [f"{jail.name} bans nobody" for jail in status.jails if not jail.banned_now]
        yield Row.broken("forged addresses in user names: banned though innocent", wrong, tried)
        ran = [f"{mark.name} was made"] if mark.exists() else []
        ran += [action.problem for action in status.jails[0].actions if action.problem]
        yield Row.broken("commands in user names: run by an action", ran, tried)
        obeyed = [found for screen in screens if (found := raw(screen))]
        yield Row.broken("escapes in user names: raw in a log or on a terminal", obeyed, tried)
        host.stop()


def _written(logs: dict[str, Path], mark: str, users: Sequence[str]) -> tuple[set[str], int]:
    """Write all lines with all users and names; return who really failed, and how many lines."""
    real, number = set(), 0
    for name, lines in (("sshd", LINES), ("dropbear", DROPBEAR)):
        with logs[name].open("a", encoding="utf-8", newline="\n") as log:
            for user, line in itertools.product((*users, None), lines):
                for host in NAMES if user is None else ("",):
                    number += 1
                    address = host or f"198.51.{100 + number // 250}.{number % 250}"
                    real.update(() if host else (address,))
                    text = "root" if user is None else user
                    text = text.replace("{mark}", mark).replace("{stamp}", stamp())
                    text = line.replace("{user}", text).replace("{real}", address)
                    log.write(f"{stamp()} host {name}[{number + 1000}]: {text}\n")
    return real, number
