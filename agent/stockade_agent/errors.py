# SPDX-License-Identifier: MIT
"""Everything that the agent raises on purpose.

    StockadeError              one line for an operator; ``str()`` is that line
    ├── ConfigError            a file of jails, filters or actions is wrong
    ├── FirewallError          the firewall's tool refused, hung, or is not there
    ├── LedgerError            the ledger cannot be read or written
    └── ControlError           no agent answers on the socket, or it said no

Only ``cli`` turns them into exit codes.
"""

from __future__ import annotations

from typing import Optional


class StockadeError(Exception):
    """Root of all errors that are meant for a person.

    Attributes:
        remedy: what to do about it, or "".
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message, self.remedy = message, remedy
        super().__init__(f"{message} ({remedy})" if remedy else message)


class ConfigError(StockadeError):
    """A configuration file is wrong.

    Attributes:
        path: file at fault.
        line: its line, counted from 1, or None when the whole file is at fault.
        column: its column, counted from 1, or None.
        jail: the jail that cannot run because of it, or None when none can.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str,
        line: Optional[int] = None,
        column: Optional[int] = None,
        jail: Optional[str] = None,
        remedy: str = "",
    ) -> None:
        self.path, self.line, self.column, self.jail = path, line, column, jail
        place = ":".join(str(part) for part in (path, line, column) if part is not None)
        super().__init__(f"{place}: {message}", remedy=remedy)


class FirewallError(StockadeError):
    """A firewall backend could not do what it was told.

    Attributes:
        backend: ``nftables``, ``iptables``, ``firewalld``, ``memory``.
    """

    def __init__(self, message: str, *, backend: str, remedy: str = "") -> None:
        self.backend = backend
        super().__init__(f"{backend}: {message}", remedy=remedy)


class LedgerError(StockadeError):
    """The ledger cannot be read or written."""


class ControlError(StockadeError):
    """No agent answers on the control socket, or it refused the request."""
