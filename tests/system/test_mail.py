# SPDX-License-Identifier: MIT
"""Does a ban on a real host send a real mail, and can nobody do harm by what is in it?"""

import json
from email import message_from_string

import pytest

from lab import attack
from system import kernel
from system.controller import Controller
from system.test_guard import eventually


BOX = "/var/mail/victim"
HANGS = "sleep 300 & echo $$ > /run/hung; wait"
MAILS = 30.0
"""Seconds that a mail may take: whois tries for ten, in a network without an answer."""


@pytest.fixture(scope="module")
def mailed(lab, tmp_path_factory):
    """A host with exim whose jails tell the user victim of their bans, by ``action_mwl``."""
    host = lab.boot("debian12-8")
    controller = Controller(lab, tmp_path_factory.mktemp("mail"))
    of_file = {"enabled": True, "filter": "sshd", "maxretry": 2, "backend": "polling"}
    controller.write_inventory(
        [host],
        {
            "stockade_roles": ["base", "sshd"],
            "base_firewall": "nftables",
            "base_action": "action_mwl",
            "base_destemail": "victim",
            "sshd_maxretry": 3,
            "stockade_jails": {
                "fed": {**of_file, "logpath": "/var/log/fed.log"},
                "hung": {
                    **of_file,
                    "logpath": "/var/log/hung.log",
                    "action": ["%(action_)s", f'sendmail[mailcmd="{HANGS}", timeout=4]'],
                },
            },
        },
    )
    host.run("touch /var/log/fed.log /var/log/hung.log")
    controller.push()
    yield host
    host.stop()


def feed(host, log, user, address, count=2):
    """Append failures to a log, as sshd words them."""
    stamp = host.run(["date", "+%b %d %H:%M:%S"]).stdout.strip()
    line = (
        f"{stamp} host sshd[7]: Failed password for invalid user {user} from {address} port 9 ssh2"
    )
    host.write("/root/lines", f"{line}\n" * count)
    host.run(f"cat /root/lines >> {log}")


def mails(host, subject):
    """Return the mails in the box whose subject has this in it, with what they say."""
    text = host.run(["cat", BOX], check=False).stdout
    # What follows up to the end of that line belongs to what separates mails.
    parts = f"\n{text}".split("\nFrom ")[1:]
    found = [message_from_string(part.partition("\n")[2]) for part in parts]
    return [mail for mail in found if subject in str(mail["Subject"])]


def one_mail(host, subject):
    found = eventually(lambda: mails(host, subject), seconds=MAILS)
    assert 1 == len(found), host.run("tail /var/log/exim4/*; stockade-agent status").stdout
    return found[0]


def jail(host, name):
    shown = json.loads(host.run(["stockade-agent", "status", name, "--json"]).stdout)
    (found,) = shown["jails"]
    return found


def enforced(host, name):
    return {ban["id"] for ban in jail(host, name)["bans"] if ban["enforced"]}


def test_an_attack_is_told_of(lab, mailed):
    """Who guesses passwords is banned, and the mail in the box has the lines that sshd logged."""
    wrong = [f"guess-{number}" for number in range(5)]
    attack.hydra(lab, "attacker", mailed, "victim", wrong, timeout=60)
    source = lab.address("attacker")
    mail = one_mail(mailed, f"sshd: {source} banned")
    body = mail.get_payload()

    assert source in kernel.banned(mailed, "nftables")
    assert mail["To"].startswith("victim")
    assert mail["From"].startswith('"stockade" <root@')
    assert 3 == body.count(f"Failed password for victim from {source} port")
    assert f"whois {source}:" in body
    assert eventually(lambda: jail(mailed, "sshd")["actions"][0]["state"] == "ready")


@pytest.mark.parametrize(
    "number, user",
    [
        pytest.param(1, "~!touch /x", id="tilde"),
        pytest.param(2, "$(touch /x)", id="substitution"),
        pytest.param(3, "`touch /x`", id="backticks"),
        pytest.param(4, "a\\n~!touch /x\\n", id="escaped-newline"),
        pytest.param(5, "%0a~!touch /x%0a.%0a", id="url-newline"),
        pytest.param(6, "'\"; touch /x #", id="quotes"),
    ],
)
def test_hostile_names_stay_data(mailed, number, user):
    """What an attacker calls himself stands in the mail, and nothing comes of it."""
    address = f"198.51.100.{number}"
    feed(mailed, "/var/log/fed.log", user, address)
    body = one_mail(mailed, f"fed: {address} banned").get_payload()

    assert 2 == body.count(f"invalid user {user} from {address}")
    assert 0 != mailed.run(["test", "-e", "/x"], check=False).rc


def test_a_restart_tells_nothing_twice(mailed):
    """Bans that outlive the agent are no news."""
    feed(mailed, "/var/log/fed.log", "root", "198.51.100.77")
    one_mail(mailed, "fed: 198.51.100.77 banned")
    mailed.run("systemctl restart stockade-agent")
    feed(mailed, "/var/log/fed.log", "root", "198.51.100.78")
    one_mail(mailed, "fed: 198.51.100.78 banned")

    assert 1 == len(mails(mailed, "fed: 198.51.100.77 banned"))


def test_a_mail_server_that_hangs(mailed):
    """While it hangs others are banned; at its timeout all that it started is killed."""
    feed(mailed, "/var/log/hung.log", "root", "198.51.100.101")
    assert eventually(lambda: mailed.run(["test", "-s", "/run/hung"], check=False).rc == 0)
    feed(mailed, "/var/log/hung.log", "root", "198.51.100.102")
    both = {"198.51.100.101", "198.51.100.102"}
    assert eventually(lambda: enforced(mailed, "hung") == both)
    assert both <= kernel.banned(mailed, "nftables")
    meanwhile = jail(mailed, "hung")["actions"][0]
    failed = eventually(lambda: jail(mailed, "hung")["actions"][0]["failed"] == 2, seconds=40)
    action = jail(mailed, "hung")["actions"][0]

    # Neither of the two has come to its end, and none is the one that the ban waited for.
    assert ("busy", 2) == (meanwhile["state"], meanwhile["queued"])
    assert failed
    assert "actionban: killed after 4 s" in action["problem"]
    mailed.run("stockade-agent unban hung 198.51.100.101 198.51.100.102")
    assert eventually(lambda: mailed.run(["pgrep", "-fx", "sleep 300"], check=False).rc == 1)
