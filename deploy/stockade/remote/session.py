# SPDX-License-Identifier: MIT
"""Connections: strict host keys, at most a few keys to log in with, one exec."""

from __future__ import annotations

import functools
import json
import logging
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import paramiko

from stockade.errors import Unreachable
from stockade.model import Host
from stockade.remote.explain import (
    changed_key_words,
    no_keys,
    unknown_key_words,
    unreachable,
    words_error,
)
from stockade.remote.known_hosts import HostKey, KnownHosts


KEX = ("curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384",
       "ecdh-sha2-nistp521", "diffie-hellman-group16-sha512",
       "diffie-hellman-group-exchange-sha256", "diffie-hellman-group14-sha256")  # fmt: skip
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com",
           "aes128-ctr", "aes192-ctr", "aes256-ctr")  # fmt: skip
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
             "rsa-sha2-512", "rsa-sha2-256")  # fmt: skip
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
MOST_KEYS = 3
"""How many keys are tried where the inventory names none: each refusal may count as an attack."""
KEEPALIVE = 15
NOISE = 1 << 16
LONGEST = 1 << 26

# What paramiko reports also comes as an exception, and that one is explained.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class Offer(NamedTuple):
    """A host's own key as it shows it now, and what known_hosts says of it."""

    host: Host
    key: HostKey
    state: Literal["known", "new", "changed"]


class Remote:
    """Opens sessions; shared by all threads of a run."""

    def __init__(self, known: KnownHosts) -> None:
        self.known = known

    def open(self, host: Host, command: str, marker: str) -> Session:
        """Connect, log in, and start the one command.

        Raises:
            Unreachable: with what to do about it.
        """
        try:
            with _undone_on_error(_connect(host, self.known.lookup(host.address, host.port))) as t:
                self._check(host, t)
                key = _log_in(host, t)
                t.set_keepalive(KEEPALIVE)
                channel = t.open_session(timeout=host.connect_timeout)
                channel.set_combine_stderr(True)
                channel.exec_command(command)
                return Session(t, channel, marker, key)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise unreachable(error, host) from error

    def offer(self, host: Host) -> Offer:
        """Ask a host for its key, and go no further.

        Raises:
            Unreachable: there is no ssh server to ask.
        """
        known = self.known.lookup(host.address, host.port)
        try:
            with _undone_on_error(_connect(host, known)) as transport:
                key = _shown(transport)
                transport.close()
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise unreachable(error, host) from error
        if self.known.revoked(key) or (known and key not in known):
            return Offer(host, key, "changed")
        return Offer(host, key, "known" if known else "new")

    def offers(self, hosts: Sequence[Host], parallel: int) -> tuple[list[Offer], list[Unreachable]]:
        """Ask many hosts for their keys; both lists are in the order of the hosts."""

        def ask(host: Host) -> Offer | Unreachable:
            try:
                return self.offer(host)
            except Unreachable as error:
                return error

        with ThreadPoolExecutor(max_workers=parallel) as pool:
            answers = list(pool.map(ask, hosts))
        return (
            [answer for answer in answers if isinstance(answer, Offer)],
            [answer for answer in answers if isinstance(answer, Unreachable)],
        )

    def _check(self, host: Host, transport: paramiko.Transport) -> None:
        key, known = _shown(transport), self.known.lookup(host.address, host.port)
        if self.known.revoked(key):
            raise words_error(changed_key_words(host, " (one that it revokes)"), host)
        if not known:
            raise words_error(unknown_key_words(host, self.known.path, key.fingerprint), host)
        if key not in known:
            recorded = ", ".join(sorted(other.fingerprint for other in known))
            detail = f" ({key.fingerprint} instead of {recorded})"
            raise words_error(changed_key_words(host, detail), host)


def _shown(transport: paramiko.Transport) -> HostKey:
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.asbytes())


@contextmanager
def _undone_on_error(transport: paramiko.Transport) -> Iterator[paramiko.Transport]:
    try:
        yield transport
    except BaseException:
        transport.close()
        raise


def _connect(host: Host, known: tuple[HostKey, ...]) -> paramiko.Transport:
    wire = socket.create_connection((host.address, host.port), timeout=host.connect_timeout)
    try:
        transport = paramiko.Transport(wire)
    except BaseException:
        wire.close()
        raise
    with _undone_on_error(transport):
        transport.banner_timeout = transport.auth_timeout = host.connect_timeout
        transport.handshake_timeout = host.connect_timeout
        options = transport.get_security_options()
        options.kex, options.ciphers = KEX, CIPHERS
        kinds = {key.kind for key in known}
        # A server that holds several keys is asked for one that is on record.
        options.key_types = sorted(
            KEY_TYPES, key=lambda kind: (_key_kind(kind) not in kinds, KEY_TYPES.index(kind))
        )
        transport.start_client(timeout=3 * host.connect_timeout)
    return transport


def _key_kind(signature: str) -> str:
    return "ssh-rsa" if signature.startswith("rsa-sha2-") else signature


