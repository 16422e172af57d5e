# SPDX-License-Identifier: MIT
"""Does the agent, as a process, say of bad input where it is wrong, and protect all else?

One agent has every fault at once, and one jail that is fine, ``good``. Each test looks at one of
the faults, and has ``good`` ban somebody afterwards.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest

import stockade_agent
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import AgentStatus, Request
from stockade_agent.errors import ControlError, NoAgentError


AGENT = str(Path(stockade_agent.__file__).parents[1])
DEADLINE = 30.0
MANY = 10_000
# Root may read everything; without these two capabilities a mode means for it what it says.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")

JAIL_CONF = """\
[DEFAULT]
filter = sshd
port = 22
maxretry = 3
findtime = 600
bantime = 600
backend = auto
banaction = nftables-multiport
action = %(banaction)s[port="%(port)s"]
"""
FILTER = """\
[Definition]
failregex = ^\\s*\\S+ sshd\\[\\d+\\]: Failed password for .* from <HOST> port \\d+ ssh2$
"""

# What stands in jail.d/NAME.conf below `[NAME]` and `enabled = true`, from line 3 on; LOGS is a
# folder. Then what of it must be said, in the status of the jail and by `check`.
FAULTY = {
    "twice": ("logpath = LOGS/x\nmaxretry = 1\nmaxretry = 2\n", ":5:1: option maxretry appears"),
    "again": ("logpath = LOGS/x\n[again]\nport = 1\n", ":4: section [again] appears twice"),
    "circle": ("a = %(b)s\nb = %(a)s\nlogpath = %(a)s\n", ":4:5: logpath refers to itself"),
    "tagged": ("logpath = LOGS/x\nfilter = circle\n", "filter.d/circle.conf:"),
    "text": ("logpath = LOGS/x\nno option\n", ":4:1: neither [section] nor option"),
    "open": ("logpath = LOGS/x\nfailregex = (<HOST>\n", ":4: [open] failregex: does not compile"),
    "nobody": ("logpath = LOGS/x\nfailregex = ^failed$\n", ":4: [nobody] failregex: nothing in"),
    "absent": ("logpath = LOGS/x\nfilter = shd\n", ":4:10: no filter named shd"),
    "latin": ("logpath = LOGS/x\nport = caf\udce9\n", ":4: not UTF-8"),
    "filter8": ("logpath = LOGS/x\nfilter = latin\n", "filter.d/latin.conf:2: not UTF-8"),
    "nul": ("logpath = LOGS/\0\n", ":3: a NUL byte"),
    "folder": ("logpath = LOGS/x\nfilter = folder\n", "filter.d/folder.conf: no file that could"),
    "value": ("logpath = LOGS/x\nmaxretry = many\n", ":4:12: maxretry: "),
    "backend": ("logpath = LOGS/x\nbackend = sytemd\n", ":4:11: backend: unknown"),
}
# The same of jails that run, but for the status alone.
WAITING = {
    "empty": ("", "no logpath"),
    "section": ("logpath = LOGS/x\nfilter = section\n", "no failregex: nothing can match"),
    "fifo": ("logpath = LOGS/fifo\n", "LOGS/fifo: not a regular file"),
    "directory": ("logpath = LOGS/directory\n", "LOGS/directory: not a regular file"),
    "socket": ("logpath = LOGS/socket\n", "LOGS/socket: No such device or address"),
    "secret": ("logpath = LOGS/secret\n", "LOGS/secret: Permission denied"),
    "behind": ("logpath = LOGS/closed/*.log\n", "LOGS/closed: "),
    "nowhere": ("logpath = LOGS/nowhere\n", "no file yet: LOGS/nowhere"),
    "itself": ("logpath = LOGS/itself\n", "LOGS/itself: Too many levels of symbolic links"),
}
# Jails with logs like no other.
FINE = {
    "good": "logpath = LOGS/good\n",
    "dos": "logpath = LOGS/dos\r\nmaxretry = 2\r\n",
    "marked": "logpath = LOGS/marked\n",
    "torn": "logpath = LOGS/torn\n",
    "long": "logpath = LOGS/long\n",
    "short": "logpath = LOGS/short\n",
    "many": "logpath = LOGS/many/*.log\n",
    "partly": "logpath = LOGS/partly\n LOGS/fifo\n",
    "turned": "logpath = LOGS/turned\n",
}
NO_FILES = {
    "no-file.conf": "no file that could hold options",
    "no-pipe.conf": "no file that could hold options",
    "no-socket.local": "no file that could hold options",
    "no-end.conf": "leads to no file",
}


def line(address, user=b"root", end=b"\n"):
    stamp = datetime.now().strftime("%b %d %H:%M:%S").encode()  # noqa: DTZ005 - as syslog does
    return b"%b host sshd[7]: Failed password for %b from %b port 22 ssh2%b" % (
        stamp,
        user,
        address.encode(),
        end,
    )


def bind(path):
    """Leave a socket at a path, whatever its length."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


