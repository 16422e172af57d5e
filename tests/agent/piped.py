# SPDX-License-Identifier: MIT
"""An agent without a process around it: its pipe, which a test tells the time."""

import io

from stockade_agent import answers, config
from stockade_agent.control.protocol import Request
from stockade_agent.ledger import Ledger
from stockade_agent.log import Log
from stockade_agent.pipe import Pipe


NOW = 1_700_000_000.0


class Agent:
    """What runs in a folder, from what the folder has for its configuration.

    Args:
        folder: where all of it is, ``auth.log`` as well.
        jails: the text of jail.conf; ``{folder}`` stands for the folder.
    """

    def __init__(self, folder, jails):
        self.folder, self.said, self.now, self.pipe = folder, io.StringIO(), NOW, None
        (folder / "stockade.conf").write_text(
            f"[Definition]\ndbfile = {folder}/l\ncontrollers = {folder}/c\n"
        )
        (folder / "auth.log").touch()
        self.write(jails)

    def write(self, text, name="jail.conf"):
        (self.folder / name).write_text(text.format(folder=self.folder))

    def read(self):
        return config.read(str(self.folder))

    def start(self):
        """Begin anew; what was not committed before is lost."""
        read, log = self.read(), Log(self.said, prefixed=False)
        assert () == read.faults
        journalctl = ("/nowhere/journalctl",)
        self.pipe = Pipe(read, self.now, log, "memory", journalctl, clock=lambda: self.now)
        self.pipe.start(self.now)
        return self

    def end(self):
        self.pipe.close(self.now)

    def ask(self, command, *words, jail="", option="", ids=()):
        return answers.answer(self.pipe, Request(command, jail, ids, option, words), self.now)

    def get(self, option, jail="sshd"):
        return self.ask("get", jail=jail, option=option)["value"]

    def set(self, option, *words, jail="sshd"):
        return self.ask("set", *words, jail=jail, option=option)["value"]

    def reload(self, *words, jail=""):
        request = Request("reload", jail, words=words)
        found, afresh = answers.asked(self.pipe, request, self.read())
        self.pipe.reload(self.now, found, afresh)

    def fail(self, *addresses, jail="sshd"):
        for address in addresses:
            self.ask("attempt", jail=jail, ids=(address,))

    def jail(self, name="sshd"):
        """Return how a jail is."""
        return next(one for one in self.pipe.status(self.now).jails if one.name == name)

    def banned(self, jail="sshd"):
        return list(self.pipe.guards[jail].jail.banned)

    def kernel(self, jail="sshd"):
        return {str(target) for target in self.pipe.enforcement.firewall.banned()[jail]}

    def noted(self, jail="sshd"):
        """Return who is banned by the ledger."""
        ledger = Ledger(f"{self.folder}/l")
        try:
            return {ban.id for ban in ledger.bans() if ban.jail == jail}
        finally:
            ledger.close()