def _log_in(host: Host, transport: paramiko.Transport) -> str:
    """Log in, and return the file of the key that did it; "" for one of the ssh agent."""
    refusal: paramiko.SSHException | None = None
    agent = paramiko.Agent()
    try:
        for source, key in _keys(host, agent):
            try:
                left = transport.auth_publickey(host.user, key)
            except paramiko.BadAuthenticationType:
                raise
            except paramiko.AuthenticationException as error:
                refusal = error
                continue
            if left:
                raise paramiko.ssh_exception.PartialAuthentication(left)
            return source
    finally:
        agent.close()
    if refusal is None:
        raise no_keys(host)
    raise refusal


def _keys(host: Host, agent: paramiko.Agent) -> Iterator[tuple[str, paramiko.PKey]]:
    """Yield keys to try, each with its file ("" for one of the agent)."""
    if host.key_file:
        path = Path(host.key_file).expanduser()
        try:
            yield str(path), _load_key(path)
        except paramiko.PasswordRequiredException:
            public = _public_blob(path)
            held = [key for key in agent.get_keys() if key.asbytes() == public]
            if not held:
                raise
            yield "", held[0]
        except OSError as error:
            raise Unreachable(
                f"the key {host.key_file} cannot be read: {error.strerror}",
                host=host.name, remedy="correct ansible_ssh_private_key_file",
            ) from error  # fmt: skip
        return
    keys: dict[bytes, tuple[str, paramiko.PKey]] = {
        key.asbytes(): ("", key) for key in agent.get_keys()
    }
    for name in DEFAULT_KEYS:
        path = Path.home() / ".ssh" / name
        if path.exists():
            try:
                key = _load_key(path)
            except (paramiko.SSHException, OSError):
                continue  # a key nobody asked for: encrypted, or not ours to read
            keys.setdefault(key.asbytes(), (str(path), key))
    yield from list(keys.values())[:MOST_KEYS]


@functools.cache
def _load_key(path: Path) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path)
    except TypeError as error:  # what cryptography raises for a passphrase not given
        raise paramiko.PasswordRequiredException(str(error)) from error
    except (ValueError, paramiko.pkey.UnknownKeyType) as error:
        raise paramiko.SSHException(f"the key {path} cannot be read: {error}") from error


def _public_blob(path: Path) -> bytes:
    public = path.with_name(path.name + ".pub")
    fields = public.read_text().split() if public.exists() else []
    return paramiko.pkey.PublicBlob.from_string(" ".join(fields)).key_blob if fields else b""


class Session:
    """One command under way on a host, and the messages that it exchanges with us.

    Until ``ready`` the standard error of the command counts as noise too: it is where sudo
    and shells say what they refuse. ``key`` is the file of the key that logged in, "" for
    one of the ssh agent.
    """

    def __init__(
        self, transport: paramiko.Transport, channel: paramiko.Channel, marker: str, key: str
    ) -> None:
        self.key = key
        self._transport, self._channel = transport, channel
        self._marker = marker.encode()
        self._buffer = b""
        self.noise = b""
        self.sent = self.received = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send to the command's stdin. Raises OSError when it is gone."""
        self._channel.settimeout(60.0)
        self._channel.sendall(data)
        self.sent += len(data)

    def end_input(self) -> None:
        """Close the command's stdin."""
        self._channel.shutdown_write()

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """Return the next message, or None when the command has ended.

        Raises:
            TimeoutError: none came within ``timeout`` seconds of silence in all.
        """
        deadline = time.monotonic() + timeout
        while True:
            message = self._next()
            if message is not None:
                return message
            self._channel.settimeout(max(0.01, deadline - time.monotonic()))
            chunk = self._channel.recv(1 << 16)
            if not chunk:
                self._noise(self._buffer)
                self._buffer = b""
                return None
            self.received += len(chunk)
            self._buffer += chunk
            if len(self._buffer) > LONGEST:
                raise TimeoutError("the host sends without end")

    def _next(self) -> dict[str, Any] | None:
        while True:
            start = self._buffer.find(self._marker)
            if start < 0:
                kept = len(self._marker) - 1
                self._noise(self._buffer[:-kept])
                self._buffer = self._buffer[-kept:]
                return None
            end = self._buffer.find(b"\n", start)
            if end < 0:
                return None
            line = self._buffer[start + len(self._marker) : end]
            self._noise(self._buffer[:start])
            self._buffer = self._buffer[end + 1 :]
            try:
                message = json.loads(line)
            except ValueError:
                self._noise(line)
                continue
            if isinstance(message, dict):
                if message.get("say") == "ready":
                    self._channel.set_combine_stderr(False)
                return message

    @property
    def heard(self) -> bytes:
        """What has come so far that is no message."""
        return self.noise + self._buffer

    def _noise(self, data: bytes) -> None:
        self.noise = (self.noise + data)[-NOISE:]

    def ending(self) -> tuple[int, str]:
        """Return the exit status of the ended command (-1: cut off) and what it said aside."""
        self._channel.settimeout(2.0)
        said = self.noise
        try:
            while chunk := self._channel.recv_stderr(1 << 14):
                said = (said + chunk)[-NOISE:]
        except OSError:
            pass
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        return status, said.decode("utf-8", "replace")

    def close(self) -> None:
        """End the connection. What converge has begun on the host, it ends by itself."""
        self._transport.close()