class Agent:
    """The agent in a folder where almost everything is wrong."""

    def __init__(self, folder, words=()):
        self.folder, self.logs = folder, folder / "logs"
        self.socket = str(folder / "agent.sock")
        self.addresses = (f"203.0.113.{n}" for n in count(1))
        self.environment = {**os.environ, "PYTHONPATH": AGENT, "PYTHONWARNINGS": "error"}
        for name in ("filter.d", "jail.d", "logs", "logs/many", "logs/closed"):
            (folder / name).mkdir()
        self.configure()
        self.fill()
        with (folder / "log").open("wb") as log:
            words = (*words, *(AS_ANYBODY if os.geteuid() == 0 else ()))
            self.process = subprocess.Popen(
                [*words, *self.command("run", "-c", str(folder), "--firewall", "memory")],
                stderr=log,
                env=self.environment,
            )
        self.until(self.answers)

    def configure(self):
        (self.folder / "jail.conf").write_text(JAIL_CONF)
        (self.folder / "stockade.conf").write_text(
            f"[Definition]\ndbfile = {self.folder}/ledger\nsocket = {self.socket}\n"
            f"controllers = {self.folder}/controllers\n"
        )
        said = {name: text for name, (text, _) in (FAULTY | WAITING).items()}
        for name, text in (said | FINE).items():
            self.jail(name, text)
        marked = (self.folder / "jail.d/marked.conf").read_bytes()
        (self.folder / "jail.d/marked.conf").write_bytes(b"\xef\xbb\xbf" + marked)
        filters = self.folder / "filter.d"
        (filters / "sshd.conf").write_text(FILTER)
        (filters / "circle.conf").write_text("[Definition]\nfailregex = <HOST> <a>\na=<b>\nb=<a>\n")
        (filters / "latin.conf").write_bytes(b"[Definition]\nfailregex = ^caf\xe9 <HOST>\n")
        (filters / "section.conf").write_text("[Definitoin]\nfailregex = ^failed <HOST>\n")
        (filters / "folder.conf").mkdir()
        files = self.folder / "jail.d"
        (files / "no-file.conf").mkdir()
        os.mkfifo(files / "no-pipe.conf")
        bind(files / "no-socket.local")
        (files / "no-end.conf").symlink_to("/nowhere/at/all")

    def jail(self, name, text):
        text = f"[{name}]\nenabled = true\n{text.replace('LOGS', str(self.logs))}"
        if "\r\n" in text:
            text = text.replace("\r\n", "\n").replace("\n", "\r\n")
        path = self.folder / f"jail.d/{name}.conf"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))

    def fill(self):
        os.mkfifo(self.logs / "fifo")
        bind(self.logs / "socket")
        (self.logs / "secret").write_bytes(line("198.51.100.1") * 3)
        (self.logs / "secret").chmod(0)
        (self.logs / "closed").chmod(0)
        (self.logs / "nowhere").symlink_to(self.logs / "never")
        (self.logs / "itself").symlink_to("itself")
        (self.logs / "directory").mkdir()
        (self.logs / "turned").mkdir()
        for number in range(MANY):
            (self.logs / f"many/{number}.log").touch()

    def command(self, *words):
        return [sys.executable, "-m", "stockade_agent", *words]

    def run(self, *words):
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env=self.environment,
            timeout=DEADLINE,
            check=False,
        )

    def answers(self):
        with contextlib.suppress(NoAgentError):
            return ask(self.socket, Request("ping")) == "pong"

    def until(self, condition):
        end = time.monotonic() + DEADLINE
        while not (found := condition()):
            assert time.monotonic() < end, f"not in time; the log: {self.log()}"
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)
        return found

    def log(self):
        return (self.folder / "log").read_text()

    def write(self, name, data, mode="ab"):
        with (self.logs / name).open(mode) as log:
            log.write(data)

    def status(self, jail):
        """Return the statuses of a jail: a jail that cannot run has one a fault."""
        with contextlib.suppress(ControlError):
            return self.whole(jail).jails
        return [one for one in self.whole().jails if one.name == jail]

    def whole(self, jail=""):
        return AgentStatus.from_json(ask(self.socket, Request("status", jail)))

    def problem(self, jail):
        return "; ".join(one.problem for one in self.status(jail))

    def banned(self, jail):
        return {ban.id for one in self.status(jail) for ban in one.bans if ban.enforced}

    def bans(self, jail, log, make=line):
        """Have somebody fail three times in a log, and see him banned."""
        address = next(self.addresses)
        self.write(log, make(address) * 3)
        self.until(lambda: address in self.banned(jail))


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    agent = Agent(tmp_path_factory.mktemp("bad"))
    yield agent
    agent.process.send_signal(signal.SIGTERM)
    assert 0 == agent.process.wait(DEADLINE)
    (agent.logs / "closed").chmod(0o700)


