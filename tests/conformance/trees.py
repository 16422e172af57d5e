# SPDX-License-Identifier: MIT
"""Random configuration trees: a stock tree under layers of what people do to theirs.

The same seed gives the same tree. Most of what is written is legal; a little is not, so that
both sides must refuse it.
"""

import random

from conformance import oracle


KEPT = ("maxretry", "port", "bantime", "ignoreip")
COMMENTS = ("# a note", "; another", "   # indented", "")
WORDS = ("alpha", "beta", "gamma", "delta")
MODES = ("normal", "aggressive", "ddos", "extra")
REGEXES = (
    r"denied <HOST> 100[%%] sure",  # a percent sign makes the filter's value unfit for known/
    r"^\s*<_daemon>: bad <HOST>$",
    r"^%(__prefix_line)sno <F-USER>\S+</F-USER> from <HOST>",
    r"^%(__prefix_line)s<mdp-<mode>> by <ADDR>\s*$",
    r"^<HOST> (?:<words>)+ ; x",
    r"^<extra/tail> <HOST>",
    r"[<name>] <HOST>",
    r"^<pre><HOST><known/post>",
    r"^<WORDS> <Definition/post> <default/mode> <HOST>",
    r"%(extra/tail)s <nobody/knows> <HOST>",
    r"^<known/kind><KNOWN/words>- <HOST>",
)
# Nor are percent signs fit for known/ in a datepattern.
DATES = (
    "{^LN-BEG}",
    "%%Y-%%m-%%d %%H:%%M:%%S",
    "^EPOCH",
    "{NONE}\n{^LN-BEG}%%d/%%m/%%y %%H:%%M:%%S",
)
COMMANDS = (
    "echo <ip> <name> >> <file>",
    "printf %%b '<a>' | <tool> -s <b-<kind>> <port>\n<again>",
    "<tool> add <set> <ip> <bantime> <matches>",
    "[ -n '<known/a>' ] && <tool> <chain>",
    "<sec/cmd> <default/glob> \\{ <ip> \\}",
    "",
)
STOCK_ACTIONS = (
    "iptables-multiport",
    "iptables-allports",
    "iptables-ipset-proto6",
    "nftables",
    "nftables-allports",
    "firewallcmd-ipset",
    "ufw",
    "sendmail-whois-lines",
    "sendmail",
    "hostsdeny",
    "dummy",
    "route",
)
PARAMETERS = (
    "name=<jail>-x",
    'port="%(port)s"',
    'protocol="tcp,udp"',
    "chain=<known/chain>",
    "type=allports",
    "blocktype=DROP",
    'dest="%(destemail)s"',
    "logpath='%(logpath)s'",
    'a="one, two]"',
    "kind=z",
    'tool="sudo <known/tool>"',
    "bantime=0",
    'returntype="RETURN"',
)


