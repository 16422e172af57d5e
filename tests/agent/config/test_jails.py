# SPDX-License-Identifier: MIT
"""Do jails become what their files say, and does one bad jail leave the others alone?"""

import pytest

from stockade_agent.config import read
from stockade_agent.model import FOREVER
from stockade_agent.specs import Escalation, IgnoreCache, LogPath, Origin, Shield


TUTORIAL = {
    "jail.d/server.conf": """\
        [DEFAULT]
        # Ban for five minutes after three failures within two.
        bantime = 300
        findtime = 120
        maxretry = 3
        destemail = admin@example.org
        sender = fail2ban@example.org
        mta = sendmail

        [sshd]
        enabled = true
    """,
    "jail.d/vnc.conf": """\
        [tightvnc-auth]
        enabled = true
        filter = tightvnc-auth
        logpath = /home/*/.vnc/*:*.log
        port = 5901
    """,
    "filter.d/tightvnc-auth.conf": """\
        [Definition]
        failregex = authentication failed from <HOST>
        ignoreregex =
    """,
    "filter.d/sshd.conf": """\
        [Definition]
        mode = normal
        failregex = <mode> <HOST>
    """,
}


@pytest.fixture
def jail(base):
    """Return the one jail that options make."""

    def jail(options, files=None):
        text = "[any]\nenabled = true\n" + options
        config = read(base({"jail.local": text, **(files or {})}))
        assert () == config.faults
        return config.jails[0]

    return jail


def test_tutorial(base):
    """The files of the classic tutorial run on our own jail.conf as they are."""
    config = read(base(TUTORIAL))

    assert () == config.faults
    sshd, vnc = config.jails
    assert ("sshd", "tightvnc-auth") == (sshd.name, vnc.name)
    for jail in (sshd, vnc):
        assert (300, 120, 3, 3) == (jail.bantime, jail.findtime, jail.maxretry, jail.maxmatches)
        assert ("auto", True, ()) == (jail.backend, jail.ignoreself, jail.ignoreip)
        assert ["auto"] == [action.firewall for action in jail.actions]
    assert ("normal <HOST>",) == sshd.filter.failregex
    assert (LogPath("/var/log/auth.log"), LogPath("/var/log/secure")) == sshd.logpath
    assert Shield("sshd", ((22, 22),)) == sshd.shield
    assert ("authentication failed from <HOST>",) == vnc.filter.failregex
    assert (LogPath("/home/*/.vnc/*:*.log"),) == vnc.logpath
    assert Shield("tightvnc-auth", ((5901, 5901),)) == vnc.shield


def test_tutorial_slip(base):
    """A filter's name that is misspelt is answered with the one meant; the other jail runs."""
    slip = {"jail.d/vnc.conf": TUTORIAL["jail.d/vnc.conf"].replace("= tight", "= tigh")}
    directory = base({**TUTORIAL, **slip})

    config = read(directory)

    assert ["sshd"] == [jail.name for jail in config.jails]
    message = "no filter named tighvnc-auth (did you mean tightvnc-auth?)"
    assert [f"{directory}/jail.d/vnc.conf:3:10: {message}"] == [str(f) for f in config.faults]
    assert ["tightvnc-auth"] == [fault.jail for fault in config.faults]


def test_base_jails_are_off(base):
    """The base role's jail.conf alone protects nothing and is not at fault."""
    config = read(base({}))

    assert ((), ()) == (config.jails, config.faults)


def test_base_jails_can_run(base):
    """Each jail of the base role runs as soon as it is enabled and its filter is there."""
    regex = "[Definition]\nfailregex = x <HOST>\n"
    names = ("sshd", "dropbear", "tightvnc", "recidive")
    files = {f"filter.d/{name}.conf": regex for name in names}
    files["jail.local"] = "".join(f"[{name}]\nenabled = true\n" for name in names)

    sshd, dropbear, tightvnc, recidive = read(base(files)).jails

    assert ((22, 22),) == sshd.shield.ports == dropbear.shield.ports
    assert ((5800, 5999),) == tightvnc.shield.ports
    assert ((), 604800, 86400) == (recidive.shield.ports, recidive.bantime, recidive.findtime)