@pytest.fixture
def agent(started):
    """Give the agent; afterwards it must still ban, and have lost no word of a crash."""
    yield started
    started.bans("good", "good")

    assert "Traceback" not in started.log()
    assert not started.problem("good")


@pytest.fixture(scope="module")
def checked(started):
    return started.run("check", str(started.folder))


@pytest.mark.parametrize("jail", FAULTY)
def test_a_fault_of_one_jail(agent, checked, jail):
    """A jail that cannot run says so in its status, with file and line; ``check`` says the same."""
    said = FAULTY[jail][1]
    place = f"{agent.folder}/" + (said if said.startswith("filter.d") else f"jail.d/{jail}.conf")
    place += "" if said.startswith("filter.d") else said
    states = {one.state for one in agent.status(jail)}

    assert {"failed"} == states
    assert place in agent.problem(jail)
    assert place in checked.stdout


@pytest.mark.parametrize("jail", WAITING)
def test_a_jail_that_has_nothing_to_read(agent, jail):
    """A log that is none is said in the status of the jail, and waited for."""
    said = WAITING[jail][1].replace("LOGS", str(agent.logs))
    agent.until(lambda: said in agent.problem(jail))

    assert ["waiting"] == [one.state for one in agent.status(jail)]


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_among_the_configuration(agent, checked, name):
    """What can hold no options keeps no jail from running, and is told."""
    said = f"{agent.folder}/jail.d/{name}: {NO_FILES[name]}"

    assert said in agent.whole().faults
    assert said in checked.stdout


def test_check_tells_all_at_once(agent, checked):
    """One run of ``check`` names every faulty file, and ends as for a wrong configuration."""
    assert 1 == checked.returncode
    assert len(FAULTY) + len(NO_FILES) <= len(checked.stdout.splitlines())
    assert "" == checked.stderr


def test_a_file_of_windows(agent):
    """Line ends of the configuration and of the log mean nothing."""
    agent.bans("dos", "dos", lambda address: line(address, end=b"\r\n"))

    assert [(2, "")] == [(one.maxretry, one.problem) for one in agent.status("dos")]


