# SPDX-License-Identifier: MIT
"""Makes the host what the manifest says, or leaves it as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from stockade.converge import bytecode, controllers, facts, files, service, undo
from stockade.converge.files import Switch, Wanted
from stockade.converge.host import CONFIG, CONTROLLERS, PYTHON, RECORD, UNIT_FOLDERS, Host, Refusal
from stockade.converge.wire import Wire


class Plan(NamedTuple):
    """All that a push would do here.

    Attributes:
        switches: paths to change, of the manifest and of the controllers' file.
        actions: what the unit needs: ``enable``, ``start``, ``restart``, ``reload``.
        changes: the same as ``stockade.model.Change`` has it, diffs included.
        contents: hash -> content of everything that ``switches`` writes.
        bundle: path of the agent, or "".
    """

    wanted: Mapping[str, Wanted]
    switches: Sequence[Switch]
    actions: Sequence[str]
    changes: Sequence[Mapping[str, str]]
    contents: Mapping[str, bytes]
    foreign: Sequence[str]
    bundle: str


def check(
    host: Host,
    order: Mapping[str, Any],
    told: Mapping[str, Any],
    unit: str,
    now: service.Units,
    wire: Wire,
) -> dict[str, Any]:
    """Say what ``push`` would change. Nothing is written but a temporary folder."""
    plan = _plan(host, order, told, unit, now, wire)
    _stage(host, plan, unit, wire)
    packages = [{"kind": "package", "name": p, "action": "install"} for p in told["missing"]]
    changes = [*packages, *plan.changes]
    return {
        "outcome": "changed" if changes else "ok",
        "changes": changes,
        "notes": _notes(plan),
        "agent": facts.agent_status(host),
    }


def push(
    host: Host,
    order: Mapping[str, Any],
    told: Mapping[str, Any],
    unit: str,
    now: service.Units,
    wire: Wire,
) -> dict[str, Any]:
    """Make it so; whatever fails after the first change puts everything back.

    Raises:
        Refusal: found before anything was touched.
    """
    notes = _finish_earlier(host, order, wire)
    if notes:
        now = service.units(host, unit)
    plan = _plan(host, order, told, unit, now, wire)
    _stage(host, plan, unit, wire)
    notes += _notes(plan)
    deadline = time.monotonic() + order["health_timeout"]
    agent = _agent(host, plan)
    compiled = bytecode.place(plan.bundle, agent)
    if not plan.changes:
        try:
            status = service.wait_healthy(host, unit, order["jails"], wire, deadline)
        except service.Unhealthy as trouble:
            return {
                "outcome": "failed",
                "error": f"nothing to change, but the agent is not well: {trouble}",
                "notes": notes,
            }
        _write_record(host, plan)
        _compile(host, compiled, agent)
        return {"outcome": "ok", "agent": status, "notes": notes}
    before = {"unit": unit, "active": now.active, "enabled": now.enabled}
    paths = [*(switch.path for switch in plan.switches), RECORD]
    if compiled is not None:
        paths.append(compiled)
    undo.prepare(host, paths, before)
    try:
        wire.phase("switching")
        for switch in plan.switches:
            files.make_folders(host, switch.path)
            files.apply(host, switch, plan.contents)
        _compile(host, compiled, agent)
        _write_record(host, plan)
        _restore_labels(host, paths)
        service.make_users(host, [switch.path for switch in plan.switches if switch.wanted])
        units = any(switch.path.startswith(UNIT_FOLDERS) for switch in plan.switches)
        if plan.actions:
            wire.phase("restarting the agent" if "reload" not in plan.actions else "reloading")
        service.switch(host, unit, plan.actions, new_unit=units, deadline=deadline)
        status = service.wait_healthy(host, unit, order["jails"], wire, deadline)
    except Exception as error:  # noqa: BLE001 - whatever it was, the host gets its files back
        known = isinstance(error, (service.Unhealthy, OSError))
        return {
            "outcome": "failed",
            "error": f"{error if known else repr(error)}; {_undone(host, order, wire)}",
            "trace": traceback.format_exc(),
            "notes": notes,
        }
    except BaseException:
        _undone(host, order, wire)
        raise
    undo.forget(host)
    if plan.bundle:
        bytecode.sweep(host, plan.bundle, compiled)
    return {"outcome": "changed", "changes": plan.changes, "agent": status, "notes": notes}


def _agent(host: Host, plan: Plan) -> bytes:
    """Return the agent's zipapp as it will be; empty where the manifest has none."""
    file = plan.wanted.get(plan.bundle)
    if file is None:
        return b""
    content = plan.contents.get(file.sha256)
    return host.at(file.path).read_bytes() if content is None else content