def test_every_option(jail):
    """Each option of a jail has its type."""
    spec = jail("""
backend = systemd[journalflags=1, journalpath="/var/log/journal"]
logpath = /a
  /b tail
maxretry = 4
findtime = 1h
bantime = -1
maxmatches = 2
ignoreip = 192.0.2.1, 198.51.100.0/24
  2001:db8::1
ignoreself = false
filtertime = 0.5
ignorecommand = /bin/check <ip>
ignorecache = key="<ip>", max-count=10
usedns = no
logencoding = utf-8
logtimezone = UTC+0200
journalmatch = _COMM=x + _COMM=y
  _UID=0
datepattern = %%Y
maxlines = 2
prefregex = ^<F-CONTENT>.+</F-CONTENT>$
ignoreregex = ^ignore
bantime.increment = true
bantime.factor = 2
bantime.formula = ban.Time * 2
bantime.multipliers = 1 2 4
bantime.maxtime = 1w
bantime.rndtime = 30m
bantime.overalljails = yes
prefix6 = /64
prefix6.wider = 48, 56
prefix6.members = 3
systemd_if_nologs = false
""")

    assert ("systemd", {"journalflags": "1", "journalpath": "/var/log/journal"}) == (
        spec.backend,
        spec.backend_parameters,
    )
    assert (LogPath("/a"), LogPath("/b", tail=True)) == spec.logpath
    assert (4, 3600, FOREVER, 2) == (spec.maxretry, spec.findtime, spec.bantime, spec.maxmatches)
    assert ("192.0.2.1", "198.51.100.0/24", "2001:db8::1") == spec.ignoreip
    assert (False, "/bin/check <ip>", IgnoreCache("<ip>", 10, 300.0), False) == (
        spec.ignoreself,
        spec.ignorecommand,
        spec.ignorecache,
        spec.systemd_if_nologs,
    )
    assert (
        Escalation(
            enabled=True,
            factor="2",
            formula="ban.Time * 2",
            multipliers=(1, 2, 4),
            maxtime=604800,
            rndtime=1800,
            overalljails=True,
        )
        == spec.escalation
    )
    assert ((64, 56, 48), 3) == (spec.prefix6, spec.members)
    rules = spec.filter
    assert ("no", "utf-8", "UTC+0200") == (rules.usedns, rules.logencoding, rules.logtimezone)
    assert ("_COMM=x + _COMM=y", "_UID=0") == rules.journalmatch
    assert ("%Y", 2, ("^ignore",)) == (rules.datepattern, rules.maxlines, rules.ignoreregex)
    assert "^<F-CONTENT>.+</F-CONTENT>$" == rules.prefregex
    assert 0.5 == spec.filtertime


@pytest.mark.parametrize("text", ["", "128"])
def test_prefix6_is_off(jail, text):
    """Unless a jail asks, each address counts by itself, whatever stands beside it."""
    assert jail(f"prefix6 = {text}\nprefix6.wider = 64\n").prefix6 == ()
    assert jail("").prefix6 == ()


def test_jail_overrides_filter(jail):
    """A regex in the jail replaces the filter's, or takes it up as known/."""
    assert ("own <HOST>",) == jail("failregex = own <HOST>").filter.failregex
    extended = jail("failregex = %(known/failregex)s\n  own <HOST>").filter.failregex
    assert ("bad <HOST>", "own <HOST>") == extended


def test_filter_wins_where_init_says(jail):
    """What [Init] brings is told beside the jail's: regexes add up, maxlines is the filter's."""
    text = "[Definition]\nfailregex = x <HOST>\n[Init]\njournalmatch = _COMM=a\nmaxlines = 3\n"

    rules = jail("maxlines = 9\njournalmatch = _COMM=b", {"filter.d/any.conf": text}).filter

    assert (("_COMM=a", "_COMM=b"), 3) == (rules.journalmatch, rules.maxlines)


def test_logtype_follows_backend(jail):
    """A filter that asks for logtype is told the journal where the jail reads it."""
    text = "[Definition]\nfailregex = <logtype> <HOST>\n"
    files = {"filter.d/any.conf": text}

    assert ("journal <HOST>",) == jail("backend = systemd", files).filter.failregex
    assert ("file <HOST>",) == jail("backend = polling", files).filter.failregex


def test_jail_without_filter(jail):
    """An empty filter and a failregex of the jail's own are enough."""
    spec = jail("filter =\nfailregex = x <HOST>")

    assert ("", ("x <HOST>",)) == (spec.filter.name, spec.filter.failregex)


def test_gamin(jail):
    """A backend that fail2ban has dropped reads files like the others."""
    assert "polling" == jail("backend = gamin").backend


def test_origins(base):
    """Every option knows the file and line that decided it."""
    directory = base(TUTORIAL)

    sshd = read(directory).jails[0]

    assert Origin(f"{directory}/jail.d/server.conf", 3) == sshd.origins["bantime"]
    assert Origin(f"{directory}/filter.d/sshd.conf", 3) == sshd.filter.origins["failregex"]


