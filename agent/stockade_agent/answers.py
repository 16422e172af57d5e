# SPDX-License-Identifier: MIT
"""What the agent answers to the requests of ``control.protocol``.

    result = answer(pipe, request, now)
    config, afresh = asked(pipe, request, read)     # what a reload shall take

Nothing here knows who asks: ``daemon`` lets nobody but root ask for more than ``READS``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any, Callable

from stockade_agent import options
from stockade_agent.control.protocol import Request
from stockade_agent.errors import ControlError, NoJailError
from stockade_agent.guard import Guard
from stockade_agent.ignore import Networks
from stockade_agent.model import target
from stockade_agent.pauses import EVERY
from stockade_agent.pipe import Pipe
from stockade_agent.specs import Config


ALL = ["all"]
DROP = "drop"
MAX_BY = 100
"""Characters that are kept of who panicked."""
RESTART, UNBAN, IF_EXISTS = "restart", "unban", "if-exists"


def answer(pipe: Pipe, request: Request, now: float) -> Any:
    """Return the result of any request but ``reload``, as JSON's own types.

    Raises:
        ControlError: it cannot be done, in words for who asked.
    """
    call = _ANSWERS.get(request.command)
    if call is None:
        raise ControlError(f"no command {request.command!r}")
    return call(pipe, request, now)


def asked(pipe: Pipe, request: Request, read: Config) -> tuple[Config, Collection[str]]:
    """Return what a reload shall take, and the jails that begin afresh.

    Args:
        pipe: the agent's.
        request: of one jail, or of all.
        read: the configuration as it is now.

    Raises:
        NoJailError: it names a jail that neither runs nor is configured to.
        ControlError: it has words that no reload knows.
    """
    for word in request.words:
        if word not in (RESTART, UNBAN, IF_EXISTS):
            raise ControlError(f"reload: unknown word {word!r}")
    if request.jail:
        read = _only(pipe, request, read)
    if RESTART not in request.words:
        return read, ()
    return read, (request.jail,) if request.jail else tuple(pipe.guards)


def _only(pipe: Pipe, request: Request, read: Config) -> Config:
    """Return the present configuration, one jail of it as it was read now."""
    name = request.jail
    jails = {spec.name: spec for spec in read.jails if spec.name == name}
    wrong = [fault for fault in read.faults if getattr(fault, "jail", None) == name]
    if not jails and not wrong and name not in pipe.guards and IF_EXISTS not in request.words:
        raise NoJailError(f"no jail named {name} is enabled")
    others = {other: guard.configured for other, guard in pipe.guards.items() if other != name}
    jails.update(others)
    # Lists show the jails in the order of the configuration.
    order = {spec.name: number for number, spec in enumerate(read.jails)}
    inorder = sorted(jails.values(), key=lambda spec: order.get(spec.name, len(order)))
    faults = [fault for fault in pipe.guards.faults if fault.jail != name]
    return Config(pipe.spec, tuple(inorder), (*faults, *wrong))


# ---- by command


def _ping(_pipe: Pipe, _request: Request, _now: float) -> Any:
    return "pong"


def _status(pipe: Pipe, request: Request, now: float) -> Any:
    return pipe.status(now, request.jail).to_json()


def _ban(pipe: Pipe, request: Request, now: float) -> Any:
    return {"changed": pipe.ban(request.jail, request.ids, now)}


def _attempt(pipe: Pipe, request: Request, now: float) -> Any:
    guard = pipe.guards.running(request.jail)
    for id_ in request.ids:
        pipe.by_hand(guard, partial(guard.attempt, id_, request.words, now), now)
    return {"changed": list(request.ids)}


def _unban(pipe: Pipe, request: Request, now: float) -> Any:
    wanted, changed = list(request.ids), []
    absent = [] if wanted == ALL else list(dict.fromkeys(wanted))
    guards = [pipe.guards.running(request.jail)] if request.jail else list(pipe.guards.values())
    for guard in guards:
        meant = {id_: [id_] if wanted == ALL else _meant(guard, id_) for id_ in wanted}
        ids = dict.fromkeys(id_ for found in meant.values() for id_ in found)
        lifted = pipe.unban(guard.name, list(ids), now)
        absent = [id_ for id_ in absent if not set(meant[id_]) & set(lifted)]
        changed += lifted
    return {
        "changed": list(dict.fromkeys(changed)),
        "count": len(changed),
        "absent": absent,
        "within": {id_: held for id_ in absent if (held := _holding(guards, id_))},
    }


def _panic(pipe: Pipe, request: Request, now: float) -> Any:
    jails = [pipe.guards.running(name).name for name in request.ids] or [EVERY]
    until = now + _seconds(request.words[0]) if request.words else None
    pipe.brake.pause(jails, until, now, request.by[:MAX_BY])
    told = ", ".join(request.ids) or "all jails"
    by = f" ({request.by[:MAX_BY]})" if request.by else ""
    pipe.log.warning(f"panic: {told}: nobody is banned any more{by}")  # noqa: G004 - no logger
    meant = [guard for guard in pipe.guards.values() if EVERY in jails or guard.name in jails]
    count = sum(guard.jail.banned_now for guard in meant)
    lifted = [id_ for jail in jails for id_ in pipe.unban(jail, ALL, now)]
    # Without any ban to lift nothing was committed, and the pause must outlive a crash, too.
    pipe.records.commit(now)
    if pipe.enforcement.problem:
        raise ControlError(f"paused, but the firewall has bans: {pipe.enforcement.problem}")
    if pipe.brake.file.fault:
        raise ControlError(f"paused, but: {pipe.brake.file.fault}")
    return {"changed": list(dict.fromkeys(lifted)), "count": count, "until": until}


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ControlError(f"panic: {word!r} is no number of seconds")
    return seconds


def _resume(pipe: Pipe, request: Request, now: float) -> Any:
    jails = [pipe.guards.running(name).name for name in request.ids] or [EVERY]
    if EVERY not in jails and pipe.brake.all_paused(now):
        raise ControlError("all jails are paused: resume them without naming any")
    ended = pipe.brake.resume(jails)
    pipe.records.commit(now)
    if pipe.brake.file.fault:
        raise ControlError(f"resumed, but: {pipe.brake.file.fault}")
    return {"changed": [jail or "all" for jail in ended]}


def _release(pipe: Pipe, request: Request, now: float) -> Any:
    if request.words not in ((), (DROP,)):
        raise ControlError(f"release: unknown word {request.words[0]!r}")
    guards = [pipe.guards.running(request.jail)] if request.jail else list(pipe.guards.values())
    held, changed = 0, list[str]()
    for guard in guards:
        held += pipe.brake.held(guard.name)
        decide = partial(pipe.brake.release, guard, now, drop=request.words == (DROP,))
        changed += [ban.id for ban in pipe.by_hand(guard, decide, now)]
    return {"changed": list(dict.fromkeys(changed)), "held": held}


def _meant(guard: Guard, id_: str) -> list[str]:
    """Return the ids that an id stands for: itself, or what is banned inside of a network."""
    wanted = target(id_)
    if wanted is None:
        return [id_]
    if "/" not in str(wanted):
        return [str(wanted)]
    network, banned = Networks([wanted]), guard.jail.banned.values()
    return [ban.id for ban in banned if ban.address is not None and ban.address in network]


def _holding(guards: Iterable[Guard], id_: str) -> list[tuple[str, str]]:
    """Return the banned networks that hold an address, each with its jail before it."""
    wanted = target(id_)
    if wanted is None:
        return []
    return [
        (guard.name, ban.id)
        for guard in guards
        for ban in guard.jail.banned.values()
        if ban.address is not None and "/" in ban.id and wanted in Networks([ban.address])
    ]


def _get(pipe: Pipe, request: Request, _now: float) -> Any:
    return {"value": options.get(pipe, request.jail, request.option)}


def _set(pipe: Pipe, request: Request, _now: float) -> Any:
    return {"value": options.change(pipe, request.jail, request.option, request.words)}


_ANSWERS: Mapping[str, Callable[[Pipe, Request, float], Any]] = {
    "attempt": _attempt,
    "ban": _ban,
    "get": _get,
    "panic": _panic,
    "ping": _ping,
    "release": _release,
    "resume": _resume,
    "set": _set,
    "status": _status,
    "unban": _unban,
}
