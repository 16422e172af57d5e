# SPDX-License-Identifier: MIT
"""What went wrong on the way to a host, in words for the person who can mend it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import paramiko
from paramiko import auth_strategy, ber, hostkeys, packet, pkey, sftp, ssh_exception

from stockade.errors import Unreachable
from stockade.model import Host


Words = tuple[str, str]
"""What happened and what to do about it."""


def place(host: Host) -> str:
    """Return where ssh goes: ``user@address:port``."""
    return f"{host.user}@{host.address}:{host.port}"


def _refused(_error: BaseException, host: Host) -> Words:
    return (
        f"{host.address}:{host.port} refuses connections",
        "is sshd running there, and on this port (ansible_port)?",
    )


def _no_connection(error: BaseException, host: Host) -> Words:
    errors = getattr(error, "errors", {}).values()
    return explain(next(iter(errors)), host) if errors else _refused(error, host)


def _name(_error: BaseException, host: Host) -> Words:
    return (
        f"no address is known for {host.address}",
        "correct the name, or set ansible_host to an address",
    )


def _timeout(_error: BaseException, host: Host) -> Words:
    return (
        f"{host.address}:{host.port} did not answer within {host.connect_timeout:g} s",
        "is the host up and the port open? ansible_ssh_timeout gives it longer",
    )


def _no_route(_error: BaseException, host: Host) -> Words:
    return f"no route to {host.address}", "is the host up, and this network the right one?"


def _login(_error: BaseException, host: Host) -> Words:
    if host.key_file:
        return (
            f"{place(host)} refused the key {host.key_file}",
            (
                f"append its public half to ~{host.user}/.ssh/authorized_keys, "
                "or correct ansible_user or ansible_ssh_private_key_file"
            ),
        )
    return (
        f"{place(host)} refused the login",
        "set ansible_ssh_private_key_file to the key that it accepts",
    )


def _no_keys(_error: BaseException, host: Host) -> Words:
    return (
        f"there is no key to log in to {place(host)} with",
        "set ansible_ssh_private_key_file, or load a key into the ssh agent",
    )


def _methods(error: BaseException, host: Host) -> Words:
    allowed = ", ".join(getattr(error, "allowed_types", ())) or "other methods"
    return (
        f"{place(host)} does not accept a key alone (it wants {allowed})",
        "allow publickey for this user in its sshd_config",
    )


def _locked(_error: BaseException, host: Host) -> Words:
    return (
        f"the key {host.key_file} is encrypted",
        "load it into the ssh agent with ssh-add",
    )


def _bad_key(error: BaseException, host: Host) -> Words:
    return f"the key {host.key_file or 'on record'} cannot be read: {error}", "is it a private key?"


def _host_key(_error: BaseException, host: Host) -> Words:
    return changed_key_words(host)


def changed_key_words(host: Host, detail: str = "") -> Words:
    """Return the warning for a host that shows another key than the one on record."""
    return (
        (
            f"HOST KEY CHANGED: {host.address}:{host.port} shows another key than known_hosts has"
            f"{detail}; this may be somebody in between, so nothing was sent"
        ),
        (
            "only if you know why it changed: remove its line from known_hosts, "
            f"then stockade hostkeys --limit {host.name}"
        ),
    )


def unknown_key_words(host: Host, path: object, fingerprint: str) -> Words:
    """Return what to do about a host that is not in known_hosts."""
    return (
        f"the host key of {host.address}:{host.port} ({fingerprint}) is not in {path}",
        f"compare and approve it: stockade hostkeys --limit {host.name} --approve",
    )


def _peer(error: BaseException, host: Host) -> Words:
    return (
        f"{host.address} and this controller have no ssh algorithm in common: {error}",
        "allow a modern one (curve25519, aes-gcm, ed25519) in its sshd_config",
    )


def _channel(error: BaseException, host: Host) -> Words:
    return (
        f"{place(host)} let us in but opens no session: {error}",
        "look at MaxSessions and ForceCommand in its sshd_config",
    )


def _cut(_error: BaseException, host: Host) -> Words:
    return (
        f"{host.address}:{host.port} closed the connection",
        "look into its sshd log; MaxStartups or a firewall may refuse this many connections",
    )


def _protocol(error: BaseException, host: Host) -> Words:
    return (
        f"{host.address}:{host.port} does not keep to the ssh protocol: {error}",
        "is there an sshd on this port (ansible_port)?",
    )


def _ssh(error: BaseException, host: Host) -> Words:
    text = str(error)
    if "No existing session" in text:
        return _timeout(error, host)  # its negotiation never came to an end
    if "protocol banner" in text or "protocol version" in text:
        return (
            f"{host.address}:{host.port} answers, but not as an ssh server",
            (
                "is this the right port (ansible_port)? a sshd that is overloaded, or punishes "
                "this address for failed logins (PerSourcePenalties), also looks like this"
            ),
        )
    return f"ssh to {place(host)} failed: {text or type(error).__name__}", "look into its sshd log"


def _system(error: BaseException, host: Host) -> Words:
    number = getattr(error, "errno", None)
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES):
        return _no_route(error, host)
    if number in (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED):
        return _cut(error, host)
    if number == errno.ETIMEDOUT:
        return _timeout(error, host)
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"no connection to {host.address}:{host.port}: {reason}", "is the host up?"


EXPLAINED: dict[type[BaseException], Callable[[BaseException, Host], Words]] = {
    ssh_exception.NoValidConnectionsError: _no_connection,
    socket.gaierror: _name,
    TimeoutError: _timeout,
    ConnectionRefusedError: _refused,
    ssh_exception.PasswordRequiredException: _locked,
    ssh_exception.BadAuthenticationType: _methods,
    ssh_exception.PartialAuthentication: _methods,
    ssh_exception.UnableToAuthenticate: _login,
    auth_strategy.AuthFailure: _login,
    ssh_exception.AuthenticationException: _login,
    ssh_exception.BadHostKeyException: _host_key,
    ssh_exception.IncompatiblePeer: _peer,
    ssh_exception.ChannelException: _channel,
    ssh_exception.ProxyCommandFailure: _ssh,
    ssh_exception.CouldNotCanonicalize: _name,
    ssh_exception.ConfigParseError: _ssh,
    ssh_exception.MessageOrderError: _protocol,
    ssh_exception.SSHException: _ssh,
    hostkeys.InvalidHostKey: _protocol,
    pkey.UnknownKeyType: _bad_key,
    sftp.SFTPError: _ssh,
    ber.BERException: _bad_key,
    packet.NeedRekeyException: _protocol,
    EOFError: _cut,
    OSError: _system,
}
"""Each error of paramiko and of the sockets below it; the most derived class counts."""


def explain(error: BaseException, host: Host) -> Words:
    """Return what happened and what to do, for any error on the way to ``host``."""
    for kind in type(error).__mro__:
        if kind in EXPLAINED:
            return EXPLAINED[kind](error, host)
    return f"ssh to {place(host)} failed: {type(error).__name__}: {error}", "report this"


def unreachable(error: BaseException, host: Host) -> Unreachable:
    """Return ``error`` as what a person reads."""
    if isinstance(error, Unreachable):
        return error
    what, remedy = explain(error, host)
    return Unreachable(what, host=host.name, remedy=remedy)


def no_keys(host: Host) -> Unreachable:
    """Return the error for a login without any key to try."""
    return words_error(_no_keys(paramiko.AuthenticationException(), host), host)


def words_error(words: Words, host: Host) -> Unreachable:
    """Return the error that says these words."""
    return Unreachable(words[0], host=host.name, remedy=words[1])
