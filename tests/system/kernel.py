# SPDX-License-Identifier: MIT
"""What the kernel refuses, asked with the firewall's own tool and not with ours."""

import json


def banned(host, backend):
    """Return the addresses that the backend's own objects refuse, as a set of strings."""
    return {"nftables": _nftables, "iptables": _iptables, "firewalld": _firewalld}[backend](host)


def _nftables(host):
    document = json.loads(host.run("nft -j list table inet stockade").stdout)
    sets = [item["set"] for item in document["nftables"] if "set" in item]
    # Networks stand, by their first addresses, in a set for each length: v6.64-sshd.
    lengths = {found["name"]: found["name"].partition("-")[0].partition(".")[2] for found in sets}
    return {
        f"{_element(element)}/{length}" if (length := lengths[found["name"]]) else _element(element)
        for found in sets
        for element in found.get("elem", ())
    }


def _element(element):
    value = element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
    if isinstance(value, dict):
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return value


def _iptables(host):
    rules = host.run("iptables-save; ip6tables-save").stdout.split("\n")
    words = [rule.split() for rule in rules if rule.startswith("-A f2b-") and " -s " in rule]
    return {
        rule[rule.index("-s") + 1].removesuffix("/32").removesuffix("/128")
        for rule in words
        if "REJECT" in rule
    }


def _firewalld(host):
    ours = [n for n in host.run("firewall-cmd --get-ipsets").stdout.split() if "stockade" in n]
    return {
        entry
        for name in ours
        for entry in host.run(f"firewall-cmd --ipset={name} --get-entries").stdout.split()
    }
