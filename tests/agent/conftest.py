# SPDX-License-Identifier: MIT
"""A host whose loop a test plays, for the commands of actions."""

import io
import time
from datetime import datetime
from functools import partial

import pytest

from stockade_agent.guards import read
from stockade_agent.ledger import Ledger
from stockade_agent.log import Log
from stockade_agent.pipe import Pipe
from stockade_agent.protected import Protected


DEADLINE = 30.0
JAIL = """\
[DEFAULT]
filter = sshd
maxretry = 3
backend = auto
logpath = {folder}/auth.log

[sshd]
enabled = true
bantime = 600
action = {action}
{more}
"""
FILTER = """\
[Definition]
failregex = sshd: Failed for <F-USER>.*</F-USER> from <HOST>$
"""
# Each command writes down what it is told, one word a line.
NOTES = """\
[Definition]
actionstart = echo start >> {folder}/<file>
actionban = printf '%%s\\n' "ban <ip> <restored>" >> {folder}/<file>
actionunban = printf '%%s\\n' "unban <ip>" >> {folder}/<file>
actionstop = echo stop >> {folder}/<file>
{more}
[Init]
file = notes
"""


class Host:
    """A directory that is a host for the agent, whose loop a test plays."""

    def __init__(self, folder):
        self.folder, self.said, self.pipe = folder, io.StringIO(), None
        for name in ("filter.d", "action.d"):
            (folder / name).mkdir()
        (folder / "filter.d/sshd.conf").write_text(FILTER)
        known = {"dbfile": "ledger.sqlite3", "socket": "agent.sock", "controllers": "controllers"}
        lines = [f"{key} = {folder}/{name}\n" for key, name in known.items()]
        (folder / "stockade.conf").write_text("[Definition]\n" + "".join(lines))
        (folder / "auth.log").touch()
        self.action("notes")

    def action(self, name, more="", text=""):
        text = text or NOTES.format(folder=self.folder, more=more)
        (self.folder / f"action.d/{name}.conf").write_text(text)

    def configure(self, action="notes", more=""):
        text = JAIL.format(folder=self.folder, action=action, more=more)
        (self.folder / "jail.conf").write_text(text)
        return self

    def start(self, now=None):
        log = Log(self.said, prefixed=False)
        self.pipe = Pipe(read(str(self.folder)), time.time(), log, "memory", clock=time.monotonic)
        self.pipe.start(time.time() if now is None else now)
        self.take()
        return self

    def reload(self):
        self.pipe.reload(time.time(), read(str(self.folder)))

    def end(self):
        if self.pipe is not None:
            self.pipe.close(time.time())
        self.pipe = None

    def fail(self, address, user="root", times=3):
        stamp = datetime.now().strftime("%b %d %H:%M:%S")  # noqa: DTZ005 - as syslog writes it
        with (self.folder / "auth.log").open("a") as log:
            log.write(f"{stamp} host sshd: Failed for {user} from {address}\n" * times)
        self.take()
        self.pipe.carry_out(time.time(), at_once=True)

    def take(self):
        for name in self.pipe.intake.sources:
            self.pipe.take(name, time.time())

    def ban(self, *ids):
        return self.pipe.ban("sshd", ids, time.time())

    def unban(self, *ids):
        return self.pipe.unban("sshd", ids, time.time())

    def until(self, condition):
        end = time.monotonic() + DEADLINE
        while not (found := condition()):
            assert time.monotonic() < end, f"not in time: {self.said.getvalue()} {self.jail()}"
            if self.pipe.actions is not None:
                self.pipe.acted(time.time())
            time.sleep(0.005)
        return found

    def idle(self):
        """Wait until no command is left to be run, and return the jail."""
        self.until(lambda: not any(a.queued for a in self.jail().actions))
        self.pipe.acted(time.time())
        return self.jail()

    def notes(self, name="notes"):
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def expect(self, *lines, name="notes"):
        self.until(lambda: len(self.notes(name)) >= len(lines))
        assert [*lines] == self.notes(name)

    def jail(self, name="sshd"):
        return next(j for j in self.pipe.status(time.time()).jails if j.name == name)

    def enforced(self):
        return {ban.id for ban in self.jail().bans if ban.enforced}


@pytest.fixture
def host(tmp_path):
    """A host with the jail sshd and an action that writes down what it is told."""
    host = Host(tmp_path)
    yield host
    host.end()


@pytest.fixture
def alone(monkeypatch):
    """An agent has no addresses and gateways of its own, whatever the machine has."""
    nobody = partial(Protected, own=lambda: (), routers=lambda: ())
    monkeypatch.setattr("stockade_agent.pipe.Protected", nobody)


@pytest.fixture
def zone(monkeypatch):
    """Return a function that sets this process's time zone until the test ends."""

    def choose(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def path(tmp_path):
    """Where a ledger may be made."""
    return str(tmp_path / "state" / "ledger.sqlite3")


@pytest.fixture
def again(path):
    """Return what opens the ledger anew."""
    made = []

    def again():
        made.append(Ledger(path))
        return made[-1]

    yield again
    for each in made:
        each.close()
