# SPDX-License-Identifier: MIT
"""Courses for actions: a configuration tree with a jail for each action, and what happens to it."""

import re
import shutil
from pathlib import Path

from conformance import oracle, stubs


NOW = 1_700_000_000.0
LINES = (
    "Nov 14 22:13:18 host sshd[77]: Failed password for root from 192.0.2.1 port 4 (ssh2)",
    'Nov 14 22:13:19 host sshd[77]: Invalid user "o\'hara $HOME" from 192.0.2.1',
)


def ban(id_, **facts):
    """Return a ban in the form that both sides are told it."""
    return {
        "id": id_,
        "time": NOW - 2.5,
        "bantime": 600,
        "count": 1,
        "failures": 3,
        "matches": list(LINES),
        "data": {"user": "root"},
        "restored": False,
        **facts,
    }


# Actions of our own, of kinds that the stock files have not or hardly.
_SET = """
[Definition]
actionstart = ipset create <set>
actionstop = ipset destroy <set>
actioncheck = ipset check <set>
actionban = ipset add <set> <ip> <bantime>
actionunban = ipset del <set> <ip>
"""
_FLUSH = "actionflush = ipset flush <set>\n"
_REPAIR = "actionrepair = ipset repair <set>\n"
_RELOAD = "actionreload = ipset reload <set> <family>\n"
_ON_UNBAN = "actionrepair_on_unban = yes\n"
_PROLONG = (
    "actionprolong = ipset prolong <set> <ip> <bantime>\nactionreban = ipset again <set> <ip>\n"
)
_ONE = "[Init]\nset = one\n"
_TWO = "[Init]\nset = four\n[Init?family=inet6]\nset = six\n"
_NO_CHECK = _SET.replace("actioncheck = ipset check <set>\n", "")
_SHARED = _SET.replace("create <set>", "create all").replace("destroy <set>", "destroy all")
KINDS = {
    "one": _SET + _ONE,
    "one-flush": _SET + _FLUSH + _ONE,
    "one-repair": _SET + _FLUSH + _REPAIR + _ONE,
    "one-family": _NO_CHECK.replace("<set>", "<set>-<family>") + _FLUSH + _RELOAD + _ONE,
    "one-listed": _SET.replace("<set>", "<set>-<family>") + _ONE + "families = inet4, inet6\n",
    "two": _SET + _FLUSH + _TWO,
    "two-unchecked": _NO_CHECK + _RELOAD + _TWO,
    "two-repair": _SET + _REPAIR + _TWO,
    "two-on-unban": _SET + _ON_UNBAN + _TWO,
    "two-repair-on-unban": _SET + _FLUSH + _ON_UNBAN + _REPAIR + _TWO,
    "two-at-once": _SET + _RELOAD + "actionstart_on_demand = off\n" + _TWO,
    "two-shared": _SHARED + "actionflush = ipset flush all\n" + _TWO,
    "prolong": _SET + _PROLONG + "norestored = 1\n" + _TWO,
}
QUOTING = Path(__file__).with_name("quoting.conf").read_text()
USERS = ("root", "50%off", "a=b,c:d@e/f+g_h-i", "-n", "b!%s", "caf\u00e9", "0x1f")
HARMLESS = [["start"]]
for number, user in enumerate(USERS):
    HARMLESS.append(["ban", ban(f"192.0.2.{10 + number}", data={"user": user}, count=number + 1)])
HARMLESS += [["ban", ban("2001:db8::5")], ["flush"], ["stop"]]
# What a jail passes to its action, beside what all of them get.
VARIANTS = {
    "plain": "",
    "all": (
        'name=web, port="http,https,8000:8010", protocol="tcp,udp", chain="DOCKER-USER",'
        ' type=allports, actiontype="<allports>", ipsettype=firewalld,'
        ' ipsettime="<timeout-bantime>", table=9, startstatefile="@/state", kill-mode=ss,'
        ' application="OpenSSH", lines=2, dest="root", sender="f2b@<fq-hostname>",'
        ' sendername="Fail2Ban <sh-hostname>", logpath="@/auth.log", grepmax=3, srv_cfg_path="@/"'
    ),
    "some": (
        "actionstart_on_demand=false, norestored=true, actionrepair_on_unban=1, debug=1,"
        ' timeout=20s, kill-mode=conntrack, comment="<failures> failures of <ip> (<F-USER>)",'
        ' logpath="@/auth.log", notes="<jail.banned> <time> <bancount> <restored>"'
    ),
    "lazy": "actionstart_on_demand=true, returntype=ACCEPT, lines=1, table=<name>, port=ssh",
}
_TOOL = re.compile(r"(?<![\w/.:-])/(?:usr/)?(?:local/)?(?:s?bin|libexec)/([\w.-]+)")
_FILE = re.compile(r"(?<![\w/:.])/(?:var/run|run|etc|proc)/(?:[\w.-]+/)*")
_JAILS = """
[DEFAULT]
enabled = true
failregex = ^<HOST>
logpath = {files}/auth.log
backend = polling
bantime = 10m
findtime = 10m
maxretry = 3
"""


