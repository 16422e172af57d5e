# SPDX-License-Identifier: MIT
"""Do the mails of the role ``base`` say what they should, whatever an attacker writes?"""

import shutil
from pathlib import Path

import pytest


BASE = Path(__file__).parent.parent.parent / "roles/base"
LOCAL = """\
[DEFAULT]
filter = sshd
logpath = {folder}/auth.log
maxretry = 3
banaction = auto
mta = {mta}
destemail = admin@example.com, second@example.com
action = %(action_mwl)s
{more}
[sshd]
enabled = true
logpath = {folder}/auth.log
"""
MTAS = ["sendmail", "mail"]


class Office:
    """A host whose mails come into files instead."""

    def __init__(self, host):
        self.host, self.folder = host, host.folder
        shutil.copytree(BASE / "action.d", host.folder / "action.d", dirs_exist_ok=True)
        shutil.copy(BASE / "files/jail.conf", host.folder / "jail.conf")
        (host.folder / "mails").mkdir()
        self.whois("printf 'netname: \\033[1mEVIL\\n~!touch {folder}/x\\nasked: %s' \"$*\"")

    def program(self, name, text):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text.replace('{folder}', str(self.folder))}\n")
        path.chmod(0o755)
        return path

    def whois(self, text):
        self.program("whois", text)

    def open(self, mta="sendmail", mailcmd="cat > {folder}/mails/<ip>", more="", **options):
        options = {"whois_command": f"{self.folder}/whois", "mailcmd": mailcmd, **options}
        lines = "".join(f"{key} = {text}\n" for key, text in options.items())
        local = self.folder / f"action.d/{mta}-whois-lines.local"
        local.write_text("[Init]\n" + lines.replace("{folder}", str(self.folder)))
        text = LOCAL.format(folder=self.folder, mta=mta, more=more)
        (self.folder / "jail.local").write_text(text)
        self.host.start()
        assert "failed" != self.host.jail().state, self.host.jail().problem

    def mail(self, id_="192.0.2.7"):
        path = self.folder / "mails" / id_
        self.host.until(path.exists)
        self.host.idle()
        return path.read_bytes().decode()

    def action(self):
        (found,) = self.host.jail().actions
        return found


@pytest.fixture
def office(host):
    return Office(host)


def test_a_mail_with_whois_and_log_lines(office):
    """``action = %(action_mwl)s`` bans, and tells of whom, why, and where he is from."""
    office.open()
    office.host.fail("192.0.2.7", "root")
    mail = office.mail()
    head, _, body = mail.partition("\n\n")

    assert {"192.0.2.7"} == office.host.enforced()
    assert head.startswith("Subject: [stockade] sshd: 192.0.2.7 banned on ")
    assert 'From: "stockade" <root@' in head
    assert "\nTo: admin@example.com, second@example.com\n" in head
    assert body.startswith("192.0.2.7 is banned in jail sshd on ")
    assert "Lasts:     600 s\nFailures:  3\nBan:       number 1 of" in body
    assert 3 == body.count("sshd: Failed for root from 192.0.2.7\n")
    assert "netname: [1mEVIL\n ~!touch" in body
    assert "asked: -- 192.0.2.7" in body


def test_what_a_mail_program_is_told(office):
    """``mta = mail`` gives the subject to the program, and the text to its input."""
    office.program("mailx", 'echo "$@" > {folder}/words; cat > {folder}/mails/192.0.2.7')
    office.open("mail", f'{office.folder}/mailx -s "$subject" <dest>')
    office.host.fail("192.0.2.7")
    body = office.mail()
    words = (office.folder / "words").read_text()

    assert words.startswith("-s [stockade] sshd: 192.0.2.7 banned on ")
    assert words.endswith(" admin@example.com, second@example.com\n")
    assert body.startswith("192.0.2.7 is banned in jail sshd")


@pytest.mark.parametrize("mta", MTAS)
@pytest.mark.parametrize(
    "user",
    [
        pytest.param("~!touch {x}", id="tilde"),
        pytest.param("$(touch {x})", id="substitution"),
        pytest.param("`touch {x}`", id="backticks"),
        pytest.param("'; touch {x} #", id="quote"),
        pytest.param('"; touch {x} #', id="double-quote"),
        pytest.param("\\n~!touch {x}\\n", id="escaped-newline"),
        pytest.param("%0a~!touch {x}%0a", id="url-newline"),
        pytest.param("%s%n\\033[2J\\c", id="formats"),
        pytest.param("\x1b]0;{x}\x07\x08\x7f", id="terminal"),
        pytest.param("\r~!touch {x}", id="return"),
        pytest.param(".", id="dot"),
        pytest.param("x" * 5000, id="long"),
    ],
)
def test_hostile_names_stay_data(office, mta, user):
    """No file appears, no line begins with a tilde, and nothing is lost of what can be shown."""
    user = user.format(x=office.folder / "x")
    office.open(mta)
    office.host.fail("192.0.2.7", user)
    body = office.mail()
    shown = "".join(char for char in user if char.isprintable())

    assert not (office.folder / "x").exists()
    assert 3 == body.replace("\n", "").count(f"Failed for {shown} from 192.0.2.7")
    assert [] == [line for line in body.split("\n") if line.startswith("~") or len(line) > 998]
    assert all(char.isprintable() or char in "\n\t" for char in body)


