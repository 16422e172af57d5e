# SPDX-License-Identifier: MIT
"""Does the agent, as a process, say of bad input where it is wrong, and protect all else?

One agent has every fault at once, and one jail that is fine, ``good``. Each test looks at one of
the faults, and has ``good`` ban somebody afterwards.
"""

import contextlib
import os
import signal
import socket
from datetime import datetime
from itertools import count

import pytest

from agent.host import FILTERS as USUAL
from agent.host import Host
from stockade_agent.control.client import ask
from stockade_agent.control.protocol import Request
from stockade_agent.errors import ControlError


MANY = 10_000
ADDRESSES = (f"203.0.113.{n}" for n in count(1))
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
FILTERS = {"sshd": USUAL["sshd"] + " ssh2$"}

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


def furnish(host):
    """Write the faulty configuration, and what is no log in the place of logs."""
    for name in ("jail.d", "logs", "logs/many", "logs/closed"):
        (host.folder / name).mkdir()
    said = {name: text for name, (text, _) in (FAULTY | WAITING).items()}
    for name, text in (said | FINE).items():
        write_jail(host.folder, name, text)
    jails, filters, logs = (host.folder / name for name in ("jail.d", "filter.d", "logs"))
    (jails / "marked.conf").write_bytes(b"\xef\xbb\xbf" + (jails / "marked.conf").read_bytes())
    (jails / "no-file.conf").mkdir()
    os.mkfifo(jails / "no-pipe.conf")
    bind(jails / "no-socket.local")
    (jails / "no-end.conf").symlink_to("/nowhere/at/all")
    (filters / "circle.conf").write_text("[Definition]\nfailregex = <HOST> <a>\na=<b>\nb=<a>\n")
    (filters / "latin.conf").write_bytes(b"[Definition]\nfailregex = ^caf\xe9 <HOST>\n")
    (filters / "section.conf").write_text("[Definitoin]\nfailregex = ^failed <HOST>\n")
    (filters / "folder.conf").mkdir()
    os.mkfifo(logs / "fifo")
    bind(logs / "socket")
    (logs / "secret").write_bytes(line("198.51.100.1") * 3)
    (logs / "secret").chmod(0)
    (logs / "closed").chmod(0)
    (logs / "nowhere").symlink_to(logs / "never")
    (logs / "itself").symlink_to("itself")
    (logs / "directory").mkdir()
    (logs / "turned").mkdir()
    for number in range(MANY):
        (logs / f"many/{number}.log").touch()


def write_jail(folder, name, text):
    text = f"[{name}]\nenabled = true\n{text.replace('LOGS', f'{folder}/logs')}"
    if "\r\n" in text:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    path = folder / f"jail.d/{name}.conf"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def write(host, log, data):
    with (host.folder / f"logs/{log}").open("ab") as file:
        file.write(data)


def statuses(host, jail):
    """Return the statuses of a jail: a jail that cannot run has one a fault."""
    with contextlib.suppress(ControlError):
        return host.status(jail).jails
    return [one for one in host.status().jails if one.name == jail]


def problem(host, jail):
    return "; ".join(one.problem for one in statuses(host, jail))


def banned(host, jail):
    return {ban.id for one in statuses(host, jail) for ban in one.bans if ban.enforced}


def bans(host, jail, log, make=line):
    """Have somebody fail three times in a log, and see him banned."""
    address = next(ADDRESSES)
    write(host, log, make(address) * 3)
    host.until(lambda: address in banned(host, jail))


@contextlib.contextmanager
def faulty(folder, prefix=()):
    """Give the agent in a folder where almost everything is wrong; it ends well."""
    host = Host(folder, JAIL_CONF, FILTERS, (*prefix, *(AS_ANYBODY if os.geteuid() == 0 else ())))
    furnish(host)
    try:
        yield host.start()
        assert 0 == host.end()
    finally:
        host.end(signal.SIGKILL)
        (folder / "logs/closed").chmod(0o700)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with faulty(tmp_path_factory.mktemp("bad")) as host:
        yield host


@pytest.fixture
def host(started):
    """Give the agent; afterwards it must still ban, and have lost no word of a crash."""
    yield started
    bans(started, "good", "good")

    assert "Traceback" not in started.log()
    assert not problem(started, "good")


@pytest.fixture(scope="module")
def checked(started):
    return started.check()


@pytest.mark.parametrize("jail", FAULTY)
def test_a_fault_of_one_jail(host, checked, jail):
    """A jail that cannot run says so in its status, with file and line; ``check`` says the same."""
    said = FAULTY[jail][1]
    place = f"{host.folder}/" + (said if said.startswith("filter.d") else f"jail.d/{jail}.conf")
    place += "" if said.startswith("filter.d") else said
    states = {one.state for one in statuses(host, jail)}

    assert {"failed"} == states
    assert place in problem(host, jail)
    assert place in checked.stdout