def _compile(host: Host, compiled: Optional[str], agent: bytes) -> None:
    if compiled is not None and files.look(host, compiled) is None:
        bytecode.write(host, compiled, agent)


def _undone(host: Host, order: Mapping[str, Any], wire: Wire) -> str:
    """Undo, and return how that went."""
    wire.phase("putting it back")
    try:
        return "every file was put back as it was" + _put_back(host, order, wire)
    except OSError as error:
        return f"not all could be put back ({error}): the next push tries that first"


def _finish_earlier(host: Host, order: Mapping[str, Any], wire: Wire) -> list[str]:
    """Put back what a push that was killed left half done."""
    notes = []
    if undo.pending(host) is not None:
        wire.phase("putting back what an interrupted push left")
        trouble = _put_back(host, order, wire)
        notes.append("an earlier push was interrupted here; its changes were undone" + trouble)
    files.sweep(host, [*(file["path"] for file in order["files"]), CONTROLLERS, PYTHON, RECORD])
    return notes


def _put_back(host: Host, order: Mapping[str, Any], wire: Wire) -> str:
    """Undo; return "" or what could not be restored, ready to be appended to a sentence."""
    log = undo.pending(host)
    if log is None:
        return ""
    paths = undo.put_back(host, log)
    _restore_labels(host, paths)
    before, trouble = log["service"], ""
    unit = before["unit"]
    if not before["enabled"]:
        host.run("systemctl", "disable", unit)
    host.run("systemctl", "daemon-reload")
    if before["active"]:
        deadline = time.monotonic() + order["health_timeout"]
        try:
            service.switch(host, unit, ["restart"], new_unit=False, deadline=deadline)
            service.wait_healthy(host, unit, (), wire, deadline)
        except service.Unhealthy as error:
            trouble = f", but the agent that ran before is not well either: {error}"
    else:
        host.run("systemctl", "stop", unit, timeout=60.0)
        host.run("systemctl", "reset-failed", unit)
    undo.forget(host)
    return trouble


def _plan(
    host: Host,
    order: Mapping[str, Any],
    told: Mapping[str, Any],
    unit: str,
    now: service.Units,
    wire: Wire,
) -> Plan:
    wanted = {
        file["path"]: Wanted(
            file["path"],
            file["sha256"],
            file["mode"],
            file["secret"],
            file["restart"],
            file["unclaimed"],
        )
        for file in order["files"]
    }
    record = _read_record(host)
    switches = files.compare(host, wanted, record, PYTHON)
    for switch in switches:
        if switch.found and switch.found.content is None and switch.found.link is None:
            raise Refusal(f"{switch.path} is in the way: it is not a file", "move it elsewhere")
        claimed = switch.wanted is not None and switch.wanted.unclaimed
        if claimed and switch.found is not None and switch.path not in record:
            raise Refusal(
                f"{switch.path} is another program's, such as a package's",
                "remove that program, or do not ask for ours",
            )
    hashes = dict.fromkeys(switch.wanted.sha256 for switch in switches if switch.wanted)
    contents = wire.fetch(list(hashes))
    changes = [
        {
            "kind": "file",
            "name": switch.path,
            "action": switch.action,
            "diff": files.diff(switch, contents) if order["diff"] else "",
        }
        for switch in switches
    ]
    restart = any(_restarts(switch, record) for switch in switches)
    reload = bool(switches)
    newcomers, text = controllers.added(host, [told["controller"], *order["controllers"]])
    if newcomers:
        found = files.look(host, CONTROLLERS)
        mode = found.mode if found else 0o644
        allow = Wanted(CONTROLLERS, _sha(text), mode, secret=False, restart=False)
        switches = [*switches, Switch(CONTROLLERS, found, allow)]
        contents[allow.sha256] = text
        changes += [{"kind": "controller", "name": a, "action": "create"} for a in newcomers]
        reload = True
    if now.masked:
        raise Refusal(f"{unit} is masked on this host", f"systemctl unmask {unit}")
    actions = [] if now.enabled else ["enable"]
    if not now.active:
        actions.append("start")
    elif restart or reload:
        actions.append("restart" if restart else "reload")
    changes += [{"kind": "service", "name": unit, "action": action} for action in actions]
    foreign = files.foreign(host, wanted, record)
    bundle = next((path for path in wanted if path.endswith(".pyz")), "")
    return Plan(wanted, switches, actions, changes, contents, foreign, bundle)


