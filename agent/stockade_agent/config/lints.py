# SPDX-License-Identifier: MIT
"""Everything wrong with a configuration, in one go: what stops a jail, and what is likely a slip.

fail2ban passes over a name that it does not know. Whoever wrote ``maxretyr = 3`` then has the
default, and no message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from stockade_agent.config import actions, filters, jails
from stockade_agent.config.faults import Fault, nearest
from stockade_agent.config.inifile import DEFAULT, INCLUDES, Value
from stockade_agent.config.jails import Jail
from stockade_agent.config.references import References
from stockade_agent.config.tree import Library, Options, Tree
from stockade_agent.config.values import BadValue, is_boolean, words
from stockade_agent.model import target


# Options that only shortcuts of jail.conf or tutorials use, whether the tree at hand does or not.
USUAL = (
    "action_",
    "action_abuseipdb",
    "action_badips",
    "action_badips_report",
    "action_blocklist_de",
    "action_cf_mwl",
    "action_mw",
    "action_mwl",
    "action_xarf",
    "banaction",
    "banaction_allports",
    "blocklist_de_apikey",
    "blocktype",
    "cfapikey",
    "cfemail",
    "chain",
    "default_backend",
    "destemail",
    "fail2ban_agent",
    "fail2ban_confpath",
    "fail2ban_version",
    "knocking_url",
    "mode",
    "mta",
    "port",
    "protocol",
    "returntype",
    "sender",
    "sendername",
    "syslog_backend",
)
SLIP = 0.85
"""How much a name that nobody asks for must be like a known one to be taken for a slip."""

# What only an address can look like; any other word of ignoreip is a host's name or file:PATH.
_ADDRESS = re.compile(r"[0-9.]+(/.*)?|[0-9a-f]*:[0-9a-f:.]*(/.*)?|[^/:]+/[0-9.]+", re.IGNORECASE)
_BOOLEANS = ("bantime.increment", "bantime.overalljails", "ignoreself", "ignorepeers")
_USEDNS = ("yes", "warn", "no", "raw")


def lints(library: Library, tree: Tree, read: Iterable[Jail]) -> Iterator[tuple[str, Fault]]:
    """Yield what is likely a slip, with the jail that it concerns, or "" for all.

    Args:
        library: the directory.
        tree: the jails' files.
        read: the enabled jails.
    """
    used = References([tree])
    yield from (("", fault) for fault in (*tree.missing, *_sections(tree)))
    yield from (("", fault) for fault in _switches(tree))
    yield from (("", fault) for fault in _defaults(tree, used))
    looked_at: set[str] = set()
    for jail in read:
        for fault in _options(tree, jail, used):
            yield jail.name, fault
        for fault in (*_values(jail), *unused(jail)):
            yield jail.name, fault
        for name, known, sections in _definitions(jail):
            files = library.tree(name)
            if files is not None and name not in looked_at:
                looked_at.add(name)
                for fault in definition(files, tree, known, sections):
                    yield jail.name, fault


def _definitions(jail: Jail) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    sections = ("Definition", "Init")
    if jail.filter_name:
        yield f"{filters.FOLDER}/{jail.filter_name}", filters.OPTIONS, sections
    for action in jail.actions:
        yield f"{actions.FOLDER}/{action.file}", actions.COMMANDS, sections


def _sections(tree: Tree) -> Iterator[Fault]:
    for name, origin in tree.headers.items():
        for meant in (DEFAULT, INCLUDES):
            if name != meant and nearest(name, (meant,), SLIP):
                yield Fault(
                    f"section [{name}] is a jail of that name",
                    path=origin.path,
                    line=origin.line,
                    needle=name,
                    remedy=f"did you mean [{meant}]?",
                )


def _switches(tree: Tree) -> Iterator[Fault]:
    for options in (tree.defaults, *tree.sections.values()):
        value = options.get("enabled")
        if value is not None and "%" not in value.text and not is_boolean(value.text):
            yield _neither(value, "enabled")


def _neither(value: Value, option: str) -> Fault:
    bad = BadValue(f"{value.text!r} is neither true nor false", nearest(value.text, _SWITCHES))
    return filters.bad(bad, option, value)


_SWITCHES = ("true", "false", "yes", "no", "on", "off")


def _defaults(tree: Tree, used: References) -> Iterator[Fault]:
    """Variables of one's own are free to be in [DEFAULT]; those like a known name are slips."""
    known = {*jails.OPTIONS, *USUAL}
    for option, value in tree.defaults.items():
        if option not in known and not used.option(option):
            hint = nearest(option, known, SLIP)
            if hint:
                yield _unknown(option, value, "[DEFAULT]", hint)