@pytest.mark.parametrize("jail", WAITING)
def test_a_jail_that_has_nothing_to_read(host, jail):
    """A log that is none is said in the status of the jail, and waited for."""
    said = WAITING[jail][1].replace("LOGS", f"{host.folder}/logs")
    host.until(lambda: said in problem(host, jail))

    assert ["waiting"] == [one.state for one in statuses(host, jail)]


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_among_the_configuration(host, checked, name):
    """What can hold no options keeps no jail from running, and is told."""
    said = f"{host.folder}/jail.d/{name}: {NO_FILES[name]}"

    assert said in host.status().faults
    assert said in checked.stdout


def test_check_tells_all_at_once(host, checked):
    """One run of ``check`` names every faulty file, and ends as for a wrong configuration."""
    assert 1 == checked.returncode
    assert len(FAULTY) + len(NO_FILES) <= len(checked.stdout.splitlines())
    assert "" == checked.stderr


def test_a_file_of_windows(host):
    """Line ends of the configuration and of the log mean nothing."""
    bans(host, "dos", "dos", lambda address: line(address, end=b"\r\n"))

    assert [(2, "")] == [(one.maxretry, one.problem) for one in statuses(host, "dos")]


def test_a_byte_order_mark(host):
    """A mark at the start of the configuration or of a log costs no more than its line."""
    write(host, "marked", b"\xef\xbb\xbf" + line("198.51.100.2"))
    bans(host, "marked", "marked")

    assert "" == problem(host, "marked")


def test_bytes_of_no_encoding(host):
    """Lines with bytes that no encoding has are judged by the rest of them."""
    write(host, "torn", bytes(range(256)) * 64 + b"\n")
    bans(host, "torn", "torn", lambda address: line(address, user=b"caf\xe9 \xff\xfe\x80"))


def test_nul_bytes(host):
    """What a crash of the machine leaves in a log spoils the one line that it is in."""
    write(host, "torn", b"\0" * 100_000 + line("198.51.100.3") + b"\0\n")
    bans(host, "torn", "torn", lambda address: line(address, user=b"ro\0ot"))


def test_a_line_of_ten_megabytes(host):
    """A line that is longer than any can be is skipped, which is said, and the next ones count."""
    write(host, "long", line("198.51.100.4", user=b"x" * (10 << 20)))
    bans(host, "long", "long")
    host.until(lambda: "1 lines over 1 MB were skipped" in problem(host, "long"))

    assert "198.51.100.4" not in host.log()


def test_a_file_that_disappears_while_it_is_read(host):
    """A file is read to its end although it has been deleted; its successor is followed."""
    write(host, "short", b"")
    host.until(lambda: statuses(host, "short")[0].logs)
    address = next(ADDRESSES)
    noise = b"nothing that any filter wants to know\n" * 200_000
    with (host.folder / "logs/short").open("ab") as log:
        log.write(noise)
        (host.folder / "logs/short").unlink()
        log.write(line(address) * 3)
    host.until(lambda: address in banned(host, "short"))
    host.until(lambda: "no file yet" in problem(host, "short"))
    bans(host, "short", "short")


def test_ten_thousand_files(host):
    """A glob over ten thousand files is followed whole; memory stays in proportion."""
    host.until(lambda: len(statuses(host, "many")[0].logs) == MANY)
    bans(host, "many", "many/9999.log")
    bans(host, "many", "many/0.log")

    assert host.status("good").rss_bytes < 30e6 + MANY * 4000


def test_one_log_of_two(host):
    """A jail that reads one of its logs says what is wrong with the other."""
    bans(host, "partly", "partly")

    assert f"{host.folder}/logs/fifo: not a regular file" == problem(host, "partly")


def test_a_log_in_the_place_of_what_was_none(host):
    """When a real log takes the place of something else, it is read."""
    host.until(lambda: "turned: not a regular file" in problem(host, "turned"))
    (host.folder / "logs/turned").rmdir()
    write(host, "turned", b"")
    bans(host, "turned", "turned")

    assert "" == problem(host, "turned")


def test_a_configuration_that_turns_into_a_directory(host):
    """A reload that finds a directory for a file changes nothing, and says which it is."""
    path = host.folder / "jail.d/good.conf"
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()
    try:
        with pytest.raises(ControlError, match=f"the old configuration stays: .*{path}: no file"):
            ask(host.socket, Request("reload"))
        bans(host, "good", "good")
    finally:
        path.rmdir()
        path.write_bytes(kept)


def test_few_descriptors(tmp_path):
    """Where a glob covers more files than may be open, it says so; other jails have theirs."""
    with faulty(tmp_path, ("prlimit", "--nofile=256")) as host:
        host.until(lambda: statuses(host, "many")[0].logs)
        for jail in ("good", "short", "dos"):
            bans(host, jail, jail)
        host.until(lambda: "files more than may be open" in problem(host, "many"))

        assert 64 == len(statuses(host, "many")[0].logs)
        assert "Traceback" not in host.log()
