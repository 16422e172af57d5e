# SPDX-License-Identifier: MIT
"""A host that was pushed to, from which somebody takes bans."""

import json
import re
import time
from collections import Counter

from system.controller import Controller


NUMBER = 50  # no other test boots it
IN_TIME = 2.0
DEADLINE = 40.0
IDS = ["192.0.2.1", "192.0.2.22", "198.51.100.0/24", "2001:db8::7"]
HOSTS = {"firewalld": "el9", "nftables": "debian12", "iptables": "debian13"}
CHANGING = re.compile(r"\[\d+:\d+\]|#.*|packets \d+ bytes \d+|(timeout|expires) \S+|,")
RULES = {
    "firewalld": "nft list table inet firewalld",
    "nftables": "nft list table inet stockade",
    "iptables": "iptables-save -t filter; ip6tables-save -t filter",
}
FAULTS = {
    "firewalld": [
        "nft flush ruleset",
        "nft delete table inet firewalld",
        "nft flush set inet firewalld stockade-sshd-4",
        "nft delete element inet firewalld stockade-sshd-4 '{ 192.0.2.1 }'",
        "nft flush chain inet firewalld filter_INPUT",
        "nft flush chain inet firewalld filter_IN_policy_stockade_deny",
    ],
    "nftables": [
        "nft flush ruleset",
        "nft delete table inet stockade",
        "systemctl restart nftables",
    ],
    "iptables": ["iptables -F", "ip6tables -F", "nft flush ruleset"],
}
RELOADS = ["firewall-cmd --reload", "firewall-cmd --complete-reload"]


def words(rules):
    return sorted(CHANGING.sub("", rules).split())


class Guarded:
    """A host that was pushed to, with bans in force."""

    def __init__(self, lab, folder, backend):
        self.host = lab.boot(f"{HOSTS[backend]}-{NUMBER}")
        self.backend = backend
        controller = Controller(lab, folder)
        variables = {"stockade_roles": ["base", "sshd"], "base_firewall": backend}
        controller.write_inventory([self.host], variables)
        controller.push()
        self.host.run(["stockade-agent", "ban", "sshd", *IDS])
        self.whole = self.rules()
        assert any(IDS[0] in rule for rule in self.whole)

    def firewall(self):
        """Return what the agent says of its firewall."""
        answer = self.host.run("stockade-agent status --json").stdout
        return json.loads(answer)["firewall"]

    def rules(self):
        """Return the kernel's rules, without what changes by itself."""
        return words(self.host.run(RULES[self.backend], check=False).stdout)

    def refuses(self):
        """Return whether all are refused, if only by the table that stands in for firewalld's."""
        if self.rules() == self.whole:
            return True
        bridge = words(self.host.run(RULES["nftables"], check=False).stdout)
        sets = {"@v4-sshd", "@v4.24-sshd", "@v6-sshd"}
        return self.backend == "firewalld" and {*sets, *(id_.split("/")[0] for id_ in IDS)} <= set(
            bridge
        )

    def holds(self):
        """Return whether all that was in force is, whatever else there may be."""
        return not Counter(self.whole) - Counter(self.rules())

    def strike(self, command):
        """Take something, and return the seconds until the kernel refused all again.

        Everything is as it was in the end, and was counted once.
        """
        healed = self.firewall()["healed"]
        begun = time.monotonic()
        self.host.run(command)
        while not self.refuses():
            assert time.monotonic() - begun < DEADLINE, self.rules()
        taken = time.monotonic() - begun
        self.until(lambda firewall: firewall["healed"] > healed)
        self.wait_until_whole()
        assert healed + 1 == self.firewall()["healed"]
        return taken

    def wait_until_whole(self):
        """Poll until the kernel's rules are as they were."""
        end = time.monotonic() + DEADLINE
        while self.rules() != self.whole:
            assert time.monotonic() < end, self.rules()

    def until(self, condition):
        """Poll until the firewall of the status fulfils a condition."""
        end = time.monotonic() + DEADLINE
        while not condition(found := self.firewall()):
            assert time.monotonic() < end, found
        return found
