# SPDX-License-Identifier: MIT
"""Files on the host: what differs from the manifest, and how one is replaced.

A file is always the old one or the new one: it is written beside its place, synced, given its
mode and owner, and only then renamed over it.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from stockade.converge.host import CONFIG, CONTROLLERS, Host


TEMPORARY = ".stockade-tmp-"
DIFF_LINES = 400


@dataclass(frozen=True)
class Wanted:
    """A file of the manifest; its content travels only when it is needed."""

    path: str
    sha256: str
    mode: int
    secret: bool
    restart: bool
    unclaimed: bool = False


@dataclass(frozen=True)
class Found:
    """What lies at a path: ``content`` of a regular file, ``link`` of a symbolic link."""

    mode: int
    uid: int
    gid: int
    content: Optional[bytes] = None
    link: Optional[str] = None


@dataclass(frozen=True)
class Switch:
    """One path that a push changes: from ``found`` (None: nothing) to what ``wanted`` says.

    ``link`` makes a symbolic link instead of a file; neither removes the path.
    """

    path: str
    found: Optional[Found]
    wanted: Optional[Wanted] = None
    link: Optional[str] = None
    secret: bool = False

    @property
    def action(self) -> str:
        """The word for it in ``stockade.model.Change``."""
        if self.wanted is None and self.link is None:
            return "remove"
        return "create" if self.found is None else "update"


def look(host: Host, path: str) -> Optional[Found]:
    """Return what lies at ``path``, or None."""
    place = host.at(path)
    try:
        state = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode, kind = stat.S_IMODE(state.st_mode), stat.S_IFMT(state.st_mode)
    if kind == stat.S_IFLNK:
        return Found(mode, state.st_uid, state.st_gid, link=str(place.readlink()))
    if kind == stat.S_IFREG:
        return Found(mode, state.st_uid, state.st_gid, content=place.read_bytes())
    return Found(mode, state.st_uid, state.st_gid)


def compare(
    host: Host, wanted: Mapping[str, Wanted], record: Mapping[str, Any], python: str
) -> list[Switch]:
    """Return the paths that differ from the manifest, in the order of the manifest.

    ``record`` is what an earlier push wrote down of each of its paths: those that the manifest
    no longer has are removed. ``python`` is where the link to the Python that serves belongs.
    """
    switches = []
    owner = (os.geteuid(), os.getegid())
    for path, file in wanted.items():
        found = look(host, path)
        if (
            found is None
            or found.content is None
            or hashlib.sha256(found.content).hexdigest() != file.sha256
            or found.mode != file.mode
            or (found.uid, found.gid) != owner
        ):
            switches.append(Switch(path, found, wanted=file, secret=file.secret))
    found = look(host, python)
    if found is None or found.link != host.python:
        switches.append(Switch(python, found, link=host.python))
    for path, earlier in record.items():
        if path not in wanted and path != python:
            found = look(host, path)
            if found is not None:
                switches.append(Switch(path, found, secret=bool(earlier.get("secret"))))
    return switches


def foreign(host: Host, wanted: Mapping[str, Wanted], record: Mapping[str, Any]) -> list[str]:
    """Return the files in /etc/stockade that no push brought."""
    found, top = [], host.at(CONFIG)
    for folder, _, names in os.walk(top):
        inside = Path(CONFIG, Path(folder).relative_to(top))
        found += [str(inside / name) for name in names if not name.startswith(TEMPORARY)]
    ours = {*wanted, *record, CONTROLLERS}
    return sorted(path for path in found if path not in ours)


def diff(switch: Switch, contents: Mapping[str, bytes]) -> str:
    """Return a switch as a unified diff; "" for secrets and binaries."""
    if switch.secret:
        return ""
    if switch.link is not None:
        before = switch.found.link if switch.found and switch.found.link else "nothing"
        return f"-> {switch.link} (was {before})\n"
    old = switch.found.content if switch.found and switch.found.content is not None else b""
    new = contents[switch.wanted.sha256] if switch.wanted else b""
    lines = []
    if switch.found and switch.wanted and switch.found.mode != switch.wanted.mode:
        lines.append(f"mode {switch.found.mode:04o} -> {switch.wanted.mode:04o}\n")
    try:
        texts = [text.decode("utf-8") for text in (old, new)]
    except UnicodeDecodeError:
        return "".join(lines)
    if "\0" in texts[0] + texts[1]:
        return "".join(lines)
    changed = difflib.unified_diff(
        texts[0].splitlines(keepends=True),
        texts[1].splitlines(keepends=True),
        switch.path if switch.found else "/dev/null",
        switch.path if switch.wanted else "/dev/null",
    )
    lines += [line if line.endswith("\n") else line + "\n" for line in changed]
    if len(lines) > DIFF_LINES:
        lines = [*lines[:DIFF_LINES], f"({len(lines) - DIFF_LINES} more lines)\n"]
    return "".join(lines)


def make_folders(host: Host, path: str) -> list[str]:
    """Make the folders above ``path`` and return those that were not there, outermost first."""
    absent = absent_folders(host, path)
    for folder in absent:
        host.at(folder).mkdir(0o755)
        host.at(folder).chmod(0o755)  # the umask of a login may be anything
    return absent


def absent_folders(host: Host, path: str) -> list[str]:
    """Return the folders above ``path`` that are not there, outermost first."""
    above = [str(folder) for folder in Path(path).parents]
    return [folder for folder in reversed(above) if not host.at(folder).is_dir()]


def write(
    host: Host, path: str, content: bytes, mode: int, owner: Optional[tuple[int, int]] = None
) -> None:
    """Replace the file at ``path`` in one step; its folder must be there."""
    place = host.at(path)
    temporary = place.with_name(TEMPORARY + secrets.token_hex(6))
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            uid, gid = owner or (os.geteuid(), os.getegid())
            os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.rename(place)
    except BaseException:
        temporary.unlink()
        raise
    sync_folder(place.parent)


def link(host: Host, path: str, target: str) -> None:
    """Make ``path`` a symbolic link to ``target``, in one step."""
    place = host.at(path)
    temporary = place.with_name(TEMPORARY + secrets.token_hex(6))
    temporary.symlink_to(target)
    try:
        temporary.rename(place)
    except BaseException:
        temporary.unlink()
        raise
    sync_folder(place.parent)


def remove(host: Host, path: str) -> None:
    """Remove a file or link; one that is gone already is fine."""
    place = host.at(path)
    try:
        place.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    sync_folder(place.parent)


def apply(host: Host, switch: Switch, contents: Mapping[str, bytes]) -> None:
    """Make one switch."""
    if switch.wanted is not None:
        write(host, switch.path, contents[switch.wanted.sha256], switch.wanted.mode)
    elif switch.link is not None:
        link(host, switch.path, switch.link)
    else:
        remove(host, switch.path)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(host: Host, paths: Iterable[str]) -> None:
    """Remove what a killed push left half-written beside ``paths``."""
    for folder in sorted({host.at(path).parent for path in paths}):
        for left in folder.glob(TEMPORARY + "*"):
            left.unlink()