def _restarts(switch: Switch, record: Mapping[str, Any]) -> bool:
    if switch.path == PYTHON or switch.path.startswith(UNIT_FOLDERS):
        return True
    if switch.wanted is not None:
        return switch.wanted.restart
    return bool(record.get(switch.path, {}).get("restart", True))


def _stage(host: Host, plan: Plan, unit: str, wire: Wire) -> None:
    """Let the agent that will run judge /etc/stockade as it will be.

    Raises:
        Refusal: it found faults, or systemd found some in the unit.
    """
    if not plan.switches:
        return
    wire.phase("checking the new configuration")
    temporary = Path(tempfile.mkdtemp(prefix="stockade-", dir=host.at("/run")))
    try:
        staged = temporary / "etc"
        if host.at(CONFIG).is_dir():
            shutil.copytree(host.at(CONFIG), staged, ignore=_special, ignore_dangling_symlinks=True)
        staged.mkdir(exist_ok=True)
        bundle, program = plan.bundle, host.at(plan.bundle)
        for switch in plan.switches:
            if switch.path.startswith(CONFIG + "/"):
                place = staged / switch.path[len(CONFIG) + 1 :]
                place.unlink(missing_ok=True)
                if switch.wanted is not None:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(plan.contents[switch.wanted.sha256])
            elif switch.wanted is not None and switch.path == bundle:
                program = temporary / "agent.pyz"
                program.write_bytes(plan.contents[switch.wanted.sha256])
            elif switch.wanted is not None and Path(switch.path).name == unit:
                place = temporary / unit
                place.write_bytes(plan.contents[switch.wanted.sha256])
                fault = service.verify(host, place, unit, bundle)
                if fault:
                    raise Refusal(f"systemd-analyze verify: {fault}", "nothing was changed")
        if bundle:
            _ask_agent(host, program, staged)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _special(folder: str, names: Sequence[str]) -> set[str]:
    """Name what cannot be copied as a file, such as a pipe."""
    paths = {name: Path(folder, name) for name in names}
    return {
        name
        for name, path in paths.items()
        if path.exists() and not path.is_file() and not path.is_dir()
    }


def _ask_agent(host: Host, program: Path, staged: Path) -> None:
    done = host.run(
        host.python, "-I", "-S", str(program), "check", "--no-lint", str(staged), timeout=60.0
    )
    if done.rc == 0:
        return
    said = (done.out + done.err).replace(str(staged), CONFIG)
    faults = [line.strip()[:500] for line in said.splitlines() if line.strip()]
    if not faults:
        faults = [f"the agent's check ended with status {done.rc}"]
    raise Refusal(faults[0], "nothing was changed", faults[1:])


def _read_record(host: Host) -> dict[str, Any]:
    try:
        found = json.loads(host.at(RECORD).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError):
        # Written in one step, so this is damage from outside: without it nothing can be
        # removed, and all the rest works.
        return {}
    return found if isinstance(found, dict) else {}


def _write_record(host: Host, plan: Plan) -> None:
    """Keep in mind what this push brought, so that a later one can remove it."""
    told = {
        file.path: {"sha256": file.sha256, "secret": file.secret, "restart": file.restart}
        for file in plan.wanted.values()
    }
    text = json.dumps({"files": told}, indent=1, sort_keys=True).encode() + b"\n"
    found = files.look(host, RECORD)
    if found is None or found.content != text:
        files.write(host, RECORD, text, 0o644)


def _restore_labels(host: Host, paths: Sequence[str]) -> None:
    if host.at("/sys/fs/selinux/class").is_dir() and host.which("restorecon"):
        there = [str(host.at(path)) for path in paths if files.look(host, path)]
        host.run("restorecon", "-F", *there, timeout=60.0)


def _notes(plan: Plan) -> list[str]:
    return [f"{path}: not from a push, left alone" for path in plan.foreign]


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
