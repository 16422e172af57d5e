# SPDX-License-Identifier: MIT
"""The words that people and scripts say to ``fail2ban-client``, put to our agent.

text = answer(["set", "sshd", "unbanip", "192.0.2.7"], ask)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stockade_agent.cli import layout
from stockade_agent.control.protocol import AgentStatus, JailStatus, Request
from stockade_agent.errors import ControlError, NoAgentError, NoJailError
from stockade_agent.model import target
from stockade_agent.plain import plain, printable


Ask = Callable[[Request], Any]
Words = Sequence[str]

INVALID = "Sorry but the command is invalid"
_ALL = "--all"
_SYSTEMD = "systemd has the agent in its hands: systemctl {} stockade-agent"


class Refusal(Exception):
    """The answer is no; ``str()`` is what is printed.

    Attributes:
        aside: it is for a person, and goes to standard error.
    """

    def __init__(self, text: str, *, aside: bool = False) -> None:
        super().__init__(text)
        self.aside = aside


def answer(words: Words, ask: Ask) -> str:
    """Return what is printed for the words of a command.

    Args:
        words: one or more.
        ask: puts a request to the agent, as ``control.client.ask`` does.

    Raises:
        Refusal: no such command, no such jail, or it cannot be done.
        NoAgentError: nobody answers.
    """
    call = _WORDS.get(words[0])
    if call is None:
        raise Refusal("Invalid command")
    try:
        return call(words, ask)
    except NoAgentError:
        raise
    except NoJailError as error:
        jail = words[2] if words[0] in ("reload", "restart") else words[1]
        raise Refusal(f"Sorry but the jail '{plain(jail)}' does not exist") from error
    except ControlError as error:
        raise Refusal(plain(str(error))) from error


def _word(words: Words, index: int) -> str:
    if index >= len(words):
        raise Refusal(INVALID)
    return words[index]


# ---- of the agent


def _ping(_words: Words, ask: Ask) -> str:
    return f"Server replied: {ask(Request('ping'))}"


def _flushlogs(_words: Words, ask: Ask) -> str:
    ask(Request("ping"))
    # The agent writes each line to systemd at once.
    return "logs: flushed"


def _ready(_words: Words, ask: Ask) -> str:
    ask(Request("ping"))
    return "Server ready"


def _version(_words: Words, ask: Ask) -> str:
    from stockade_agent.config.reading import FAIL2BAN_VERSION  # noqa: PLC0415 - seldom asked

    ask(Request("ping"))
    return FAIL2BAN_VERSION


def _echo(words: Words, ask: Ask) -> str:
    ask(Request("ping"))
    return " ".join(plain(word) for word in words[1:])


def _start(words: Words, ask: Ask) -> str:
    if len(words) > 1:
        raise Refusal(f"write enabled = true for {plain(words[1])}, and reload", aside=True)
    try:
        ask(Request("ping"))
    except NoAgentError:
        raise Refusal(_SYSTEMD.format("start"), aside=True) from None
    raise Refusal("Server already running", aside=True)


def _stop(words: Words, _ask: Ask) -> str:
    if len(words) > 1 and words[1] != _ALL:
        raise Refusal(f"write enabled = false for {plain(words[1])}, and reload", aside=True)
    raise Refusal(_SYSTEMD.format("stop"), aside=True)


def _restart(words: Words, ask: Ask) -> str:
    if len(words) > 1:
        return _reload(["reload", "--restart", *words[1:]], ask)
    raise Refusal(_SYSTEMD.format("restart"), aside=True)


def _reload(words: Words, ask: Ask) -> str:
    options = [word[2:] for word in words[1:] if word in ("--restart", "--unban", "--if-exists")]
    rest = words[1 + len(options) :]
    if len(rest) > 1:
        raise Refusal(f"reload: one jail at most, not {plain(' '.join(rest))}", aside=True)
    jail = "" if list(rest) in ([], [_ALL]) else rest[0]
    try:
        ask(Request("reload", jail, words=tuple(options)))
    except NoAgentError:
        raise
    except ControlError as error:
        raise Refusal(plain(str(error)), aside=True) from error
    return "OK"


# ---- of jails


def _status(words: Words, ask: Ask) -> str:
    if len(words) > 3:
        raise Refusal("Invalid command (no status)")
    flavor = words[2] if len(words) == 3 else ""
    if len(words) == 1:
        return layout.status(_jails(ask))
    if words[1] != _ALL:
        return layout.jail_status(_jail(words[1], ask), flavor)
    if flavor == "stats":
        return layout.statistics(_jails(ask))
    return layout.status(_jails(ask), flavor, whole=True)


def _statistics(_words: Words, ask: Ask) -> str:
    return layout.statistics(_jails(ask))


def _banned(words: Words, ask: Ask) -> str:
    jails = _jails(ask)
    if len(words) == 1:
        return str([{jail.name: [ban.id for ban in jail.bans]} for jail in jails])
    wanted = [_normal(word) for word in words[1:]]
    held = {jail.name: {ban.id for ban in jail.bans} for jail in jails}
    return str([[name for name, ids in held.items() if id_ in ids] for id_ in wanted])


def _unban(words: Words, ask: Ask) -> str:
    if len(words) < 2:
        raise Refusal("Invalid command")
    ids = ("all",) if list(words[1:]) == [_ALL] else tuple(words[1:])
    return str(ask(Request("unban", "", ids))["count"])


def _jail(name: str, ask: Ask) -> JailStatus:
    if not name:
        raise NoJailError("a jail has a name")
    return _told(name, ask)[0]


def _jails(ask: Ask) -> list[JailStatus]:
    # Those that the configuration keeps from running are no jails for fail2ban.
    return [jail for jail in _told("", ask) if jail.source]


def _told(name: str, ask: Ask) -> Sequence[JailStatus]:
    try:
        return AgentStatus.from_json(ask(Request("status", name))).jails
    except (TypeError, KeyError) as error:
        raise ControlError(f"this is no status that we understand: {error}") from error


def _normal(word: str) -> str:
    address = target(word)
    return word if address is None else str(address)


# ---- get


def _get(words: Words, ask: Ask) -> str:
    name = _word(words, 1)
    if name in _AGENT_TEXTS:
        return _AGENT_TEXTS[name](ask(Request("get", option=name))["value"])
    option = _word(words, 2)
    if option == "banned":
        held = [ban.id for ban in _jail(name, ask).bans]
        found = [int(_normal(word) in held) for word in words[3:]]
        if not found:
            return str(held)
        return str(found[0] if len(found) == 1 else found)
    if option == "banip":
        inorder = layout.by_end(_jail(name, ask).bans)
        if words[3:4] == ["--with-time"]:
            return "\n".join(layout.with_time(ban) for ban in inorder)
        between = words[3] if len(words) > 3 else " "
        return between.join(plain(ban.id) for ban in inorder)
    if option not in _JAIL_TEXTS:
        raise Refusal("Invalid command (no get action or not yet implemented)")
    value = ask(Request("get", name, option=option))["value"]
    return _JAIL_TEXTS[option](name, value)


def _logpath(_jail: str, value: Any) -> str:
    title, none = "Current monitored log file(s):", "No file is currently monitored"
    return layout.listed([printable(path) for path in value], title, none)


def _ignoreip(_jail: str, value: Any) -> str:
    title = "These IP addresses/networks are ignored:"
    return layout.listed(value, title, "No IP address/network is ignored")


def _regexes(_jail: str, value: Any) -> str:
    title = "The following regular expression are defined:"
    return layout.listed(
        [printable(v) for v in value], title, "No regular expression is defined", numbered=True
    )


def _journalmatch(_jail: str, value: Any) -> str:
    if not value:
        return "No journal match filter set"
    return "Current match filter:\n" + " + ".join(value)


def _datepattern(_jail: str, value: Any) -> str:
    if not value:
        return "Current date pattern set to: Default Detectors"
    return "Current date pattern set to: " + printable("; ".join(str(value).split("\n")))


def _logencoding(_jail: str, value: Any) -> str:
    return f"Current log encoding is set to:\n{value}"


def _actions(jail: str, value: Any) -> str:
    if not value:
        return f"No actions for jail {jail}"
    return f"The jail {jail} has the following actions:\n{', '.join(value)}"


def _as_is(_jail: str, value: Any) -> str:
    return str(value)


def _or_false(_jail: str, value: Any) -> str:
    return str(value or False)


def _or_nothing(_jail: str, value: Any) -> str:
    return printable(value or "")


_AGENT_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "loglevel": lambda value: f"Current logging level is {value!r}",
    "logtarget": lambda value: f"Current logging target is:\n`- {value}",
    "syslogsocket": lambda value: f"Current syslog socket is:\n`- {value}",
    "dbfile": lambda value: f"Current database file is:\n`- {value}",
    "dbpurgeage": lambda value: f"Current database purge age is:\n`- {value}seconds",
    "dbmaxmatches": str,
}
_JAIL_TEXTS: Mapping[str, Callable[[str, Any], str]] = {
    "actions": _actions,
    "bantime": _as_is,
    "datepattern": _datepattern,
    "failregex": _regexes,
    "findtime": _as_is,
    "ignorecache": _as_is,
    "ignorecommand": _or_false,
    "ignoreip": _ignoreip,
    "ignoreregex": _regexes,
    "ignorepeers": _as_is,
    "ignoreself": _as_is,
    "journalmatch": _journalmatch,
    "logencoding": _logencoding,
    "logpath": _logpath,
    "logtimezone": _as_is,
    "maxlines": _as_is,
    "maxmatches": _as_is,
    "maxretry": _as_is,
    "prefix6": _as_is,
    "prefregex": _or_nothing,
    "usedns": _as_is,
}

# ---- set

_PLAIN = ("bantime", "findtime", "ignorepeers", "ignoreself", "maxmatches", "maxretry")
_LISTS = {"addignoreip": _ignoreip, "delignoreip": _ignoreip}
_IN_FILES_ONLY = (
    "action",
    "addaction",
    "addfailregex",
    "addignoreregex",
    "addjournalmatch",
    "addlogpath",
    "datepattern",
    "delaction",
    "delfailregex",
    "delignoreregex",
    "deljournalmatch",
    "dellogpath",
    "ignorecache",
    "ignorecommand",
    "logencoding",
    "logtimezone",
    "maxlines",
    "prefregex",
    "usedns",
)
"""What fail2ban can set at run time and we cannot; the agent says how it is done."""


def _set(words: Words, ask: Ask) -> str:
    jail, option, values = _word(words, 1), _word(words, 2), tuple(words[3:])
    if jail in _AGENT_TEXTS:
        return _AGENT_TEXTS[jail](ask(Request("set", option=jail, words=(option,)))["value"])
    if option == "banip":
        return str(len(ask(Request("ban", jail, values))["changed"]))
    if option == "unbanip":
        return _unbanip(jail, values, ask)
    if option == "attempt":
        return str(
            len(ask(Request("attempt", jail, (_word(values, 0),), words=values[1:]))["changed"])
        )
    if option == "idle" or option in _PLAIN or option == "delignoreip":
        values = (_word(values, 0),)
    elif option not in (*_LISTS, *_IN_FILES_ONLY) and not option.startswith("bantime."):
        known = "no set action or not yet implemented"
        raise Refusal(f"Invalid command {option!r} ({known})")
    value = ask(Request("set", jail, option=option, words=values))["value"]
    return _LISTS.get(option, _as_is)(jail, value)


def _unbanip(jail: str, values: tuple[str, ...], ask: Ask) -> str:
    reports = _word(values, 0) == "--report-absent"
    ids = values[1:] if reports else values
    told = ask(Request("unban", jail, ids))
    absent = [id_ for id_ in ids if id_ in told["absent"]]
    if reports and absent:
        raise Refusal(f"not banned: {absent}")
    return str(told["count"])


_WORDS: Mapping[str, Callable[[Words, Ask], str]] = {
    "banned": _banned,
    "echo": _echo,
    "flushlogs": _flushlogs,
    "get": _get,
    "ping": _ping,
    "reload": _reload,
    "restart": _restart,
    "server-status": _ready,
    "set": _set,
    "start": _start,
    "statistic": _statistics,
    "statistics": _statistics,
    "stats": _statistics,
    "status": _status,
    "stop": _stop,
    "unban": _unban,
    "version": _version,
}
OPTIONS = tuple(_JAIL_TEXTS)
"""What ``get JAIL`` tells."""