class Grower:
    """Writes one tree into a directory.

    Args:
        stock: a fail2ban's etc/fail2ban.
    """

    def __init__(self, seed, stock, directory):
        self.random = random.Random(seed)
        self.stock, self.directory = stock, directory
        self.jails = []
        self.filters = []
        self.actions = []

    def grow(self):
        """Write everything and return the directory."""
        oracle.link(self.stock, self.directory)
        self._logs()
        for number in range(self.random.randint(1, 3)):
            self._filter(f"own{number}")
        for number in range(self.random.randint(1, 2)):
            self._action(f"do{number}")
        for name in self._some(
            ["sshd", "postfix", "dovecot", "exim", "common", "apache-auth"], 0.4
        ):
            self._filter_local(name)
        for name in self._some(["iptables", "nftables", "sendmail-common", "dummy"], 0.3):
            self._write(f"action.d/{name}.local", self._action_local())
        self._jail_files()
        return self.directory

    def _logs(self):
        (self.directory / "log").mkdir()
        for name in WORDS:
            (self.directory / "log" / f"{name}.log").touch()

    # ---- text -----------------------------------------------------------------------------

    def _some(self, of, share):
        return [item for item in of if self.random.random() < share]

    def _one(self, of):
        return self.random.choice(of)

    def _maybe(self, share):
        return self.random.random() < share

    def _date(self):
        return self._one(DATES) if self._maybe(0.05) else "{^LN-BEG}"

    def _write(self, name, sections):
        lines = []
        for header, options in sections:
            lines.append(f"[{header}]")
            if self._maybe(0.3):
                lines.append(self._one(COMMENTS))
            for option, value in options:
                lines += self._option(option, value)
        (self.directory / name).write_text("\n".join(lines) + "\n")

    def _option(self, option, value):
        if self._maybe(0.1):
            option = option.upper() if "/" not in option else option
        equals = self._one((" = ", "=", " : ", "=  ")) if ":" not in option else " = "
        first, *rest = value.split("\n")
        lines = [option + equals + first + (" ; why" if self._maybe(0.05) else "")]
        if rest and self._maybe(0.3):
            lines.append(self._one(COMMENTS))
        for line in rest:
            lines.append("  " + " " * self.random.randint(0, 4) + line)
            if self._maybe(0.1):
                lines.append(self._one(COMMENTS))
        if self._maybe(0.1):
            lines.append("")
        return lines

    def _unique(self, options):
        return list({option.lower(): (option, value) for option, value in options}.values())

    # ---- filters and actions --------------------------------------------------------------

    def _filter(self, name):
        self.filters.append(name)
        suffix = ".local" if self._maybe(0.1) else ".conf"
        before = self._some(["common.conf", "apache-common.conf", "own0.conf", "none.conf"], 0.5)
        if (name, suffix) == ("own0", ".local"):
            # fail2ban would include it in itself without end.
            before = [file for file in before if file != "own0.conf"]
        sections = [("INCLUDES", [("before", "\n".join(before))])] if before else []
        if sections and self._maybe(0.3):
            sections[0][1].append(("after", f"{name}.d/after.conf\n./common.local"))
        if self._maybe(0.4):
            sections += [("DEFAULT", [("_daemon", "dd"), ("mode", "normal"), ("glob", "g<name>")])]
        prefix = [] if "common.conf" in before else [("__prefix_line", r"<_daemon>\S+ ")]
        if not sections or sections[-1][0] != "DEFAULT":
            prefix += [("_daemon", self._one(WORDS)), ("mode", self._one(MODES))]
        definition = [
            *prefix,
            ("words", "|".join(self._some(WORDS, 0.7)) or "w"),
            ("pre", self._one(["", "p<kind>", "<post>-"])),
            ("post", self._one(["q", "%(words)s", "<words>"])),
            *((f"mdp-{mode}", f"{mode}er <words>") for mode in self._some(MODES, 0.9)),
            (
                "failregex",
                "\n".join(self._some(REGEXES[self.random.random() < 0.9 :], 0.6)) or "x <HOST>",
            ),
            ("ignoreregex", self._one(["", "^ignore <_daemon>", "<pre>"])),
        ]
        if self._maybe(0.3):
            definition.append(("datepattern", self._date()))
        if self._maybe(0.3):
            definition.append(("journalmatch", self._one(["_COMM=a + _COMM=b", '"A=b c"\nX=y'])))
        if self._maybe(0.2):
            definition.append(
                ("prefregex", "^<F-MLFID>%(__prefix_line)s</F-MLFID><F-CONTENT>.+</F-CONTENT>$")
            )
        if self._maybe(0.2):
            definition.append(("logtype", self._one(["file", "journal"])))
        sections += [
            ("Definition", self._unique(definition)),
            ("extra", [("tail", self._one(["t", "<words>", "%(_daemon)s-%%"])), ("_daemon", "x")]),
        ]
        if self._maybe(0.5):
            init = [
                ("maxlines", "3"),
                ("kind", self._one(WORDS)),
                ("post", self._one(["i", "%(kind)s", "<words>"])),
                ("words", "ww"),
                ("failregex", "^init <HOST> %(mode)s"),
            ]
            sections.append(("Init", self._some(init, 0.4)))
        if self._maybe(0.1):
            sections.append(("Definition?x=1", [("words", "conditional")]))
        self._write(f"filter.d/{name}{suffix}", sections)
        if self._maybe(0.3):
            self._folder(name)
        if self._maybe(0.4):
            self._filter_local(name)

    def _folder(self, name):
        """Write the files of a folder beside the filter's own."""
        (self.directory / f"filter.d/{name}.d").mkdir()
        for file in self._some(["10.conf", "after.conf", "20.local", ".hidden.conf"], 0.6):
            options = [("words", file[:2]), ("post", "%(known/post)s+"), ("kind", "f")]
            sections = [("Definition", self._some(options, 0.5)), ("extra", [("tail", file)])]
            self._write(f"filter.d/{name}.d/{file}", sections)

    def _filter_local(self, name):
        options = [
            ("_daemon", self._one(["(?:%(known/_daemon)s|more)", "plain"])),
            ("failregex", self._one(["%(known/failregex)s\n^added <HOST>$", "^instead <HOST>$"])),
            ("ignoreregex", "%(known/ignoreregex)s\n^never <HOST>"),
            ("maxlines", "2"),
            ("datepattern", self._date()),
            ("mode", self._one(MODES)),
        ]
        if name == "common":
            options = [("_daemon", "c")]
        elif name in ("exim", "apache-auth"):
            options[0] = ("_daemon", "e")
        sections = [("Definition", self._some(options, 0.4))]
        if self._maybe(0.3):
            sections.append(("Init", [("kind", "local")]))
        if self._maybe(0.2):
            sections.append(("DEFAULT", [("glob", "G"), ("mode", "ddos")]))
        self._write(f"filter.d/{name}.local", sections)

    def _action(self, name):
        self.actions.append(name)
        before = self._some(["iptables.conf", "helpers-common.conf", "sendmail-common.conf"], 0.3)
        sections = [("INCLUDES", [("before", "\n".join(before))])] if before else []
        commands = ("actionstart", "actionstop", "actioncheck", "actionban", "actionunban",
                    "actionflush", "actionrepair", "actionprolong", "actionreload")  # fmt: skip
        definition = [(option, self._one(COMMANDS)) for option in self._some(commands, 0.6)]
        definition += [("again", "<tool> again"), ("b-z", "zz<a>"), ("glob", "*")]
        definition += self._some([("norestored", "1"), ("actionstart_on_demand", "false")], 0.3)
        init = [("a", "A"), ("kind", self._one(["z", "<a>"])), ("tool", "tt <opt>"), ("opt", "-o"),
                ("file", "/tmp/<name>"), ("set", "s-<name>"), ("chain", "CH")]  # fmt: skip
        sections += [
            ("Definition", definition),
            ("sec", [("cmd", self._one(["<tool> -x", "%(glob)s", "y"])), ("glob", "?")]),
            ("Init", self._some(init, 0.8)),
        ]
        if self._maybe(0.5):
            six = [("tool", "tt6 <opt>"), ("set", "s6-<name>"), ("a", "AAAA")]
            sections.append(("Init?family=inet6", self._some(six, 0.6)))
        if self._maybe(0.2):
            sections.append(("DEFAULT", [("glob", "d"), ("bantime", "5")]))
        self._write(f"action.d/{name}.conf", sections)
        if self._maybe(0.4):
            self._write(f"action.d/{name}.local", self._action_local())

    def _action_local(self):
        options = [("actionban", "%(known/actionban)s\nlogger <ip>"), ("actionflush", "<flush>")]
        sections = [("Definition", self._some(options, 0.3))]
        init = [("blocktype", "DROP"), ("tool", "local"), ("chain", "MINE"), ("a", "b")]
        sections.append(("Init", self._some(init, 0.3)))
        if self._maybe(0.3):
            sections.append(("Init?family=inet6", [("blocktype", "DROP6"), ("tool", "local6")]))
        return sections

    # ---- jails ----------------------------------------------------------------------------

    def _jail_files(self):
        stock = ["sshd", "postfix", "dovecot", "exim", "apache-auth", "nginx-http-auth", "vsftpd",
                 "recidive", "named-refused", "proftpd", "mysqld-auth", "squid"]  # fmt: skip
        self.jails = [*self.random.sample(stock, 5), "own-jail", "second"]
        files = ["jail.local", "jail.d/10-a.conf", "jail.d/20-b.conf", "jail.d/20-b.local"]
        seen = {}
        for number, name in enumerate(["jail.d/00-on.conf", *self._some(files, 0.6)]):
            sections = []
            if self._maybe(0.5):
                sections.append(("DEFAULT", self._unique(self._some(self._defaults(), 0.25))))
            for jail in self.jails if number == 0 else self._some(self.jails, 0.6):
                options = self._some(self._jail_options(jail, seen.get(jail)), 0.25)
                if number == 0:
                    options.insert(0, ("enabled", self._one(["true", "1", "yes", "on", "True"])))
                if number == 0 and jail in ("own-jail", "second"):
                    options.append(("filter", self._filter_call(jail)))
                    options.append(("logpath", f"{self.directory}/log/beta.log"))
                sections.append((jail, self._unique(options)))
                seen[jail] = {} if jail in seen else dict(options)
            if self._maybe(0.2):
                sections.append(("INCLUDES", [(self._one(["before", "after"]), "more.conf")]))
                self._write(name.rpartition("/")[0] + "/more.conf" if "/" in name else "more.conf",
                            [("DEFAULT", [("port", "1:99")])])  # fmt: skip
            self._write(name, sections)

    def _defaults(self):
        return [
            ("maxretry", str(self.random.randint(1, 9))),
            ("findtime", self._one(["10m", "1h", "600"])),
            ("bantime", self._one(["-1", "1d", "10m"])),
            ("ignoreip", self._one(["127.0.0.1/8 ::1", "192.0.2.1,198.51.100.0/24\n2001:db8::1"])),
            ("destemail", "ops@example.org"),
            ("sender", "f2b@example.org"),
            ("banaction", self._one(STOCK_ACTIONS[:6])),
            ("action", self._one(["%(action_mw)s", "%(action_mwl)s", "%(action_)s", ""])),
            ("backend", self._one(["auto", "polling", "systemd", "systemd[journalflags=1]"])),
            ("usedns", self._one(["no", "raw", "yes"])),
            ("mode", self._one(MODES[:2])),
            ("port", "ssh"),
            ("custom", "22%(__name__)s"),
            ("logencoding", "utf-8"),
            ("bantime.increment", self._one(["true", "no"])),
        ]

    def _filter_call(self, jail):
        name = self._one([*self.filters, "sshd", "%(__name__)s" if jail == "sshd" else "exim"])
        parameters = self._some(
            ["mode=aggressive", 'kind="k"', "logtype=short", "words='v|w'"], 0.3
        )
        return name + (f"[{', '.join(parameters)}]" if parameters else "")

    def _jail_options(self, jail, known):
        log = self.directory / "log"
        options = [
            *self._defaults(),
            ("mode", self._one(MODES)),
            (
                "failregex",
                self._one(
                    [
                        "%(known/failregex)s\n^own <HOST> 50%% $",
                        "^only <HOST>",
                        "^%(known/_daemon)s <_daemon> <HOST>",
                        "%(known/words)s <HOST>\n%(known/failregex)s",
                    ]
                ),
            ),
            ("ignoreregex", "%(known/ignoreregex)s\nx"),
            ("datepattern", self._one([*DATES, "%(known/datepattern)s"])),
            ("maxlines", "4"),
            ("journalmatch", self._one(["", "_COMM=%(__name__)s"])),
            ("prefregex", "^<F-CONTENT>.+</F-CONTENT>$"),
            ("logpath", f"{log}/alpha.log\n{log}/*.log tail"),
            ("logtimezone", "UTC+01:00"),
            ("maxmatches", "%(default/maxretry)s"),
            ("ignorecommand", "/bin/check <ip> %(__name__)s"),
            ("ignorecache", 'key="<ip>", max-count=10'),
            ("bantime.multipliers", "1 2 4"),
            ("port", self._one(["%(default/port)s,22", "%(default/port)s", "http,https"])),
            ("action", self._actions_text(jail)),
            ("banaction", self._banaction()),
            ("findtime", self._one(["%(bantime)s", "%(sshd/port)s"])),
            ("action_own", self._actions_text(jail)),
            ("filter", self._filter_call(jail)),
        ]
        options += [(name, f"%(known/{name})s") for name in known or () if name in KEPT]
        if self._maybe(0.005):
            options.append(("maxmatches", self._one(["%(nothing)s", "100%", "%(maxmatches)s"])))
        return options

    def _banaction(self):
        parameters = self._some(PARAMETERS[4:], 0.2)
        name = self._one([*STOCK_ACTIONS[:6], *self.actions])
        return name + (f"[{', '.join(parameters)}]" if parameters else "")

    def _actions_text(self, jail):
        calls = []
        for number in range(self.random.randint(1, 3)):
            name = self._one([*STOCK_ACTIONS, *self.actions])
            parameters = [text.replace("<jail>", jail) for text in self._some(PARAMETERS, 0.25)]
            if number:
                parameters.append(f"actname=act{number}")
            calls.append(name + (f"[{', '.join(parameters)}]" if parameters else ""))
        return self._one(["\n", " "]).join(calls)


def grow(seed, stock, directory):
    """Write the tree of ``seed`` on top of ``stock`` into an empty directory and return it."""
    return Grower(seed, stock, directory).grow()
