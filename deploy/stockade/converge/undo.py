# SPDX-License-Identifier: MIT
"""The way back: everything that a push is about to change, kept until it is proved healthy.

    /var/lib/stockade/undo/log.json    written last: from then on a push can be undone
    /var/lib/stockade/undo/0, 1, ...   old contents

Whoever finds a log (a failed push, or the one after a push that was killed) puts all of it
back. Removing the log is what makes a push final.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from stockade.converge import files
from stockade.converge.host import STATE, Host


FOLDER = STATE + "/undo"
LOG = FOLDER + "/log.json"


def prepare(host: Host, paths: Sequence[str], service: Mapping[str, Any]) -> None:
    """Write down what lies at ``paths`` now, and how the service stands.

    ``service`` is ``{"unit": name, "active": bool, "enabled": bool}``.
    """
    shutil.rmtree(host.at(FOLDER), ignore_errors=True)
    files.make_folders(host, LOG)
    host.at(FOLDER).chmod(0o700)
    entries = []
    for number, path in enumerate(paths):
        found = files.look(host, path)
        entry: dict[str, Any] = {"path": path}
        if found is not None:
            entry.update(mode=found.mode, uid=found.uid, gid=found.gid, link=found.link)
            if found.content is not None:
                entry["content"] = str(number)
                files.write(host, f"{FOLDER}/{number}", found.content, 0o600)
        entries.append(entry)
    absent = sorted({folder for path in paths for folder in files.absent_folders(host, path)})
    log = {"entries": entries, "folders": absent, "service": dict(service)}
    files.write(host, LOG, json.dumps(log).encode(), 0o600)


def forget(host: Host) -> None:
    """Make the push final."""
    files.remove(host, LOG)
    shutil.rmtree(host.at(FOLDER), ignore_errors=True)


def pending(host: Host) -> Optional[dict[str, Any]]:
    """Return the log of a push that is not final, or None."""
    try:
        log = json.loads(host.at(LOG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return log if isinstance(log, dict) else None


def put_back(host: Host, log: Mapping[str, Any]) -> list[str]:
    """Put every path of the log back as it was; return those paths. The log stays."""
    for entry in log["entries"]:
        path = entry["path"]
        if "mode" not in entry:
            files.remove(host, path)
        elif entry.get("link") is not None:
            files.make_folders(host, path)
            files.link(host, path, entry["link"])
        elif "content" in entry:
            content = host.at(f"{FOLDER}/{entry['content']}").read_bytes()
            files.make_folders(host, path)
            files.write(host, path, content, entry["mode"], (entry["uid"], entry["gid"]))
    for folder in sorted(log["folders"], reverse=True):
        with contextlib.suppress(OSError):  # something else lives there by now
            host.at(folder).rmdir()
    return [entry["path"] for entry in log["entries"]]
