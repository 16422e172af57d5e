# SPDX-License-Identifier: MIT
"""An agent whose bans grow, of prefixes as well, and that can be killed."""

from pathlib import Path

from agent import piped


BASE, MOST = 600, 20_000
HEAD = f"""\
[DEFAULT]
enabled = true
maxretry = 1
findtime = 300
bantime = {BASE}
bantime.increment = true
bantime.maxtime = {MOST}
failregex = ^failed from <HOST>$
logpath = {{folder}}/auth.log
action = nftables[port=22]
"""
SSHD = "[sshd]\nprefix6 = 64\nprefix6.wider = 56 48\nprefix6.members = 2\n"
WEB = "[web]\nbantime.overalljails = true\n"


class Agent(piped.Agent):
    """An agent of which a test says what addresses its host has, and that can be killed."""

    def __init__(self, folder, jails):
        super().__init__(Path(folder), HEAD + jails)
        self.own = set()
        self.start()

    def start(self):
        super().start()
        # Whatever addresses and gateways the machine has.
        self.pipe._protected._own, self.pipe._protected._routers = (lambda: self.own), tuple
        self.pipe._protected.move(str(self.folder / "c"))

    def kill(self):
        """Begin anew, as after kill -9: what was not committed before is lost."""
        self.pipe.records._ledger._db.close()
        self.pipe.intake.close()
        self.pipe.resolver.close()
        self.start()

    def fail(self, *addresses, jail="sshd"):
        super().fail(*addresses, jail=jail)
        return self.held(jail)

    def wait(self, seconds):
        self.now += seconds
        self.pipe.unban_due(self.now)

    def outwait(self):
        """Wait until every ban is over."""
        while (end := self.pipe.guards.next_due()) is not None:
            self.wait(end - self.now + 1)

    def again(self, *addresses, jail="sshd"):
        """Return the bans that addresses earn once all others are over."""
        self.outwait()
        return self.fail(*addresses, jail=jail)

    def held(self, jail="sshd"):
        """Return the bans in force: how many there were of each id, and how long it lasts."""
        return {
            ban.id: (ban.count, ban.expires_at - self.now)
            for ban in self.pipe.guards[jail].jail.banned.values()
        }

    def refused(self):
        """Return what the kernel refuses, and see that the ledger has the same."""
        jails = self.pipe.guards
        kernel = {(jail, id_) for jail in jails for id_ in self.kernel(jail)}
        assert kernel == {(jail, id_) for jail in jails for id_ in self.noted(jail)}
        return kernel


def grown(times):
    """Return the bantime of who was banned so many times before."""
    return min(MOST, BASE * 2**times)