def _options(tree: Tree, jail: Jail, used: References) -> Iterator[Fault]:
    known = {*jails.OPTIONS, *USUAL}
    for option, value in tree.sections[jail.name].items():
        if option not in known and not used.option(option):
            hint = nearest(option, known | used.names())
            yield _unknown(option, value, f"[{jail.name}]", hint)


def _unknown(option: str, value: Value, where: str, hint: str) -> Fault:
    return Fault(
        f"unknown option {option} in {where}",
        path=value.path,
        line=value.line,
        needle=option,
        remedy=hint or "no other option refers to it",
    )


def _values(jail: Jail) -> Iterator[Fault]:
    for option in _BOOLEANS:
        value = jail.options.get(option)
        if value is not None and not is_boolean(value.text):
            yield _neither(value, option)
    value = jail.filter.get("usedns")
    if value is not None and value.text.lower() not in _USEDNS:
        hint = nearest(value.text, _USEDNS) or f"known are {', '.join(_USEDNS)}"
        yield filters.bad(BadValue(f"unknown: {value.text!r}", hint), "usedns", value)
    value = jail.options.get("ignoreip")
    for word in () if value is None else words(value.text):
        if value is not None and _ADDRESS.fullmatch(word) and target(word) is None:
            bad = BadValue(f"{word!r} is neither address nor network", "", word)
            yield filters.bad(bad, "ignoreip", value)
    enabled = jail.options.get("enabled")
    if enabled is not None and not jail.faults:
        yield from _blind(jail, enabled)


def unused(jail: Jail) -> Iterator[Fault]:
    """Yield what is broken in a filter although the jail has no use for it: it stops fail2ban."""
    if jail.jail_filter is not None and not jail.faults:
        try:
            jail.jail_filter.known("")
        except Fault as fault:
            yield fault


def _blind(jail: Jail, enabled: Value) -> Iterator[Fault]:
    def says(options: Options, *names: str) -> bool:
        return any(name in options and options[name].text.strip() for name in names)

    if not says(jail.filter, "failregex"):
        yield Fault(
            f"jail {jail.name} has no failregex",
            path=enabled.path,
            line=enabled.line,
            remedy="its filter must bring one, or the jail itself",
        )
    if not says(jail.options, "logpath") and not says(jail.filter, "journalmatch"):
        yield Fault(
            f"jail {jail.name} has neither logpath nor journalmatch",
            path=enabled.path,
            line=enabled.line,
            remedy="say where to look",
        )


def definition(
    tree: Tree, jail: Tree, known: tuple[str, ...], sections: tuple[str, ...]
) -> Iterator[Fault]:
    """Yield the slips in a filter's or action's files.

    Args:
        tree: the filter or action.
        jail: the jails' files, which may refer to its options.
        known: options that mean something in ``[Definition]``.
        sections: sections that mean something.
    """
    used = References([tree, jail])
    yield from tree.missing
    meant = [f"[{section}]" for section in (*sections, DEFAULT, INCLUDES)]
    for name, origin in tree.headers.items():
        if name not in sections and name != INCLUDES and not used.section(name):
            yield Fault(
                f"unknown section [{name}]",
                path=origin.path,
                line=origin.line,
                needle=name,
                remedy=nearest(f"[{name}]", meant) or "no option refers to it",
            )
    for option, value in tree.sections.get("Definition", {}).items():
        if option not in known and not used.option(option):
            hint = nearest(option, known, SLIP)
            if hint:
                yield _unknown(option, value, "[Definition]", hint)
