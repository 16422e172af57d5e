# SPDX-License-Identifier: MIT
"""The child process: a job on standard input, JSON lines on standard output."""

# ruff: noqa: E402 - the patching has to come before anything opens a socket
from __future__ import annotations

from gevent import monkey


monkey.patch_all()

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from gevent.pool import Pool
from pyinfra.api.config import Config
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_host, ctx_state

from stockade.bootstrap.connector import StrictConnector
from stockade.bootstrap.steps import StepError, bring


def main() -> None:
    """Do the one job that standard input holds."""
    job = json.loads(sys.stdin.readline())
    # pyinfra and the deploys of users may print; that must not end up among our lines.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.path[:0] = job["folders"]
    names = [(one["name"], _data(one, job["known_hosts"])) for one in job["hosts"]]
    inventory = Inventory((names, {}))  # type: ignore[no-untyped-call]
    config = Config(PARALLEL=job["parallel"])  # type: ignore[no-untyped-call]
    state = State(inventory, config, check_for_changes=False)
    state.set_stage(StateStage.Execute)
    state.is_executing = True  # each operation runs when it is called
    ctx_state.set(state)  # type: ignore[no-untyped-call]
    pool = Pool(job["parallel"])
    for one in job["hosts"]:
        pool.spawn(_one, state, one, out)
    pool.join()


def _data(one: Mapping[str, Any], known_hosts: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        **one["variables"],
        "ssh_hostname": one["address"],
        "ssh_port": one["port"],
        "ssh_user": one["user"],
        "ssh_config_file": os.devnull,
        "ssh_known_hosts_file": known_hosts,
        "ssh_strict_host_key_checking": "yes",
        "ssh_look_for_keys": False,
        "ssh_paramiko_connect_kwargs": {"timeout": one["connect_timeout"]},
    }
    if one["key_file"]:
        data["ssh_key"] = one["key_file"]
    if one["become"]:
        data["_sudo"] = True
    return data


def _one(state: State, one: Mapping[str, Any], out: TextIO) -> None:
    """Bring one host what it lacks, and say how that went."""
    name, did, error = one["name"], list[tuple[str, str, str]](), ""

    def say(**message: Any) -> None:
        out.write(json.dumps({"host": name, **message}) + "\n")
        out.flush()

    try:
        host = _connected(state, one)
        try:
            bring(state, host, one, lambda text: say(say="phase", text=text), did)
        finally:
            host.disconnect()
    except (StepError, ConnectError) as failure:
        error = str(failure)
    except Exception as failure:  # noqa: BLE001 - one host's trouble is told, not shared
        error = f"{type(failure).__name__}: {failure}"
    say(say="done", error=" ".join(error.split()), did=did)


def _connected(state: State, one: Mapping[str, Any]) -> Host:
    host = state.inventory.get_host(one["name"])
    if host is None:
        raise StepError("pyinfra lost this host")
    connector = StrictConnector(state, host)
    connector.become_password = one["become_password"]
    host.connector = connector
    ctx_host.set(host)  # type: ignore[no-untyped-call]
    host.connect(show_errors=False, raise_exceptions=True)
    state.activate_host(host)
    return host


if __name__ == "__main__":
    main()