def test_a_byte_order_mark(agent):
    """A mark at the start of the configuration or of a log costs no more than its line."""
    agent.write("marked", b"\xef\xbb\xbf" + line("198.51.100.2"))
    agent.bans("marked", "marked")

    assert "" == agent.problem("marked")


def test_bytes_of_no_encoding(agent):
    """Lines with bytes that no encoding has are judged by the rest of them."""
    agent.write("torn", bytes(range(256)) * 64 + b"\n")
    agent.bans("torn", "torn", lambda address: line(address, user=b"caf\xe9 \xff\xfe\x80"))


def test_nul_bytes(agent):
    """What a crash of the machine leaves in a log spoils the one line that it is in."""
    agent.write("torn", b"\0" * 100_000 + line("198.51.100.3") + b"\0\n")
    agent.bans("torn", "torn", lambda address: line(address, user=b"ro\0ot"))


def test_a_line_of_ten_megabytes(agent):
    """A line that is longer than any can be is skipped, which is said, and the next ones count."""
    agent.write("long", line("198.51.100.4", user=b"x" * (10 << 20)))
    agent.bans("long", "long")
    agent.until(lambda: "1 lines over 1 MB were skipped" in agent.problem("long"))

    assert "198.51.100.4" not in agent.log()


def test_a_file_that_disappears_while_it_is_read(agent):
    """A file is read to its end although it has been deleted; its successor is followed."""
    agent.write("short", b"")
    agent.until(lambda: agent.status("short")[0].logs)
    address = next(agent.addresses)
    noise = b"nothing that any filter wants to know\n" * 200_000
    with (agent.logs / "short").open("ab") as log:
        log.write(noise)
        (agent.logs / "short").unlink()
        log.write(line(address) * 3)
    agent.until(lambda: address in agent.banned("short"))
    agent.until(lambda: "no file yet" in agent.problem("short"))
    agent.bans("short", "short")


def test_ten_thousand_files(agent):
    """A glob over ten thousand files is followed whole; memory stays in proportion."""
    agent.until(lambda: len(agent.status("many")[0].logs) == MANY)
    agent.bans("many", "many/9999.log")
    agent.bans("many", "many/0.log")

    assert agent.whole("good").rss_bytes < 30e6 + MANY * 4000


def test_one_log_of_two(agent):
    """A jail that reads one of its logs says what is wrong with the other."""
    agent.bans("partly", "partly")

    assert f"{agent.logs}/fifo: not a regular file" == agent.problem("partly")


def test_a_log_in_the_place_of_what_was_none(agent):
    """When a real log takes the place of something else, it is read."""
    agent.until(lambda: "turned: not a regular file" in agent.problem("turned"))
    (agent.logs / "turned").rmdir()
    agent.write("turned", b"")
    agent.bans("turned", "turned")

    assert "" == agent.problem("turned")


def test_a_configuration_that_turns_into_a_directory(agent):
    """A reload that finds a directory for a file changes nothing, and says which it is."""
    path = agent.folder / "jail.d/good.conf"
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()
    try:
        with pytest.raises(ControlError, match=f"the old configuration stays: .*{path}: no file"):
            ask(agent.socket, Request("reload"))
        agent.bans("good", "good")
    finally:
        path.rmdir()
        path.write_bytes(kept)


def test_few_descriptors(tmp_path):
    """Where a glob covers more files than may be open, it says so; other jails have theirs."""
    agent = Agent(tmp_path, ("prlimit", "--nofile=256"))
    try:
        agent.until(lambda: agent.status("many")[0].logs)
        for jail in ("good", "short", "dos"):
            agent.bans(jail, jail)
        agent.until(lambda: "files more than may be open" in agent.problem("many"))

        assert 64 == len(agent.status("many")[0].logs)
        assert "Traceback" not in agent.log()
    finally:
        agent.process.terminate()
        agent.process.wait(DEADLINE)
        (agent.logs / "closed").chmod(0o700)
