# SPDX-License-Identifier: MIT
"""What a reload of firewalld would take from others.

``firewall-cmd --reload`` puts the permanent configuration in place of the running one. An
interface without a zone in the permanent one, NetworkManager's included, goes to the default
zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, Optional

from stockade_agent.firewall.command import ToolError


Ask = Callable[..., str]
"""Runs ``firewall-cmd`` with these arguments and returns what it prints."""

Settings = dict[str, dict[str, set[str]]]
"""Zone or policy -> key -> values."""

_DIRECT = ("--get-all-chains", "--get-all-rules", "--get-all-passthroughs")


def losses(ask: Ask, ours: Callable[[str], bool]) -> Optional[str]:
    """Return one thing that a reload would change, in words, or None if it changes nothing.

    Args:
        ask: runs ``firewall-cmd``; about thirteen times, and twice more for each ipset.
        ours: says whether an ipset or policy of this name is ours, and of no account.
    """
    return next(_differences(ask, ours), None)


def _differences(ask: Ask, ours: Callable[[str], bool]) -> Iterator[str]:
    default = ask("--get-default-zone").strip()
    for kind, option in (("zone", "--list-all-zones"), ("policy", "--list-all-policies")):
        runtime, permanent = parse(ask(option)), parse(ask("--permanent", option))
        for name in sorted({*runtime, *permanent}):
            if kind == "policy" and ours(name):
                continue
            now, then = runtime.get(name, {}), permanent.get(name, {})
            for key in sorted({*now, *then}):
                changed = sorted(now.get(key, set()) ^ then.get(key, set()))
                if changed and (name, key) != (default, "interfaces"):
                    yield f"{kind} {name}: {key}: {changed[0]}"
    for option in _DIRECT:
        changed = sorted(
            set(ask("--direct", option).splitlines())
            ^ set(ask("--permanent", "--direct", option).splitlines())
        )
        if changed:
            yield f"direct: {changed[0]}"
    names = [name for name in ask("--get-ipsets").split() if not ours(name)]
    for name in names:
        runtime = parse(ask(f"--info-ipset={name}"))
        if any(
            option.startswith("timeout=") and option != "timeout=0"
            for option in runtime.get(name, {}).get("options", ())
        ):
            yield f"ipset {name}: entries with a timeout"
        try:
            same = runtime == parse(ask("--permanent", f"--info-ipset={name}"))
        except ToolError as error:
            if "INVALID_IPSET" not in error.stderr:
                raise
            same = False
        if not same:
            yield f"ipset {name}"


def parse(listed: str) -> Settings:
    """Read what ``--list-all-zones`` and its like print.

    A head at the margin, ``key: value value`` under it, and rich rules and forwardings one a
    line, further in.
    """
    found: Settings = {}
    keys: dict[str, set[str]] = {}
    values: set[str] = set()
    for line in listed.splitlines():
        if line and not line[0].isspace():
            keys = found.setdefault(line.split()[0], {})
        elif line.startswith("  ") and ":" in line:
            key, _, rest = line.strip().partition(":")
            values = keys.setdefault(key, set())
            values.update(rest.split())
        elif line.strip():
            values.add(line.strip())
    return found
