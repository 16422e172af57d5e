# SPDX-License-Identifier: MIT
"""Everything that the agent raises on purpose.

    StockadeError              one line for an operator; ``str()`` is that line
    ├── ConfigError            a file of jails, filters or actions is wrong
    ├── RegexError             a regular expression or date pattern of a filter is wrong
    ├── OverrunError           a line took a filter too long
    ├── FirewallError          the firewall's tool refused, hung, or is not there
    ├── LedgerError            the ledger cannot be read or written
    └── ControlError           the agent said no to a request
        ├── NoJailError        it runs no jail of that name
        └── NoAgentError       no agent answers on the control socket

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
        jail: the jail that cannot run because of it, None when none can, "" when all can.
        place: path, line and column, as they stand in front of the message.
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
        self.place = ":".join(str(part) for part in (path, line, column) if part is not None)
        super().__init__(f"{self.place}: {message}", remedy=remedy)


class RegexError(StockadeError, ValueError):
    """A regular expression, date pattern or formula cannot be used.

    The configuration knows where it was written: ``FilterSpec.origins[option]``.

    Attributes:
        option: ``failregex``, ``prefregex``, ``ignoreregex``, ``datepattern``, ``formula``, …
        index: which of the option's regexes, counted from 0.
        position: the character of the regex where the fault was seen, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        option: str,
        index: int = 0,
        position: Optional[int] = None,
        remedy: str = "",
    ) -> None:
        self.option, self.index, self.position = option, index, position
        super().__init__(message, remedy=remedy)


class OverrunError(StockadeError):
    """A line took a filter longer than it may.

    Attributes:
        regex: what was searched for when it was given up, quoted, or "".
    """

    def __init__(self, seconds: float, *, regex: str = "") -> None:
        self.regex = regex
        where = f", in {regex}" if regex else ""
        super().__init__(f"a line took more than {seconds:g} s of CPU time and was given up{where}")


class FirewallError(StockadeError):
    """A firewall backend could not do what it was told.

    Attributes:
        backend: ``nftables``, ``iptables``, ``firewalld``, ``memory``, ``action``.
        cause: what is wrong, without the backend's name.
        command: of an action that cannot be used: ``actionban``, …; else "".
    """

    def __init__(self, message: str, *, backend: str, remedy: str = "") -> None:
        self.backend, self.cause, self.command = backend, message, ""
        super().__init__(f"{backend}: {message}", remedy=remedy)


class LedgerError(StockadeError):
    """The ledger cannot be read or written."""


class ControlError(StockadeError):
    """The agent refused a request."""


class NoJailError(ControlError):
    """The agent runs no jail of that name."""


class NoAgentError(ControlError):
    """No agent answers on the control socket, or not in time."""
