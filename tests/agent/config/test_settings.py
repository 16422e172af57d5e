# SPDX-License-Identifier: MIT
"""Are the agent's own settings read as they are meant, and refused in words?"""

import pytest

from stockade_agent.config import read
from stockade_agent.specs import AgentSpec, Origin


@pytest.mark.parametrize(
    "make, message",
    [(None, "no such directory"), ({}, "neither jail.conf nor jail.d/*.conf is here")],
    ids=["no-directory", "empty"],
)
def test_no_configuration(write, make, message):
    """Where there is nothing to read, that is the fault, and it is nobody's jail."""
    directory = write({}) + ("/absent" if make is None else "")

    config = read(directory)

    assert [(f"{directory}: {message}", None)] == [(str(f), f.jail) for f in config.faults]


def test_settings(base):
    """stockade.conf wins over fail2ban.conf, whose paths stay fail2ban's."""
    directory = base(
        {
            "fail2ban.conf": """\
                [DEFAULT]
                loglevel = DEBUG
                [Definition]
                logtarget = /var/log/fail2ban.log
                dbfile = /var/lib/fail2ban/fail2ban.sqlite3
                socket = /var/run/fail2ban/fail2ban.sock
                dbpurgeage = 1d
            """,
            "stockade.conf": "[Definition]\nfirewall = nftables\nchainprefix = x-\n",
            "stockade.local": "[Definition]\ndbfile = :memory:\nlogtarget = stderr\n",
        }
    )

    agent = read(directory).agent

    default = AgentSpec()
    assert ("nftables", "x-", ":memory:", "STDERR", "DEBUG", 86400, default.socket) == (
        agent.firewall,
        agent.chainprefix,
        agent.dbfile,
        agent.logtarget,
        agent.loglevel,
        agent.dbpurgeage,
        agent.socket,
    )
    assert Origin(f"{directory}/stockade.local", 2) == agent.origins["dbfile"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("firewal = nftables", "unknown option firewal (did you mean firewall?)"),
        ("firewall = nftable", "firewall: unknown: 'nftable' (did you mean nftables?)"),
        ("loglevel = loud", "loglevel: unknown: 'loud'"),
        ("logtarget = SYSLOG", "logtarget: unknown: 'SYSLOG' (known are auto, STDERR, SYSTEMD-J"),
        ("logtarget = agent.log", "known are auto, STDERR, SYSTEMD-JOURNAL, /path/of/a/file"),
        ("logsize = much", "logsize: 'much' is no whole number (such as 10m)"),
        ("logcount = 5k", "logcount: '5k' is no whole number (such as 5)"),
        ("dbpurgeage = soon", "dbpurgeage: 'soon' is no duration"),
        ("firewall = %(x)s", "firewall refers to %(x)s, which is not defined"),
    ],
)
def test_bad_settings(base, text, message):
    """A bad setting is nobody's jail."""
    directory = base({"stockade.conf": f"[Definition]\n{text}\n"})

    faults = read(directory).faults

    assert [None] == [fault.jail for fault in faults]
    assert message in str(faults[0])