def test_a_ban_by_hand_without_lines(office):
    """Somebody's own ban is told of, though there is no log line of it."""
    office.open(more="bantime = -1")
    office.host.ban("2001:db8::7")

    assert "Lasts:     for ever\nFailures:  0\n" in office.mail("2001:db8::7")


def test_a_whois_that_hangs_does_not_keep_the_mail(office):
    """It is ended after its time, and the mail says that it gave no answer."""
    office.whois("echo $$ > {folder}/pid; exec sleep 300")
    office.open(whois_timeout="1")
    office.host.fail("192.0.2.7")

    assert "(no answer from whois within 1 s, or none of use)" in office.mail()
    assert gone(office.folder / "pid")


def test_an_endless_whois(office):
    """No more of it is sent than a mail should have."""
    office.whois("yes")
    office.open(whois_timeout="1", whois_bytes="1000")
    office.host.fail("192.0.2.7")

    assert len(office.mail()) < 3000


def test_a_mail_server_that_hangs(office):
    """It delays no ban, is killed at its timeout with all that it started, and stands as failed."""
    office.program("sendmail", "sleep 300 & echo $! >> {folder}/pid; wait")
    office.open(mailcmd=f"{office.folder}/sendmail", timeout="4")
    office.host.fail("192.0.2.7")
    pid = office.folder / "pid"
    office.host.until(lambda: pid.exists() and pid.read_text())
    office.host.fail("192.0.2.8")
    banned, busy = office.host.enforced(), office.action().state
    office.host.until(lambda: office.action().failed)

    assert ({"192.0.2.7", "192.0.2.8"}, "busy") == (banned, busy)
    assert "killed after 4 s" in office.action().problem
    office.host.until(lambda: gone(pid))


def gone(pid_file):
    """Return whether the first process of the file has ended."""
    process = Path("/proc", pid_file.read_text().split()[0])
    # Nobody may have waited for it yet.
    return not process.exists() or " Z " in (process / "stat").read_text()


@pytest.mark.parametrize("mta", MTAS)
@pytest.mark.parametrize("kind", ["", "-whois", "-whois-lines"])
def test_every_kind_of_mail(office, mta, kind):
    """Each of the action files makes a mail that has the parts of its name."""
    local = office.folder / f"action.d/{mta}{kind}.local"
    office.open(mta, more="")
    text = (office.folder / f"action.d/{mta}-whois-lines.local").read_text()
    local.write_text(text)
    jail = (office.folder / "jail.local").read_text()
    jail = jail.replace("%(action_mwl)s", f'{mta}{kind}[name=other, dest="a@example.com"]')
    (office.folder / "jail.local").write_text(jail)
    office.host.reload()
    office.host.fail("192.0.2.7")
    body = office.mail()

    assert "192.0.2.7 is banned in jail other on" in body
    assert ("-whois" in kind) == ("netname: " in body)
    assert ("lines" in kind) == ("Failed for root" in body)


@pytest.mark.parametrize("mta", MTAS)
def test_many_bans_share_a_mail(office, mta):
    """After the first few, bans are collected, and told of by one mail that names them."""
    office.open(mta, digest_after="2", digest_time="1")
    for number in range(1, 8):
        office.host.fail(f"198.51.100.{number}")
    queued = office.action().queued
    body = office.mail("5 addresses")
    names = {path.name for path in (office.folder / "mails").iterdir()}

    assert {"198.51.100.1", "198.51.100.2", "5 addresses"} == names
    assert queued >= 5
    assert "share one mail" in body
    assert [f"198.51.100.{n}  3 failures" for n in range(3, 8)] == body.rstrip().split("\n")[-5:]
    assert 7 == len(office.host.enforced())


def test_what_is_collected_is_told_of_at_the_end(office):
    """An agent that stops does not keep to itself what it has collected."""
    office.open(digest_after="0", digest_time="1h")
    office.host.fail("198.51.100.7")
    office.host.fail("198.51.100.8")
    office.host.end()

    assert "198.51.100.8  3 failures" in (office.folder / "mails/2 addresses").read_text()