def test_only_named_jails(base):
    """Others can be left unread."""
    assert ["sshd"] == [jail.name for jail in read(base(TUTORIAL), jails=["sshd"]).jails]


@pytest.mark.parametrize(
    "options, place, message",
    [
        ("maxretry = three", "4:12", "maxretry: 'three' is no whole number"),
        ("maxretry = 0", "4:12", "maxretry: 0 failures can never be reached"),
        ("findtime = 10 parsecs", "4:12", "findtime: unknown unit 'parsecs'"),
        ("findtime = 0", "4:12", "findtime: '0' is no length of time"),
        (
            "backend = systemd[journalpaht=/j]",
            "4:11",
            "backend: unknown parameter journalpaht (did you mean",
        ),
        ("prefix6 = 24", "4:11", "prefix6: 24 is no prefix length from 32 to 128 (for example 64)"),
        ("prefix6 = yes", "4:11", "prefix6: 'yes' is no whole number"),
        ("prefix6 = 64\nprefix6.wider = 56 64", "5:17", "prefix6.wider: /64 is not wider than"),
        ("prefix6.members = 1", "4:19", "prefix6.members: 1 prefixes are not many"),
        ("backend = polling[rotated=on]", "4:11", "backend: polling has no parameters"),
        ("backend = sytemd", "4:11", "backend: unknown backend 'sytemd' (did you mean systemd?)"),
        ("bantime.multipliers = 1 x", "4:23", "bantime.multipliers: '1 x' is no list of numbers"),
        ("logencoding = utf-88", "4:15", "logencoding: unknown encoding 'utf-88'"),
        ("port = sshh", "4:8", "unknown port 'sshh' (did you mean ssh?)"),
        ("port = 1\nprotocol = tpc", "5:12", "unknown protocol 'tpc' (did you mean tcp?)"),
        ("filter = any[mode", "4:10", "filter: no ] at the end of any[mode"),
        ("action = nosuch", "4:10", "no action named nosuch"),
        ("action = smtp.py", "4:10", "action smtp.py is a Python class of fail2ban"),
        ("action = %(action_mw)s", "4", "no action named sendmail-whois"),
        ("banaction = iptables-multiprt", "4:13", "no action named iptables-multiprt (did you"),
        ("action = auto auto", "4:10", "two actions are named auto"),
        ("action = auto[blocktype=tarpit]", "4", "blocktype 'tarpit' is none that"),
        ("failregex = %(nope)s", "4:13", "failregex refers to %(nope)s, which is not defined"),
        ("port = 1\nport = 2", "5:1", "option port appears twice in [any] (first at line 4)"),
        ("[any]", "4", "section [any] appears twice (first at line 1)"),
        ("junk", "4:1", "neither [section] nor option = value"),
    ],
)
def test_bad_jail(base, options, place, message):
    """A fault takes its jail out with file, line and cause; every other jail runs."""
    text = f"[any]\nenabled = true\nlogpath = /x\n{options}\n"
    directory = base({**TUTORIAL, "jail.local": text})

    config = read(directory)

    assert ["sshd", "tightvnc-auth"] == [jail.name for jail in config.jails]
    assert [("any", True)] == [
        (fault.jail, str(fault).startswith(f"{directory}/jail.local:{place}: {message}"))
        for fault in config.faults
    ], config.faults


def test_all_faults_of_a_jail(base):
    """A jail's faults come all at once."""
    text = "[any]\nenabled = 1\nmaxretry = x\nfindtime = y\naction = z\nlogpath = %(l)s\n"

    assert 4 == len(read(base({"jail.local": text})).faults)


def test_bad_filter_file(base):
    """A filter's broken file takes out the jails that use it."""
    files = {**TUTORIAL, "filter.d/sshd.conf": "[Definition]\nfailregex = x <HOST>\njunk\n"}

    config = read(base(files))

    assert (["tightvnc-auth"], ["sshd"]) == (
        [jail.name for jail in config.jails],
        [fault.jail for fault in config.faults],
    )


def test_unused_shortcut(base):
    """An action whose file is missing is no fault while only an unused shortcut names it."""
    config = read(base(TUTORIAL))

    assert () == config.faults


def test_disabled_jail_is_not_looked_at(base):
    """What a jail would do is of no interest before it is enabled."""
    text = "[off]\nenabled = false\nbackend = %(nope)s\nfilter = nosuch\n"

    assert () == read(base({"jail.local": text})).faults


def test_bad_default(base):
    """A fault in [DEFAULT] that concerns the file itself makes the tree unusable."""
    faults = read(base({"jail.local": "[DEFAULT]\nbantime = 1\nbantime = 2\n"})).faults

    assert [None] == [fault.jail for fault in faults]
