# SPDX-License-Identifier: MIT
"""Runs under a Python with fail2ban on its path: whom it bans, until when, and who goes free.

One JSON object a line on stdin, {"jail": options, "events": [[now, at, id], ...]}; for each a
JSON list on stdout: for each event [bans, unbans], a ban being [id, at, bantime, count].
Its threads are not started; what they would do is called in order.
"""

import json
import logging
import random
import sys

from fail2ban.server.banmanager import BanManager
from fail2ban.server.database import Fail2BanDb
from fail2ban.server.failmanager import FailManager, FailManagerEmpty
from fail2ban.server.jail import Jail
from fail2ban.server.mytime import MyTime
from fail2ban.server.observer import ObserverThread
from fail2ban.server.ticket import BanTicket, FailTicket


logging.disable(logging.CRITICAL)
random.random = lambda: 0.5


class Parts:
    """A jail without threads: its filter, its actions and itself."""

    def __init__(self, options):
        self.failManager = FailManager()
        self.failManager.setMaxRetry(options["maxretry"])
        self.failManager.setMaxTime(options["findtime"])
        self.failManager.maxMatches = options["maxmatches"]
        self.banManager = BanManager()
        self.banManager.setBanTime(options["bantime"])
        self.getBanTime = self.banManager.getBanTime
        self.name, self._banExtra = "jail", {}
        self.filter = self.actions = self
        self.database = Fail2BanDb(":memory:")
        self.database.addJail(self)
        self.observer = ObserverThread()
        for option, value in options["extra"].items():
            Jail.setBanTimeExtra(self, option, value)
        self.banned = []

    def isAlive(self):  # noqa: N802 - fail2ban's name
        return True

    def getBanTimeExtra(self, option=None):  # noqa: N802
        return Jail.getBanTimeExtra(self, option)

    def performBan(self, who):  # noqa: N802
        try:
            ticket = self.failManager.toBan(who)
        except FailManagerEmpty:
            return
        ticket = BanTicket.wrap(ticket)
        reason, bantime = {}, ticket.getBanTime(self.getBanTime())
        if self.banManager.addBanTicket(ticket, reason=reason):
            self.observer.banFound(ticket, self, bantime)
        elif "prolong" in reason:
            ticket = reason["ticket"]
        else:
            return
        taken = ticket.getBanTime(self.getBanTime())
        self.banned.append(
            [str(ticket.getID()), ticket.getTime(), int(taken), ticket.getBanCount()]
        )

    def event(self, now, at, who):
        MyTime.setTime(now)
        self.banned = []
        freed = [str(one.getID()) for one in self.banManager.unBanList(now)]
        self.failManager.cleanup(now)
        if who:
            ticket = FailTicket(who, at, data={"matches": [who]})
            if self.failManager.addFailure(ticket) >= self.failManager.getMaxRetry():
                self.performBan(ticket.getID())
            self.observer.failureFound(self, ticket)
        return [self.banned, sorted(freed)]


for request in sys.stdin:
    case = json.loads(request)
    MyTime.setTime(case["events"][0][0])
    parts = Parts(case["jail"])
    print(json.dumps([parts.event(*event) for event in case["events"]]), flush=True)
