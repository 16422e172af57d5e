# SPDX-License-Identifier: MIT
"""What does fail2ban do when somebody flushes the rules? The row of docs/reliability.md."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from conformance.fetch import Unavailable, fetch


pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.lab]

VERSION = "1.0.2"
PATIENCE = 60
DEADLINE = 30.0
LOCAL = "[Definition]\ndbfile = :memory:\nlogtarget = {folder}/log\n"
JAIL = """\
[sshd]
enabled = true
backend = polling
logpath = {folder}/auth.log
port = 22
banaction = {action}
"""


class Fail2ban:
    """A real one, in a network namespace of its own."""

    def __init__(self, folder, action):
        try:
            tree = fetch(VERSION)
        except Unavailable as error:
            pytest.skip(str(error))
        self.tree, self.folder = tree, folder
        shutil.copytree(tree / "etc/fail2ban", folder / "conf")
        shutil.rmtree(folder / "conf/jail.d")
        (folder / "auth.log").touch()
        (folder / "conf/fail2ban.local").write_text(LOCAL.format(folder=folder))
        (folder / "conf/jail.local").write_text(JAIL.format(folder=folder, action=action))
        packages = tree / "usr/lib/python3/dist-packages"
        self.environment = {**os.environ, "PYTHONPATH": str(packages)}
        self.namespace = ("unshare", "-n")
        self.process = subprocess.Popen(
            (*self.namespace, *self.command("server", "-f", "start")),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.namespace = ("nsenter", "-t", str(self.process.pid), "-n")
        until(lambda: self.ask("ping").returncode == 0)

    def command(self, part, *words):
        program = self.tree / f"usr/bin/fail2ban-{part}"
        paths = ("-c", "conf", "-s", "socket", "-p", "pid")
        return (sys.executable, str(program), *(self.placed(word) for word in paths), *words)

    def placed(self, word):
        return word if word.startswith("-") else str(self.folder / word)

    def ask(self, *words):
        return subprocess.run(
            self.command("client", *words),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def nft(self, *words):
        argv = (*self.namespace, "nft", *words)
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def end(self):
        self.process.terminate()
        self.process.wait(DEADLINE)


def until(condition, seconds=DEADLINE):
    """Poll until a condition holds; return whether it did in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="fail2ban 1.0.2 needs Python 3.11")
@pytest.mark.parametrize("action", ["nftables-multiport", "iptables-multiport"])
def test_fail2ban_does_not_notice(tmp_path, action, capsys):
    """It still lists a ban that is no longer in force; not even the next ban brings it back."""
    fail2ban = Fail2ban(tmp_path, action)
    try:
        fail2ban.ask("set", "sshd", "banip", "192.0.2.1")
        assert until(lambda: "192.0.2.1" in fail2ban.nft("list", "ruleset"))
        fail2ban.nft("flush", "ruleset")
        back = until(lambda: "192.0.2.1" in fail2ban.nft("list", "ruleset"), PATIENCE)
        fail2ban.ask("set", "sshd", "banip", "192.0.2.2")
        assert until(lambda: "192.0.2.2" in fail2ban.nft("list", "ruleset"))
        again = "192.0.2.1" in fail2ban.nft("list", "ruleset")
        listed = "192.0.2.1" in fail2ban.ask("status", "sshd").stdout
    finally:
        fail2ban.end()
    with capsys.disabled():
        print(
            f"\nfail2ban {VERSION}, {action}, nft flush ruleset: ban back within {PATIENCE} s: "
            f"{back}; after the next ban: {again}; still listed as banned: {listed}",
            end="",
        )

    assert (False, False, True) == (back, again, listed)
