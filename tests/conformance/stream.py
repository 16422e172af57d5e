# SPDX-License-Identifier: MIT
"""Two configurations in one form: fail2ban's stream of commands, and ours.

A jail becomes a dictionary of what its server is told; regexes keep their order, log files and
parameters of actions do not matter in theirs.
"""

import glob
import re
import shlex

from stockade_agent.config.actions import COMMANDS
from stockade_agent.config.jails import OPTIONS, Jail
from stockade_agent.config.lints import unused
from stockade_agent.config.reading import jail_tree
from stockade_agent.config.tree import Library
from stockade_agent.config.values import boolean, words


BOOLEANS = {
    "enabled",
    "bantime.increment",
    "bantime.overalljails",
    "ignoreself",
    "skip_if_nologs",
    "systemd_if_nologs",
}
INTEGERS = {"maxretry", "maxmatches", "maxlines"}
FLAGS = {"norestored", "actionstart_on_demand", "actionrepair_on_unban"}
LISTS = {"addfailregex": "failregex", "addignoreregex": "ignoreregex"}
# Newer than the packages.
NEWER = {"skip_if_nologs", "systemd_if_nologs"}


def theirs(commands):
    """Return the jails of fail2ban's commands, and those it leaves out as wrong."""
    jails, wrong = {}, {}
    for command, *rest in commands:
        if command == "config-error":
            wrong[rest[0].split("'")[1]] = rest[0]
        elif command == "add":
            jails[rest[0]] = {"backend": rest[1], "actions": {}}
        elif command == "multi-set" and rest[1] == "action":
            jails[rest[0]]["actions"][rest[2]] = {k: str(v) for k, v in rest[3]}
        elif command == "multi-set":
            jails[rest[0]].setdefault(LISTS[rest[1]], []).extend(rest[2])
        elif command == "set" and rest[0] in jails:
            _set(jails[rest[0]], *rest[1:])
    return jails, wrong


def _set(jail, option, *values):
    if option in LISTS:
        jail.setdefault(LISTS[option], []).append(values[0])
    elif option == "addjournalmatch":
        jail.setdefault("journalmatch", []).append(list(values))
    elif option == "addlogpath":
        jail.setdefault("logpath", []).append(tuple(values))
        jail["logpath"].sort()
    elif option == "addignoreip":
        jail["ignoreip"] = list(values)
    elif option == "addaction":
        jail["actions"][values[0]] = {}
    elif option == "action":
        jail["actions"][values[0]][values[1]] = str(values[2])
    else:
        jail[option] = values[0]


def ours(directory, version):
    """Return our jails in the same form, and the faults of those that are wrong."""
    library = Library(str(directory))
    tree = jail_tree(library, version)
    jails, wrong = {}, {}
    for name in tree.sections:
        jail = Jail(library, tree, name)
        jail.faults += unused(jail)
        if jail.faults:
            wrong[name] = [str(fault.error(name)) for fault in jail.faults]
        elif jail.enabled:
            jails[name] = _jail(jail)
            if _release(version) >= (1, 1, 1):
                _turn_to_journal(jail, jails[name])
    return jails, wrong


def _release(version):
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _turn_to_journal(jail, told):
    """Decide for the journal as fail2ban does since 1.1.1; our daemon decides when it runs."""
    switch = jail.options.get("systemd_if_nologs")
    allowed = switch is None or boolean(switch.text)
    nothing_found = "logpath" in jail.options and "logpath" not in told
    if told["backend"].startswith("auto") and allowed and nothing_found:
        told["backend"] = "systemd" if "journalmatch" in jail.options else told["backend"]


def _jail(jail):
    told = {"backend": jail.options["backend"].text if "backend" in jail.options else "auto"}
    for option, value in {**jail.options, **jail.filter}.items():
        _tell(told, option, value.text)
    told["actions"] = {action.name: _action(action) for action in jail.actions}
    return told


def _tell(told, option, text):
    if option in ("failregex", "ignoreregex"):
        if lines := [line for line in text.split("\n") if line]:
            told[option] = lines
    elif option == "journalmatch":
        if lines := [shlex.split(line) for line in text.split("\n") if line]:
            told[option] = lines
    elif option == "logpath":
        if not told["backend"].startswith("systemd"):
            paths = [_logpath(line) for line in text.split("\n")]
            if found := sorted((path, mode) for some, mode in paths for path in some):
                told[option] = found
    elif option == "ignoreip":
        told[option] = list(words(text))
    elif option in INTEGERS:
        told[option] = int(text)
    elif option in BOOLEANS - {"enabled"}:
        told[option] = boolean(text)
    elif option in OPTIONS and option not in ("enabled", "backend", "filter", "action"):
        told[option] = text


def _logpath(line):
    path, _, mode = line.rpartition(" ")
    return (glob.glob(path), mode) if path else (glob.glob(line), "head")


def _action(action):
    told = {
        option: action.combined[option].text for option in COMMANDS if option in action.combined
    }
    told.update((flag, str(boolean(told[flag]))) for flag in FLAGS if told.get(flag))
    for option, value in action.definition.init.items():
        if option not in COMMANDS and not option.startswith("known/"):
            told[option] = value.text
    return told


def differences(expected, actual):
    """Return one line for each thing that is not the same."""
    lines = []
    for name in sorted({*expected, *actual}):
        if name not in actual or name not in expected:
            lines.append(f"{name}: only {'theirs' if name in expected else 'ours'}")
            continue
        mine, other = actual[name], expected[name]
        lines += [
            f"{name} {option}: {other.get(option)!r} != {mine.get(option)!r}"
            for option in sorted({*mine, *other} - NEWER - {"actions"})
            if mine.get(option) != other.get(option)
        ]
        if list(mine["actions"]) != list(other["actions"]):
            lines.append(f"{name}: actions {list(other['actions'])} != {list(mine['actions'])}")
            continue
        for action, theirs_ in other["actions"].items():
            ours_ = mine["actions"][action]
            lines += [
                f"{name} {action} {key}: {theirs_.get(key)!r} != {ours_.get(key)!r}"
                for key in sorted({*theirs_, *ours_})
                if theirs_.get(key) != ours_.get(key) and not _newer(key, ours_)
            ]
    return lines


def _newer(option, action):
    """Tell whether a parameter stands for all families, as it does since 1.1.1."""
    plain, family, _ = option.partition("?")
    return family != "" and action.get(option) == action.get(plain)
