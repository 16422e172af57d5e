# SPDX-License-Identifier: MIT
"""The inventory's known_hosts: whose key is whose, read once for a whole fleet."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stockade.errors import InputError


@dataclass(frozen=True)
class HostKey:
    """A public host key: its type (``ssh-ed25519``) and its wire form."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return "SHA256:" + digest.rstrip("=")


def host_name(address: str, port: int) -> str:
    """Return a host as known_hosts writes it."""
    return address.lower() if port == 22 else f"[{address.lower()}]:{port}"


def known_line(address: str, port: int, key: HostKey) -> str:
    """Return the line of known_hosts for a host's key."""
    return f"{host_name(address, port)} {key.kind} {base64.b64encode(key.blob).decode()}\n"


class KnownHosts:
    """Looks host keys up. Nothing is ever added but by ``approve``.

    Plain names are looked up in constant time; only hashed names and patterns are searched.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._names: dict[str, list[HostKey]] = {}
        self._others: list[tuple[tuple[str, ...], HostKey]] = []
        self._revoked: set[bytes] = set()
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                self._add(line.split(), number)

    @classmethod
    def load(cls, path: Path) -> KnownHosts:
        """Read the file; one that is not there is empty.

        Raises:
            InputError: a line is not one of known_hosts.
        """
        try:
            return cls(path, path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(path, "")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", path=str(path)) from error

    def _add(self, fields: list[str], line: int) -> None:
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        try:
            names, kind, encoded = fields[:3]
            key = HostKey(kind, base64.b64decode(encoded, validate=True))
        except (ValueError, binascii.Error):
            raise InputError(
                "not a line of known_hosts", path=str(self.path), line=line,
                remedy="NAME TYPE KEY, as ssh-keyscan and stockade hostkeys print it",
            ) from None  # fmt: skip
        if marker == "@revoked":
            self._revoked.add(key.blob)
        elif marker:
            raise InputError(
                f"{marker} is not supported here", path=str(self.path), line=line,
                remedy="list the hosts' own keys",
            )  # fmt: skip
        else:
            plain = [name.lower() for name in names.split(",")]
            if any(name.startswith(("|", "!")) or "*" in name or "?" in name for name in plain):
                self._others.append((tuple(names.split(",")), key))
            else:
                for name in plain:
                    self._names.setdefault(name, []).append(key)

    def lookup(self, address: str, port: int) -> tuple[HostKey, ...]:
        """Return the keys on record for a host, or nothing."""
        name = host_name(address, port)
        found = list(self._names.get(name, ()))
        found += [key for names, key in self._others if _matches(name, names)]
        return tuple(key for key in found if key.blob not in self._revoked)

    def revoked(self, key: HostKey) -> bool:
        """Whether this key must never be trusted again."""
        return key.blob in self._revoked

    def approve(self, keys: Iterable[tuple[str, int, HostKey]]) -> None:
        """Append keys to the file, which is replaced in one step."""
        old = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        lines = [known_line(address, port, key) for address, port, key in keys]
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        temporary.write_text(
            (old if old.endswith("\n") or not old else old + "\n") + "".join(lines),
            encoding="utf-8",
        )
        temporary.replace(self.path)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    hit = False
    for pattern in patterns:
        if pattern.startswith("|1|"):
            hit = hit or _hashed(name, pattern)
        elif pattern.startswith("!"):
            if _glob(name, pattern[1:]):
                return False
        else:
            hit = hit or _glob(name, pattern)
    return hit


def _glob(name: str, pattern: str) -> bool:
    # Only * and ? mean anything there; the brackets of [host]:port are literal.
    return fnmatch.fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _hashed(name: str, pattern: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in pattern.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), "sha1").digest(), digest)
