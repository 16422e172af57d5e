# SPDX-License-Identifier: MIT
"""Roles: what a host gets for being one.

    NAME/role.yml        what the role is (see ``RoleFile``)
    NAME/defaults.yml    its variables, all named NAME_…, with their defaults
    NAME/templates/      sources of role.yml's ``templates``
    NAME/files/          sources of role.yml's ``files``
    NAME/jail.d/ filter.d/ action.d/    go to /etc/stockade/ as they are
    NAME/samples/        log lines with the verdict that the filters shall give; stay here

A role of the inventory's own ``roles/`` comes before a shipped one of that name. What the
inventory itself has in jail.d, filter.d and action.d goes to every host, over what roles bring.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from stockade import values
from stockade.document import Entry, Node, fault, nearest, read, typed, unknown
from stockade.errors import InputError, InputErrors
from stockade.model import File, Place


ETC = "/etc/stockade"
AS_IS = ("action.d", "filter.d", "jail.d")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DEPLOY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _mode(value: object) -> object:
    """Return a file mode; octal text, and YAML reads 0644 as the number that it means."""
    return int(value, 8) if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value) else value


def _deploy(value: str) -> str:
    if not _DEPLOY.fullmatch(value):
        raise ValueError(f"{value!r} is not module:function")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _source(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


def _target(value: str) -> str:
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or str(path) != value:
        raise ValueError(f"{value!r} is not an absolute path")
    return value


class Source(_Strict):
    """A file below ``files/`` or ``templates/``; its name alone will do."""

    source: str
    mode: Annotated[int, BeforeValidator(_mode)] = 0o644
    restart: bool = True
    unclaimed: bool = False


class Packages(_Strict):
    """Names of packages; those under ``epel`` live in EPEL."""

    apt: list[str] = []
    dnf: list[str] = []
    epel: list[str] = []


Sources = dict[Annotated[str, AfterValidator(_target)], Annotated[Source, BeforeValidator(_source)]]


class RoleFile(_Strict):
    """What role.yml may say.

    Attributes:
        firewalls: packages that a firewall backend needs, by its name.
        files: path on the host -> file below ``files/``.
        templates: path on the host -> template below ``templates/``; one that renders to
            nothing makes no file.
        types: variable -> kind of its values (``values.KINDS``), or a list of words to choose
            from; without one a value must be of the kind of the default.
        jails: jails that the role brings, unless they are disabled.
        deploys: ``module:function`` of pyinfra deploys.
        requires: roles that must come before this one.
    """

    description: str
    packages: Packages = Packages()
    firewalls: dict[str, Packages] = {}
    files: Sources = {}
    templates: Sources = {}
    types: dict[str, str | list[str]] = {}
    jails: list[str] = []
    deploys: list[Annotated[str, AfterValidator(_deploy)]] = []
    requires: list[str] = []


@dataclass(frozen=True)
class Template:
    """A template and the file that it makes.

    Attributes:
        role: whose it is; its variables begin with that.
    """

    role: str
    target: str
    path: Path
    text: str = field(repr=False)
    mode: int = 0o644
    restart: bool = True
    unclaimed: bool = False


@dataclass(frozen=True)
class Role:
    """A role, read and checked.

    Attributes:
        defaults: variable -> its default.
        readers: variable -> how its values are read.
        requires: role -> where role.yml asks for it.
        files: those that need no rendering, content and all.
    """

    name: str
    spec: RoleFile
    defaults: Mapping[str, Entry]
    readers: Mapping[str, values.Reader] = field(repr=False)
    requires: Mapping[str, Place]
    files: tuple[File, ...]
    templates: tuple[Template, ...]


@dataclass(frozen=True)
class Roles:
    """All roles that an inventory can use; made by ``load``.

    Attributes:
        named: role by name.
        files: what the inventory's own jail.d, filter.d and action.d give to every host.
    """

    named: Mapping[str, Role]
    files: tuple[File, ...]

    @property
    def readers(self) -> Mapping[str, values.Reader]:
        """Every variable of every role -> how its values are read."""
        return {name: read for role in self.named.values() for name, read in role.readers.items()}

    def ordered(self, names: Iterable[str], place: Place) -> tuple[Role, ...]:
        """Return roles with all that they require, each after what it requires, base first.

        Args:
            names: of the roles.
            place: where they were asked for, for the error.

        Raises:
            InputError: there is no such role, with the nearest name.
        """
        found: dict[str, Role] = {}
        for name in ("base", *names):
            if name not in self.named:
                raise unknown("role", name, place, self.named)
            self._add(name, found, ())
        return tuple(found.values())

    def _add(self, name: str, found: dict[str, Role], inside: tuple[str, ...]) -> None:
        for required in self.named[name].requires:
            if required not in inside:
                self._add(required, found, (*inside, name))
        found.setdefault(name, self.named[name])


def shipped() -> Path:
    """Return the folder of the roles that come with stockade, installed or in a checkout."""
    here = Path(__file__).parent
    installed = here / "roles"
    return installed if installed.is_dir() else here.parent.parent / "roles"


def load(inventory: Path) -> Roles:
    """Return the shipped roles, those of an inventory over them, and the inventory's own files.

    Raises:
        InputErrors: all that is wrong with any of them.
    """
    faults: list[InputError] = []
    named: dict[str, Role] = {}
    for folder in (shipped(), inventory / "roles"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir() and path.name[0] not in "._":
                try:
                    named[path.name] = _role(path)
                except InputError as exc:
                    faults.append(exc)
    files = _as_is(inventory, faults)
    if not faults:
        faults += _clashes(named)
    if faults:
        raise InputErrors(faults)
    return Roles(named, files)


def _clashes(named: Mapping[str, Role]) -> Iterator[InputError]:
    """Yield what no role can know by itself: requirements that are not there, names used twice."""
    owners: dict[str, str] = {}
    for role in named.values():
        for name, place in role.requires.items():
            if name not in named:
                yield unknown("role", name, place, named)
        for variable, entry in role.defaults.items():
            other = owners.setdefault(variable, role.name)
            if other != role.name:
                yield fault(entry.key, f"{variable} is a variable of role {other} too")


def _role(folder: Path) -> Role:
    name = folder.name
    if not _NAME.fullmatch(name):
        message = "roles are named with lower-case letters, digits and _"
        raise InputError(message, path=str(folder))
    root = read(folder / "role.yml")
    spec = typed(root, RoleFile)
    written = folder / "defaults.yml"
    defaults = read(written).entries if written.exists() else {}
    faults = [
        fault(entry.key, f"{variable!r}: the variables of this role begin with {name}_")
        for variable, entry in defaults.items()
        if not variable.startswith(f"{name}_")
    ]
    readers = _readers(root, spec, defaults, faults)
    files = [
        File(
            target,
            content,
            source.mode,
            str(path),
            restart=source.restart,
            unclaimed=source.unclaimed,
        )
        for target, source, path, content in _sources(folder, root, "files", spec.files, faults)
    ]
    templates = [
        Template(
            name,
            target,
            path,
            _decoded(path, content, faults),
            source.mode,
            source.restart,
            source.unclaimed,
        )
        for target, source, path, content in _sources(
            folder, root, "templates", spec.templates, faults
        )
    ]
    files += _as_is(folder, faults)
    if faults:
        raise InputErrors(faults)
    listed = root.entries["requires"].node.items if spec.requires else ()
    requires = dict(zip(spec.requires, (node.place for node in listed), strict=True))
    return Role(name, spec, defaults, readers, requires, tuple(files), tuple(templates))


def _readers(
    root: Node, spec: RoleFile, defaults: Mapping[str, Entry], faults: list[InputError]
) -> Mapping[str, values.Reader]:
    """Return how the values of each variable are read, each default read once as a proof."""
    readers = {variable: values.like(entry.node) for variable, entry in defaults.items()}
    types = root.entries["types"].node.entries if spec.types else {}
    for variable, (key, node) in types.items():
        kind = spec.types[variable]
        if variable not in defaults:
            faults.append(unknown("variable", variable, key, defaults))
        elif isinstance(kind, list):
            readers[variable] = values.choice(tuple(kind))
        elif kind not in values.KINDS:
            faults.append(unknown("type", kind, node.place, values.KINDS))
        else:
            readers[variable] = values.KINDS[kind]
    for variable, (_, node) in defaults.items():
        if node.data is not None:
            faults += values.faults(variable, readers[variable], node)
    return readers


def _sources(
    folder: Path, root: Node, key: str, spec: Mapping[str, Source], faults: list[InputError]
) -> Iterator[tuple[str, Source, Path, bytes]]:
    """Yield the files that role.yml names, with their content."""
    for target, source in spec.items():
        path = folder / key / source.source
        try:
            yield target, source, path, path.read_bytes()
        except OSError as exc:
            place = root.entries[key].node.entries[target].key
            there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            message = f"{key}: {path} cannot be read: {exc.strerror}"
            faults.append(fault(place, message, nearest(path.name, there)))


def _decoded(path: Path, content: bytes, faults: list[InputError]) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        faults.append(InputError("not UTF-8 text", path=str(path), line=line))
        return ""


def _as_is(folder: Path, faults: list[InputError]) -> tuple[File, ...]:
    """Return what jail.d, filter.d and action.d of a folder give to a host."""
    files = []
    for kind in AS_IS:
        for path in sorted((folder / kind).rglob("*")):
            inner = path.relative_to(folder / kind)
            if any(part[0] == "." or part[-1] == "~" for part in inner.parts) or path.is_dir():
                continue
            if kind == "jail.d" and (
                len(inner.parts) > 1 or path.suffix not in (".conf", ".local")
            ):
                message = "nothing reads this file"
                remedy = "files of jail.d end in .conf or .local and are in no folder"
                faults.append(InputError(message, path=str(path), remedy=remedy))
                continue
            try:
                content, executable = path.read_bytes(), path.stat().st_mode & 0o100
            except OSError as exc:
                faults.append(InputError(f"cannot be read: {exc.strerror}", path=str(path)))
                continue
            target = f"{ETC}/{kind}/{inner.as_posix()}"
            files.append(File(target, content, 0o755 if executable else 0o644, str(path)))
    return tuple(files)
