# SPDX-License-Identifier: MIT
"""fail2ban as the judge of actions: which tools it calls, with which words and input.

    PYTHONPATH=PACKAGE/usr/lib/python3/dist-packages python3.11 judge_actions.py < courses.json

A program of its own: only here is fail2ban imported. It is given courses (a jail of a
configuration tree and what happens to it) and answers, for every step, the calls that the stub
tools on its PATH have recorded, and the errors that fail2ban logged.
"""

import json
import logging
import os
import sys
from pathlib import Path

import stubs
from fail2ban.client.jailreader import JailReader
from fail2ban.server.actions import Actions
from fail2ban.server.ipdns import DNSUtils
from fail2ban.server.mytime import MyTime
from fail2ban.server.ticket import BanTicket


class Count:
    """Stands for fail2ban's failure manager."""

    def __init__(self, size, total):
        self.size, self.getFailTotal = (lambda: size), (lambda: total)


class Jail:
    """As much of a jail as actions look at."""

    database = None

    def __init__(self, name):
        self.name = name
        self.actions = Actions(self)
        self.filter = self
        self.failManager = Count(2, 9)

    def getBanTimeExtra(self, option=None):  # noqa: N802 - the judge's own name
        return None


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Course:
    """A jail with its actions, led through the steps."""

    def __init__(self, config, name, now):
        MyTime.setTime(now)
        self.config, self.jail = config, Jail(name)
        self.actions = self.jail.actions
        self.tickets = {}
        self.configure(name)
        self.add = self.actions._Actions__checkBan

    def configure(self, name, *, reload=False):
        reader = JailReader(name, basedir=self.config, force_enable=True)
        reader.read()
        reader.getOptions()
        for command in reader.convert(allow_no_files=True):
            if command[:1] == ["set"] and command[2:3] == ["addaction"]:
                self.actions.add(*command[3:], reload=reload)
            elif command[0] == "multi-set" and command[2] == "action":
                for option, value in command[4]:
                    setattr(self.actions[command[3]], option, value)
            elif command[:1] == ["set"] and command[2:3] == ["action"]:
                setattr(self.actions[command[3]], command[4], command[5])
            elif command[:1] == ["set"] and command[2:3] == ["bantime"]:
                self.actions.setBanTime(command[3])

    def ticket(self, data):
        ticket = BanTicket(data["id"], data["time"], data["matches"], data=data["data"])
        ticket.setAttempt(data["failures"])
        ticket.setBanTime(data["bantime"])
        ticket.setBanCount(data["count"] - 1)  # the ban itself is counted when it is made
        ticket.restored = data["restored"]
        return ticket

    def step(self, word, data=None):
        if word == "start":
            for action in self.actions.values():
                self.trying(action.start)
        elif word == "ban":
            ticket = self.tickets[data["id"]] = self.ticket(data)
            self.add([ticket])
        elif word == "prolong":
            ticket = self.tickets[data["id"]]
            ticket.setBanTime(data["bantime"])
            self.actions._prolongBan(ticket)
        elif word == "reban":
            self.actions._Actions__reBan(self.tickets[data["id"]])
        elif word == "unban":
            self.actions.removeBannedIP(data["id"], db=False, ifexists=True)
        elif word == "check":
            for action in self.actions.values():
                self.trying(action.consistencyCheck)
        elif word == "flush":
            self.actions.removeBannedIP(None, db=False)
        elif word == "reload":
            self.actions.reload(begin=True)
            self.configure(data or self.jail.name, reload=True)
            self.trying(lambda: self.actions.reload(begin=False))
        elif word == "stop":
            self.actions._Actions__flushBan(stop=True)
            self.actions.stopActions()
        else:
            raise ValueError(word)

    def trying(self, call):
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it raises, it logs where it runs
            logging.getLogger("fail2ban").error("%s", error)  # noqa: TRY400


def main():
    """Lead every course that standard input names through its steps."""
    asked = json.load(sys.stdin)
    os.umask(0o077)
    DNSUtils.ipToName = staticmethod(lambda ip: f"host-of-{ip}")
    DNSUtils.getHostname = staticmethod(lambda fqdn=True: "host.example.com" if fqdn else "host")
    DNSUtils.setIPv6IsAllowed(True)
    errors = Errors()
    logger = logging.getLogger("fail2ban")
    logger.addHandler(errors)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    answers = []
    folder = Path(os.environ["STUB_LOG"]).parent
    for asked_course in asked["courses"]:
        stubs.clean(folder)
        course = Course(asked["config"], asked_course["jail"], asked_course["now"])
        steps = []
        for step in asked_course["steps"]:
            if step[0] == "fail":
                (folder / "fail").write_text(step[1])
                continue
            errors.lines.clear()
            course.step(*step)
            seen = {"calls": stubs.recorded(folder), "files": stubs.files(folder)}
            steps.append({**seen, "errors": list(errors.lines)})
        answers.append(steps)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