def plant(package: Path, folder: Path, further: dict[str, str] | None = None) -> dict[str, str]:
    """Make a tree with a jail for each stock action and variant, and the stub tools.

    Absolute paths in the actions lead into ``folder`` in place of the machine.

    Args:
        further: actions of ours by name.

    Returns:
        The action of each jail.
    """
    stubs.install(folder / "bin")
    config, files = folder / "config", folder / "files"
    shutil.copytree(oracle.stock(package) / "action.d", config / "action.d")
    (config / "filter.d").mkdir()
    for path in (config / "action.d").glob("*.conf"):
        text = _TOOL.sub(rf"{folder}/bin/\1", path.read_text())
        path.write_text(_FILE.sub(f"{files}/", text))
    for name, text in (further or {}).items():
        (config / "action.d" / f"{name}.conf").write_text(text.replace("@/", f"{files}/"))
    jails, written = {}, [_JAILS.format(files=files)]
    for action in sorted(path.stem for path in (config / "action.d").glob("*.conf")):
        if action.endswith("-common"):
            continue
        for variant, parameters in VARIANTS.items():
            jail = f"{action}-{variant}"
            jails[jail] = action
            given = f"[{parameters.replace('@', str(files))}]" if parameters else ""
            written.append(f"[{jail}]\naction = {action}{given}\n")
    (config / "jail.conf").write_text("\n".join(written))
    return jails


FOUR, FURTHER, SIX = ban("192.0.2.1"), ban("198.51.100.7", failures=5), ban("2001:db8::1", count=2)
RESTORED = ban("203.0.113.4", restored=True, data={"user": "two words"})

LIFE = [
    ["start"],
    ["ban", FOUR],
    ["ban", SIX],
    ["ban", FURTHER],
    ["prolong", {**FOUR, "bantime": 3600}],
    ["unban", FOUR],
    ["check"],
    ["flush"],
    ["reload"],
    ["ban", FOUR],
    ["ban", RESTORED],
    ["reban", FOUR],
    ["unban", SIX],
    ["unban", RESTORED],
    ["stop"],
]
ONLY_SIX = [["start"], ["ban", SIX], ["unban", SIX], ["stop"]]
NOTHING = [["start"], ["reload"], ["check"], ["stop"]]
COURSES = {"life": LIFE, "only-six": ONLY_SIX, "nothing": NOTHING}


def _failing(pattern, *, once):
    """Return a course in which calls fail between what goes well."""
    failing = ["fail", f"{pattern}\n{'once' if once else 'always'}\n"]
    well = ["fail", "nothing\nalways\n"]
    return [
        *(failing, ["start"], ["ban", FOUR], well, ["ban", SIX], ["unban", FOUR]),
        *(failing, ["ban", FOUR], ["unban", SIX], ["unban", FOUR], well, ["ban", FURTHER]),
        *(failing, ["ban", SIX], ["check"], ["prolong", {**SIX, "bantime": 60}]),
        *(
            failing,
            ["unban", FURTHER],
            well,
            ["reban", {**SIX, "bantime": 60}],
            ["flush"],
            ["ban", FOUR],
        ),
        *(failing, ["flush"], well, ["ban", SIX], failing, ["reload"], ["ban", FURTHER], ["stop"]),
    ]


FAILING = {
    f"{word}-{'once' if once else 'always'}": _failing(f"ipset {word}*", once=once)
    for word, once in (
        ("create", True),
        ("check", True),
        ("check", False),
        ("add", True),
        ("add", False),
        ("del", False),
        ("flush", True),
        ("destroy", True),
        ("repair", True),
    )
} | {
    "lost-once": _failing("ipset [ac][dh]*", once=True),
    "lost": _failing("ipset [acd][dhe]*", once=False),
}
