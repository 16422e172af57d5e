# SPDX-License-Identifier: MIT
"""Text that clients choose, and that looks like something else: addresses, commands, escapes."""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.cost import until
from conformance.fetch import ROOT
from faults.fuzz import raw
from faults.host import Host, kernel, stamp
from faults.rows import Broken, Row


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
JSON = ("--json",)
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
    f"x\r{{stamp}} host sshd[1]: Failed password for root from {VICTIM} port 22 ssh2",
    f"::ffff:{VICTIM}",
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
BY_NAME = r"""
[Definition]
failregex = sshd\[\d+\]: Failed \S+ for (?:invalid user )?<F-ID>.*</F-ID> from \S+ port 40022 ssh2$
"""
"""Counts user names in the place of addresses: what is banned is then what clients chose."""
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
        jails: dict[str, dict[str, object]] = {
            name: {**usual, "filter": f"{name}[mode=aggressive]", "logpath": log}
            for name, log in logs.items()
        }
        names = {**usual, "filter": "names", "logpath": host.log, "action": "mark"}
        host.configure(**jails, names=names)
        (host.etc / "filter.d/names.conf").write_text(BY_NAME)
        shutil.copy(ROOT / "roles/dropbear/filter.d/dropbear.conf", host.etc / "filter.d")
        (host.etc / "action.d").mkdir()
        (host.etc / "action.d/mark.conf").write_text(ACTION.format(told=told, asked=asked))
        logs["dropbear"].touch()
        host.start()
        real, number = _written(logs, str(mark), USERS[::3] if small else USERS)
        status = host.until_quiet()
        until(lambda: host.status().lines >= number, 60, "all lines read")
        status = host.status()
        banned = {ban.id for jail in status.jails if jail.name in logs for ban in jail.bans}
        until(lambda: kernel() | kernel("dropbear") == banned, 20, "the kernel agrees")
        until(
            lambda: asked.exists() and set(asked.read_text().split()) >= banned, 120, "the actions"
        )
        screens = [(host.folder / "said").read_bytes(), *_screens(host, logs)]
        each = [f"{jail.banned_now} by {jail.name}" for jail in status.jails]
        tried = f"{number} lines, bans: {', '.join(each)}"
        wrong = [f"{who} is banned" for who in banned - real]
        wrong += [f"{jail.name} bans nobody" for jail in status.jails if not jail.banned_now]
        yield Row.broken("forged addresses in user names: banned though innocent", wrong, tried)
        ran = [f"{mark.name} was made"] if mark.exists() else []
        # Where a name is no address, the shell may well say that there is no such file.
        ran += [action.problem for action in host.jail().actions if action.problem]
        yield Row.broken("commands in user names: run by an action", ran, tried)
        obeyed = [found for screen in screens if (found := raw(screen))]
        yield Row.broken("escapes in user names: raw in a log or on a terminal", obeyed, tried)
        host.stop()


def _screens(host: Host, logs: Mapping[str, Path]) -> Iterator[bytes]:
    """Yield what the commands print that show bans, or lines of a log."""
    last = host.log.read_text(errors="replace").splitlines()[-1]
    commands = [
        *(("status", *jail, *json) for jail in ((), ("sshd",), ("names",)) for json in ((), JSON)),
        *(("fail2ban-client", "status", name) for name in (*logs, "names")),
        ("explain", "--line", last.replace("root", "".join(USERS[-4:-1])), "sshd", "names"),
        *(("regex", str(log), name, "--print-all-missed", "--print-all-matched")
          for name, log in {**logs, "names": host.log}.items()),
    ]  # fmt: skip
    env = {"PYTHONPATH": str(ROOT / "agent"), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    for words in commands:
        own = words[0] == "fail2ban-client"
        where = ("-s", host.socket) if own else ("-c", str(host.etc))
        command = (sys.executable, "-m", "stockade_agent", words[0], *where, *words[1:])
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        if done.returncode not in (0, 1) or not done.stdout:
            raise Broken(f"{words}: {done.returncode}: {done.stderr.decode()[-200:]}")
        yield done.stdout + done.stderr


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
